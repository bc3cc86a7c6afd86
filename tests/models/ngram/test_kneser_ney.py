"""Counting and smoothing, against the formula in fractions."""
from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from ngram_twin import Twin, encoded, random_text

from polysemy.models.ngram.adjusting import adjust
from polysemy.models.ngram.building import build, memory_needed
from polysemy.models.ngram.config import NgramConfig
from polysemy.models.ngram.counting import Counts, count_ngrams
from polysemy.models.ngram.discounts import FALLBACK, KENLM_FALLBACK, count_of_counts, discounts_from
from polysemy.models.ngram.interpolating import history_blocks
from polysemy.models.ngram.kneser_ney import last_ngram
from polysemy.models.ngram.scoring import Scorer
from polysemy.models.ngram.scratch import Scratch
from polysemy.models.ngram.sorting import Buckets
from polysemy.models.ngram.stream import BOUNDARY, cut_tokens, to_stream

ORDERS = range(1, 7)
TINY = "a b a b c\na b\nb a c d\nd"


def model(text: str, **settings):
    found = encoded(text)
    trie, facts = build(found.tokens, len(found.vocabulary), NgramConfig(**settings))
    return trie, facts, ["<unk>", "</s>", *found.vocabulary.words]


def log10(trie, ids: list[int], names: list[str]) -> dict[str, float]:
    """log10 of every word after the ids; a leading boundary is the start of a sentence."""
    result = {}
    for word, name in enumerate(names):
        scorer = Scorer(trie, after_boundary=ids[:1] == [BOUNDARY])
        scorer.advance(np.array(ids[ids[:1] == [BOUNDARY]:], np.int32))
        result[name] = scorer.advance(np.array([word]))[0][0]
    return result


def spell(counts: Counts, order: int) -> list[tuple[int, ...]]:
    """The ids of every n-gram of one order, by the histories that it continues."""
    grams = [(i,) for i in range(len(counts.levels[0].words))]
    for level in counts.levels[1:order]:
        histories = level.of_histories(np.arange(len(grams)))
        grams = [(*grams[h], word) for h, word in zip(histories.tolist(), level.words.tolist(), strict=True)]
    return grams


@pytest.mark.parametrize("text", [TINY, random_text(2)], ids=["tiny", "random"])
@pytest.mark.parametrize("order", ORDERS)
def test_counts_and_adjusted_counts_are_those_of_dictionaries(order, text):
    found, twin = encoded(text), Twin(text, order)
    counts = count_ngrams(to_stream(found.tokens), len(found.vocabulary) + 2, order)
    adjusted = adjust(counts)
    names = ["<unk>", "", *found.vocabulary.words]
    for k in range(1, order):
        level, grams = counts.levels[k], spell(counts, k + 1)
        spelled = [tuple(("<s>" if i < k else "</s>") if w == BOUNDARY else names[w] for i, w in enumerate(gram))
                   for gram in grams]
        assert dict(zip(spelled, level.count.tolist(), strict=True)) == dict(twin.raw[k])
        assert dict(zip(spelled, adjusted[k].tolist(), strict=True)) == twin.adjusted[k]
        assert len(set(spelled)) == len(spelled) > 0
        assert grams == sorted(grams)
        assert [spell(counts, k)[i] for i in level.suffix] == [gram[1:] for gram in grams]
        assert [counts.find(list(gram)) for gram in grams] == list(range(len(grams)))


@pytest.mark.parametrize(("text", "prune"), [(TINY, ()), (random_text(3), ()), (random_text(4), (0, 0, 1)),
                                             (random_text(5, lines=120), (0, 1, 2))],
                         ids=["tiny", "random", "pruned", "pruned more"])
