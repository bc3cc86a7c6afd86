from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_text import english

from polysemy.errors import InputError
from polysemy.text.learn_wordpiece import encode, join, learn
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

words_with_counts = st.dictionaries(st.text("abcd", min_size=1, max_size=8), st.integers(1, 5), min_size=1, max_size=8)
vocabularies = st.sets(st.tuples(st.booleans(), st.text("abc", min_size=1, max_size=4)), max_size=12).map(
    lambda pieces: {("##" if inside else "") + text for inside, text in pieces})


def test_cuts_the_known_example() -> None:
    vocabulary = {"un", "##aff", "##able"}
    assert encode("unaffable", vocabulary) == ["un", "##aff", "##able"]
    assert encode("unaffablez", vocabulary) == ["[UNK]"]
    assert encode("unaffablez", {*vocabulary, "##z"}) == ["un", "##aff", "##able", "##z"]


@settings(max_examples=300, deadline=None)
@given(vocabulary=vocabularies, word=st.text("abc", min_size=1, max_size=9))
def test_each_piece_is_the_longest_that_fits(vocabulary: set[str], word: str) -> None:
    pieces = encode(word, vocabulary)
    at = 0
    for piece in pieces if pieces != ["[UNK]"] else []:
        prefix = "##" if at else ""
        fitting = [word[at:end] for end in range(at + 1, len(word) + 1) if prefix + word[at:end] in vocabulary]
        assert piece == prefix + max(fitting, key=len)
        at += len(piece) - len(prefix)
    assert pieces == ["[UNK]"] or at == len(word)


@settings(max_examples=200, deadline=None)
@given(vocabulary=vocabularies, word=st.text("abc", min_size=1, max_size=9))
def test_encoding_equals_the_library(vocabulary: set[str], word: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    names = ["[UNK]", *sorted(vocabulary)]
    model = tokenizers.models.WordPiece(vocab={name: n for n, name in enumerate(names)}, unk_token="[UNK]")
    assert encode(word, vocabulary) == [token.value for token in model.tokenize(word)]


def test_a_very_long_word_is_unknown() -> None:
    assert encode("a" * 101, {"a", "##a"}) == ["[UNK]"]
    assert encode("a" * 100, {"a", "##a"}) == ["a"] + ["##a"] * 99


@settings(max_examples=150, deadline=None)
@given(counts=words_with_counts, rule=st.sampled_from(["likelihood", "frequency"]))
def test_the_best_pair_is_joined_first(counts: dict[str, int], rule: str) -> None:
    words = {word: [word[0], *("##" + ch for ch in word[1:])] for word in counts}
    characters = {symbol for symbols in words.values() for symbol in symbols}
    pairs: Counter[tuple[str, str]] = Counter()
    singles: Counter[str] = Counter()
    for word, symbols in words.items():
        singles.update({symbol: symbols.count(symbol) * counts[word] for symbol in set(symbols)})
        for pair in pairwise(symbols):
            pairs[pair] += counts[word]
    size = len({*characters, *(symbol.removeprefix("##") for symbol in characters)})
    found = learn(counts, size + 1, rule)  # type: ignore[arg-type]
    if not pairs:
        assert len(found) == size
        return

    def gain(pair: tuple[str, str]) -> float:
        return pairs[pair] / (singles[pair[0]] * singles[pair[1]]) if rule == "likelihood" else pairs[pair]

    best = max(map(gain, pairs))
    assert found[-1] in {join(pair) for pair in pairs if gain(pair) == best}


def test_the_rules_choose_differently() -> None:
    """`qu` is always together but rare; `th` is frequent, its letters also stand elsewhere."""
    counts = {"th": 50, "tt": 30, "hh": 30, "qu": 3}
    size = len(learn(counts, 0))
    assert learn(counts, size + 1, "frequency")[-1] == "th"
    assert learn(counts, size + 1, "likelihood")[-1] == "qu"
    with pytest.raises(InputError, match="rule must be"):
        learn(counts, 10, "other")  # type: ignore[arg-type]


def test_the_frequency_rule_learns_what_the_library_learns() -> None:
    lines = english()[:80]
    tokenizer = Tokenizer.train(lines, TokenizerConfig(vocab_size=260, coverage=1.0))
    counts: Counter[str] = Counter()
    for line in lines:
        clean = tokenizer._plain.normalizer.normalize_str(line)
        counts.update(word for word, _ in tokenizer._plain.pre_tokenizer.pre_tokenize_str(clean))
    ours = learn(counts, 255, "frequency", min_frequency=2)
    assert set(ours) == set(tokenizer.vocabulary[5:])

    def joined(pieces: list[str]) -> list[str]:
        return [piece for piece in pieces if len(piece.removeprefix("##")) > 1]

    assert joined(ours) == joined(list(tokenizer.vocabulary[5:]))
