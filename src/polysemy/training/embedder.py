"""Training a sentence embedder: from pairs, scored pairs or plain text, on any body, by the one training loop.

On held-out pairs with scores Spearman's correlation of the cosines is taken after every epoch, and the best weights are
kept.  The result is a run folder whose config.json holds the task (`models.sentence_vectors`).  While it is made the
folder holds `checkpoints/`, from which the same call goes on after a stop.
"""
from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from polysemy.artifact import finish, read_folder, save_tensors, write_bytes
from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.fine_tuning import opened
from polysemy.models.pretrained import WEIGHTS
from polysemy.models.recipe import BodyConfig, TrainingConfig
from polysemy.models.sentence_vectors import SentenceModel, SentenceVectors
from polysemy.models.static_body import StaticConfig
from polysemy.models.task_model import READ_LAST
from polysemy.models.tasks import Embed
from polysemy.models.text_model import TextModel
from polysemy.nn.pooling import Pooling, normalized
from polysemy.objectives.contrastive import LossName, SentencePairs
from polysemy.runtime import choose_device, environment
from polysemy.text.sentence_batches import SentenceBatches
from polysemy.text.sentence_examples import SentenceExamples, rows_of_texts
from polysemy.training.budget import Budget, Course, State
from polysemy.training.checkpoint import Checkpoints
from polysemy.training.distributed import World
from polysemy.training.fine_tuning_config import EXAMPLES_SHOWN, FEWEST_EPOCHS, MOST_EPOCHS, usual_rate
from polysemy.training.learner import Learner
from polysemy.training.lock import folder_lock
from polysemy.training.loop import Step, train
from polysemy.training.memory import keep_freed_memory
from polysemy.training.metrics import Metrics
from polysemy.training.outcome import InterruptError
from polysemy.training.record import changes_of, write_record
from polysemy.training.signals import Signals

