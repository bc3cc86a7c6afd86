"""Random numbers inside loops, and the table of negatives."""
from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy.stats import chisquare

from polysemy.models.kernels.drawing import negative_table, start_state, xorshift


@njit
def draws(state, table, count):
    found = np.zeros(table.max() + 1, np.int64)
    state = np.uint64(state)
    for _ in range(count):
        state = xorshift(state)
        found[table[(state >> np.uint64(32)) & np.uint64(len(table) - 1)]] += 1
    return found


def test_xorshift_follows_marsaglias_recurrence():
    state, mask = 88172645463325252, 2**64 - 1
    expected = state ^ (state << 13) & mask
    expected ^= expected >> 7
    expected ^= (expected << 17) & mask
    assert int(xorshift(np.uint64(state))) == expected


def test_the_state_depends_on_the_key_alone_and_is_never_zero():
    assert start_state(1, "word2vec", 0) == start_state(1, "word2vec", 0) != start_state(1, "word2vec", 1)
    assert 0 < start_state(1, "word2vec", 0) < 2**64


@pytest.mark.parametrize("power", [0.75, 1.0, 0.0])
def test_the_table_holds_each_word_by_its_share_to_one_place(power):
    counts = np.array([1000, 400, 50, 7, 7, 1])
    table = negative_table(counts, power, bits=16)
    shares = counts**power / (counts**power).sum() * 2**16
    assert len(table) == 2**16
    assert table.dtype == np.int32
    assert np.abs(np.bincount(table) - shares).max() <= 1


def test_negatives_are_drawn_by_count_to_the_three_quarters():
    counts = np.array([100_000, 9_000, 5_000, 400, 399, 20, 5])
    shares = counts**0.75 / (counts**0.75).sum()
    count = 200_000
    found = draws(start_state("negatives"), negative_table(counts), count)
    assert chisquare(found, shares * count).pvalue > 0.001
    assert chisquare(found, counts / counts.sum() * count).pvalue < 1e-9


def test_the_table_grows_with_the_vocabulary():
    table = negative_table(np.ones(3000, np.int64), bits=10)
    assert len(table) == 2**15
    assert np.bincount(table).min() >= 10