@pytest.mark.parametrize("order", ORDERS)
def test_probabilities_equal_the_formula_and_sum_to_one_after_every_history(order, text, prune):
    prune = prune[:order]
    twin = Twin(text, order, prune)
    trie, _, names = model(text, order=order, prune=prune)
    number = {name: i for i, name in enumerate(names)} | {"<s>": BOUNDARY}
    seen = {gram[:-1] for counts in twin.raw for gram in counts}
    never = {("<s>", names[-1], names[-1], names[-1]), (names[2], names[-1], names[-1]), ("<unk>", names[2])}
    histories = sorted(h for h in seen | never if set(h) <= set(number) and len(h) < max(order, 2))
    for history in histories[:: max(1, len(histories) // 60)]:
        got = log10(trie, [number[w] for w in history], names)
        assert sum(10**value for value in got.values()) == pytest.approx(1, abs=2e-6), history
        for word, value in got.items():
            assert 10**value == pytest.approx(float(twin.probability(history, word)), rel=2e-6), (history, word)


def test_backoffs_equal_the_formula():
    text = random_text(6)
    twin, (trie, _, names) = Twin(text, 3), model(text, order=3)
    for a, b in itertools.product([1, *range(2, len(names))], range(2, len(names))):
        node = trie.find([a, b])
        history = ("<s>" if a == BOUNDARY else names[a], names[b])
        assert (node >= 0) == (history in twin.raw[1])
        if node >= 0:
            assert 10 ** trie.backoffs[node] == pytest.approx(float(twin.backoff(history)), rel=1e-6)


def test_discounts_fall_back_where_counts_say_nothing():
    assert discounts_from(np.array([0, 10, 4, 2, 1])).values == pytest.approx(
        (1 - 2 * (10 / 18) * 0.4, 2 - 3 * (10 / 18) * 0.5, 3 - 4 * (10 / 18) * 0.5))
    assert discounts_from(np.array([0, 10, 4, 2, 0])).values[2] == 3.0, "no n-gram counted 4 is no reason"
    for counts in ([0, 0, 4, 2, 1], [0, 10, 0, 2, 1], [0, 10, 4, 0, 1], [0, 10, 4, 20, 1]):
        found = discounts_from(np.array(counts))
        assert (found.values, found.estimated) == (FALLBACK, False)
    assert discounts_from(np.zeros(5), KENLM_FALLBACK).values == (0.5, 1.0, 1.5)


def test_kenlm_compat_takes_the_last_ngram_of_each_order_by_its_plain_count():
    text = random_text(7, lines=200, words=300) + "\nw0 new\nw0 new\nw1 w0 new\nw0 w1"
    found, twin = encoded(text), Twin(text, 3)
    last = last_ngram(to_stream(found.tokens), len(found.vocabulary) + 2, 3)
    assert [found.vocabulary.words[i - 2] for i in last[1:]] == ["w0", "new"]
    assert (twin.adjusted[0]["new",], twin.raw[0]["new",]) == (1, 3)
    assert (twin.adjusted[1]["w0", "new"], twin.raw[1]["w0", "new"]) == (2, 3)
    facts = model(text, order=3, kenlm_compat=True)[1]["discounts"]
    for k in range(3):
        changed = dict(twin.adjusted[k])
        if k < 2:
            changed[("w0", "new")[1 - k:]] = 3
        assert facts[k] == pytest.approx([float(d) for d in twin._discounts(changed, ("0.5", "1", "1.5"))[1:]])
    assert facts[:2] != model(text, order=3)[1]["discounts"][:2]


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("memory", [1, 2000, 10**6])
def test_counting_in_files_part_by_part_gives_the_same_numbers(tmp_path: Path, order, memory):
    found = encoded(random_text(8, lines=150, words=30))
    stream, size = to_stream(found.tokens), len(found.vocabulary) + 2
    ours = count_ngrams(stream, size, order, allocate=Scratch(tmp_path), memory=memory)
    theirs = count_ngrams(stream, size, order)
    for a, b in zip(ours.levels, theirs.levels, strict=True):
        for name in ("order", "words", "count", "suffix", "first", "neighbors"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), (a.order, name)


def test_a_model_built_in_files_is_the_same_and_leaves_no_files(tmp_path: Path):
    found = encoded(random_text(9, lines=100))
    assert memory_needed(len(found.tokens), 4) > 1000
    plain, facts = build(found.tokens, len(found.vocabulary), NgramConfig(order=4, prune=(0, 0, 1)))
    small = NgramConfig(order=4, prune=(0, 0, 1), memory_gigabytes=1e-6)
    filed, filed_facts = build(found.tokens, len(found.vocabulary), small, scratch=tmp_path)
    assert (facts["in_files"], filed_facts["in_files"]) == (False, True)
    for name in ("words", "probabilities", "backoffs", "first", "sizes"):
        assert np.array_equal(getattr(plain, name), getattr(filed, name)), name
    assert list(tmp_path.iterdir()) == []


def test_ranges_of_words_cover_all_within_the_limit():
    counts = np.array([5, 1, 1, 9, 0, 0, 3, 3])
    buckets = Buckets.of(counts)
    assert buckets.ranges(6) == [(0, 2), (2, 3), (3, 4), (4, 8)]
    for records in (0, 1, 4, 6, 100):
        found = buckets.ranges(records)
        assert [low for low, _ in found] == [0, *(high for _, high in found[:-1])]
        assert found[-1][1] == len(counts)
        assert all(counts[low:high].sum() <= records or high == low + 1 for low, high in found)


def test_blocks_of_histories_cover_all_within_the_limit():
    first = np.array([0, 5, 5, 5, 7, 8, 20, 21])
    assert history_blocks(first, 7) == [(0, 4), (4, 5), (5, 6), (6, 7)]
    assert history_blocks(first, 2) == [(0, 1), (1, 3), (3, 4), (4, 5), (5, 6), (6, 7)]
    assert history_blocks(np.zeros(10, np.int32), 4) == [(0, 4), (4, 8), (8, 9)]
    assert history_blocks(np.zeros(1, np.int32)) == []


def test_small_counts_are_counted():
    assert count_of_counts(np.array([1, 0, 3, 4, 4, 5, 9, 1, 1], np.int32)).tolist() == [1, 3, 0, 1, 2]


def test_a_text_is_cut_at_the_end_of_a_sentence(monkeypatch):
    monkeypatch.setattr("polysemy.models.ngram.stream.LOOK", 2)
    tokens = encoded("a b c\nd e\nf").tokens
    assert cut_tokens(tokens, 2).tolist() == tokens[:4].tolist()
    assert cut_tokens(tokens, 5).tolist() == tokens[:7].tolist()
    assert cut_tokens(tokens, 100) is tokens
