"""What the vectors of a rung say of some words: their nearest neighbors, and a flat map of all of them."""
from __future__ import annotations

from typing import Any

import numpy as np

from polysemy.evaluation.cloze_items import ClozeSet
from polysemy.runtime import random_for

SEEDS, NEAR, DRAWN = 6, 5, 3
"""words of a map, neighbors told of each, and those that are drawn"""
APART = 0.5
"""words of one map are less alike than this cosine"""
AMONG = 20_000
"""neighbors come from so many of the most frequent words"""


def word_map(model: Any, items: ClozeSet) -> dict[str, Any] | None:
    """{seeds: [{word, near: [{word, cosine}]}], points: [{word, x, y, seed}]}; None for a model without word vectors.

    Seeds are words asked for in the questions, of middling frequency, drawn by the questions' hash; coordinates are the
    first two principal components of the unit vectors of seeds and neighbors.  Deterministic.
    """
    if not hasattr(model, "most_similar"):
        return None
    seeds = _seeds(model, items)
    if len(seeds) < 2:
        return None
    found = [{"word": seed, "near": [{"word": word, "cosine": float(cosine)} for word, cosine in
                                     model.most_similar([seed], topn=NEAR, restrict_vocab=AMONG)]} for seed in seeds]
    owners: dict[str, int] = {}
    for number, seed in enumerate(found):
        for word in (seed["word"], *(one["word"] for one in seed["near"][:DRAWN])):
            owners.setdefault(word, number)
    places = _flat(np.stack([_unit(model[word]) for word in owners]))
    return {"seeds": found, "points": [{"word": word, "x": float(x), "y": float(y), "seed": owner}
                                       for (word, owner), (x, y) in zip(owners.items(), places, strict=True)]}


def _seeds(model: Any, items: ClozeSet) -> list[str]:
    """Words of the second band where there is one, each unlike those before."""
    band = min(1, len(items.bands) - 1)
    words = sorted({question.candidates[question.gold].lower() for question in items.test if question.band == band})
    words = [word for word in words if word in model and (len(word) > 3 or not word.isascii())]
    chosen: list[str] = []
    for number in random_for("word map", items.hash).permutation(len(words)).tolist():
        vector = _unit(model[words[number]])
        if all(float(vector @ _unit(model[other])) < APART for other in chosen):
            chosen.append(words[number])
        if len(chosen) == SEEDS:
            break
    return chosen


def _unit(vector: Any) -> np.ndarray:
    array = np.asarray(vector, np.float64)
    return array / max(float(np.linalg.norm(array)), 1e-12)


def _flat(vectors: np.ndarray) -> np.ndarray:
    """(n, 2) principal components, each with the sign that makes its largest entry positive."""
    _, _, axes = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    places = (vectors - vectors.mean(0)) @ axes[:2].T
    signs = np.sign(places[np.abs(places).argmax(0), np.arange(places.shape[1])])
    return places * np.where(signs == 0, 1, signs)
