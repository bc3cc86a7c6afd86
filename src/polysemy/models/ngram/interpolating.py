"""Stage 5, interpolation: the discounted share of each n-gram, plus what its history hands to the shorter one.

    p(w | h) = (a(h w) - D) / total(h) + gamma(h) p(w | h')        p(w) = (a(w) - D) / total + gamma / V

V counts `<unk>` and `</s>`. A pruned n-gram keeps the second summand only.
"""
from __future__ import annotations

import numpy as np
from numba import njit

from polysemy.models.ngram.counting import Allocate, Level, in_memory
from polysemy.models.ngram.sorting import BLOCK


def unigram_probabilities(adjusted: np.ndarray, discounts: np.ndarray) -> np.ndarray:
    """float64 (V,): of every id, the boundary standing for `</s>`; sums to 1."""
    taken = discounts[np.minimum(adjusted, 3)]
    total = float(adjusted.sum(dtype=np.int64))
    return (adjusted - taken) / total + taken.sum() / total / len(adjusted)


@njit(nogil=True, cache=True)
def interpolate_block(adjusted, count, context, suffix, first, last, threshold, discounts, sums, lower, out):
    for i in range(first, last):
        a = adjusted[i]
        c = context[i]
        own = 0.0 if count[i] <= threshold else (a - discounts[min(a, 3)]) / sums[c, 0]
        out[i] = own + sums[c, 1] * lower[suffix[i]]


def interpolate(level: Level, adjusted: np.ndarray, sums: np.ndarray, discounts: np.ndarray, lower: np.ndarray, *,
                threshold: int = 0, allocate: Allocate = in_memory) -> np.ndarray:
    """float32 (n,): probabilities of one order from those of the order below, `lower`.

    sums  as `history_sums` gave them
    """
    out = allocate(f"probabilities{level.order}", adjusted.shape, np.float32)[: len(adjusted)]
    for first in range(0, len(adjusted), BLOCK):
        last = min(first + BLOCK, len(adjusted))
        interpolate_block(adjusted, level.count, level.context, level.suffix, first, last, threshold, discounts, sums,
                          lower, out)
    return out
