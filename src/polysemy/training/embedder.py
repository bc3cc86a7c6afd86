"""Training a sentence embedder: from pairs, scored pairs or plain text, on any body, by the one training loop.

On held-out pairs with scores Spearman's correlation of the cosines is taken after every epoch, and the best weights are
kept.  The result is a run folder whose config.json holds the task (`models.sentence_vectors`).  While it is made the
folder holds `checkpoints/`, from which the same call goes on after a stop.
"""
from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from polysemy.artifact import read_folder, read_json
from polysemy.errors import InputError
from polysemy.models.fine_tuning import opened
from polysemy.models.sentence_vectors import SentenceVectors
from polysemy.models.static_body import StaticConfig
from polysemy.models.task_model import READ_LAST, with_dropout
from polysemy.models.tasks import Embed
from polysemy.models.text_model import TextModel
from polysemy.nn.pooling import Pooling, normalized
from polysemy.runtime import choose_device, environment
from polysemy.text.sentence_batches import SentenceBatches
from polysemy.text.sentence_examples import SentenceExamples, rows_of_texts
from polysemy.training.budget import Budget
from polysemy.training.embedder_config import EmbedderConfig, settled
from polysemy.training.embedder_run import EmbedderRun, Judge
from polysemy.training.fine_tuning_start import Tell, check_length
from polysemy.training.lock import folder_lock
from polysemy.training.loop import Step
from polysemy.training.record import check_run_folder, done_before, refuse_another
from polysemy.training.signals import Signals

__all__ = ["EmbedderConfig", "train_embedder"]

log = logging.getLogger(__name__)


def train_embedder(start: str | Path, train_on: SentenceExamples, out: str | Path,
                   config: EmbedderConfig = EmbedderConfig(), *, judge: Judge | None = None, seed: int = 0,
                   device: str = "auto", progress: Callable[[Step], None] | None = None,
                   tell: Tell = lambda line: None) -> dict[str, Any]:
    """Train the model of the run folder `start` into an embedder in the new run folder `out`; returns its results.

    train_on  pairs, scored pairs or sentences: `text.sentence_examples`
    judge     scores of an embedder, `spearman` among them: `evaluation.sentence_similarity.judge_of(dev)`
    seed      of the order of the pairs and of dropout; same seed, threads and dtype: same weights
    tell      is given a line for what was chosen

    Stopped by a signal (InterruptError) and called again it goes on from its last checkpoint, with the weights of an
    uninterrupted run.  A finished run is not run again.  InputError for bad settings, a folder in use, or other data
    than before.
    """
    out = Path(out)
    check_run_folder(out, model=True)
    model = opened(start)
    reader: TextModel = getattr(model, "reader", model)  # of what was trained for a task only the body is kept
    check_length(config.length, reader)
    config = settled(config, train_on, reader)
    record = _record(Path(start), config, train_on, seed)
    if (old := done_before(out, "embedder")) is not None:
        refuse_another(out, old, record, {"start": "model", "text_hash": "text", "seed": "seed"}, "config")
        tell(f"{out} is done")
        return read_json(out / "config.json")["results"]
    task = Embed(pooling=config.pooling or usual_pooling(model), normalize=config.normalize,
                 dimensions=config.dimensions, temperature=config.temperature)
    if reader is model and isinstance(reader.config.model, StaticConfig):
        with_unit_rows(reader)
    with_dropout_of(reader, config.dropout)
    embedder = SentenceVectors(reader, task)
    _check_sizes(config, reader)
    batches = _batches(reader, train_on, config, seed)
    tell(f"learning rate {config.learning_rate:g}, {batches.batch_size} pairs a step, {Budget(epochs=config.epochs)}")
    with Signals() as signals:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        with folder_lock(out):
            run = EmbedderRun(out, config, embedder, batches, judge, record)
            run.prepare(seed, choose_device(device))
            run.go(signals, progress)
            return run.export()


def usual_pooling(model: TextModel) -> Pooling:
    """That of an embedder; else the last token where only that one has read all, else the mean."""
    if isinstance(model, SentenceVectors):
        return model.task.pooling
    return "last" if model.config.recipe in READ_LAST else "mean"


@torch.no_grad()
def with_unit_rows(reader: TextModel) -> None:
    """Begin static vectors at length 1 each, as `embed` averages them: long ones would outvote the others."""
    table = reader.model.table
    table.copy_(normalized(table))


def with_dropout_of(reader: TextModel, rate: float | None) -> None:
    """Give the model's body this dropout everywhere; None leaves it as it is.  Weights and config.json stay."""
    if rate is None:
        return
    body = with_dropout(reader.config.model, rate).body()
    body.load_state_dict(reader.model.body.state_dict())
    if getattr(reader.model.body, "symbols", None) is not None:
        body.symbols = reader.model.body.symbols
    reader.model.body = body.eval()


def _check_sizes(config: EmbedderConfig, reader: TextModel) -> None:
    size = reader.config.model.hidden_size
    for d in config.prefixes:
        if d > size:
            raise InputError(f"prefixes must be at most the {size} numbers of a vector, got {d}")
    assert config.length is not None
    if config.length <= reader.specials(False):
        raise InputError(f"length must be above {reader.specials(False)} special tokens, got {config.length}")


def _batches(reader: TextModel, examples: SentenceExamples, config: EmbedderConfig, seed: int) -> SentenceBatches:
    assert config.length is not None
    rows, cut = rows_of_texts(reader, examples.texts, config.length)
    if cut:
        more = "" if config.length >= reader.length else "; raise --length to read them whole"
        log.warning("%d of %d texts are longer than %d tokens and are cut there in training%s", cut, len(rows),
                    min(config.length, reader.length), more)
    pad = reader.tokenizer.pad_id if reader.tokenizer.has("pad") else 0
    return SentenceBatches(rows, examples.pairs, examples.scores, batch_size=config.batch_size, seed=seed, pad_id=pad)


def _record(start: Path, config: EmbedderConfig, examples: SentenceExamples, seed: int) -> dict[str, Any]:
    """What must be the same when the run goes on."""
    folder = read_folder(start, verify=False).config
    begun = hashlib.sha256(json.dumps(folder.get("files", {}), sort_keys=True).encode()).hexdigest()
    digest = hashlib.sha256(json.dumps(examples.texts).encode())
    digest.update(examples.pairs.tobytes())
    digest.update(b"" if examples.scores is None else examples.scores.tobytes())
    return {"config": config.to_dict(), "seed": seed, "start": begun, "text_hash": digest.hexdigest(),
            "text": {"source": examples.source, "pairs": len(examples), "texts": len(examples.texts)},
            "threads": torch.get_num_threads(), "environment": environment()}
