"""Senses by layer: a model that shows its context is right, one that shows the word alone says the commonest sense."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.evaluation.contextual_senses import judge_layers, occurrence_vectors
from polysemy.evaluation.static_senses import Occurrence


class Neighbors:
    """Layer 0 is the word alone, layer 1 the word before it; a vector has a place for each word."""

    words = ("the", "river", "money", "bank", "banks", "old")

    def embed(self, texts: Sequence[str], *, layer: int | str, pooling: str) -> list[np.ndarray]:
        assert pooling == "word"
        found = []
        for text in texts:
            places = [self.words.index(word) for word in text.replace("-", " ").split()]
            places = places if layer == 0 else [0, *places[:-1]]
            found.append(np.eye(len(self.words), dtype=np.float32)[places])
        return found


def occurrence(*tokens: str, sense: str) -> Occurrence:
    index = next(i for i, token in enumerate(tokens) if token.startswith("bank"))
    return Occurrence("bank", sense, index, tokens)


TRAIN = [occurrence("the", "river", "bank", "the", sense="edge"), occurrence("river", "bank", sense="edge"),
         occurrence("old", "money", "bank", sense="house")]
TEST = [occurrence("the", "the", "money", "bank", sense="house"), occurrence("river", "bank", "old", sense="edge")]


def test_the_layer_with_the_context_is_right_and_the_word_alone_is_the_most_frequent_sense() -> None:
    found = judge_layers(Neighbors(), [0, 1], TRAIN, TEST)
    assert found["1"] == {"accuracy": 1.0, "macro_f1": 1.0}
    assert found["0"] == found["most_frequent"] == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    assert found["words"]["bank"]["senses"] == 2


def test_the_vector_is_that_of_the_occurrence_however_words_are_cut() -> None:
    items = [Occurrence("bank", "edge", 1, ("the-old-river", "banks", "money")),
             Occurrence("bank", "edge", 3, ("bank", "bank", "the", "bank"))]
    assert occurrence_vectors(Neighbors(), items, 0).argmax(1).tolist() == [4, 3]
    assert occurrence_vectors(Neighbors(), items, 1).argmax(1).tolist() == [1, 0]


def test_there_must_be_something_to_ask() -> None:
    with pytest.raises(InputError, match="test occurrences must be of words that training has, got none"):
        judge_layers(Neighbors(), [0], TRAIN, [Occurrence("line", "a", 0, ("line",))])
