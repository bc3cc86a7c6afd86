"""One-hot vectors against a table of vectors: no similarity in the one, a lookup in the other.

A one-hot vector has a place for every word of the vocabulary: any two words are at cosine 0 and distance sqrt(2), and a
layer behind it has a row for each place. Multiplying it by a table Q picks out a row, so nobody multiplies: the lookup
is the product. The gradient of that row alone is not zero (Bengio et al. 2003, section 2).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.runtime import random_for

WORDS = ("bank", "river", "money", "green")
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def one_hot(words: Sequence[str] = WORDS, size: int = 50) -> dict[str, Any]:
    """What the demonstration measures, as plain values; deterministic.

    cosines, distances: of every pair of different one-hot vectors; lookup_error: largest difference between one-hot
    times table and the table's row; rows_touched: words with a gradient after a step on the first two words;
    costs: bytes of one word's vector and numbers of the table, by size of the vocabulary.
    """
    words = list(dict.fromkeys(words))
    if len(words) < 3:
        raise InputError(f"words must be at least 3 different ones, got {len(words)}")
    if size < 1:
        raise InputError(f"size must be at least 1, got {size}")
    vectors = np.eye(len(words))
    table = random_for("one hot").normal(size=(len(words), size))
    pairs = [(i, j) for i in range(len(words)) for j in range(i + 1, len(words))]
    chosen = vectors[:2]
    gradient = chosen.T @ (2 * (chosen @ table))  # of sum((one-hot times table) squared), by the chain rule
    return {
        "words": words,
        "cosines": [float(vectors[i] @ vectors[j]) for i, j in pairs],
        "distances": [float(np.linalg.norm(vectors[i] - vectors[j])) for i, j in pairs],
        "lookup_error": float(np.abs(vectors @ table - table[np.arange(len(words))]).max()),
        "rows_touched": [word for word, row in zip(words, gradient, strict=True) if row.any()],
        "costs": [{"vocabulary": count, "one_hot_numbers": count, "vector_numbers": size,
                   "table_numbers": count * size} for count in SIZES],
    }


def told(found: dict[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """(sentences, rows of the table of costs) for people."""
    low = max(found["cosines"])
    first, second = found["words"][:2]
    lines = [
        f"{len(found['words'])} words as one-hot vectors: every pair has cosine {low:g} and distance "
        f"{found['distances'][0]:.4f}, so {first} is as far from {second} as from any other word",
        f"one-hot times table equals the table's row: largest difference {found['lookup_error']:g}",
        f"a step on {first} and {second} gives a gradient to the rows of {', '.join(found['rows_touched'])} alone",
    ]
    rows = [(f"{cost['vocabulary']:,}", f"{cost['one_hot_numbers']:,}", f"{cost['vector_numbers']:,}",
             f"{cost['table_numbers']:,}") for cost in found["costs"]]
    return lines, rows
