"""Frequent words are dropped at random before windows are formed, so that windows reach over them.

Two formulas go by the same name. With f a word's share of the text and t the setting `subsample`:
- paper (Mikolov et al. 2013b, equation 5): a word is kept with probability sqrt(t / f);
- code (word2vec.c, and gensim and fastText after it): sqrt(t / f) + t / f, which drops nothing until f > 2.618 t.
"""
from __future__ import annotations

import numpy as np

from polysemy.errors import InputError

FORMULAS = ("code", "paper")


def keep_probabilities(counts: np.ndarray, subsample: float, formula: str = "code") -> np.ndarray:
    """float64 (words,): the probability with which each word is kept, at most 1; all 1 where subsample is 0."""
    if formula not in FORMULAS:
        raise InputError(f"subsample_formula must be one of {', '.join(FORMULAS)}, got {formula!r}")
    if subsample <= 0:
        return np.ones(len(counts))
    ratio = subsample * counts.sum() / np.maximum(counts, 1)
    return np.minimum(np.sqrt(ratio) + (ratio if formula == "code" else 0.0), 1.0)
