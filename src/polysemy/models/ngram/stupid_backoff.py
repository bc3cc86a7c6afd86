"""Stupid back-off (Brants et al. 2007): relative frequency, else 0.4 times that after the shorter history.

    S(w | h) = c(h w) / c(h) if c(h w) > 0 else 0.4 S(w | h')

These are scores: they do not sum to 1. A word that was never seen gets 0.4 of the share of one occurrence (ours; the
paper has no unknown words).
"""
from __future__ import annotations

import numpy as np

from polysemy.models.ngram.counting import Counts
from polysemy.models.ngram.estimates import Estimates
from polysemy.models.ngram.maximum_likelihood import maximum_likelihood

FACTOR = 0.4


def stupid_backoff(counts: Counts) -> Estimates:
    """Scores of all orders."""
    estimates = maximum_likelihood(counts)
    words = counts.levels[0].count
    estimates.probabilities[0] = np.maximum(words, FACTOR) / int(words.sum(dtype=np.int64))
    estimates.backoffs = [np.full(histories, FACTOR, np.float32) for histories in counts.sizes()[:-1]]
    estimates.missing = FACTOR
    return estimates
