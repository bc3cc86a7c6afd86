"""Ratios of co-occurrence probabilities, from counts and from vectors."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.models.glove.config import GloveConfig
from polysemy.models.glove.counting import count_pairs
from polysemy.models.glove.model import GloveModel
from polysemy.models.glove.ratios import cooccurrence_ratios
from polysemy.models.glove.training import PlainTables
from polysemy.runtime import random_for
from polysemy.text.vocabulary import Vocabulary, WordConfig

WORDS = ["ice", "steam", "solid", "gas", "water", "fashion"]
MEETS = {"ice": (6, 1, 5, 1), "steam": (1, 6, 5, 1)}


def test_vectors_tell_ice_from_steam_as_counts_do():
    random = random_for("ice and steam")
    lines = []
    for _ in range(4000):
        word = random.choice(["ice", "steam"])
        chances = np.array(MEETS[word]) / sum(MEETS[word])
        lines.append([WORDS.index(word), 2 + random.choice(4, p=chances), -1])
    tokens = np.array(lines, np.int32).ravel()
    counts = count_pairs(tokens, len(WORDS), window=2)
    tables = PlainTables(len(WORDS), 8, 1)
    passes = tables.passes(counts, 1.0, 0.75, 0.1, 1, 1, lambda part: False)
    for _ in range(500):
        next(passes)
    totals = np.array([counts.row(word).sum() for word in range(len(WORDS))], np.float32)
    vocabulary = Vocabulary(WORDS, np.bincount(tokens[tokens >= 0]), WordConfig(min_count=1), 8000)
    model = GloveModel(GloveConfig(size=8), vocabulary, tables.tensors() | {"totals": totals})
    found = {row["probe"]: row for row in cooccurrence_ratios(model, counts, "ice", "steam", WORDS[2:])}
    assert found["solid"]["counted_ratio"] == pytest.approx(6, rel=0.3)
    assert found["gas"]["counted_ratio"] == pytest.approx(1 / 6, rel=0.3)
    assert found["water"]["counted_ratio"] == pytest.approx(1, rel=0.2)
    for row in found.values():
        assert row["learned_ratio"] == pytest.approx(row["counted_ratio"], rel=0.05)
        assert row["counted"][0] == pytest.approx(row["learned"][0], rel=0.05)
    assert cooccurrence_ratios(model, counts, "ice", "steam", ["ice"])[0]["counted_ratio"] is None
    with pytest.raises(InputError, match="word must be in the vocabulary, got 'icy'"):
        cooccurrence_ratios(model, counts, "icy", "steam", ["gas"])
