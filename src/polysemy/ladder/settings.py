"""What a ladder is told: budget, rungs, purpose and limits."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.evaluation.cloze_items import QUICK, ClozeConfig

PURPOSES = ("fill", "score", "classify")
MINUTES = 5.0


@dataclass(frozen=True, kw_only=True)
class LadderConfig(Config):
    """One ladder. Purpose and limits may change when a finished study is asked again; the rest makes another study."""

    minutes: float | None = None
    """training time of a rung (5 unless `total` is given)"""
    total: float | None = None
    """training time of all rungs together, in minutes"""
    clock: Literal["cpu", "wall"] = "cpu"
    """what the minutes are: processor time divided by threads, fair on a shared machine, or time on the wall"""
    rungs: tuple[str, ...] = ()
    """names of the table, or hf:PATH; none means all"""
    purpose: str = "fill"
    """what the recommendation is for: fill asks for the right word, score for the probability it was given, classify
    for the labels of the task"""
    task: str | None = None
    """file of labeled texts that every rung learns too, within a quarter of its minutes"""
    task_dev: str | None = None
    """file of labeled texts that the task is judged by; none: a fifth of `task`, left out of it"""
    max_ms: float | None = None
    """slowest acceptable answer: milliseconds for one sentence on one core"""
    max_mb: float | None = None
    """largest acceptable model in megabytes"""
    size: str = "mini"
    """of the neural rungs"""
    seed: int = 0
    unit: Literal["character", "word"] = "character"
    """what a Chinese word is"""
    quick: bool = False
    """fewer questions, shorter measurements"""
    questions: int | None = None
    """asked of every rung, and half as many for the calibration; none means 5,000, or 2,000 when quick"""
    threads: int | None = None
    """none means all cores of this process"""
    device: str = "auto"

    def check(self) -> None:
        if self.minutes is not None and self.total is not None:
            raise InputError("budget must be minutes a rung or total, got both")
        if self.purpose not in PURPOSES:
            raise InputError(f"purpose must be {', '.join(PURPOSES)}, got {self.purpose!r}; labels are given as "
                             "classify:FILE")
        if self.task is None and (self.purpose == "classify" or self.task_dev is not None):
            raise InputError("task must name a file of labeled texts, got none; give --task FILE or --for "
                             "classify:FILE")
        if self.questions is not None and self.questions < 100:
            raise InputError(f"questions must be at least 100, got {self.questions}")
        for name in ("minutes", "total", "max_ms", "max_mb"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} must be above 0, got {value}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads must be at least 1, got {self.threads}")

    @property
    def cloze(self) -> ClozeConfig:
        """How the questions are made."""
        made = (QUICK if self.quick else ClozeConfig()).replace(seed=self.seed, unit=self.unit)
        if self.questions is None:
            return made
        return made.replace(test_items=self.questions, dev_items=max(self.questions // 2, 50))

    def minutes_of(self, trained: int) -> float:
        """Training minutes of each of `trained` rungs."""
        if self.total is not None:
            return self.total / max(trained, 1)
        return self.minutes if self.minutes is not None else MINUTES


def purpose_and_task(purpose: str | None, task: str | None = None) -> tuple[str, str | None]:
    """(purpose, file of labels) of the words after --for and --task: `classify:FILE` names a file too."""
    purpose = purpose or "fill"
    name, colon, file = purpose.partition(":")
    if name != "classify" or not colon:
        return purpose, task
    if task is not None and file != task:
        raise InputError(f"task must be one file, got {task} and, after --for, {file}")
    return name, file or task
