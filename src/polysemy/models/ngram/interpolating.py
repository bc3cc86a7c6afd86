"""Stage 5, interpolation: the discounted share of each n-gram, plus what its history hands to the shorter one.

    p(w | h) = (a(h w) - D) / total(h) + gamma(h) p(w | h')        gamma(h) = freed(h) / total(h)
    p(w) = (a(w) - D) / total + gamma / V

V counts `<unk>` and `</s>`. A pruned n-gram keeps the second summand only. A history that nothing follows hands
everything on: gamma = 1.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from polysemy.machine_code import compiled, prefetch
from polysemy.models.ngram.counting import Level
from polysemy.models.ngram.normalizing import add_up
from polysemy.models.ngram.sorting import BLOCK

AHEAD = 48
"""n-grams before it is needed, the shorter one's probability is asked for"""


def unigram_probabilities(adjusted: np.ndarray, discounts: np.ndarray) -> np.ndarray:
    """float64 (V,): of every id, the boundary standing for `</s>`; sums to 1."""
    taken = discounts[np.minimum(adjusted, 3)]
    total = float(adjusted.sum(dtype=np.int64))
    return (adjusted - taken) / total + taken.sum() / total / len(adjusted)


@compiled
def interpolate_block(adjusted, count, suffix, first, from_history, to_history, threshold, discounts, lower, out,
                      backoffs):
    base, stride, end = np.uint64(lower.ctypes.data), np.uint64(lower.itemsize), first[to_history]
    for h in range(from_history, to_history):
        low, high = first[h], first[h + 1]
        if low == high:
            backoffs[h] = 1.0
            continue
        total, freed = add_up(adjusted, count, low, high, threshold, discounts)
        gamma = freed / total
        backoffs[h] = gamma
        for i in range(low, high):
            prefetch(base + np.uint64(suffix[min(i + AHEAD, end - 1)]) * stride)
            own = 0.0 if count[i] <= threshold else adjusted[i] - discounts[min(adjusted[i], 3)]
            out[i] = own / total + gamma * lower[suffix[i]]


def interpolate(level: Level, adjusted: np.ndarray, discounts: np.ndarray, lower: np.ndarray, shorter: np.ndarray, *,
                threshold: int = 0, check: Callable[[], None] = lambda: None) -> tuple[np.ndarray, np.ndarray]:
    """float32 (n,), probabilities of one order from those of the order below, `lower`; float32 (m,), gamma of these.

    Both are written over what is not needed any more: the level's `suffix`, and `shorter`.

    discounts  (4,) as `Discounts.table`
    shorter    adjusted counts of the order below, used up
    threshold  n-grams that occur at most so often are pruned
    """
    out, backoffs = level.suffix.view(np.float32), shorter.view(np.float32)
    for part in history_blocks(level.first):
        check()
        interpolate_block(adjusted, level.count, level.suffix, level.first, *part, threshold, discounts, lower, out,
                          backoffs)
    return out, backoffs


def history_blocks(first: np.ndarray, most: int = BLOCK) -> list[tuple[int, int]]:
    """Ranges of histories that cover all, each with about `most` n-grams that continue them, or as many histories."""
    edges = [0]
    while edges[-1] < len(first) - 1:
        begin = edges[-1]
        end = int(np.searchsorted(first, int(first[begin]) + most, side="right")) - 1
        edges.append(min(max(begin + 1, end), begin + most, len(first) - 1))
    return list(itertools.pairwise(edges))
