"""Batches of text pairs for learning sentence vectors: batch t is a pure function of (examples, seed, t)."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polysemy.errors import InputError
from polysemy.runtime import random_for

COLUMNS = 3
"""first text, second text, hard negative"""


@dataclass(frozen=True, eq=False)
class SentenceBatch:
    """n pairs as rows: the first texts, then the second ones, then the hard negatives that there are."""

    ids: np.ndarray
    """int64 (m, t), padded on the right"""
    positions: np.ndarray
    """int64 (m, t): the column"""
    segments: np.ndarray
    """int64 (m, t)"""
    documents: np.ndarray
    """int64 (m, t): 0, or -1 at padding"""
    visible: np.ndarray
    """bool (m, t): False at padding"""
    texts: np.ndarray
    """int64 (m,): which text a row is; equal texts have equal numbers"""
    scores: np.ndarray
    """float32 (n,): how alike the pair is, 0..1; all 1 where the data does not say"""
    rows: np.ndarray
    """int64 (m,): keys of the rows' dropout: every place of an example has its own, even where the text is the same"""

    @property
    def num_pairs(self) -> int:
        return len(self.scores)

    @property
    def num_tokens(self) -> int:
        """Columns that are not padding."""
        return int(self.visible.sum())

    def part(self, rows: Sequence[int]) -> SentenceBatch:
        """The batch itself: the loss of a pair depends on all others, so it cannot be cut."""
        if len(rows) != len(self.ids):
            raise InputError(f"a batch of pairs must be learned from whole, got {len(rows)} of its {len(self.ids)} "
                             "texts; use chunk_size instead of micro batches, and a single process")
        return self


class SentenceBatches:
    """Batches for ever: every example once an epoch, in an order that (seed, epoch) decide."""

    def __init__(self, rows: Sequence[tuple[np.ndarray, np.ndarray]], examples: np.ndarray,
                 scores: np.ndarray | None = None, *, batch_size: int = 64, seed: int = 0, pad_id: int = 0) -> None:
        """
        rows      ids and segments of every distinct text
        examples  int64 (n, 3): numbers of the first text, the second and the hard negative, -1 where there is none
        scores    float (n,) in 0..1
        """
        if not len(examples):
            raise InputError("examples must be at least one pair of texts, got none")
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        self.rows, self.examples, self.seed, self.pad_id = rows, examples, seed, pad_id
        self.scores = np.ones(len(examples), np.float32) if scores is None else np.asarray(scores, np.float32)
        self.batch_size = min(batch_size, len(examples))
        self._order = functools.lru_cache(2)(self._permutation)

    def _permutation(self, epoch: int) -> np.ndarray:
        return random_for("sentence pairs", self.seed, epoch).permutation(len(self.examples))

    def rows_per_epoch(self, epoch: int) -> int:
        """Pairs read in an epoch: all."""
        return len(self.examples)

    def __getitem__(self, t: int) -> SentenceBatch:
        places = np.arange(t * self.batch_size, (t + 1) * self.batch_size)
        epochs = places // len(self.examples)
        order = np.concatenate([self._order(int(epoch))[places[epochs == epoch] % len(self.examples)]
                                for epoch in np.unique(epochs)])
        chosen = self.examples[order].T  # (3, n)
        numbers = np.arange(COLUMNS)[:, None] + order[None] * COLUMNS
        real = chosen >= 0
        texts, keys = chosen[real], numbers[real]
        lengths = [len(self.rows[i][0]) for i in texts]
        shape = (len(texts), max(1, *lengths))
        ids, segments = np.full(shape, self.pad_id, np.int64), np.zeros(shape, np.int64)
        for line, (i, n) in enumerate(zip(texts, lengths, strict=True)):
            ids[line, :n], segments[line, :n] = self.rows[i]
        visible = np.arange(shape[1]) < np.asarray(lengths)[:, None]
        positions = np.where(visible, np.arange(shape[1]), 0)
        return SentenceBatch(ids=ids, positions=positions, segments=segments, documents=visible.astype(np.int64) - 1,
                             visible=visible, texts=texts.astype(np.int64), scores=self.scores[order],
                             rows=keys.astype(np.int64))
