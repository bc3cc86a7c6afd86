from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_text import english

from polysemy.runtime import random_for
from polysemy.text.learn_bpe import byte_word, encode, encode_with_dropout, learn, merge_all
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

SENNRICH = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
words_with_counts = st.dictionaries(st.text("abcd", min_size=1, max_size=8), st.integers(1, 5), min_size=1, max_size=8)


def naive(counts: dict[str, int], num_merges: int) -> list[tuple[str, str]]:
    """The definition, counting everything again for each merge."""
    words = {word: list(word) for word in counts}
    number = {symbol: n for n, symbol in enumerate(sorted({ch for word in counts for ch in word}))}
    merges = []
    for _ in range(num_merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], number[pair[0]], number[pair[1]]))
        merges.append(best)
        number.setdefault("".join(best), len(number))
        words = {word: merge_all(symbols, best) for word, symbols in words.items()}
    return merges


def test_learns_the_merges_of_the_known_example() -> None:
    merges = [" ".join(pair) for pair in learn(SENNRICH, 100)]
    assert merges == ["e s", "es t", "l o", "lo w", "e w", "n ew", "new est", "d est", "i dest", "w idest", "e r",
                      "low er"]


@settings(max_examples=200, deadline=None)
@given(counts=words_with_counts, num_merges=st.integers(0, 12))
def test_learning_equals_counting_everything_again(counts: dict[str, int], num_merges: int) -> None:
    assert learn(counts, num_merges) == naive(counts, num_merges)


@settings(max_examples=200, deadline=None)
@given(counts=words_with_counts, word=st.text("abcde", max_size=12))
def test_encoding_equals_doing_the_merges_one_after_the_other(counts: dict[str, int], word: str) -> None:
    merges = learn(counts, 12)
    symbols = list(word)
    for pair in merges:
        symbols = merge_all(symbols, pair)
    assert encode(word, merges) == symbols
    assert "".join(encode(word, merges)) == word


@settings(max_examples=100, deadline=None)
@given(counts=words_with_counts)
def test_a_pair_seen_too_rarely_is_not_merged(counts: dict[str, int]) -> None:
    assert len(learn(counts, 12, min_frequency=1000)) == 0
    assert learn(counts, 12, min_frequency=1) == learn(counts, 12)


@pytest.mark.parametrize("kind", ["bpe", "bytebpe"])
def test_learns_the_merges_of_the_library(kind: str) -> None:
    tokenizer = Tokenizer.train(english()[:150], TokenizerConfig(kind=kind, vocab_size=420, coverage=1.0))  # type: ignore[arg-type]
    backend = tokenizer._plain
    counts: Counter[str] = Counter()
    for line in english()[:150]:
        clean = backend.normalizer.normalize_str(line) if backend.normalizer else line
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(clean))
    theirs = [tuple(pair) for pair in json.loads(tokenizer.definition)["model"]["merges"]]
    assert len(theirs) > 50
    assert learn(counts, len(theirs), min_frequency=2) == theirs
    for word in list(counts)[:300]:
        pieces = [token.value for token in backend.model.tokenize(word)]
        assert encode(word, theirs) == pieces


def test_dropout_varies_the_cut_and_keeps_the_text() -> None:
    merges = learn(SENNRICH, 100)
    random = random_for("dropout")
    cuts = [tuple(encode_with_dropout("newest", merges, 0.5, random)) for _ in range(200)]
    assert all("".join(cut) == "newest" for cut in cuts)
    assert len(set(cuts)) > 5
    assert encode_with_dropout("newest", merges, 0.0, random) == encode("newest", merges) == ["newest"]
    assert encode_with_dropout("newest", merges, 1.0, random) == list("newest")


@given(word=st.text(max_size=10))
def test_byte_words_have_one_character_for_each_byte(word: str) -> None:
    shown = byte_word(word)
    assert len(shown) == len(word.encode())
    assert shown.isprintable()
    if word.isascii() and word.isprintable():
        assert shown == word.replace(" ", "Ġ")
