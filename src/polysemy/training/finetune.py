"""Fine-tune a pretrained body for a task and leave a run folder that `polysemy.load` opens.

While it goes on the folder holds `checkpoints/` (with `run.json`: what it was started with), `metrics.jsonl` (one row a
step; scores after every epoch) and `lock`; at the end config.json, model.safetensors, the tokenizer and README.md.
"""
from __future__ import annotations

import logging
import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polysemy.artifact import finish, load_tensors, read_json, save_tensors, write_bytes, write_json
from polysemy.errors import InputError
from polysemy.models.fine_tuning import opened
from polysemy.models.pretrained import WEIGHTS, count_parameters
from polysemy.models.task_model import TaskModel
from polysemy.models.task_use import TaskUser, task_record
from polysemy.models.tasks import Embed, Span, Task
from polysemy.models.text_model import TextModel
from polysemy.runtime import choose_device, choose_dtype, environment
from polysemy.text.labeled import Examples
from polysemy.text.task_rows import TaskRows, task_rows
from polysemy.training.fine_tuning_card import card
from polysemy.training.fine_tuning_config import FineTuningConfig, settled
from polysemy.training.fine_tuning_run import Judge, SeedRun
from polysemy.training.fine_tuning_start import (
    Tell,
    as_before,
    check_length,
    check_shapes,
    check_targets,
    class_weights,
    fingerprint,
    first_model,
    hash_of_folder,
    split_dev,
)
from polysemy.training.lock import folder_lock
from polysemy.training.loop import Step
from polysemy.training.record import NAME as RECORD
from polysemy.training.record import check_run_folder, done_before, refuse_another, write_record
from polysemy.training.signals import Signals

FREE = ("environment", "dtype", "device")
"""what may be another when a run goes on"""
log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Work:
    """What all seeds of a fine-tuning share."""

    reader: TextModel
    task: Task
    config: FineTuningConfig
    train: Examples
    dev: Examples | None
    rows: TaskRows
    dev_rows: TaskRows | None
    judge: Judge | None
    device: str
    weights: tuple[float, ...] | None
    """of the labels"""


def finetune(start: str | Path, task: Task, train: Examples, dev: Examples | None, out: str | Path,
             config: FineTuningConfig | None = None, *, seed: int = 0, judge: Judge | None = None, device: str = "auto",
             progress: Callable[[Step], None] | None = None, tell: Tell | None = None) -> dict[str, Any]:
    """Fine-tune the model of the run folder `start` for `task` in the new run folder `out`; returns its results.

    start    any trained body: pretrained, fine-tuned before (the same labels keep their head), converted from another
             tool, or word vectors
    task     `fine_tuning_start.task_for` makes it from the examples
    dev      None: a tenth of `train` is held out, always the same
    judge    metrics and the one that decides; None: the first epochs' choice is the last one
             (`Judge(evaluation.task_metrics.task_metrics, headline(task))`)
    tell     is given a line for everything that was chosen;  progress: every step

    After every epoch dev is judged; the best epoch of the best seed is kept.  Results: metrics, score, epoch, seconds,
    steps, tokens, seeds with median and spread (the deviation of a sample, n - 1; None of one).  Stopped by a signal
    (InterruptError) and called again it goes on, with the weights of an uninterrupted run bit for bit on a CPU (not
    with a budget in minutes).  A finished run is not run again.  Raises InputError for bad input before anything is
    written.
    """
    start, out, tell = Path(start), Path(out), tell or (lambda line: None)
    if isinstance(task, Embed):
        raise InputError("task must have labels to be fine-tuned, got embed; use train_embedder")
    check_run_folder(out, model=True)
    given = config or FineTuningConfig()
    record = {"start": str(start), "start_hash": hash_of_folder(start), "given": given.to_dict(), "seed": seed,
              "task": task.to_dict(),
              "text_hash": fingerprint(train, dev), "threads": torch.get_num_threads(), "environment": environment()}
    if (old := done_before(out, "fine_tuning")) is not None:
        _compare(out, old, record)
        tell(f"{out} is done")
        return read_json(out / "config.json")["results"]
    if (out / "checkpoints" / RECORD).exists():
        _compare(out, read_json(out / "checkpoints" / RECORD), record)
    work = prepare(start, task, train, dev, given, judge=judge, device=device, tell=tell)
    with Signals() as signals:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        with folder_lock(out):
            write_record(out / "checkpoints", record)
            seeds = [_seed(work, out, seed + k, signals, progress, tell) for k in range(work.config.seeds)]
            return _export(work, out, record, seeds)


def prepare(start: Path, task: Task, train: Examples, dev: Examples | None, config: FineTuningConfig, *,
            judge: Judge | None = None, device: str = "auto", tell: Tell = lambda line: None) -> Work:
    """Everything but the training: the model opened, dev split off, rows made, settings chosen and told."""
    reader = opened(start)
    check_length(config.length, reader)
    if dev is None and judge is not None:
        train, dev = split_dev(train)
        tell(f"no dev was given: {len(dev):,} of {len(train) + len(dev):,} examples were held out for it" if dev else
             "no dev was given and there are too few examples to hold some out: the last epoch is kept, unjudged")
    task, _ = as_before(task, reader)
    kind = type(task).__name__.lower()
    config = settled(config, reader.config.recipe, reader.config.model, kind, len(train))
    check_shapes(reader, task, config)
    rows = task_rows(train, reader, task, length=config.length)
    dev_rows = None if dev is None or judge is None else task_rows(dev, reader, task, length=config.length)
    tell(f"learning rate {config.learning_rate:g}, {config.batch_size} rows a step, {config.budget()}")
    for found, examples in ((rows, train), (dev_rows, dev)):
        if found is not None and examples is not None:
            check_targets(found, examples)
            if found.warning:
                tell(found.warning)
    weights = class_weights(task, train) if config.class_weights == "balanced" else None
    return Work(reader=reader, task=task, config=config, train=train, dev=dev, rows=rows, dev_rows=dev_rows,
                judge=judge, device=choose_device(device), weights=weights)


