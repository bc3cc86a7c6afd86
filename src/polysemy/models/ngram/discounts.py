"""Stage 3, discounts: how much is taken off counts of 1, 2, and 3 or more (Chen and Goodman 1998, equation 26).

Y = n1 / (n1 + 2 n2) and D_i = i - (i + 1) Y n_{i+1} / n_i, with n_i the number of n-grams whose adjusted count is i.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysemy.machine_code import compiled
from polysemy.models.ngram.sorting import BLOCK

FALLBACK = (0.75, 1.0, 1.5)
"""Discounts of an order whose counts of counts say nothing: some n_i is 0, or D_i falls outside 0..i."""
KENLM_FALLBACK = (0.5, 1.0, 1.5)
"""What lmplz takes then, with its option --discount_fallback."""


@dataclass(frozen=True)
class Discounts:
    """D_1, D_2, D_3+ of one order; `estimated` is False where the fall-back had to be taken."""

    values: tuple[float, float, float]
    estimated: bool = True

    def table(self) -> np.ndarray:
        """float64 (4,): what is taken off a count of 0, 1, 2, 3 or more."""
        return np.array([0.0, *self.values])


def count_of_counts(adjusted: np.ndarray) -> np.ndarray:
    """int64 (5,): how many n-grams have an adjusted count of 0, 1, 2, 3, 4."""
    result = np.zeros(5, np.int64)
    for first in range(0, len(adjusted), BLOCK):
        count_small(adjusted[first : first + BLOCK], result)
    return result


@compiled
def count_small(adjusted, result):
    """Add to result[i] how often i stands in `adjusted`."""
    for i in range(len(result)):
        many = 0
        for value in adjusted:
            many += value == i
        result[i] += many


def discounts_from(n: np.ndarray, fallback: tuple[float, float, float] = FALLBACK) -> Discounts:
    """Discounts of one order from its counts of counts, n[i] n-grams with adjusted count i, i = 1..4."""
    n1, n2, n3, n4 = (float(x) for x in n[1:5])
    if not (n1 and n2 and n3):
        return Discounts(fallback, estimated=False)
    y = n1 / (n1 + 2 * n2)
    values = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    if not all(0 <= value <= most for most, value in enumerate(values, 1)):
        return Discounts(fallback, estimated=False)
    return Discounts(values)
