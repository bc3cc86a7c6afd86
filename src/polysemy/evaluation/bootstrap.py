"""How far a score could be off: intervals by drawing the documents anew, many times, with replacement.

Questions of one document hang together, so documents are drawn, not questions. Two models are compared on the same
draws: what is hard for both cancels out.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from polysemy.runtime import random_for

SAMPLES = 2_000


def band_mean(values: np.ndarray, bands: np.ndarray) -> float:
    """Mean over the bands of the mean within each: every band weighs the same."""
    return float(np.mean([values[bands == band].mean() for band in np.unique(bands)]))


def resampled(values: np.ndarray, bands: np.ndarray, documents: np.ndarray, *, seed: int = 0,
              samples: int = SAMPLES) -> np.ndarray:
    """float64 (samples, columns): the band mean of each column under `samples` draws of the documents.

    values: (items,) or (items, columns). The same documents and seed give the same draws, whatever the values. A band
    that a draw leaves empty drops out of that draw's mean.
    """
    values = values.reshape(len(values), -1)
    names, document = np.unique(documents, return_inverse=True)
    levels, band = np.unique(bands, return_inverse=True)
    cell = document * len(levels) + band
    counts = np.bincount(cell, minlength=len(names) * len(levels)).reshape(len(names), len(levels))
    sums = np.stack([np.bincount(cell, weights=column, minlength=counts.size) for column in values.T], axis=-1)
    sums = sums.reshape(len(names), -1)
    random = random_for(seed, "bootstrap", len(names))
    totals = np.empty((samples, len(levels)))
    drawn_sums = np.empty((samples, sums.shape[1]))
    for sample in range(samples):
        times = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names)).astype(np.float64)
        totals[sample], drawn_sums[sample] = times @ counts, times @ sums
    means = drawn_sums.reshape(samples, len(levels), -1) / np.maximum(totals, 1)[:, :, None]
    present = totals > 0
    return (means * present[:, :, None]).sum(axis=1) / present.sum(axis=1)[:, None]


def interval(draws: np.ndarray, level: float = 0.95) -> list[float]:
    """[low, high] that holds the middle `level` of the draws."""
    tail = (1 - level) / 2
    return [float(np.quantile(draws, tail)), float(np.quantile(draws, 1 - tail))]


def compare_values(first: np.ndarray, second: np.ndarray, bands: np.ndarray, documents: np.ndarray, *,
                   seed: int = 0, level: float = 0.95) -> dict[str, Any]:
    """Paired difference first - second of the band means, its interval, and a verdict.

    verdict: "tie" where the interval holds 0, else "higher" or "lower" as the first one is.
    """
    difference = first - second
    low, high = interval(resampled(difference, bands, documents, seed=seed)[:, 0], level)
    verdict = "tie" if low <= 0 <= high else "higher" if low > 0 else "lower"
    return {"difference": band_mean(difference, bands), "interval": [low, high], "verdict": verdict, "level": level}
