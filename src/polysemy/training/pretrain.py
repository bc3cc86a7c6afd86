"""One whole pretraining run: prepare the text, train, save, and leave a run folder that `polysemy.load` opens.

While the run goes on its folder holds `text/` (tokenizer and shards), `checkpoints/` (with `run.json`: what it was
started with), `metrics.jsonl` and `lock`; at the end also config.json, model.safetensors, the tokenizer's files and
README.md.  The same call goes on from the newest checkpoint, or does nothing when the run is done.
"""
from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polysemy.artifact import read_json, write_json
from polysemy.errors import InputError
from polysemy.models.cost import cost_of
from polysemy.models.pretrained import PretrainingModel, know_pieces
from polysemy.models.recipe import PretrainingConfig
from polysemy.objectives.pretraining import Pretraining
from polysemy.runtime import choose_device, environment
from polysemy.text.batches import Batches
from polysemy.text.corpus import Documents
from polysemy.text.shards import Shards
from polysemy.text.streams import Chunks, LanguageBatches, Streams
from polysemy.text.tokenizer import Tokenizer
from polysemy.training.budget import Budget, Course, Moment, State
from polysemy.training.checkpoint import Checkpoints
from polysemy.training.distributed import World, join
from polysemy.training.embedding_start import start_table, vectors_to_start
from polysemy.training.held_out import HeldOut
from polysemy.training.incremental import Replay, Start
from polysemy.training.learner import Learner
from polysemy.training.lock import folder_lock
from polysemy.training.loop import Step
from polysemy.training.metrics import Metrics
from polysemy.training.outcome import NotFiniteError, RunError
from polysemy.training.prepared import PreparedText, open_text, prepare_text
from polysemy.training.record import NAME as RECORD
from polysemy.training.record import changes_of, check_run_folder, refuse_when_done, write_record
from polysemy.training.run import Run, Scores, evaluation
from polysemy.training.signals import Signals

CLOCK = "clock.json"
BEFORE = "before.json"
BAD = "bad_batches.json"
log = logging.getLogger(__name__)


def pretrain(config: PretrainingConfig, data: Documents | PreparedText, folder: str | Path, *, budget: Budget,
             seed: int = 0, tokenizer: Tokenizer | None = None, unit: str = "character", device: str = "auto",
             sharded: bool = False, resume: bool = True, start_from: str | Path | None = None, replay: float = 0.0,
             milestones: Sequence[float] = (), evaluate: Callable[[PretrainingModel], Scores] | None = None,
             progress: Callable[[Step], None] | None = None, preparing: Callable[[Any], None] | None = None) -> Path:
    """Train `config` on `data` for `budget` and leave a run folder: the words of the command line, in Python.

    Stopped and called again it goes on (with `resume` False a folder that holds a run is refused) and ends with the
    weights of an uninterrupted run, bit for bit, on the same processes, threads and number format; with a budget in
    minutes as far as metrics.jsonl recorded its clock.  Under torchrun every process makes the same call.

    tokenizer    use this one instead of training one on the text;  unit: what a Chinese word is (character, word)
    sharded      under torchrun, each process holds a part of weights and optimizer only (FSDP2)
    start_from   folder of a trained model to go on from;  replay: share of each batch that is its old text
    milestones   fractions of the budget at which the model is also written, as `milestones/<fraction>`
    evaluate     further scores for metrics.jsonl, beside the held-out loss
    progress     is shown every step, until it raises an OSError;  preparing: how far reading and tokenizing is

    Raises InputError for bad input (a folder in use, another text than before, a setting that reshapes the model),
    InterruptError after a signal, NotFiniteError or RunError when the run cannot go on.
    """
    folder = Path(folder)
    with Signals() as signals, join(choose_device(device)) as world, _claimed(folder, world, resume):
        start = Start.open(Path(start_from), replay=replay > 0) if start_from is not None else None
        config = start.adapt(config) if start is not None else config
        vectors = vectors_to_start(config, new=start is None)
        if replay and isinstance(config.segments, Streams):
            raise InputError("--replay must go with rows that stand alone, got segments Streams, whose rows go on from "
                             "batch to batch; add --set segments=chunks, or train on old and new text together")
        prepare = functools.partial(prepare_text, folder=folder / "text", unit=unit, progress=preparing,
                                    tokenizer=start.tokenizer if start is not None else tokenizer)
        text = data if isinstance(data, PreparedText) else _shared(lambda: prepare(data, config), world)
        config = fitted(config, text.tokenizer)
        _check_memory(config, world)
        model = PretrainingModel(config.model, config.heads, seed=seed) if start is None else start.model
        know_pieces(model, text.tokenizer)
        if start is None:
            know_counts(model, text.train, text.tokenizer)
            start_table(model, text.tokenizer, config.embedding.init, vectors, seed)
        learner = Learner.make(model, Pretraining(config.heads), config.training, world=world, seed=seed,
                               sharded=sharded)
        record = {"config": config.to_dict(), "budget": budget.to_dict(), "budget_text": str(budget), "seed": seed,
                  "replay": replay, "start": start.sha256 if start else None, "text_hash": text.hash,
                  "tokenizer": text.tokenizer.fingerprint(), "dtype": learner.dtype, "processes": world.size,
                  "threads": torch.get_num_threads(), "text": text.source, "environment": environment()}
        run = _run(folder, config, text, learner, budget, record, start, replay, evaluate)
        run.progress, run.milestones = progress, tuple(milestones)
        if run.course.done(run.state) and (folder / "config.json").exists():
            return folder
        try:
            run.go(signals)
        except NotFiniteError as error:
            raise _with_rows(error, folder, world) from error
    return folder


