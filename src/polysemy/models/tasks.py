"""What a pretrained body is fine-tuned for: one small config a task, which a run folder keeps under `task`.

classify  one label a text, or a pair of texts         regress  one number a text, or a pair
tag       one label a word                             span     where in a text the answer to a question stands
embed     one vector a text, near those of like meaning
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from polysemy.config import Config
from polysemy.errors import InputError

KINDS = ("classify", "pair", "regress", "tag", "span", "embed")
"""what the command line calls them; `pair` classifies pairs of texts"""
SPAN_SETTINGS = ("longest", "stride", "best", "question")
"""numbers of a Span that a user may choose"""


@dataclass(frozen=True, kw_only=True)
class Classify(Config):
    """Which of `labels` a text has, or a pair of texts."""

    labels: tuple[str, ...]
    """at least two, in the order of the outputs; of two the last is the positive one"""
    pair: bool = False
    """whether texts come in pairs"""

    def check(self) -> None:
        _check_labels(self.labels)


@dataclass(frozen=True, kw_only=True)
class Regress(Config):
    """Which number a text has, or a pair of texts.  Targets keep their scale: nothing is normed, as in transformers."""

    low: float | None = None
    """smallest value there is; it is told, and predictions may lie beyond it"""
    high: float | None = None
    """largest value there is"""
    pair: bool = False
    """whether texts come in pairs"""

    def check(self) -> None:
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"low must be below high, got {self.low} and {self.high}")


@dataclass(frozen=True, kw_only=True)
class Tag(Config):
    """Which of `labels` each word has, read at its first piece; B-, I- and O make entities of them."""

    labels: tuple[str, ...]
    """at least two, in the order of the outputs"""

    def check(self) -> None:
        _check_labels(self.labels)


@dataclass(frozen=True, kw_only=True)
class Span(Config):
    """Where the answer to a question stands in a text (Rajpurkar et al. 2016, 2018; Devlin et al. 2019, 4.2)."""

    null: bool = False
    """whether a question may have no answer in its text"""
    threshold: float = 0.0
    """no answer when its score is higher than the best span's by more than this; tuned on held-out questions"""
    longest: int = 30
    """most pieces of an answer"""
    stride: int = 128
    """pieces from the start of one window over a long text to that of the next; half a window at most"""
    best: int = 20
    """starts and ends that are paired in each window"""
    question: int = 64
    """most pieces of a question that are shown"""

    def check(self) -> None:
        for name in SPAN_SETTINGS:
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Embed(Config):
    """One vector a text, compared by cosine."""

    pooling: Literal["mean", "cls", "last", "max"] = "mean"
    """of the last states of all tokens (mean, max), of the first one, or of the last one"""
    normalize: bool = True
    """vectors of length 1"""
    dimensions: int | None = None
    """only so many numbers of each, from the first on; none: all"""
    temperature: float = 0.05
    """what cosines are divided by in the softmax over a batch"""

    def check(self) -> None:
        if self.dimensions is not None and self.dimensions < 1:
            raise InputError(f"dimensions must be at least 1, got {self.dimensions}")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise InputError(f"temperature must be above 0, got {self.temperature}")


Task = Classify | Regress | Tag | Span | Embed
TASKS: dict[str, type[Task]] = {cls.__name__: cls for cls in (Classify, Regress, Tag, Span, Embed)}


def task_of(data: Any) -> Task:
    """The task that `to_dict` wrote; InputError for anything else."""
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if kind not in TASKS:
        raise InputError(f"task must be of kind {' | '.join(TASKS)}, got {kind!r} in config.json")
    return TASKS[kind].from_dict(data)


def kind_of(task: Task) -> str:
    """What the command line calls it: one of KINDS."""
    return "pair" if isinstance(task, Classify) and task.pair else type(task).__name__.lower()


def reads_pairs(task: Task) -> bool:
    """Whether an input is two texts: a pair, or a question and the text that answers it."""
    return isinstance(task, Span) or bool(getattr(task, "pair", False))


def outputs_of(task: Task) -> int:
    """Numbers that the head gives for each place it reads; 0 of a task without a head."""
    match task:
        case Classify() | Tag():
            return len(task.labels)
        case Regress():
            return 1
        case Span():
            return 2
        case Embed():
            return 0


def _check_labels(labels: tuple[str, ...]) -> None:
    if len(labels) < 2:
        raise InputError(f"labels must be at least two, got {', '.join(map(repr, labels)) or 'none'}; "
                         "there is nothing to tell apart")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InputError(f"labels must differ, got {twice!r} twice")
    if any(not label.strip() for label in labels):
        raise InputError("labels must not be empty, got one that is")
