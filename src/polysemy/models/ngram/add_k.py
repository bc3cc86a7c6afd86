"""Add-k (Lidstone; k = 1 is Laplace): every word is counted k times more often than it was seen after every history.

    p(w | h) = (c(h w) + k) / (c(h) + k V)        1 / V after a history that was never seen

Shorter histories are never asked. V counts `<unk>` and `</s>`.
"""
from __future__ import annotations

import numpy as np

from polysemy.models.ngram.counting import Counts
from polysemy.models.ngram.estimates import Estimates
from polysemy.models.ngram.normalizing import history_totals


def add_k(counts: Counts, k: float) -> Estimates:
    """Estimates of all orders; of order j are used where only j - 1 words stand before, at the start of a sentence."""
    words = counts.levels[0].count
    size = len(words)
    probabilities = [(words + k) / (words.sum(dtype=np.int64) + k * size)]
    backoffs = []
    for level in counts.levels[1:]:
        totals = history_totals(level) + k * size
        probabilities.append(((level.count + k) / level.of_histories(totals)).astype(np.float32))
        backoffs.append((k / totals).astype(np.float32))
    return Estimates(probabilities, backoffs, missing=1 / size, absolute=True, threshold=[0] * counts.order)