def _seed(work: Work, out: Path, seed: int, signals: Signals, progress: Callable[[Step], None] | None,
          tell: Tell) -> dict[str, Any]:
    """One run; its results and best weights stay in the checkpoints' folder, and with them it is not run again."""
    folder = out / "checkpoints" / f"seed-{seed}"
    if (folder / "results.json").exists():
        return read_json(folder / "results.json")
    metrics = out / ("metrics.jsonl" if work.config.seeds == 1 else f"metrics-{seed}.jsonl")
    model = first_model(work.reader, work.task, work.config, seed, tell, work.rows)
    run = SeedRun(work, folder, metrics, model, seed)
    if run.state.step:
        tell(f"goes on after step {run.state.step:,}")
    late, epochs = run.unfreezing.last, work.config.epochs
    if epochs is not None and late >= epochs:
        tell(f"gradual: the lowest weights would begin to learn in epoch {late + 1}, after the last; use --epochs "
             f"{late + 1} or more to let all learn")
    run.go(signals, progress, tell)
    results = run.results()
    save_tensors(folder / WEIGHTS, run.best_weights())
    write_json(folder / "results.json", results)
    for path in folder.glob("step-*"):
        shutil.rmtree(path, ignore_errors=True)
    if work.config.seeds > 1 and results["score"] is not None:
        tell(f"seed {seed}: {results['headline']} {results['score']:.4f}")
    return results


def _export(work: Work, out: Path, record: Mapping[str, Any], seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the model folder from the best seed; config.json comes last, so a folder that has one is whole."""
    best = max(seeds, key=lambda one: -float("inf") if one["score"] is None else one["score"])
    weights = load_tensors(out / "checkpoints" / f"seed-{best['seed']}" / WEIGHTS)
    model = first_model(work.reader, work.task, work.config, best["seed"], lambda line: None, work.rows)
    model.load_state_dict(weights, strict=False)
    user = TaskUser(model.eval(), work.reader.tokenizer, work.reader.config)
    metrics = _final(work, user)
    scores = [one["score"] for one in seeds if one["score"] is not None]
    results = {
        **best, "metrics": metrics, "score": metrics.get(best["headline"], best["score"]),
        "parameters": count_parameters(model), "examples": len(work.train),
        "dev_examples": 0 if work.dev is None else len(work.dev), "seconds": sum(one["seconds"] for one in seeds),
        "seeds": [{name: one[name] for name in ("seed", "score", "epoch", "seconds")} for one in seeds],
        "median": statistics.median(scores) if scores else None,
        "spread": statistics.stdev(scores) if len(scores) > 1 else None,
        "mix": None if model.mix is None else model.mix.report()}
    settings = {**record, "config": work.config.to_dict(), "examples": work.train.note,
                "dtype": choose_dtype(work.config.dtype, work.device), "device": work.device}
    config: dict[str, Any] = {**task_record(model, work.reader.config), "length": work.config.length,
                              "fine_tuning": settings, "results": results}
    (out / "config.json").unlink(missing_ok=True)
    save_tensors(out / WEIGHTS, {name: tensor.detach().float().cpu().contiguous()
                                 for name, tensor in model.state_dict().items()})
    work.reader.tokenizer.save(out)
    write_bytes(out / "README.md", card(config).encode())
    if len(seeds) > 1:
        write_bytes(out / "metrics.jsonl", (out / f"metrics-{best['seed']}.jsonl").read_bytes())
    finish(out, config)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return results


def _final(work: Work, user: TaskUser) -> dict[str, Any]:
    """The metrics of the weights as they are saved (float32); the threshold of no answer is set by them."""
    if work.judge is None or work.dev is None or work.dev_rows is None:
        return {}
    metrics = dict(work.judge.metrics(user.task, user.predict_rows(work.dev_rows, work.dev), work.dev))
    threshold = metrics.get("best_threshold")
    if isinstance(user.task, Span) and user.task.null and threshold is not None:
        model: Any = user.model
        assert isinstance(model, TaskModel)
        model.task = user.task.replace(threshold=float(threshold))
        metrics = dict(work.judge.metrics(model.task, user.predict_rows(work.dev_rows, work.dev), work.dev))
    return metrics


def _compare(out: Path, old: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """InputError when a run that was begun is called with another model, other data or settings."""
    refuse_another(out, old, record, {"start_hash": "model", "text_hash": "examples", "seed": "seed"}, "given")
    if "task" in old:  # folders of earlier versions do not say
        refuse_another(out, old, record, {}, "task")
    if old.get("threads") != record["threads"]:
        log.warning("another number of threads than before: the last bits will differ")
