"""Examples of a task as rows of a model: which tokens, which columns the head reads, what it should say there.

`task_rows` asks the reader (a `TextModel`) for four things: `encode(texts)`, `row(first_ids, second_ids)`,
`specials(pair)` and `length`.  All rows lie in a few flat arrays, so that 67,000 sentences take seconds and little
memory.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polysemy.errors import InputError
from polysemy.text.row_form import Parts, RowForm, cut_pairs
from polysemy.text.rows import ranges
from polysemy.text.task_encoding import Encoded, as_running, blank_id, pad_id, room_of, unknown_id
from polysemy.text.task_windows import SpanWindows, TagWindows, span_windows, tag_windows

if TYPE_CHECKING:
    from polysemy.text.examples import Examples

PLACES = ("first", "last", "all")
UNKNOWN = -1
"""the target of an example without a label"""


@dataclass(frozen=True)
class TaskRow:
    """One row as it is shown to the model."""

    ids: np.ndarray
    segments: np.ndarray
    at: np.ndarray
    """columns that the head reads"""
    targets: np.ndarray
    """a label, a value, a label for each column of `at`, or the columns (start, end)"""
    example: int
    """index into the examples"""


@dataclass(frozen=True, kw_only=True)
class TaskRows:
    """The rows of all examples in flat arrays; row i has ids[splits[i] : splits[i + 1]]."""

    kind: str
    """classify, regress, tag or span"""
    ids: np.ndarray
    segments: np.ndarray
    splits: np.ndarray
    at: np.ndarray
    """int32 columns that the head reads; row i has at[at_splits[i] : at_splits[i + 1]]"""
    at_splits: np.ndarray
    targets: np.ndarray
    """int64 (n,), float32 (n,), int64 like `at` (tag) or int64 (n, 2) (span)"""
    examples: np.ndarray
    """int64 (n,): the example of each row; windows of one example follow each other"""
    pad_id: int
    windows: SpanWindows | TagWindows | None = None
    """where the rows of one question or sentence lie in it"""
    cut: int = 0
    """examples that were longer than the model and lost their end"""
    warning: str = ""
    """one line about what was cut, or nothing"""

    def __len__(self) -> int:
        return len(self.splits) - 1

    def __getitem__(self, i: int) -> TaskRow:
        if not -len(self) <= i < len(self):
            raise IndexError(f"rows are numbered 0 to {len(self) - 1}, got {i}")
        i %= len(self)
        own, at = slice(*self.splits[i:i + 2].tolist()), slice(*self.at_splits[i:i + 2].tolist())
        targets = self.targets[at] if self.kind == "tag" else self.targets[i]
        return TaskRow(self.ids[own], self.segments[own], self.at[at], targets, int(self.examples[i]))

    @property
    def lengths(self) -> np.ndarray:
        """Columns of each row, int64 (n,)."""
        return np.diff(self.splits)


def kind_of(task: Any) -> str:
    """classify, regress, tag or span: the name of the task's class in small letters."""
    return type(task).__name__.lower()


def task_rows(examples: Examples, reader: Any, task: Any, *, place: str | None = None,
              length: int | None = None) -> TaskRows:
    """The rows of examples for a task (`models.tasks`).

    classify, regress  a text, or a pair whose longer text is cut at its end; at: one column, the `first` ([CLS]), the
                       `last`, or `all`; by default the first for a reader of both sides, else the last
    tag                the given words, each encoded by itself; at: the first piece of each; a long sentence in windows
    span               question and context; a long context in windows (see `task_windows.span_windows`)

    `length` (at most that of the reader) counts columns.  What did not fit is counted in `warning`.  A label that the
    task does not have is an InputError with file and row.
    """
    kind = kind_of(task)
    if place is None:
        place = "first" if getattr(reader, "two_sided", True) else "last"
    if place not in PLACES:
        raise InputError(f"place must be {' | '.join(PLACES)}, got {place!r}")
    most: int = reader.length
    length = most if length is None else min(length, most)
    if kind == "tag":
        return _tag_rows(examples, reader, task, length)
    if kind == "span":
        return _span_rows(examples, reader, task, length)
    return _text_rows(examples, reader, task, length, place)


def _text_rows(examples: Examples, reader: Any, task: Any, length: int, place: str) -> TaskRows:
    pair = bool(task.pair)
    form = RowForm.of(reader, pair)
    room = room_of(length, form, 2 if pair else 1)
    n = len(examples)
    if pair:
        encoded = Encoded(reader, [example.text for example in examples] + [_second(examples, i) for i in range(n)],
                          blank_id(reader, form))
        both = (slice(n), slice(n, 2 * n))
        lengths = cut_pairs(encoded.lengths[:n], encoded.lengths[n:], room)
        laid = form.lay_out([encoded.parts(some, size) for some, size in zip(both, lengths, strict=True)])
        cut = int((encoded.lengths[:n] + encoded.lengths[n:] > room).sum())
    else:
        encoded = Encoded(reader, [example.text for example in examples], blank_id(reader, form))
        laid = form.lay_out([encoded.parts(slice(n), np.minimum(encoded.lengths, room))])
        cut = int((encoded.lengths > room).sum())
    at, at_splits = _places(laid.splits, place)
    return TaskRows(
        kind=kind_of(task), ids=laid.ids, segments=laid.segments, splits=laid.splits, at=at, at_splits=at_splits,
        targets=_targets(examples, task), examples=np.arange(n), pad_id=pad_id(reader), cut=cut,
        warning=_cut_warning(examples, cut, n, length, "pairs" if pair else "texts"))


