"""One fine-tuning for a table: judged by the field's metrics, and within its minutes where it must be."""
from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.evaluation.task_metrics import headline, task_metrics

if TYPE_CHECKING:
    from polysemy.models.tasks import Task
    from polysemy.text.labeled import Examples
    from polysemy.training.fine_tuning_config import FineTuningConfig

PROBE_STEPS = 12


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
    """The config with its epochs where they take no longer than `minutes`, else with as many steps as fit in there.

    How long a step takes is measured by a few on the first examples, which are not counted: in processor seconds
    divided by threads, fair on a shared machine, or on a GPU in seconds on the wall.
    """
    from polysemy.models.fine_tuning import opened
    from polysemy.runtime import choose_device
    from polysemy.training.fine_tuning_config import settled
    from polysemy.training.finetune import finetune

    body = opened(start).config
    usual = settled(config, body.recipe, body.model, type(task).__name__.lower(), len(train))
    assert usual.batch_size is not None
    if usual.epochs is None:
        return usual
    few = replace(train, items=train.items[:PROBE_STEPS * usual.batch_size])
    probe = usual.replace(epochs=None, steps=PROBE_STEPS)
    clock = _wall if choose_device(device).startswith("cuda") else _processor
    times: list[float] = []
    with tempfile.TemporaryDirectory(prefix="polysemy-probe-") as work:
        finetune(start, task, few, None, Path(work) / "run", probe, seed=seed, device=device,
                 progress=lambda step: times.append(clock()))
    one = statistics.median(after - before for before, after in pairwise(times))  # one slow step must not decide
    steps = usual.epochs * -(-len(train) // usual.batch_size)
    fit = int(60 * minutes / max(one, 1e-9))
    return usual if steps <= fit else usual.replace(epochs=None, steps=max(fit, 1))


def _wall() -> float:
    return time.perf_counter()


def _processor() -> float:
    import torch

    return time.process_time() / torch.get_num_threads()
