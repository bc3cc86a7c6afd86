"""Stage 2, adjusted counts: below the highest order an n-gram counts by how many different words precede it.

N1+(. g) = |{w : c(w g) > 0}|. An n-gram that begins with `<s>` has nothing before it and keeps its count, as in KenLM.
"""
from __future__ import annotations

import numpy as np
from numba import njit

from polysemy.models.ngram.counting import Allocate, Counts, in_memory
from polysemy.models.ngram.stream import BOUNDARY


@njit(nogil=True, cache=True)
def count_left_neighbors(suffix, adjusted):
    """Add 1 for each n-gram to what it is without its leftmost word."""
    for i in range(len(suffix)):
        adjusted[suffix[i]] += 1


def adjust(counts: Counts, allocate: Allocate = in_memory) -> list[np.ndarray]:
    """Adjusted counts of each order from 1, int32; the highest order's are its counts themselves."""
    result = []
    raw = [counts.unigrams, *(level.count for level in counts.levels)]
    for k, level in enumerate(counts.levels):
        adjusted = allocate(f"adjusted{k}", raw[k].shape, np.int32)
        adjusted[:] = 0
        count_left_neighbors(level.suffix, adjusted)
        if k:
            opening = counts.levels[k - 1].left == BOUNDARY
            adjusted[opening] = raw[k][opening]
        result.append(adjusted)
    return [*result, raw[-1]]