def _tag_rows(examples: Examples, reader: Any, task: Any, length: int) -> TaskRows:
    form = RowForm.of(reader, False)
    room = room_of(length, form, 1)
    words = [as_running(word) for example in examples for word in example.words]
    encoded = Encoded(reader, words, unknown_id(reader))
    counts = np.array([len(example.words) for example in examples], np.int64)
    lengths = np.minimum(encoded.lengths, room)
    found = tag_windows(lengths, counts, room)
    pieces = encoded.flat[ranges(encoded.starts, encoded.starts + lengths)[0]]
    laid = form.lay_out([Parts(pieces, found.begins, found.counts)])
    at = found.first_piece + np.repeat(laid.columns[0], np.diff(found.at_splits))
    numbers = _numbers(task.labels)
    flat = [UNKNOWN if tags is None else _number(numbers, tags[i], examples, example.row)
            for example in examples for tags in [example.tags] for i in range(len(example.words))]
    return TaskRows(
        kind="tag", ids=laid.ids, segments=laid.segments, splits=laid.splits, at=at.astype(np.int32),
        at_splits=found.at_splits, targets=np.array(flat, np.int64)[found.flat_words], examples=found.examples,
        pad_id=pad_id(reader), windows=found,
        warning=_window_warning(examples, found.examples, len(examples), length, "sentences"))


def _span_rows(examples: Examples, reader: Any, task: Any, length: int) -> TaskRows:
    form = RowForm.of(reader, True)
    room = room_of(length, form, 2)
    questions = Encoded(reader, [example.question for example in examples], blank_id(reader, form))
    contexts = Encoded(reader, [example.context for example in examples], unknown_id(reader))
    found = span_windows(examples, questions.lengths, [contexts.encodings[i] for i in contexts.numbers], room,
                         task.stride, task.question)
    own = found.examples
    parts = [Parts(questions.flat, questions.starts[own], found.queries[own]),
             Parts(contexts.flat, contexts.starts[own] + found.first_tokens, found.counts)]
    laid = form.lay_out(parts)
    found = replace(found, columns=laid.columns[1])
    at, at_splits = _places(laid.splits, "all")
    targets = np.where(found.inside[:, None], found.answer_tokens + laid.columns[1][:, None], 0)
    return TaskRows(
        kind="span", ids=laid.ids, segments=laid.segments, splits=laid.splits, at=at, at_splits=at_splits,
        targets=targets, examples=own, pad_id=pad_id(reader), windows=found,
        warning=_window_warning(examples, own, len(examples), length, "contexts"))


def _places(splits: np.ndarray, place: str) -> tuple[np.ndarray, np.ndarray]:
    """The columns of each row that sum it up."""
    lengths = np.diff(splits)
    if place == "all":
        return (np.arange(splits[-1]) - np.repeat(splits[:-1], lengths)).astype(np.int32), splits
    at = np.zeros(len(lengths), np.int32) if place == "first" else (lengths - 1).astype(np.int32)
    return at, np.arange(len(lengths) + 1)


def _targets(examples: Examples, task: Any) -> np.ndarray:
    if kind_of(task) == "regress":
        _check_scores(examples, task)
        return np.array([np.nan if example.label is None else example.label for example in examples], np.float32)
    numbers = _numbers(task.labels)
    return np.array([UNKNOWN if example.label is None else _number(numbers, example.label, examples, example.row)
                     for example in examples], np.int64)


def _check_scores(examples: Examples, task: Any) -> None:
    low = -np.inf if task.low is None else task.low
    high = np.inf if task.high is None else task.high
    for example in examples:
        if example.label is not None and not low <= example.label <= high:
            raise InputError(f"{examples.path}, line {example.row:,}: score must be {low:g} to {high:g}, "
                             f"got {example.label:g}")


def _numbers(labels: Sequence[str]) -> dict[str, int]:
    return {label: number for number, label in enumerate(labels)}


def _number(numbers: dict[str, int], label: str, examples: Examples, row: int) -> int:
    number = numbers.get(label)
    if number is None:
        raise InputError(f"{examples.path}, line {row:,}: label must be one of those learned "
                         f"({', '.join(map(repr, numbers))[:200]}), got {label!r}")
    return number


def _second(examples: Examples, i: int) -> str:
    text = examples[i].pair
    if text is None:
        raise InputError(f"{examples.path}, line {examples[i].row:,}: example must have two texts, got one")
    return text


def _cut_warning(examples: Examples, cut: int, n: int, length: int, what: str) -> str:
    if not cut:
        return ""
    return f"{examples.path}: {cut:,} of {n:,} {what} are longer than {length} tokens and lost their end"


def _window_warning(examples: Examples, owners: np.ndarray, n: int, length: int, what: str) -> str:
    many = int((np.bincount(owners, minlength=n) > 1).sum())
    if not many:
        return ""
    return f"{examples.path}: {many:,} of {n:,} {what} are longer than {length} tokens and are read in windows"
