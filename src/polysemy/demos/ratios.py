"""Ratios of co-occurrence probabilities: what GloVe's vectors are made to express (Pennington et al. 2014, section 3).

A probe word that goes with `first` but not with `second` has a large ratio P(probe | first) / P(probe | second), one
that goes with both or neither a ratio near 1. A trained GloVe gives log X_ij = w_i . c_j + b_i + b_j, so the ratio can
be read from its vectors, and is smoothed where the counts are few.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import polysemy
from polysemy.errors import InputError


def ratios(folder: str | Path, first: str, second: str, probes: Sequence[str]) -> list[dict[str, Any]]:
    """A row a probe: word, P(probe | first), P(probe | second) and their ratio, as a trained GloVe has them."""
    model = polysemy.load(folder)
    if not hasattr(model, "log_counts"):
        raise InputError(f"model must be a GloVe, got {folder}; train one with polysemy train glove")
    numbers = {}
    for word in (first, second, *probes):
        number = model.vocabulary.find(word)
        if number < 0:
            raise InputError(f"word must be in the vocabulary, got {word!r}")
        numbers[word] = number
    rows = [numbers[first], numbers[second]]
    logs = model.log_counts(rows, [numbers[probe] for probe in probes])
    chances = np.exp(logs) / model.totals[rows].astype(np.float64)[:, None]
    return [{"word": probe, "first": float(a), "second": float(b), "ratio": float(a / b)}
            for probe, a, b in zip(probes, *chances, strict=True)]
