"""Cosine search in a table of word vectors, on plain arrays; the table may be memory-mapped and is never copied whole.

A zero vector has cosine 0 with everything. Equal scores stand in the order of their index, so results do not depend on
how the machine sorts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK_ROWS = 1 << 16
"""Rows worked on at a time: what bounds the memory of a pass over a mapped table."""
TINY = np.float32(1e-3)
"""The epsilon of 3CosMul (Levy and Goldberg 2014)."""


def norms_of(vectors: np.ndarray) -> np.ndarray:
    """float32 (rows,): Euclidean lengths; 1 for a zero row, so that dividing by it leaves the row zero."""
    norms = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = np.asarray(vectors[start : start + BLOCK_ROWS], np.float32)
        norms[start : start + len(block)] = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
    norms[norms == 0] = 1
    return norms


def normalized(vectors: np.ndarray) -> np.ndarray:
    """A float32 copy with rows of length 1 (zero rows stay zero); a single vector comes back as one."""
    rows = np.atleast_2d(np.asarray(vectors, np.float32))
    return (rows / norms_of(rows)[:, None]).reshape(np.shape(vectors))


def cosines(vectors: np.ndarray, norms: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """float32 (queries, rows): cosine of each query, of any length, with each row whose length is in `norms`."""
    units = np.ascontiguousarray(normalized(np.atleast_2d(queries)))
    result = np.empty((len(units), len(vectors)), np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS]
        stop = start + len(block)
        np.matmul(units, np.asarray(block).T, out=result[:, start:stop])
        result[:, start:stop] /= norms[start:stop]
    return result


def best(scores: np.ndarray, count: int, excluded: Sequence[int] = ()) -> np.ndarray:
    """int64: indices of the `count` largest scores, falling, ties by index, without the excluded ones."""
    if len(excluded):
        scores = scores.copy()
        scores[np.asarray(excluded, np.int64)] = -np.inf
        count = min(count, len(scores) - len(set(excluded)))
    count = min(count, len(scores))
    if count <= 0:
        return np.zeros(0, np.int64)
    limit = np.partition(scores, len(scores) - count)[len(scores) - count]
    found = np.flatnonzero(scores >= limit)
    return found[np.argsort(-scores[found], kind="stable")][:count]


def add_scores(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """3CosAdd: the sum of cosines with the positive minus that with the negative words, (rows,)."""
    return positive.sum(0) - negative.sum(0)


def mul_scores(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """3CosMul: the product of (1 + cosine) / 2 over the positive, divided by that over the negative words, (rows,)."""
    return ((1 + positive) / 2).prod(0) / ((1 + negative) / 2 + TINY).prod(0)