def fitted(config: PretrainingConfig, tokenizer: Tokenizer) -> PretrainingConfig:
    """`config` with a token table as large as the tokenizer: a small text gives fewer pieces than were asked for."""
    return config.replace(model=config.model.with_vocabulary(tokenizer.vocab_size))


@contextlib.contextmanager
def _claimed(folder: Path, world: World, resume: bool) -> Iterator[None]:
    """The folder, made and locked by the first process; the others wait until it has it.

    Bad input leaves nothing in a folder that was new.
    """
    fresh = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    with contextlib.ExitStack() as stack:
        with world.together("taking the output folder"):
            if world.first:
                if check_run_folder(folder) and not resume:
                    raise InputError(f"output folder must not hold a run, got {folder}; choose another name, or go on "
                                     "with it")
                try:
                    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
                    stack.enter_context(folder_lock(folder))
                except OSError as error:
                    raise RunError(f"output folder must be writable, got {folder} ({error.strerror})") from error
                for path in folder.glob(".*.tmp"):
                    path.unlink(missing_ok=True)
        try:
            yield
        except InputError:
            if world.first and fresh and not (folder / "checkpoints" / RECORD).exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _shared(prepare: Callable[[], PreparedText], world: World) -> PreparedText:
    """The tokenized text, made by the first process and opened by the others."""
    made = None
    with world.together("preparing the text"):
        if world.first:
            made = prepare()
    source, tokenizer = world.from_first(None if made is None else (made.source, made.tokenizer))
    return made or open_text(source, tokenizer)


def _run(folder: Path, config: PretrainingConfig, text: PreparedText, learner: Learner, budget: Budget,
         record: dict[str, Any], start: Start | None, replay: float,
         evaluate: Callable[[PretrainingModel], Scores] | None) -> Run:
    """All parts of a run, as they were at its newest checkpoint."""
    world, checkpoints = learner.world, Checkpoints(folder / "checkpoints", keep=config.training.keep)
    metrics = Metrics(folder / "metrics.jsonl")
    changes: list[str] = []
    with world.together("opening the run"):
        if world.first:
            checkpoints.clean()
            changes = changes_of(checkpoints.folder, record)
    batches: Any = make_batches(config, text.train, text.tokenizer, record["seed"])
    if replay and start is not None and start.text is not None:
        batches = Replay(batches, make_batches(config, start.text.train, text.tokenizer, record["seed"]), replay)
    held_out = _held_out(config, text, learner)
    texts = _texts(config, learner, held_out, start)
    state, loss, scores, before = State(), math.nan, {}, {}
    found = world.from_first(checkpoints.newest() if world.first else None)
    if found is None:
        before = {name: judge() for name, judge in texts.items()}
        if world.first and texts:
            write_json(checkpoints.folder / BEFORE, before)
    else:
        learner.read(found)
        saved = found.state()
        state, loss, scores = State.from_dict(saved["state"]), float(saved["loss"]), saved["scores"]
        before = read_json(checkpoints.folder / BEFORE) if texts else {}
    course = Course(budget, batches=batches)
    if course.done(state) and (folder / "config.json").exists():
        refuse_when_done(folder, world.from_first(changes))
    elif changes:
        log.warning("going on with other settings than before: %s", "; ".join(changes))
    if world.first:
        write_record(checkpoints.folder, record)
    same_budget = not any(change.startswith("budget.") for change in changes)
    recorded = world.from_first(_rewind(metrics, checkpoints.folder, state.step, same_budget) if world.first else None)
    return Run(folder=folder, config=config, tokenizer=text.tokenizer, learner=learner, batches=batches,
               course=Course(budget, batches=batches, recorded=recorded), checkpoints=checkpoints, metrics=metrics,
               record=record, evaluate=evaluation(learner, held_out, evaluate), texts=texts, before=before, state=state,
               loss=loss, scores=scores, saved=found.step if found is not None else None)


