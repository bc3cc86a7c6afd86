"""Perplexity and bits per byte of models with known probabilities."""
from __future__ import annotations

import json
from math import inf, log, nan

import pytest

from polysemy.capability import Score
from polysemy.errors import InputError
from polysemy.evaluation.perplexity import perplexity


class Uniform:
    """Every word one of `size`, every token a word; a text's bytes are its length."""

    def __init__(self, size: int = 50, *, pseudo: bool = False) -> None:
        self.size, self.pseudo = size, pseudo

    def score(self, text: str) -> Score:
        tokens = len(text.split())
        return Score(log_probability=-tokens * log(self.size), tokens=tokens, words=tokens, bytes=len(text),
                     pseudo=self.pseudo)


def test_a_uniform_model_is_as_perplexed_as_its_vocabulary_is_large() -> None:
    found = perplexity(Uniform(50), ["a bc def", "gh"])
    assert found["perplexity"] == found["word_perplexity"] == pytest.approx(50)
    assert found["bits_per_byte"] == pytest.approx(4 * log(50, 2) / 10)
    assert (found["tokens"], found["words"], found["bytes"], found["texts"]) == (4, 4, 10, 2)
    assert found["log_probability"] == pytest.approx(-4 * log(50))


def test_long_texts_weigh_by_their_tokens() -> None:
    class Two:
        def score(self, text: str) -> Score:
            size = 3 if text == "long" else 1
            return Score(log_probability=-size * (1.0 if text == "long" else 4.0), tokens=size, words=size, bytes=8)

    assert perplexity(Two(), ["long", "s"])["perplexity"] == pytest.approx(2.718281828 ** (7 / 4))


def test_pseudo_numbers_have_other_names_and_a_note() -> None:
    found = perplexity(Uniform(50, pseudo=True), ["a bc def"])
    assert "perplexity" not in found
    assert found["pseudo_perplexity"] == pytest.approx(50)
    assert found["bits_per_byte"] is None
    assert "both sides" in found["note"]
    assert found["pseudo_bits_per_byte"] == pytest.approx(3 * log(50, 2) / 8)


def test_texts_without_tokens_are_left_out() -> None:
    assert perplexity(Uniform(), ["", "a b", "  "])["texts"] == 1
    with pytest.raises(InputError, match="texts must hold tokens"):
        perplexity(Uniform(), ["", " "])
    with pytest.raises(InputError, match="texts must hold tokens"):
        perplexity(Uniform(), [])


@pytest.mark.parametrize("value", [-inf, -1e6])
def test_numbers_too_large_are_none_in_json(value: float) -> None:
    class Broken:
        def score(self, text: str) -> Score:
            return Score(log_probability=value, tokens=1, words=1, bytes=1)

    found = perplexity(Broken(), ["a"])
    assert found["perplexity"] is None
    json.dumps(found, allow_nan=False)


def test_nan_is_refused() -> None:
    class Broken:
        def score(self, text: str) -> Score:
            return Score(log_probability=nan, tokens=1, words=1, bytes=1)

    with pytest.raises(InputError, match="scores must be numbers"):
        perplexity(Broken(), ["a"])


def test_progress_counts_the_texts() -> None:
    calls: list[tuple[int, int]] = []
    perplexity(Uniform(), ["a", "b"], progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
