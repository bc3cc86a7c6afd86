"""Averages, rollout, words: the arithmetic of attention maps, and names of pieces that can be read."""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from small_models import encoder, tokenizer

from polysemy.errors import InputError
from polysemy.models.attention_labels import labels
from polysemy.models.attention_maps import (
    AttentionMap,
    Span,
    attention_of,
    average,
    causal,
    check,
    choose,
    in_words,
    merge,
    rollout,
    strongest,
    unseen,
)
from polysemy.runtime import random_for

TEXT = "The unhappy bank 银行在河边鑫."


def some(layers: int = 3, heads: int = 2, t: int = 5, s: int | None = None, *, stairs: bool = False) -> np.ndarray:
    """Random rows that add up to 1."""
    scores = np.exp(random_for("maps", layers, heads, t).normal(size=(layers, heads, t, s or t)))
    if stairs:
        scores *= np.tril(np.ones((t, s or t)), (s or t) - t)
    return (scores / scores.sum(-1, keepdims=True)).astype(np.float32)


def named(weights: np.ndarray) -> AttentionMap:
    return AttentionMap([f"p{i}" for i in range(weights.shape[-2])], weights)


def test_rollout_is_the_product_over_layers_with_the_residual_as_half() -> None:
    weights = some()
    expected = np.eye(5)
    for layer in weights.astype(np.float64):
        mixed = 0.5 * layer.mean(0) + 0.5 * np.eye(5)
        expected = mixed @ expected
    np.testing.assert_allclose(rollout(weights), expected, atol=1e-6)


def test_rollout_follows_a_way_of_two_steps() -> None:
    """Layer 1: place 1 reads 0; layer 2: place 2 reads 1. So 2 has of 0 what no layer shows alone."""
    weights = np.tile(np.eye(3, dtype=np.float32), (2, 1, 1, 1))
    weights[0, 0, 1] = [1, 0, 0]
    weights[1, 0, 2] = [0, 1, 0]
    assert rollout(weights)[2].tolist() == [0.25, 0.25, 0.5]


def test_rows_of_rollout_averages_and_words_add_up_to_one() -> None:
    weights = some(stairs=True)
    spans = [Span("a", 0, 2), Span("b", 2, 3), Span("c", 3, 5)]
    for found in (rollout(weights), average(weights), merge(weights, spans, spans)):
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_a_row_that_may_look_at_nothing_keeps_itself_in_rollout() -> None:
    weights = some()
    weights[:, :, 4] = 0
    assert rollout(weights)[4].tolist() == [0, 0, 0, 0, 1]


def test_words_add_their_keys_and_average_their_queries() -> None:
    weights = some(1, 1, 4)
    found = merge(weights, [Span("ab", 0, 2), Span("cd", 2, 4)], [Span("a", 0, 1), Span("bcd", 1, 4)])[0, 0]
    plain = weights[0, 0]
    assert found.shape == (2, 2)
    assert found[0, 1] == pytest.approx((plain[0, 1:].sum() + plain[1, 1:].sum()) / 2)


def test_a_layer_and_a_head_are_chosen_from_one_and_from_the_end() -> None:
    found = named(some())
    np.testing.assert_array_equal(choose(found, 1, 2), found.weights[0, 1])
    np.testing.assert_array_equal(choose(found, "-1", "1"), found.weights[2, 0])
    np.testing.assert_allclose(choose(found, "mean", 2), found.weights[:, 1].mean(0))
    np.testing.assert_allclose(choose(found), found.weights.mean((0, 1)), atol=1e-6)
    np.testing.assert_array_equal(choose(found, "rollout"), rollout(found.weights))