def _check_memory(config: PretrainingConfig, world: World) -> None:
    """InputError when a step would need more than this machine has: Linux would kill the process without a word."""
    if not world.device.startswith("cpu") or not hasattr(os, "sysconf"):
        return
    cost, whole = cost_of(config), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = cost.optimizer_bytes + cost.activation_bytes
    if needed > whole:
        rows = config.training.micro_batch_size or config.training.batch_size
        raise InputError(f"a step must fit into {whole / 1e9:,.0f} GB of memory, got about {needed / 1e9:,.0f} GB for "
                         f"{rows:,} rows of {config.training.length}; use --set "
                         f"training.micro_batch_size={max(1, int(rows * whole / needed / 4))} (the same gradient in "
                         "parts), or a smaller --size")


def know_counts(model: PretrainingModel, shards: Shards, tokenizer: Tokenizer) -> None:
    """Let heads with a bias for each next token begin at the frequencies of the tokens, marks included."""
    heads: list[Any] = [module for module in model.modules()
                        if hasattr(module, "start_from_counts") and getattr(module, "bias", None) is not None]
    if heads:
        counts = count_tokens(shards)
        counts[tokenizer.sep_id] += shards.num_documents
        for head in heads:
            head.start_from_counts(counts)


def count_tokens(shards: Shards, block: int = 1 << 22) -> np.ndarray:
    """int64 (v,): how often each piece stands in the text."""
    counts = np.zeros(shards.vocab_size, np.int64)
    for start in range(0, shards.num_tokens, block):
        ids = shards.ids(start, min(start + block, shards.num_tokens))
        counts += np.bincount(ids, minlength=shards.vocab_size)
    return counts


def make_batches(config: PretrainingConfig, shards: Shards, tokenizer: Tokenizer, seed: int, *,
                 batch_size: int | None = None) -> Batches | LanguageBatches:
    """The batches that this recipe trains on."""
    size, length = batch_size or config.training.batch_size, config.training.length
    if config.corruption is None:
        assert isinstance(config.segments, Chunks | Streams)
        return LanguageBatches(shards, tokenizer, config.segments, batch_size=size, length=length, seed=seed)
    assert not isinstance(config.segments, Chunks | Streams)
    return Batches(shards, tokenizer, config.segments, config.corruption, batch_size=size, length=length, seed=seed)


def _held_out(config: PretrainingConfig, text: PreparedText, learner: Learner) -> HeldOut | None:
    """The held-out text as this recipe sees it, the same rows whatever the run's seed."""
    if text.held_out is None:
        return None
    try:
        batches: Any = make_batches(config, text.held_out, text.tokenizer, seed=0)
    except InputError as error:  # a recipe may need more than the little that is held out, such as two documents
        log.warning("no held-out loss: %s", error)
        return None
    return HeldOut(batches, learner.objective, learner.world, micro_batch_size=config.training.micro_batch_size)


def _texts(config: PretrainingConfig, learner: Learner, new: HeldOut | None,
           start: Start | None) -> dict[str, Callable[[], Scores]]:
    """The held-out texts of the forgetting table: old and new, where another model was started from."""
    if start is None:
        return {}
    old = _held_out(config, start.text, learner) if start.text is not None else None
    return {name: lambda judge=judge: judge(learner.model)
            for name, judge in (("old", old), ("new", new)) if judge is not None}


def _rewind(metrics: Metrics, folder: Path, step: int, same_budget: bool) -> Mapping[int, Moment]:
    """Cut metrics back to `step`; what the clock said of the steps that are done again, unless the budget changed.

    It is kept in a file of its own, for the steps may be cut short once more.
    """
    moments = {}
    if (folder / CLOCK).exists():
        moments = {int(number): Moment(*moment) for number, moment in read_json(folder / CLOCK).items()}
    moments |= {row["step"]: Moment(row["fraction"], row["seconds"]) for row in metrics.rows() if "fraction" in row}
    moments = {number: moment for number, moment in moments.items() if number > step} if same_budget else {}
    write_json(folder / CLOCK, moments)
    metrics.keep_until(step)
    return moments


def _with_rows(error: NotFiniteError, folder: Path, world: World) -> NotFiniteError:
    """The error, saying where the identity of the rows was written."""
    path = folder / "checkpoints" / BAD
    if world.first:
        with contextlib.suppress(OSError):
            write_json(path, error.batches)
    return NotFiniteError(f"{error}; {path} lists the rows, the last checkpoint is untouched", error.batches)
