"""Maximum likelihood: relative frequency, nothing for what was never seen. Shows why smoothing is needed.

    p(w | h) = c(h w) / c(h)        and 0 where c(h w) = 0; a history that was never seen is shortened
"""
from __future__ import annotations

import numpy as np

from polysemy.models.ngram.counting import Counts
from polysemy.models.ngram.estimates import Estimates
from polysemy.models.ngram.normalizing import history_totals


def maximum_likelihood(counts: Counts) -> Estimates:
    """Estimates of all orders."""
    words = counts.levels[0].count
    probabilities = [words / words.sum(dtype=np.int64)]
    backoffs = []
    for level in counts.levels[1:]:
        totals = history_totals(level)
        probabilities.append((level.count / level.of_histories(totals)).astype(np.float32))
        backoffs.append(np.where(totals > 0, 0.0, 1.0).astype(np.float32))
    return Estimates(probabilities, backoffs, threshold=[0] * counts.order)
