"""Batches of a task: `batches[t]` is a pure function of (rows, batch size, seed, t), like those of pretraining.

An epoch shows every row once.  Rows of like length share a batch: the rows of an epoch are shuffled, cut into blocks of
some batches, sorted by length within a block, and the batches of all blocks are shuffled again (`text.task_order`).  So
a batch holds little padding, and what it holds and when it comes stays random.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polysemy.errors import InputError
from polysemy.text.rows import ranges
from polysemy.text.task_order import epoch_order
from polysemy.text.task_rows import TaskRows

EPOCHS_KEPT = 3


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """b rows of t columns, padded on the right; flat places count row * t + column and ascend.

    `at`, `targets` and `weights` by kind:
    classify, regress  at: the place of each row that sums it up (the first, the last, or all of them: see task_rows);
                       targets: int64 label or float32 value, (b,)
    tag                at: the first piece of each word; targets: int64 label, one a place
    span               at: all columns that are no padding; targets: int64 (b, 2), columns of the first and the last
                       piece of the answer, 0 and 0 where it does not lie in the row
    Unknown targets are -1 (NaN for values).
    """

    ids: np.ndarray
    """int64 (b, t)"""
    positions: np.ndarray
    """int64 (b, t): 0, 1, 2 ..."""
    segments: np.ndarray
    """int64 (b, t): 1 in the second text of a pair where the model tells them apart, else 0"""
    documents: np.ndarray
    """int64 (b, t): the number of the row, -1 at padding"""
    visible: np.ndarray
    """bool (b, t): documents >= 0"""
    at: np.ndarray
    """int64 (p,): flat places that the head reads"""
    targets: np.ndarray
    weights: np.ndarray
    """float32, one for each target: 1 where it counts, 0 in a part that stands in for none"""
    rows: np.ndarray
    """int64 (b,): global numbers, which key the dropout; no two rows of a run have the same"""
    examples: np.ndarray
    """int64 (b,): the example that each row was made of"""
    sources: np.ndarray
    """int64 (b,): the number of each row in the TaskRows"""
    kind: str = "classify"

    @property
    def num_tokens(self) -> int:
        """Columns that are not padding."""
        return int(self.visible.sum())

    @property
    def by_place(self) -> bool:
        """Whether targets and weights go with places (tag) or with rows."""
        return self.kind == "tag"

    def part(self, rows: Sequence[int] | np.ndarray | range) -> TaskBatch:
        """Some rows in the given order, as narrow as they allow; without rows the first one, at weight 0."""
        chosen = np.asarray(rows, np.int64).reshape(-1)
        empty = not len(chosen)
        if empty:
            chosen = np.zeros(1, np.int64)
        length = self.ids.shape[1]
        bounds = np.searchsorted(self.at, np.arange(len(self.ids) + 1) * length)
        places, splits = ranges(bounds[chosen], bounds[chosen + 1])
        width = int(self.visible[chosen].sum(1).max())
        line = np.repeat(np.arange(len(chosen)), np.diff(splits))
        wanted = places if self.by_place else chosen
        weights = self.weights[wanted]
        documents = self.documents[chosen, :width]
        return TaskBatch(
            **{name: getattr(self, name)[chosen, :width] for name in ("ids", "positions", "segments", "visible")},
            documents=np.where(documents < 0, -1, np.arange(len(chosen))[:, None]),
            at=self.at[places] % length + line * width, targets=self.targets[wanted],
            weights=np.zeros_like(weights) if empty else weights,
            **{name: getattr(self, name)[chosen] for name in ("rows", "examples", "sources")}, kind=self.kind)


def collate(rows: TaskRows, numbers: np.ndarray, keys: np.ndarray) -> TaskBatch:
    """The rows of these numbers as one batch; `keys` are their global numbers."""
    numbers = np.asarray(numbers, np.int64)
    lengths = rows.lengths[numbers]
    width, count = int(lengths.max()), len(numbers)
    visible = np.arange(width) < lengths[:, None]
    source, _ = ranges(rows.splits[numbers], rows.splits[numbers + 1])
    ids, segments = np.full((count, width), rows.pad_id, np.int64), np.zeros((count, width), np.int64)
    ids[visible], segments[visible] = rows.ids[source], rows.segments[source]
    places, splits = ranges(rows.at_splits[numbers], rows.at_splits[numbers + 1])
    line = np.repeat(np.arange(count), np.diff(splits))
    targets = rows.targets[places if rows.kind == "tag" else numbers]
    return TaskBatch(
        ids=ids, positions=np.where(visible, np.arange(width), 0), segments=segments,
        documents=np.where(visible, np.arange(count)[:, None], -1), visible=visible,
        at=rows.at[places].astype(np.int64) + line * width, targets=targets,
        weights=np.ones(len(targets), np.float32), rows=np.asarray(keys, np.int64), examples=rows.examples[numbers],
        sources=numbers, kind=rows.kind)


class TaskBatches:
    """All batches of a fine-tuning run by number, in any order, for any t >= 0 (below `len` where `epochs` is given).

    Rows run on from epoch to epoch: batch t holds the global rows t * batch_size ... (t + 1) * batch_size - 1, and
    epoch e the global rows e * n ... (e + 1) * n - 1, each of the n rows once.  With `epochs` the last batch is
    smaller.
    """

    def __init__(self, rows: TaskRows, batch_size: int, seed: int, epochs: int | None = None) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        if not len(rows):
            raise InputError("examples must be at least one, got none")
        self.rows, self.batch_size, self.seed, self.epochs = rows, batch_size, seed, epochs
        self._orders: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        if self.epochs is None:
            raise TypeError("batches without epochs have no end")
        return self.num_batches(self.epochs)

    def __iter__(self) -> Iterator[TaskBatch]:
        return (self[t] for t in range(len(self)))

    def __getitem__(self, t: int) -> TaskBatch:
        if t < 0 or (self.epochs is not None and t >= len(self)):
            raise IndexError(f"batches are numbered from 0 to their end, got {t}")
        start, n = t * self.batch_size, len(self.rows)
        stop = start + self.batch_size if self.epochs is None else min(start + self.batch_size, self.epochs * n)
        numbers = np.arange(start, stop)
        rows = np.concatenate([self.order(epoch)[numbers[numbers // n == epoch] % n]
                               for epoch in range(start // n, (stop - 1) // n + 1)])
        return collate(self.rows, rows, numbers)

    def rows_per_epoch(self, epoch: int) -> int:
        """Rows in an epoch; all epochs have as many."""
        return len(self.rows)

    def num_batches(self, epochs: int) -> int:
        """Batches that show everything so many times; the last one may run into the next epoch."""
        return -(-epochs * len(self.rows) // self.batch_size)

    def epoch_of(self, t: int) -> int:
        """The epoch of the first row of batch t, from 0."""
        return t * self.batch_size // len(self.rows)

    def order(self, epoch: int) -> np.ndarray:
        """The rows of an epoch in the order they are shown; the last few are kept in memory."""
        if epoch not in self._orders:
            self._orders[epoch] = epoch_order(self.rows.lengths, self.batch_size, self.seed, epoch)
            while len(self._orders) > EPOCHS_KEPT:
                self._orders.popitem(last=False)
        return self._orders[epoch]


def in_order_of_length(rows: TaskRows, tokens: int = 8192) -> Iterator[TaskBatch]:
    """Every row once, in batches of like length, longest first, of at most so many columns (at least one row).

    For evaluation and prediction; `sources` says which rows a batch holds.
    """
    order = np.argsort(-rows.lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, tokens // int(rows.lengths[order[start]]))
        numbers = order[start:start + count]
        yield collate(rows, numbers, numbers)
        start += count