Judge = Callable[[SentenceVectors], Mapping[str, float]]
HEADLINE = "spearman"
"""the score by which the best weights are chosen"""
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EmbedderConfig(Config):
    """How vectors are made and how they are learned."""

    pooling: Literal["mean", "cls", "last", "max"] | None = None
    """none: the last token of models that read from left to right, else the mean"""
    normalize: bool = True
    """whether the finished model gives vectors of length 1"""
    dimensions: int | None = None
    """how many numbers the finished model gives; none: all"""
    prefixes: tuple[int, ...] = ()
    """sum the loss over the first so many numbers too, so that vectors may be cut there (Kusupati et al. 2022)"""
    loss: Literal["auto", "softmax", "cosent", "cosine"] = "auto"
    """auto: softmax over the batch for pairs, cosent for scored pairs"""
    temperature: float = 0.05
    """cosines are divided by it"""
    both: bool = False
    """also let each partner find its text among the others"""
    epochs: float | None = None
    """passes over the pairs; none: 1 of plain text, else 3, and more for small data"""
    learning_rate: float | None = None
    """peak; none: as for other tasks by the body's kind and width, and half of that from plain text"""
    batch_size: int = 64
    """pairs, each of which has all others of its batch as negatives"""
    chunk_size: int | None = None
    """texts whose graph is held at once: larger batches in the same memory, the same gradient, a third more work"""
    length: int = 64
    """most tokens of a text in training"""
    dropout: float | None = None
    """none: 0.1 for twins, which learn from nothing else; else as the model was trained"""
    warmup_rate: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    evaluate_every: int | None = None
    """steps between evaluations; none: an epoch"""

    def check(self) -> None:
        for name in ("epochs", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0, got {value}")
        for name in ("batch_size", "chunk_size", "evaluate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if self.loss == "softmax" and self.batch_size < 2:
            raise InputError("batch_size must be at least 2 with loss softmax, got 1: a pair alone has no negatives")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be in 0..1, got {self.dropout}")
        if any(d < 1 for d in self.prefixes):
            raise InputError(f"prefixes must be at least 1, got {min(self.prefixes)}")


def train_embedder(start: str | Path, train_on: SentenceExamples, out: str | Path,
                   config: EmbedderConfig = EmbedderConfig(), *, judge: Judge | None = None, seed: int = 0,
                   device: str = "auto", progress: Callable[[Step], None] | None = None) -> dict[str, Any]:
    """Train the model of the run folder `start` into an embedder in the new run folder `out`; returns its results.

    train_on  pairs, scored pairs or sentences: `text.sentence_examples`
    judge     scores of an embedder, `spearman` among them: `evaluation.sentence_similarity.judge_of(dev)`
    seed      of the order of the pairs and of dropout; same seed, threads and dtype: same weights

    Stopped by a signal (InterruptError) and called again it goes on from its last checkpoint, with the weights of an
    uninterrupted run.  InputError for bad settings, a folder in use, or other data than before.
    """
    out = Path(out)
    _check_out(out)
    model = opened(start)
    reader: TextModel = getattr(model, "reader", model)  # of what was trained for a task only the body is kept
    config = settled(config, train_on, reader)
    task = Embed(pooling=config.pooling or usual_pooling(model), normalize=config.normalize,
                 dimensions=config.dimensions, temperature=config.temperature)
    if reader is model and isinstance(reader.config.model, StaticConfig):
        with_unit_rows(reader)
    with_dropout_of(reader, config.dropout)
    embedder = SentenceVectors(reader, task)
    _check_sizes(config, reader)
    batches = _batches(reader, train_on, config, seed)
    with Signals() as signals:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        with folder_lock(out):
            run = _Run(out, config, embedder, batches, judge, _record(Path(start), config, train_on, seed))
            run.prepare(seed, choose_device(device))
            run.go(signals, progress)
            return run.export()


def settled(config: EmbedderConfig, examples: SentenceExamples, reader: TextModel) -> EmbedderConfig:
    """The config with all that the data and the body decide: loss, dropout, epochs, rate."""
    scored = examples.scores is not None
    loss = ("cosent" if scored else "softmax") if config.loss == "auto" else config.loss
    if (loss != "softmax") and not scored:
        raise InputError(f"loss {loss} must be learned from pairs with scores, got {examples.source}")
    if loss == "softmax" and scored:
        raise InputError("loss softmax must be learned from pairs that belong together, got pairs with scores; use "
                         "loss cosent or cosine, or leave out the column of scores")
    twins = examples.source == "twins"
    dropout = 0.1 if twins and config.dropout is None else config.dropout
    if twins and not dropout:
        raise InputError("dropout must be above 0 to learn from twins, got 0: both readings would be the same vector")
    plain = examples.source in ("twins", "adjacent sentences")
    epochs = 1.0 if plain else float(min(max(-(-EXAMPLES_SHOWN // len(examples)), FEWEST_EPOCHS), MOST_EPOCHS))
    rate = usual_rate(reader.config.recipe, reader.config.model) / (2 if plain else 1)
    return config.replace(loss=loss, dropout=dropout, epochs=config.epochs or epochs,
                          learning_rate=config.learning_rate or rate)


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
    body = config_with_dropout(reader.config.model, rate).body()
    body.load_state_dict(reader.model.body.state_dict())
    if getattr(reader.model.body, "symbols", None) is not None:
        body.symbols = reader.model.body.symbols
    reader.model.body = body.eval()


def config_with_dropout(config: BodyConfig, rate: float) -> Any:
    """The same body with `rate` in every field that is called dropout or ends so."""
    changes: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, Config):
            changes[name] = config_with_dropout(value, rate)  # pyright: ignore[reportArgumentType]
        elif name == "dropout" or name.endswith("_dropout"):
            changes[name] = rate
    return config.replace(**changes)


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"output folder must be a folder, got the file {out}")
    if (out / "config.json").exists() or (out.is_dir() and any(out.iterdir()) and not (out / "checkpoints").is_dir()):
        raise InputError(f"output folder must be new or empty, got {out}; choose another name or remove it")


def _check_sizes(config: EmbedderConfig, reader: TextModel) -> None:
    size = reader.config.model.hidden_size
    for d in config.prefixes:
        if d > size:
            raise InputError(f"prefixes must be at most the {size} numbers of a vector, got {d}")
    if config.length <= reader.specials(False):
        raise InputError(f"length must be above {reader.specials(False)} special tokens, got {config.length}")


def _batches(reader: TextModel, examples: SentenceExamples, config: EmbedderConfig, seed: int) -> SentenceBatches:
    rows, cut = rows_of_texts(reader, examples.texts, config.length)
    if cut:
        log.warning("%d of %d texts are longer than %d tokens and are cut there in training; raise --length to read "
                    "them whole", cut, len(rows), min(config.length, reader.length))
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


class _Run:
    """One run in its folder, from its newest checkpoint to the model folder."""

    def __init__(self, folder: Path, config: EmbedderConfig, embedder: SentenceVectors, batches: SentenceBatches,
                 judge: Judge | None, record: dict[str, Any]) -> None:
        self.folder, self.config, self.embedder, self.batches = folder, config, embedder, batches
        self.judge, self.record = judge, record
        self.checkpoints = Checkpoints(folder / "checkpoints", keep=1)
        self.metrics = Metrics(folder / "metrics.jsonl")
        self.course = Course(Budget(epochs=config.epochs), batches=batches)
        self.state, self.loss, self.before = State(), float("nan"), {}
        self.scores: dict[str, float] = {}

    def prepare(self, seed: int, device: str) -> None:
        """Put the learner together, at the newest checkpoint if there is one."""
        c = self.config
        epoch = max(1, -(-len(self.batches.examples) // self.batches.batch_size))
        assert c.learning_rate is not None
        self.training = TrainingConfig(
            learning_rate=c.learning_rate, batch_size=self.batches.batch_size, length=max(8, c.length),
            warmup_rate=c.warmup_rate, weight_decay=c.weight_decay, clip=c.clip, dtype=c.dtype, beta2=0.999,
            evaluate_every=c.evaluate_every or epoch)
        assert c.loss != "auto"
        loss: LossName = c.loss
        objective: Any = SentencePairs(loss, temperature=c.temperature, both=c.both, dimensions=c.prefixes,
                                       chunk_size=c.chunk_size)
        model: Any = SentenceModel(self.embedder.model.body, self.embedder.task.pooling)
        self.learner = Learner.make(model, objective, self.training, world=World(device=device), seed=seed)
        self.embedder.model.to(self.learner.world.device)
        self.checkpoints.clean()
        changes = changes_of(self.checkpoints.folder, self.record)
        found = self.checkpoints.newest()
        if found is not None:
            if changes:
                log.warning("going on with other settings than before: %s", "; ".join(changes))
            self.learner.read(found)
            saved = found.state()
            self.state, self.before = State.from_dict(saved["state"]), saved["before"]
            self.scores, self.loss = saved["scores"], float(saved["loss"])
        else:
            self.before = dict(self.evaluate()) if self.judge is not None else {}
        write_record(self.checkpoints.folder, self.record)
        self.metrics.keep_until(self.state.step)

    def evaluate(self) -> Mapping[str, float]:
        """The scores of the weights as they are now."""
        assert self.judge is not None
        self.learner.model.eval()
        return self.judge(self.embedder)

    def go(self, signals: Signals, progress: Callable[[Step], None] | None) -> None:
        """Train to the end; InterruptError after a signal, once the step is done and saved."""
        keep_freed_memory()
        for step in train(self.learner, self.batches, self.training, course=self.course, state=self.state,
                          evaluate=self.evaluate if self.judge is not None else None):
            self.state, self.loss = step.state, step.loss
            self.scores = dict(step.scores) or self.scores
            self.metrics.append(step.row())
            if progress is not None:
                progress(step)
            if step.last or signals.caught or step.number % self.training.evaluate_every == 0:
                self.save(step.scores)
            if signals.caught and not step.last:
                raise InterruptError(signals.caught, f"stopped after step {step.number} and saved; go on with the same "
                                     "command", saved=True)

    def save(self, scores: Mapping[str, float]) -> None:
        """A checkpoint; of those that were judged the best stays beside the newest."""
        state = {"state": self.state.to_dict(), "before": self.before, "scores": dict(scores), "loss": str(self.loss)}
        judged = scores.get(HEADLINE)
        with self.checkpoints.new(self.state.step, state, score=None if judged is None else -judged) as work:
            self.learner.write(work)

    def export(self) -> dict[str, Any]:
        """Write the model folder from the best checkpoint, or the newest; checkpoints go."""
        chosen = (self.checkpoints.best() if self.judge is not None else None) or self.checkpoints.newest()
        assert chosen is not None, "a run ends with a checkpoint"
        weights, saved, model = chosen.tensors("model"), chosen.state(), self.embedder
        loss = float(saved["loss"])
        results = {"step": self.state.step, "kept_step": chosen.step, "seconds": self.state.seconds,
                   "tokens": self.state.tokens, "before": self.before, "scores": saved["scores"],
                   "pairs": len(self.batches.examples), "loss": loss if math.isfinite(loss) else None}
        if results["scores"].get(HEADLINE, math.inf) < self.before.get(HEADLINE, -math.inf):
            log.warning("%s on the held-out pairs fell from %.4f to %.4f: this training did harm; lower the rate, or "
                        "learn from other pairs", HEADLINE, self.before[HEADLINE], results["scores"][HEADLINE])
        save_tensors(self.folder / WEIGHTS, {name: tensor.float().contiguous() for name, tensor in weights.items()})
        model.tokenizer.save(self.folder)
        write_bytes(self.folder / "README.md", card(self.record, model, results).encode())
        finish(self.folder, {"recipe": model.config.recipe, "config": model.config.to_dict(),
                             "task": model.task.to_dict(), "embedder": self.record, "results": results})
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        return results


def card(record: Mapping[str, Any], model: SentenceVectors, results: Mapping[str, Any]) -> str:
    """The README.md of an embedder."""
    task, text = model.task, record["text"]
    facts = {
        "vectors": f"{task.dimensions or model.config.model.hidden_size} numbers, {task.pooling} of the tokens, "
                   + ("length 1" if task.normalize else "not normalized"),
        "learned from": f"{text['pairs']:,} pairs ({text['source']}) of {text['texts']:,} texts",
        "loss": record["config"]["loss"], "steps": f"{results['step']:,}, kept {results['kept_step']:,}",
        "training seconds": f"{results['seconds']:,.1f}",
        **{f"{name.replace('_', ' ')} on held-out pairs, before and after":
           f"{results['before'].get(name, float('nan')):.4f}, {value:.4f}"
           for name, value in results["scores"].items()}}
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    head = [f"# {model.config.recipe}, a sentence embedder", "", "| | |", "|---|---|"]
    return "\n".join([*head, *rows, "", "## Use", "", "```",
                      "polysemy embed DIR sentences.txt -o vectors.npy",
                      'polysemy similarity DIR "one text" "another"',
                      "polysemy convert DIR st/ --to sentence-transformers", "```", ""])
