from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_text import english, trained

from polysemy.runtime import random_for
from polysemy.text.learn_unigram import (
    best_cut,
    expect,
    forward_scores,
    learn,
    maximize,
    sample_cut,
    seed_pieces,
)

words_with_counts = st.dictionaries(st.text("abc", min_size=1, max_size=7), st.integers(1, 5), min_size=1, max_size=6)


@st.composite
def scored(draw: st.DrawFn) -> dict[str, float]:
    """Pieces over a, b, c with log-probabilities; the single characters are always there."""
    longer = draw(st.sets(st.text("abc", min_size=2, max_size=4), max_size=8))
    return {piece: draw(st.floats(-8, -0.1)) for piece in ["a", "b", "c", *sorted(longer)]}


def all_cuts(word: str, scores: dict[str, float]) -> list[tuple[str, ...]]:
    """Every way to cut the word into pieces."""
    cuts = []
    for borders in itertools.product([False, True], repeat=len(word) - 1):
        edges = [0, *(n + 1 for n, border in enumerate(borders) if border), len(word)]
        cut = tuple(word[a:b] for a, b in itertools.pairwise(edges))
        if all(piece in scores for piece in cut):
            cuts.append(cut)
    return cuts


def score_of(cut: tuple[str, ...] | list[str], scores: dict[str, float]) -> float:
    return sum(scores[piece] for piece in cut)


@settings(max_examples=200, deadline=None)
@given(scores=scored(), word=st.text("abc", min_size=1, max_size=8))
def test_the_best_cut_is_best_of_all_cuts(scores: dict[str, float], word: str) -> None:
    best = max(score_of(cut, scores) for cut in all_cuts(word, scores))
    assert score_of(best_cut(word, scores), scores) == pytest.approx(best, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(scores=scored(), word=st.text("abc", min_size=1, max_size=8), sharpness=st.floats(0, 2))
def test_the_forward_sum_is_the_sum_over_all_cuts(scores: dict[str, float], word: str, sharpness: float) -> None:
    total = sum(math.exp(sharpness * score_of(cut, scores)) for cut in all_cuts(word, scores))
    assert forward_scores(word, scores, sharpness)[-1] == pytest.approx(math.log(total), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(scores=scored(), counts=words_with_counts)
def test_expected_counts_equal_those_over_all_cuts(scores: dict[str, float], counts: dict[str, int]) -> None:
    expected: defaultdict[str, float] = defaultdict(float)
    likelihood = 0.0
    for word, count in counts.items():
        cuts = all_cuts(word, scores)
        total = sum(math.exp(score_of(cut, scores)) for cut in cuts)
        likelihood += count * math.log(total)
        for cut in cuts:
            for piece in cut:
                expected[piece] += count * math.exp(score_of(cut, scores)) / total
    ours, ours_likelihood = expect(counts, scores)
    assert ours_likelihood == pytest.approx(likelihood, abs=1e-8)
    assert ours == pytest.approx({piece: expected[piece] for piece in scores}, abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(scores=scored(), word=st.text("abc", min_size=2, max_size=5), sharpness=st.sampled_from([0.0, 0.3, 1.0]))
def test_random_cuts_come_with_their_probabilities(scores: dict[str, float], word: str, sharpness: float) -> None:
    weights = {cut: math.exp(sharpness * score_of(cut, scores)) for cut in all_cuts(word, scores)}
    random = random_for("cuts", word)
    draws = 600
    counts = Counter(tuple(sample_cut(word, scores, sharpness, random)) for _ in range(draws))
    assert set(counts) <= set(weights)
    for cut, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(counts[cut] / draws - share) < 5.5 * math.sqrt(share * (1 - share) / draws) + 2e-3


@settings(max_examples=100, deadline=None)
@given(counts=words_with_counts)
def test_plain_expectation_maximization_never_loses_likelihood(counts: dict[str, int]) -> None:
    frequencies = seed_pieces(counts, 50)
    scores = {piece: math.log(n / sum(frequencies.values())) for piece, n in frequencies.items()}
    expected, before = expect(counts, scores)
    total = sum(expected.values())
    after = expect(counts, {p: math.log(max(n, 1e-300) / total) for p, n in expected.items()})[1]
    assert after >= before - 1e-9


@settings(max_examples=100, deadline=None)
@given(counts=words_with_counts)
def test_seeds_are_all_repeated_substrings_but_those_always_continued(counts: dict[str, int]) -> None:
    def count_of(piece: str) -> int:
        return sum(n * sum(word.startswith(piece, at) for at in range(len(word))) for word, n in counts.items())

    substrings = {word[a:b] for word in counts for a in range(len(word)) for b in range(a + 1, len(word) + 1)}
    wanted = {piece: count_of(piece) for piece in substrings
              if len(piece) == 1 or (count_of(piece) >= 2
                                     and all(count_of(piece + ch) < count_of(piece) for ch in "abc"))}
    assert seed_pieces(counts, 10_000) == wanted


def test_maximizing_drops_rare_pieces_but_no_character() -> None:
    scores = maximize({"a": 10.0, "b": 0.0, "ab": 0.3, "ba": 5.0}, {"a": -1.0, "b": -1.0, "ab": -1.0, "ba": -1.0})
    assert set(scores) == {"a", "b", "ba"}
    assert scores["a"] > scores["ba"] > scores["b"]


@settings(max_examples=30, deadline=None)
@given(counts=words_with_counts, size=st.integers(4, 12))
def test_the_compiled_trainer_learns_the_same(counts: dict[str, int], size: int) -> None:
    from polysemy.text.unigram_training import learn_pieces

    theirs = learn_pieces(counts, size)
    ours = learn(counts, size)
    assert theirs is not None
    assert len(theirs) == len(ours) <= max(size, 3)
    assert [score for _, score in theirs] == pytest.approx(list(ours.values()), abs=2e-6)


def test_the_compiled_trainer_learns_the_same_from_real_text() -> None:
    from polysemy.text.unigram_training import learn_pieces

    counts = Counter(word for line in english()[:60] for word in line.lower().split())
    theirs, ours = learn_pieces(dict(counts), 120), learn(counts, 120)
    assert theirs is not None
    assert dict(theirs) == pytest.approx(ours, abs=2e-6)


def test_the_best_cut_is_that_of_the_library() -> None:
    tokenizer = trained("unigram")
    scores = dict(json.loads(tokenizer.definition)["model"]["vocab"][5:])
    backend = tokenizer._plain
    for line in english()[:100]:
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(line)):
            if all(ch in scores for ch in word):
                assert best_cut(word, scores) == [token.value for token in backend.model.tokenize(word)]


def test_too_many_characters_for_the_size_are_reported() -> None:
    from polysemy.text.unigram_training import learn_pieces

    assert learn_pieces({"abcdefgh": 3}, 5) is None
