"""Uses of a word: found where they stand and nowhere else; vectors are those of the word, exactly 1 where they must be.
"""
from __future__ import annotations

import numpy as np
import pytest
from sense_world import Reader, Text, vectors
from small_encoder import encoder

from polysemy.errors import InputError
from polysemy.evaluation.occurrences import (
    LONGEST,
    Use,
    choose_layer,
    find_uses,
    pair_cosines,
    places,
    reads,
    use_in,
    use_vectors,
)


@pytest.mark.parametrize(("text", "word", "found"), [
    ("The bank, BANK's and banking; riverbank", "bank", [(4, 8), (10, 14)]),
    ("去银行，银行家说", "银行", [(1, 3), (4, 6)]),
    ("new  York and New York", "new york", [(0, 9), (14, 22)]),
    ("我用iPhone打字", "iphone", [(2, 8)]),
    ("nothing", "bank", []),
])
def test_a_word_is_found_between_its_borders_in_any_case(text: str, word: str, found: list[tuple[int, int]]) -> None:
    assert places(text, word) == found


def test_each_use_stands_in_its_sentence_and_equal_ones_once() -> None:
    texts = [Text("It rained. We sat on  the bank of it! Bank notes burn.", 0), Text("Bank notes burn.", 1),
             Text("No. Embankment.", 2)]
    uses, seen = find_uses(texts, "bank")
    assert sorted(use.text for use in uses) == ["Bank notes burn.", "We sat on the bank of it!"]
    assert seen == 3
    assert all(use.word.lower() == "bank" for use in uses)


def test_a_long_sentence_is_cut_around_the_word_and_chinese_needs_no_spaces() -> None:
    uses, _ = find_uses([Text("far " * 300 + "bank " + "off " * 300, 0)], "bank")
    assert uses[0].word == "bank"
    assert len(uses[0].text) <= LONGEST + 8
    assert uses[0].text.startswith("… far")
    assert uses[0].text.endswith("off …")
    assert find_uses([Text("他昨天去银行存钱。我没去。", 0)], "银行")[0] == [Use("他昨天去银行存钱。", 4, 6, 0)]


def test_a_sample_is_the_same_every_time_and_of_the_whole_corpus() -> None:
    texts = [Text(f"bank number {i}", i) for i in range(400)]
    uses, seen = find_uses(texts, "bank", 20, seed=1)
    assert seen == 400
    assert len(uses) == 20
    assert uses == find_uses(texts, "bank", 20, seed=1)[0] != find_uses(texts, "bank", 20, seed=2)[0]
    numbers = [use.document for use in uses]
    assert numbers == sorted(numbers)
    assert numbers[0] < 150
    assert numbers[-1] > 250


def test_vectors_are_means_over_the_pieces_of_the_word_in_every_layer() -> None:
    model, use = encoder(), Use("a kerbazo b", 2, 9)
    found = use_vectors(model, [use, Use("kerbazo", 0, 7), use])
    for layer, vectors_ in found.items():
        name = layer if layer == "mean" else int(layer)
        words = model.embed([use.text], layer=name, pooling="word")[0]
        np.testing.assert_allclose(vectors_[0], words[1], atol=1e-5)
        assert (vectors_[0] == vectors_[2]).all()
        assert layer == "0" or not np.array_equal(vectors_[0], vectors_[1])  # in context they differ


def test_a_use_far_into_a_long_text_is_read_in_a_window_around_it() -> None:
    model = encoder()
    text = "a b " * 200
    found = use_vectors(model, [Use(text + "kerbazo" + text, len(text), len(text) + 7)], ["2"])["2"]
    assert np.isfinite(found).all()
    assert found.any()


def test_static_vectors_are_alike_to_exactly_one_and_context_is_not() -> None:
    uses = [use_in("the bank of mud", "bank"), use_in("gold in the Bank", "bank")]
    cosines, others = pair_cosines(vectors(), uses, "static")
    assert (cosines == 1).all()
    assert others is not None
    assert abs(others) < 0.5
    assert reads(vectors()) == "word"
    assert reads(Reader()) == "both"
    assert pair_cosines(Reader(), uses, "0")[0][0, 1] == 1
    assert pair_cosines(Reader(), uses, "1")[0][0, 1] < 0.99


def test_a_model_that_reads_from_the_left_sees_no_difference_behind_the_word() -> None:
    from left_reader import gpt

    model = gpt()
    assert reads(model) == "left"
    uses = [use_in(text, "bank") for text in ("to the bank we go", "to the bank", "a bank")]
    for layer in ("0", "1", "2", "mean"):
        cosines, _ = pair_cosines(model, uses, layer)
        assert cosines[0, 1] == 1
    assert pair_cosines(model, uses, "2")[0][0, 2] < 1


@pytest.mark.parametrize(("layer", "name"), [(None, "2"), ("0", "0"), ("-1", "2"), ("mix", "mean"), ("mean", "mean")])
def test_a_layer_is_named_by_number_from_either_end(layer: str | None, name: str) -> None:
    assert choose_layer(encoder(), layer) == name


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"--layer must be 0\.\.2"):
        choose_layer(encoder(), "3")
    with pytest.raises(InputError, match="text must hold the word 'bank', got 'a banker'"):
        use_in("a banker", "bank")
    with pytest.raises(InputError, match="word must have a letter or digit"):
        use_in("a - b", " - ")
    with pytest.raises(InputError, match="word must be in the vocabulary"):
        use_vectors(vectors(), [use_in("a zebra", "zebra")])
    with pytest.raises(InputError, match="uses must be at least 1"):
        find_uses([], "bank", 0)
