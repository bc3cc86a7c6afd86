"""Random numbers inside loops, and the table of negatives."""
from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy.stats import chisquare

from polysemy.models.kernels.drawing import alias_table, drawn_word, drawn_words, start_state, xorshift


@njit
def draws(state, table, count):
    found = np.zeros(len(table), np.int64)
    state = np.uint64(state)
    for _ in range(count):
        state = xorshift(state)
        found[drawn_word(state, table)] += 1
    return found


def shares_of(table):
    """What each word has of all places."""
    own, others = (table >> 32) / 2**32, (table & 0xFFFFFFFF).astype(np.int64)
    return (own + np.bincount(others, 1 - own, minlength=len(table))) / len(table)


def test_xorshift_follows_marsaglias_recurrence():
    state, mask = 88172645463325252, 2**64 - 1
    expected = state ^ (state << 13) & mask
    expected ^= expected >> 7
    expected ^= (expected << 17) & mask
    assert int(xorshift(np.uint64(state))) == expected


def test_the_state_depends_on_the_key_alone_and_is_never_zero():
    assert start_state(1, "word2vec", 0) == start_state(1, "word2vec", 0) != start_state(1, "word2vec", 1)
    assert 0 < start_state(1, "word2vec", 0) < 2**64


@pytest.mark.parametrize("counts", [[1000, 400, 50, 7, 7, 1], [5], [3, 3, 3], [9, 0, 1], range(1, 5000)])
@pytest.mark.parametrize("power", [0.75, 1.0, 0.0])
def test_the_table_holds_each_word_by_its_share(counts, power):
    counts = np.array(counts)
    table = alias_table(counts, power)
    weights = np.maximum(counts, 0).astype(float) ** power
    assert table.dtype == np.uint64
    assert len(table) == len(counts)
    np.testing.assert_allclose(shares_of(table), weights / weights.sum(), atol=1e-9 / len(counts) + 1e-12)


def test_negatives_are_drawn_by_count_to_the_three_quarters():
    counts = np.array([100_000, 9_000, 5_000, 400, 399, 20, 5])
    shares = counts**0.75 / (counts**0.75).sum()
    count = 200_000
    found = draws(start_state("negatives"), alias_table(counts), count)
    assert chisquare(found, shares * count).pvalue > 0.001
    assert chisquare(found, counts / counts.sum() * count).pvalue < 1e-9


def test_many_draws_in_numpy_are_the_draws_of_the_loop():
    table = alias_table(np.array([100, 50, 3, 2, 1, 1, 1]))
    states = np.random.default_rng(2).integers(2**64, size=(50, 4), dtype=np.uint64)
    found = drawn_words(states, table)
    assert found.shape == states.shape
    assert found.ravel().tolist() == [drawn_word(state, table) for state in states.ravel()]
