"""The map of a rung's words: seeds that differ, neighbors as the model gives them, the same picture each time."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from polysemy.ladder.word_map import NEAR, SEEDS, word_map
from polysemy.models.word_vectors import WordVectors
from polysemy.report.plots import word_map as draw


def world(groups: int = 8, members: int = 7) -> tuple[WordVectors, Any]:
    """Groups of words around centers, and questions that ask for all of them."""
    random = np.random.default_rng(0)
    words = [f"word{chr(97 + group)}{chr(97 + member)}" for group in range(groups) for member in range(members)]
    centers = np.repeat(np.eye(groups, 16), members, 0)
    vectors = (centers + 0.1 * random.normal(size=centers.shape)).astype(np.float32)
    questions = [SimpleNamespace(candidates=(word,), gold=0, band=1) for word in words]
    return WordVectors(words, vectors), SimpleNamespace(test=questions, bands=("1-100", "101-1,000"), hash="abc")


def test_each_seed_comes_with_the_words_of_its_group() -> None:
    vectors, items = world()
    found = word_map(vectors, items)
    assert found is not None
    assert len(found["seeds"]) == SEEDS
    assert len({seed["word"][4] for seed in found["seeds"]}) == SEEDS, "seeds are of different groups"
    for seed in found["seeds"]:
        assert len(seed["near"]) == NEAR
        assert {one["word"][4] for one in seed["near"]} == {seed["word"][4]}
    assert {point["word"] for point in found["points"]} >= {seed["word"] for seed in found["seeds"]}
    assert word_map(vectors, items) == found


def test_a_model_without_word_vectors_has_no_map() -> None:
    assert word_map(object(), world()[1]) is None


def test_the_picture_names_every_word() -> None:
    vectors, items = world()
    found = word_map(vectors, items)
    assert found is not None
    figure = draw(found)
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert {point["word"] for point in found["points"]} <= shown
