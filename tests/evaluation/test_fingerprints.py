"""Words as numbers: equal words and only they have equal ones, wherever they stand."""
from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from polysemy.evaluation.fingerprints import counted, distinct, read_blocks, uniform, words_of
from polysemy.text.words import word_spans

TEXT = "The cat, the CAT and the dog's bed -- don't!\n银行在河边。 Ärger ärger naïve 1998 1998"


def test_equal_words_have_equal_numbers_wherever_they_stand() -> None:
    spellings = [TEXT[start:stop] for start, stop in word_spans(TEXT)]
    numbers = words_of(TEXT).numbers().tolist()
    assert len(set(spellings)) == len(set(numbers)) == len(set(zip(spellings, numbers, strict=True)))
    shifted = words_of("x" * 1000 + " " + TEXT).numbers().tolist()
    assert shifted[1:] == numbers


def test_folding_takes_capitals_as_small_letters() -> None:
    spellings = [TEXT[start:stop].lower() for start, stop in word_spans(TEXT)]
    numbers = words_of(TEXT).numbers(folded=True).tolist()
    assert len(set(spellings)) == len(set(numbers)) == len(set(zip(spellings, numbers, strict=True)))


def test_punctuation_counts_as_words_only_on_request() -> None:
    text = "Oh -- no, (yes)!"
    words = words_of(text, punctuation=True)
    found = [text[start:stop] for start, stop in zip(words.starts.tolist(), words.stops.tolist(), strict=True)]
    assert found == ["Oh", "-", "-", "no", ",", "(", "yes", ")", "!"]
    assert len(words_of(text)) == 3


def test_han_characters_are_marked() -> None:
    words = words_of("the 银行 bank")
    assert words.han.tolist() == [False, True, True, False]


def test_no_words_give_empty_arrays() -> None:
    for text in ("", " ,.\n"):
        assert len(words_of(text)) == 0
        assert words_of(text).numbers().shape == (0,)


def test_counting_agrees_with_a_dictionary() -> None:
    numbers = np.array([5, 3, 5, 2**63, 3, 5], np.uint64)
    expected = Counter(numbers.tolist())
    found, times = counted(numbers)
    assert dict(zip(found.tolist(), times.tolist(), strict=True)) == expected
    assert distinct(numbers).tolist() == sorted(expected)
    merged, sums = counted(np.concatenate([found, found[:1]]), np.concatenate([times, [10]]))
    assert dict(zip(merged.tolist(), sums.tolist(), strict=True)) == {**expected, 3: 12}


def test_noise_is_uniform_and_keyed() -> None:
    numbers = np.arange(100_000, dtype=np.uint64)
    noise = uniform(numbers, 1)
    counts, _ = np.histogram(noise, 20, (0, 1))
    assert ((counts - 5_000) ** 2 / 5_000).sum() < 45  # chi-squared, 19 degrees: once in a thousand
    assert (uniform(numbers, 1) == noise).all()
    assert abs(np.corrcoef(noise, uniform(numbers, 2))[0, 1]) < 0.02


@pytest.mark.parametrize("characters", [1, 10, 1 << 20])
def test_blocks_are_read_whole_whatever_the_batch(tmp_path: Path, characters: int) -> None:
    path = tmp_path / "text.txt"
    path.write_text("one\ntwo\n\nthree\n\n\nfour\u2028still four\n\n", encoding="utf-8")
    blocks = [block for batch in read_blocks(path, characters) for block in batch]
    assert blocks == ["one\ntwo", "three", "four\u2028still four"]
