"""Examples of a task as they lie in memory: texts with labels, tagged words, questions with answers."""
from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from polysemy.errors import InputError

SHOWN = 160


@dataclass(frozen=True)
class Example:
    """A text, or two or three, with a label (classify, pair), a score (regress) or nothing."""

    text: str
    pair: str | None = None
    label: str | float | None = None
    row: int = 0
    """line of the file, from 1"""
    negative: str | None = None


@dataclass(frozen=True)
class Tagged:
    """The words of a sentence and the tag of each."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    row: int = 0


@dataclass(frozen=True)
class Question:
    """A question to a text; each answer is (start, text) with context[start:start + len(text)] == text."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[int, str], ...]
    """none: it has no answer there"""
    row: int = 0


@dataclass(frozen=True)
class Examples(Sequence[Any]):
    """What a file holds: Example, Tagged (tag) or Question (span) in its order."""

    items: tuple[Any, ...]
    kind: str
    path: str = "data"
    note: str = ""
    """one line: what was read, and which columns were taken"""
    warnings: tuple[str, ...] = ()
    """one line each: what was replaced, left out or looks wrong"""
    columns: str = ""
    """what to give as `columns` to read a file like this one in the same way"""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: Any) -> Any:
        return self.items[i]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels or tags that occur, each once: numbers by size, other names by name; none of questions."""
        if self.kind == "tag":
            found = {tag for item in self.items if item.tags is not None for tag in item.tags}
        else:
            found = {item.label for item in self.items if isinstance(getattr(item, "label", None), str)}
        return natural_order(found)

    @property
    def pair(self) -> bool:
        """Whether examples are pairs of texts."""
        return self.kind in ("classify", "pair", "regress") and any(item.pair is not None for item in self.items)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        scores = [item.label for item in self.items if item.label is not None]
        return (min(scores), max(scores)) if scores else (0.0, 0.0)


def natural_order(labels: set[str] | Sequence[str]) -> tuple[str, ...]:
    """Numbers by size before names by name, in which numbers count as numbers too (`class 2` before `class 10`)."""
    def key(label: str) -> tuple[Any, ...]:
        try:
            number = float(label)
            if math.isfinite(number):
                return 0, number, label
        except ValueError:
            pass
        parts = re.split(r"(\d+)", label)
        return 1, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part], label

    return tuple(sorted(set(labels), key=key))


def texts_as_examples(texts: Sequence[str], pairs: Sequence[str] | None = None, *, kind: str = "classify",
                      path: str = "texts") -> Examples:
    """Texts without labels as examples, for prediction."""
    if pairs is not None and len(pairs) != len(texts):
        raise InputError(f"pairs must be as many as texts, got {len(pairs)} and {len(texts)}")
    others: Sequence[str | None] = [None] * len(texts) if pairs is None else pairs
    return Examples(tuple(Example(text, other, None, number) for number, (text, other)
                          in enumerate(zip(texts, others, strict=True), start=1)), kind, path)


def check_labels(train: Examples, dev: Examples | None = None) -> tuple[str, ...]:
    """The labels (or tags) to learn, in order: those of `train`, two at least; `dev` may hold no other.

    Scores need not be among those of train, but they must differ.  For embed and span there is nothing to check.
    """
    if train.kind in ("embed", "span"):
        return ()
    if train.kind == "regress":
        low, high = train.range
        if not low < high:
            raise InputError(f"scores of {train.path} must differ to be learned, got {low:g} in all rows")
        return ()
    known = train.labels
    if len(known) < 2:
        raise InputError(f"labels of {train.path} must be at least two to be learned, got only "
                         f"{', '.join(map(repr, known)) or 'none'}; see that the right column was taken ({train.note})")
    for item in dev or ():
        own = item.tags or () if train.kind == "tag" else (item.label,)
        for label in own:
            if label is not None and label not in known:
                assert dev is not None
                raise InputError(f"{dev.path}, line {item.row:,}: label must be one that {train.path} has "
                                 f"({', '.join(map(repr, known))[:SHOWN]}), got {label!r}")
    return known
