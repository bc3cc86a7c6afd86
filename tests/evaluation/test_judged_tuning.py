"""Minutes become steps by what a few steps take, and small sets are not read more often for them."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from polysemy.evaluation import judged_tuning
from polysemy.evaluation.judged_tuning import PROBE_STEPS, within
from polysemy.models.tasks import Classify
from polysemy.text.labeled import Example, Examples
from polysemy.training.fine_tuning_config import FineTuningConfig

TASK = Classify(labels=("no", "yes"))


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """(examples, config) of each trial; every step takes two seconds of the processor."""
    asked: list[tuple[int, Any]] = []
    now = [0.0]

    def finetune(start: Path, task: Any, train: Examples, dev: Any, out: Path, config: FineTuningConfig, *,
                 progress: Any, **_: Any) -> dict[str, Any]:
        asked.append((len(train), config))
        for step in range(int(config.steps or 0)):
            now[0] += 2.0
            progress(step)
        return {}

    body = SimpleNamespace(recipe="bert", model=SimpleNamespace(hidden_size=256, num_layers=4, transformer=1, kind=""))
    monkeypatch.setattr("polysemy.training.finetune.finetune", finetune)
    monkeypatch.setattr("polysemy.models.fine_tuning.opened", lambda folder: SimpleNamespace(config=body))
    monkeypatch.setattr(judged_tuning, "_processor", lambda: now[0])
    return asked


def examples(count: int) -> Examples:
    return Examples(tuple(Example(f"text {n}", None, "yes", n) for n in range(count)), "classify")


def test_what_fits_keeps_its_epochs(probes: list[tuple[int, Any]]) -> None:
    found = within(60.0, Path("run"), TASK, examples(320), FineTuningConfig(epochs=2.0, batch_size=16), device="cpu")
    assert (found.epochs, found.steps) == (2.0, None)
    assert probes[0][0] == 16 * PROBE_STEPS


def test_what_takes_longer_gets_the_steps_that_fit(probes: list[tuple[int, Any]]) -> None:
    found = within(1.0, Path("run"), TASK, examples(3200), FineTuningConfig(epochs=2.0, batch_size=16), device="cpu")
    assert (found.epochs, found.steps) == (None, 30)
    assert within(0.001, Path("run"), TASK, examples(320), device="cpu", config=FineTuningConfig()).steps == 1


def test_a_budget_in_steps_stays_as_it_is(probes: list[tuple[int, Any]]) -> None:
    given = FineTuningConfig(steps=7, batch_size=16, learning_rate=1e-4)
    assert within(1.0, Path("run"), TASK, examples(320), given, device="cpu").steps == 7
    assert not probes
