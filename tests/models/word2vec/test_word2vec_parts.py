"""Subsampling, the Huffman tree, settings."""
from __future__ import annotations

import heapq
import itertools

import numpy as np
import pytest
from scipy.special import expit

from polysemy.errors import InputError
from polysemy.models.huffman import huffman
from polysemy.models.kernels.sentences import CERTAIN, thresholds
from polysemy.models.word2vec.cloze import path_log_probabilities
from polysemy.models.word2vec.config import Word2VecConfig, configure
from polysemy.models.word2vec.subsampling import keep_probabilities
from polysemy.text.vocabulary import WordConfig


def test_both_subsampling_formulas_give_their_known_values():
    counts = np.array([10, 990])
    assert keep_probabilities(counts, 1e-3, "paper")[0] == pytest.approx(0.3162, abs=1e-4)
    assert keep_probabilities(counts, 1e-3, "code")[0] == pytest.approx(0.4162, abs=1e-4)
    assert keep_probabilities(counts, 0.0).tolist() == [1, 1]
    with pytest.raises(InputError, match="subsample_formula must be one of code, paper, got 'c'"):
        keep_probabilities(counts, 1e-3, "c")


def test_the_codes_formula_drops_nothing_below_the_golden_ratio_squared():
    golden, t = ((1 + 5**0.5) / 2) ** 2, 1e-3
    total = 10_000_000
    for factor, dropped in ((0.999, False), (1.001, True)):
        count = int(factor * golden * t * total)
        assert (keep_probabilities(np.array([count, total - count]), t)[0] < 1) == dropped
    assert keep_probabilities(np.array([int(1.001 * t * total), total]), 2 * t, "paper")[0] == 1


def test_thresholds_are_probabilities_of_24_bits():
    assert thresholds(np.array([0, 0.25, 1, 7])).tolist() == [0, CERTAIN // 4, CERTAIN, CERTAIN]


COUNTS = [
    [5, 3], [1, 1], [9, 4, 4], [7, 7, 7, 7, 7], [1] * 17, [2**k for k in range(30, -1, -1)],
    sorted(np.random.default_rng(1).zipf(1.3, 300).clip(max=10**9).tolist(), reverse=True),
]


@pytest.mark.parametrize("counts", COUNTS, ids=len)
def test_code_lengths_obey_kraft_and_are_as_short_as_heapqs(counts):
    tree = huffman(np.array(counts))
    assert sum(2.0 ** -int(length) for length in tree.lengths) == 1
    heap = list(counts)
    heapq.heapify(heap)
    least = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        least += joined
        heapq.heappush(heap, joined)
    assert int((tree.lengths * np.array(counts)).sum()) == least


@pytest.mark.parametrize("counts", COUNTS[:5], ids=len)
def test_no_code_begins_another_and_paths_follow_one_tree(counts):
    tree, words = huffman(np.array(counts)), len(counts)
    codes = ["".join(map(str, tree.codes[tree.starts[w] : tree.starts[w + 1]])) for w in range(words)]
    assert not any(b.startswith(a) for a, b in itertools.permutations(codes, 2))
    node_of = {}
    for w, code in enumerate(codes):
        path = tree.nodes[tree.starts[w] : tree.starts[w + 1]].tolist()
        assert path[0] == words - 2
        assert all(node_of.setdefault(code[:n], node) == node for n, node in enumerate(path))
    assert sorted(node_of.values()) == list(range(words - 1))


def test_probabilities_of_the_tree_sum_to_one():
    random = np.random.default_rng(2)
    counts = np.array(COUNTS[-1])
    tree, nodes, hidden = huffman(counts), random.normal(size=(299, 8)), random.normal(size=(4, 8))
    found = path_log_probabilities(np.arange(300), hidden, nodes, tree)
    np.testing.assert_allclose(np.exp(found).sum(0), 1, rtol=1e-12)
    word = 123
    some = slice(tree.starts[word], tree.starts[word + 1])
    dots = nodes[tree.nodes[some]] @ hidden[1]
    by_hand = np.prod([expit(d) if code == 0 else 1 - expit(d) for d, code in zip(dots, tree.codes[some], strict=True)])
    assert np.exp(found[word, 1]) == pytest.approx(by_hand, rel=1e-12)


def test_a_tree_needs_two_words():
    with pytest.raises(InputError, match="at least 2 words for hierarchical softmax, got 1; add text"):
        huffman(np.array([4]))


@pytest.mark.parametrize(("settings", "message"), [
    ({"size": 0}, "size must be 1 to 4,096, got 0"),
    ({"window": 1001}, "window must be 1 to 1,000, got 1001"),
    ({"negatives": 65}, "negatives must be 1 to 64, got 65"),
    ({"epochs": 0}, "epochs must be 1 to"),
    ({"min_count": 0}, "min_count must be 1 to"),
    ({"subsample": 1.5}, "subsample must be 0 to 1, got 1.5"),
    ({"learning_rate": -0.1}, "learning_rate must be 0 to 10, got -0.1"),
    ({"initial_range": -1.0}, "initial_range must be 0 to 100, got -1"),
])
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Word2VecConfig(**settings)


def test_the_rate_depends_on_the_mode_unless_it_is_given():
    assert Word2VecConfig(mode="skipgram").first_rate == 0.025
    assert Word2VecConfig(mode="cbow").first_rate == 0.05
    assert Word2VecConfig(mode="cbow", learning_rate=0.01).first_rate == 0.01


def test_settings_survive_json_and_reach_the_words():
    config = configure("mini").replace(min_count=2, mode="cbow")
    assert Word2VecConfig.from_dict(config.to_dict()) == config
    assert config.word_config.min_count == 2
    with pytest.raises(InputError, match=r"words\.min_count must be left out, got 3; set min_count=3"):
        Word2VecConfig(words=WordConfig(min_count=3))
