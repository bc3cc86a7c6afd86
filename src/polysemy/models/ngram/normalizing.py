"""Stage 4, per history: the sum of its adjusted counts, and the probability that its discounts set free.

    total(h) = sum over w of a(h w)      gamma(h) = (D1 N1(h) + D2 N2(h) + D3+ N3+(h) + pruned(h)) / total(h)

Pruned n-grams count in the total; all of their count goes to gamma, as in KenLM.
"""
from __future__ import annotations

import numpy as np
from numba import njit

from polysemy.models.ngram.counting import Allocate, Level, in_memory
from polysemy.models.ngram.sorting import BLOCK


@njit(nogil=True, cache=True)
def add_up(adjusted, count, context, first, last, threshold, discounts, sums):
    """Add n-grams first..last-1 to their histories' rows of `sums`: (total, freed count)."""
    for i in range(first, last):
        a = adjusted[i]
        c = context[i]
        sums[c, 0] += a
        sums[c, 1] += a if count[i] <= threshold else discounts[min(a, 3)]


def history_sums(level: Level, adjusted: np.ndarray, histories: int, discounts: np.ndarray, threshold: int = 0,
                 allocate: Allocate = in_memory) -> np.ndarray:
    """float64 (histories, 2): total(h) and gamma(h) of each n-gram one word shorter than this level's.

    A history that nothing follows has total 0 and gamma 1: it hands everything on to the shorter one.

    discounts  (4,) as `Discounts.table`
    threshold  n-grams that occur at most so often are pruned
    """
    sums = allocate(f"sums{level.order}", (histories, 2), np.float64)[:histories]
    sums[:] = 0
    for first in range(0, len(adjusted), BLOCK):
        last = min(first + BLOCK, len(adjusted))
        add_up(adjusted, level.count, level.context, first, last, threshold, discounts, sums)
    followed = sums[:, 0] > 0
    np.divide(sums[:, 1], sums[:, 0], out=sums[:, 1], where=followed)
    sums[~followed, 1] = 1.0
    return sums
