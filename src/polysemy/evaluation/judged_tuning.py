"""One fine-tuning for a table: judged by the field's metrics, and within its minutes where it must be."""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.evaluation.task_metrics import headline, task_metrics

if TYPE_CHECKING:
    from polysemy.models.tasks import Task
    from polysemy.text.labeled import Examples
    from polysemy.training.fine_tuning_config import FineTuningConfig

PROBE_STEPS = 6


def judged_tuning(start: Path, task: Task, examples: tuple[Examples, Examples], out: Path,
                  config: FineTuningConfig | None = None, *, metric: str = "", minutes: float | None = None,
                  seed: int = 0, device: str = "auto") -> dict[str, Any]:
    """Results of `finetune` with the run folder `out`: metrics of the best epoch, seconds, steps and more.

    examples  (train, dev): the best epoch is that of the best `metric` on dev; none: the task's headline
    minutes   most training time; where the usual epochs need less, they are done and no more
    """
    from polysemy.training.fine_tuning_config import FineTuningConfig
    from polysemy.training.fine_tuning_run import Judge
    from polysemy.training.finetune import finetune

    config = config or FineTuningConfig()
    if minutes is not None:
        config = within(minutes, start, task, examples[0], config, seed=seed, device=device)
    judge = Judge(task_metrics, metric or headline(task))
    return finetune(start, task, *examples, out, config, seed=seed, judge=judge, device=device)


def within(minutes: float, start: Path, task: Task, train: Examples, config: FineTuningConfig, *, seed: int = 0,
           device: str = "auto") -> FineTuningConfig:
    """The config with its epochs where they take no longer than `minutes`, else with `minutes` as the budget.

    How long a step takes is measured by a few on the first examples, which are not counted.
    """
    from dataclasses import replace

    from polysemy.models.fine_tuning import opened
    from polysemy.training.fine_tuning_config import settled
    from polysemy.training.finetune import finetune

    body = opened(start).config
    usual = settled(config, body.recipe, body.model, type(task).__name__.lower(), len(train))
    assert usual.batch_size is not None
    if usual.epochs is None:
        return usual.replace(steps=None, minutes=minutes)
    few = replace(train, items=train.items[:PROBE_STEPS * usual.batch_size])
    probe = usual.replace(epochs=None, steps=PROBE_STEPS)
    with tempfile.TemporaryDirectory(prefix="polysemy-probe-") as work:
        found = finetune(start, task, few, None, Path(work) / "run", probe, seed=seed, device=device)
    steps = usual.epochs * -(-len(train) // usual.batch_size)
    seconds = found["seconds"] / max(found["step"], 1) * steps
    return usual if seconds <= 60 * minutes else usual.replace(epochs=None, minutes=minutes)
