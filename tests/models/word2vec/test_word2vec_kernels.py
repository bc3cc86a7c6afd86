"""The fast loops against their twins, and what a block of text is."""
from __future__ import annotations

import numpy as np
import pytest
import twins

from polysemy.models.huffman import huffman
from polysemy.models.kernels.drawing import alias_table
from polysemy.models.kernels.rows import aligned, padded
from polysemy.models.kernels.sentences import LONGEST, thresholds
from polysemy.models.kernels.tiles import TILE_ROWS
from polysemy.models.word2vec.cbow import cbow_negative
from polysemy.models.word2vec.hierarchical import PIECE, cbow_hierarchical, skipgram_hierarchical
from polysemy.models.word2vec.plain import NEGATIVE, Targets, plain
from polysemy.models.word2vec.skipgram import skipgram_negative

SIZE, STATE, RATE, NEGATIVES, WINDOW = 20, 987654321, 0.05, 5, 4
WIDTH = padded(SIZE)


def world(words: int = 30, seed: int = 1):
    """Tokens with lines, an empty line and unknown words; falling counts; thresholds; two matrices."""
    random = np.random.default_rng(seed)
    tokens = np.minimum(random.geometric(0.1, 400) - 1, words - 1).astype(np.int32)
    tokens[random.integers(400, size=30)] = -1
    tokens[[50, 51, -1]] = -1
    tokens[[3, 77]] = -2
    counts = np.sort(np.bincount(tokens[tokens >= 0], minlength=words) + 1)[::-1]
    kept_below = thresholds(np.linspace(0.5, 1, words))
    matrices = [aligned(words, SIZE) for _ in range(2)]
    for matrix in matrices:
        matrix[:, :SIZE] = random.normal(size=(words, SIZE)) / 4
    return tokens, counts, kept_below, *matrices


@pytest.mark.parametrize("least", [1, WINDOW])
@pytest.mark.parametrize("mode", ["skipgram", "cbow"])
def test_negative_sampling_equals_its_twin(mode, least):
    tokens, counts, kept_below, inputs, outputs = world()
    table = alias_table(counts)
    wanted = inputs.astype(np.float64), outputs.astype(np.float64)
    draws = twins.Draws(STATE)
    walk = twins.places(tokens, kept_below, draws, least, WINDOW,
                        lambda: [draws.word(table) for _ in range(NEGATIVES)])
    if mode == "cbow":
        twins.cbow(*wanted, walk, twins.negative_goals, RATE)
    else:
        twins.skipgram(*wanted, walk, twins.negative_goals, RATE, TILE_ROWS)
    loop = (cbow_negative if mode == "cbow" else skipgram_negative)(NEGATIVES, WIDTH)
    at, words, state = loop(tokens, 0, len(tokens), len(tokens), kept_below, table, inputs, outputs, least, WINDOW,
                            np.float32(RATE), np.uint64(STATE))
    assert (at, words, state) == (len(tokens), (tokens >= 0).sum(), draws.state)
    np.testing.assert_allclose(inputs, wanted[0], atol=2e-5)
    np.testing.assert_allclose(outputs, wanted[1], atol=2e-5)
    assert not inputs[:, SIZE:].any()
    assert np.abs(inputs - wanted[0].mean()).max() > 0.1


@pytest.mark.parametrize("mode", ["skipgram", "cbow"])
def test_hierarchical_softmax_equals_its_twin(mode):
    tokens, counts, kept_below, inputs, nodes = world()
    tree, nodes = huffman(counts), nodes[1:]
    wanted = inputs.astype(np.float64), nodes.astype(np.float64)
    draws = twins.Draws(STATE)
    walk = twins.places(tokens, kept_below, draws, 1, WINDOW)
    if mode == "cbow":
        twins.cbow(*wanted, walk, twins.tree_goals(tree), RATE)
    else:
        twins.skipgram(*wanted, walk, twins.tree_goals(tree), RATE, TILE_ROWS, PIECE)
    loop = (cbow_hierarchical if mode == "cbow" else skipgram_hierarchical)(WIDTH)
    _, _, state = loop(tokens, 0, len(tokens), len(tokens), kept_below, tree.starts, tree.nodes, tree.codes,
                       int(tree.lengths.max()), inputs, nodes, 1, WINDOW, np.float32(RATE), np.uint64(STATE))
    assert state == draws.state
    np.testing.assert_allclose(inputs, wanted[0], atol=2e-5)
    np.testing.assert_allclose(nodes, wanted[1], atol=2e-5)


def test_with_one_context_word_a_place_fast_and_plain_are_the_same_step():
    """Lines of two words: a tile is one pair, and with only one negative to draw the order of draws means nothing."""
    _, _, kept_below, inputs, outputs = world()
    kept_below[:] = 1 << 24
    tokens = np.array([3, 4, -1, 7, 1, -1, 4, 4, -1, 20, 29, -1], np.int32)
    table = np.full(8, 15, np.uint64)  # the only negative there is
    both = [(inputs.copy(), outputs.copy()), (inputs.copy(), outputs.copy())]
    rest = (1, WINDOW, np.float32(RATE), np.uint64(STATE))
    fast = [aligned(30, SIZE), aligned(30, SIZE)]
    fast[0][:], fast[1][:] = both[0]
    skipgram_negative(1, WIDTH)(tokens, 0, 12, 12, kept_below, table, *fast, *rest)
    none = np.zeros(1, np.int32)
    plain(tokens, 0, 12, 12, kept_below, Targets(NEGATIVE, 1, table, none.astype(np.int64), none, none.astype(np.int8)),
          *both[1], *rest, False)
    np.testing.assert_allclose(fast[0], both[1][0], atol=1e-6)
    np.testing.assert_allclose(fast[1], both[1][1], atol=1e-6)
    assert np.abs(fast[0] - inputs).max() > 1e-3


def test_blocks_end_with_sentences_and_join_without_a_trace():
    tokens, counts, kept_below, inputs, outputs = world()
    table, loop = alias_table(counts), skipgram_negative(NEGATIVES, WIDTH)
    once = [aligned(30, SIZE), aligned(30, SIZE)]
    once[0][:], once[1][:] = inputs, outputs
    loop(tokens, 0, 400, 400, kept_below, table, *once, 1, WINDOW, np.float32(RATE), np.uint64(STATE))
    at, state, total, blocks = 0, np.uint64(STATE), 0, 0
    while at < 400:
        at, words, state = loop(tokens, at, min(at + 7, 400), 400, kept_below, table, inputs, outputs, 1, WINDOW,
                                np.float32(RATE), np.uint64(state))
        assert at == 400 or tokens[at - 1] == -1
        total, blocks = total + words, blocks + 1
    assert blocks > 10
    assert total == (tokens >= 0).sum()
    np.testing.assert_array_equal(inputs, once[0])
    np.testing.assert_array_equal(outputs, once[1])


def test_a_line_of_more_than_a_thousand_words_is_cut():
    _, counts, kept_below, inputs, outputs = world()
    kept_below[:] = 1 << 24
    tokens = np.zeros(2 * LONGEST + 5, np.int32)
    loop = skipgram_negative(NEGATIVES, WIDTH)
    at, words, _ = loop(tokens, 0, 1, len(tokens), kept_below, alias_table(counts), inputs, outputs, 1,
                        WINDOW, np.float32(RATE), np.uint64(STATE))
    assert at == words == LONGEST
