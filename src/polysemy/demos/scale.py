"""Why scores are divided by the root of their width: without it the softmax saturates and its gradient dies.

Entries of queries and keys have variance 1, so a score, a sum of k products, has variance k. At k = 1,024 the largest
of 64 scores is some 70 above the mean and takes all: the derivative of the softmax, diag(p) - p p^T, goes to 0 (Vaswani
et al. 2017, section 3.2.1). T5 has no division and begins with queries smaller by the root of k: the same scores at the
start, other steps afterwards.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.runtime import random_for

WIDTHS = (4, 16, 64, 256, 1024)
WAYS = ("scaled", "unscaled", "unscaled, T5's weights")
KEYS = 64


def scale(widths: Sequence[int] = WIDTHS, *, keys: int = KEYS, seed: int = 0) -> dict[str, Any]:
    """What the demonstration measures, as plain values: {way: {measure: value at each width}}.

    deviation   standard deviation of the scores
    entropy     of a row of weights, as a share of ln(keys): 1 looks at all alike, 0 at one alone
    largest     the largest weight of a row
    gradient    Frobenius norm of the derivative of a row of weights in its scores, of the middle row
    The others are means over rows; one head of the given width, inputs of the same width with variance 1.
    """
    if not widths or min(widths) < 1 or keys < 2:
        raise InputError(f"widths must be at least 1 and keys at least 2, got {list(widths)} and {keys}")
    found: dict[str, Any] = {way: {} for way in WAYS}
    for way in WAYS:
        all_scores = [_scores(way, width, keys, seed) for width in widths]
        measures = [measure(softmax(scores), scores) for scores in all_scores]
        found[way] = {name: [one[name] for one in measures] for name in measures[0]}
    return {"widths": list(widths), "keys": keys, "ways": found}


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def measure(weights: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Deviation of the scores; entropy, largest weight and gradient norm of the rows of weights; see `scale`."""
    squares, cubes = (weights**2).sum(-1), (weights**3).sum(-1)
    entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(-1)
    return {
        "deviation": float(scores.std()),
        "entropy": float(entropy.mean() / math.log(weights.shape[-1])),
        "largest": float(weights.max(-1).mean()),
        # |diag(p) - p p^T|^2 = sum p^2 - 2 sum p^3 + (sum p^2)^2
        "gradient": float(np.median(np.sqrt(np.maximum(squares - 2 * cubes + squares**2, 0)))),
    }


def _scores(way: str, width: int, keys: int, seed: int) -> np.ndarray:
    """Two rows of inputs, projected: (keys, keys) scores of queries against keys."""
    random = random_for(seed, "demo scale", width)
    inputs = random.normal(size=(2, keys, width))
    query, key = random.normal(size=(2, width, width)) * width**-0.5
    if way == "unscaled, T5's weights":
        query *= width**-0.5  # deviation (d k)^-1/2 instead of d^-1/2
    scores = (inputs[0] @ query) @ (inputs[1] @ key).T
    return scores * width**-0.5 if way == "scaled" else scores


def told(found: dict[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """(sentences, rows: way, width, deviation of scores, entropy, largest weight, gradient) for people."""
    rows = [
        (way, f"{width:,}", f"{one['deviation'][i]:.1f}", f"{one['entropy'][i]:.2f}",
         f"{100 * one['largest'][i]:.0f} %", f"{one['gradient'][i]:.1e}")
        for way, one in found["ways"].items() for i, width in enumerate(found["widths"])
    ]
    first, last = found["widths"][0], found["widths"][-1]
    plain, scaled = found["ways"]["unscaled"], found["ways"]["scaled"]
    lines = [
        f"from width {first} to {last:,} the entropy of a row goes from {plain['entropy'][0]:.2f} to "
        f"{plain['entropy'][-1]:.2f} of ln {found['keys']} unscaled, from {scaled['entropy'][0]:.2f} to "
        f"{scaled['entropy'][-1]:.2f} scaled",
        f"at width {last:,} the gradient through the softmax is {scaled['gradient'][-1] / plain['gradient'][-1]:.0f} "
        "times larger scaled than unscaled; T5's weights do as scaled ones, at the start",
    ]
    return lines, rows