@pytest.mark.parametrize(("layer", "head", "message"), [
    (0, "mean", "layer must be 1 to 3, mean or rollout, got 0"), (4, "mean", "layer must be 1 to 3"),
    ("last", "mean", "layer must be a number, mean or rollout, got 'last'"), (1, -3, "head must be 1 to 2, mean"),
    ("rollout", 1, "head must be mean with layer rollout"),
])
def test_a_choice_outside_the_model_is_one_line(layer: int | str, head: int | str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(named(some()), layer, head)


def test_rollout_needs_pieces_that_look_at_one_another() -> None:
    found = AttentionMap(["a", "b"], some(1, 1, 2, 3), ["x", "y", "z"])
    with pytest.raises(InputError, match="layer must be a number or mean, got rollout"):
        choose(found, "rollout")
    with pytest.raises(InputError, match="weights must be square for rollout, got 2 queries and 3 keys"):
        rollout(found.weights)
    assert choose(found, 1, 1).shape == (2, 3)


def test_weights_must_fit_the_pieces_and_be_shares() -> None:
    with pytest.raises(InputError, match=r"weights must have shape \(layers, heads, 4, 4\)"):
        check(AttentionMap(list("abcd"), some()))
    with pytest.raises(InputError, match="weights must be numbers in 0"):
        check(named(10 * some()))


def test_the_stairs_of_a_causal_map_are_seen() -> None:
    assert causal(some(stairs=True))
    assert causal(some(2, 2, 3, 7, stairs=True))  # four pieces of a memory before
    assert not causal(some())
    assert unseen(some(stairs=True)).sum() == 10


def test_the_strongest_keys_come_first_and_masked_ones_never() -> None:
    found = strongest(np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.4, 0.2, 0.4]], np.float32), 2)
    assert [[index for index, _ in row] for row in found] == [[1, 2], [0], [0, 2]]


def test_a_model_without_attention_and_an_empty_text_are_one_line() -> None:
    with pytest.raises(InputError, match="model must have attention, got rnn, which has none"):
        attention_of(SimpleNamespace(config=SimpleNamespace(recipe="rnn")), "text")
    empty = SimpleNamespace(config=SimpleNamespace(recipe="lstm"),
                            attention=lambda text: AttentionMap(["a"], np.zeros((0, 0, 1, 1))))
    with pytest.raises(InputError, match="got lstm, which has none"):
        attention_of(empty, "text")
    for text, pair in ((" \n", None), ("text", "")):
        with pytest.raises(InputError, match="must hold at least one word"):
            attention_of(encoder(), text, pair)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "bytebpe"])
def test_pieces_of_a_word_are_found_in_every_tokenizer(kind: str) -> None:
    pieces = ["[CLS]", *tokenizer(kind).pieces(tokenizer(kind).encode(TEXT).ids), "[SEP]"]
    found = labels(pieces, tokenizer(kind), [TEXT])
    assert [span.start for span in found.words] == [0, *[span.stop for span in found.words[:-1]]]
    assert found.words[-1].stop == len(pieces) == len(found.pieces)
    assert found.marks == [0, len(pieces) - 1]
    texts = [span.text for span in found.words]
    assert texts[1:4] == ["The", "unhappy", "bank"]
    assert texts[-3:-1] == ["鑫", "."]  # also where its three bytes are three pieces
    assert "".join(texts[4:-2]) == "银行在河边鑫"


def test_bytes_of_one_character_are_numbered_and_spaces_seen() -> None:
    pieces = tokenizer("bytebpe").pieces(tokenizer("bytebpe").encode(TEXT).ids)
    found = labels(pieces, tokenizer("bytebpe"), [TEXT]).pieces
    assert [piece for piece in found if piece.startswith("鑫")] == ["鑫 1/3", "鑫 2/3", "鑫 3/3"]
    assert "Ġ" not in "".join(found)


def test_both_texts_of_a_pair_are_labelled() -> None:
    model = encoder()
    found = attention_of(model, "the bank", "the river")
    named = labels(found.pieces, model.tokenizer, ["the bank", "the river"])
    assert [named.pieces[mark] for mark in named.marks] == ["[CLS]", "[SEP]", "[SEP]"]
    words = in_words(found, named.words)
    assert words.pieces[:3] == ["[CLS]", "the", "bank"]
    np.testing.assert_allclose(words.weights.sum(-1), 1, atol=1e-5)


def test_a_text_that_was_cut_keeps_the_names_of_the_vocabulary() -> None:
    found = labels(["[CLS]", "the"], tokenizer(), ["the bank"])
    assert found.pieces == ["[CLS]", "the"]
    assert found.marks == []
