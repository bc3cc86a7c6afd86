"""Stage 4, per history: the sum of its adjusted counts, and the count that its discounts set free.

    total(h) = sum over w of a(h w)      freed(h) = D1 N1(h) + D2 N2(h) + D3+ N3+(h) + pruned(h)

Pruned n-grams count in the total; all of their count is freed, as in KenLM.
"""
from __future__ import annotations

import numpy as np

from polysemy.machine_code import compiled
from polysemy.models.ngram.counting import Level


@compiled
def add_up(adjusted, count, low, high, threshold, discounts):
    """(total, freed) of the history that n-grams low..high-1 continue."""
    total, freed = 0, 0.0
    for i in range(low, high):
        total += adjusted[i]
        freed += adjusted[i] if count[i] <= threshold else discounts[min(adjusted[i], 3)]
    return total, freed


def history_totals(level: Level) -> np.ndarray:
    """int64: how often each n-gram of the level below was followed by anything."""
    sums = np.zeros(len(level.count) + 1, np.int64)
    np.cumsum(level.count, out=sums[1:])
    return sums[level.first[1:]] - sums[level.first[:-1]]
