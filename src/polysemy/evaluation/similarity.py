"""Word similarity: do the cosines of pairs of words stand in the order in which people find them alike?

Spearman's correlation with its 95 % interval (Fisher's z with the variance of Bonett and Wright 2000, which holds for
ranks). Pairs with an unknown word are left out, and how many were answered is always told; beside it stands the
correlation with those pairs at the mean cosine, which does not reward a model for knowing few words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.models.vector_questions import Pair, correlations, read_pairs, similarities
from polysemy.models.word_vectors import WordVectors

BANDS = ((0, 2_000), (2_000, 10_000), (10_000, 50_000), (50_000, None))
"""Ranks of the rarer word of a pair: what bands of frequency are."""
LEVEL = 1.959964
"""standard deviations of a 95 % interval"""


def judge_pairs(
    vectors: WordVectors, pairs: Path | Sequence[Pair], *, restrict_vocab: int | None = None
) -> dict[str, Any]:
    """Plain values of one similarity set; correlations are None where they are not defined.

    spearman, interval [low, high], pearson: of the pairs with both words known (`answered` of `total`);
    spearman_all: with the unknown pairs at the mean cosine; bands: `judge_bands`.
    """
    asked = read_pairs(pairs) if isinstance(pairs, Path) else list(pairs)
    found, known = similarities(vectors, asked, restrict_vocab=restrict_vocab)
    pearson, spearman = correlations(*found[known].T)
    filled = np.where(known, found[:, 0], found[known, 0].mean() if known.any() else 0.0)
    return {
        "answered": int(known.sum()),
        "total": len(asked),
        "spearman": plain(spearman[0]),
        "interval": interval(spearman[0], int(known.sum())),
        "pearson": plain(pearson[0]),
        "spearman_all": plain(correlations(filled, found[:, 1])[1][0]),
        "bands": judge_bands(vectors, asked, found, known),
    }


def judge_bands(
    vectors: WordVectors, pairs: Sequence[Pair], found: np.ndarray, known: np.ndarray
) -> list[dict[str, Any]]:
    """Spearman's correlation by the frequency rank of the rarer word of each answered pair; no band is left out."""
    ranks = np.array([max(_rank(vectors, a), _rank(vectors, b)) for a, b, _ in pairs])
    rows = []
    for first, stop in BANDS:
        inside = known & (ranks >= first) & (ranks < (math.inf if stop is None else stop))
        rho = correlations(*found[inside].T)[1][0]
        rows.append({
            "from_rank": first, "to_rank": stop, "answered": int(inside.sum()), "spearman": plain(rho),
            "interval": interval(rho, int(inside.sum())),
        })
    return rows


def interval(rho: float, count: int) -> list[float] | None:
    """[low, high] that holds Spearman's correlation of `count` pairs 95 times in 100; None below 5 pairs."""
    if count < 5 or not math.isfinite(rho):
        return None
    z, half = math.atanh(max(-0.999999, min(0.999999, rho))), LEVEL * math.sqrt((1 + rho * rho / 2) / (count - 3))
    return [math.tanh(z - half), math.tanh(z + half)]


def plain(value: float) -> float | None:
    """A number for JSON: NaN is None."""
    return float(value) if math.isfinite(value) else None


def _rank(vectors: WordVectors, word: str) -> int:
    """The word's place in the vocabulary; beyond the last for one known by its subwords."""
    index = vectors.key_to_index.get(word, vectors.key_to_index.get(word.lower()))
    return len(vectors) if index is None else index
