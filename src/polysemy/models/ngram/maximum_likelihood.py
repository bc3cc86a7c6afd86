"""Maximum likelihood: relative frequency, nothing for what was never seen. Shows why smoothing is needed.

    p(w | h) = c(h w) / c(h)        and 0 where c(h w) = 0; a history that was never seen is shortened
"""
from __future__ import annotations

import numpy as np

from polysemy.models.ngram.counting import Counts, Level
from polysemy.models.ngram.estimates import Estimates
from polysemy.models.ngram.normalizing import history_sums


def maximum_likelihood(counts: Counts) -> Estimates:
    """Estimates of all orders."""
    probabilities = [counts.unigrams / counts.unigrams.sum(dtype=np.int64)]
    backoffs = []
    for level, histories in zip(counts.levels, counts.sizes(), strict=False):
        totals = history_totals(level, histories)
        probabilities.append((level.count / totals[level.context]).astype(np.float32))
        backoffs.append(np.where(totals > 0, 0.0, 1.0).astype(np.float32))
    return Estimates(probabilities, backoffs, threshold=[0] * counts.order)


def history_totals(level: Level, histories: int) -> np.ndarray:
    """float64 (histories,): how often each history was followed by anything."""
    return history_sums(level, level.count, histories, np.zeros(4))[:, 0].copy()
