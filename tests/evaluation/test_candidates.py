"""Pools of words that could stand for each other."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.evaluation.candidates import RANK_RATIO, make_pools

SIZE = 4_000
COUNTS = (1e6 / np.arange(1, SIZE + 1)).astype(np.int64)
LOOKS = np.where(np.arange(SIZE) % 5 == 0, 7, 3)
LOOKS[np.arange(SIZE) % 97 == 0] = -1
PIECES = 1 + (np.arange(SIZE) > 1_500) + (np.arange(SIZE) % 700 == 0) * 5


@pytest.fixture
def pools():
    absent = np.exp(-128 * COUNTS / COUNTS.sum())
    return make_pools(LOOKS, PIECES, COUNTS, absent, 24)


def test_a_pool_is_narrow_or_marked_as_widened(pools) -> None:
    assert (np.diff(COUNTS) <= 0).all()
    for members, ratio in zip(pools.members, pools.ratio.tolist(), strict=True):
        assert ratio == pytest.approx((members.max() + 1) / (members.min() + 1))
        if len(members) > 60:  # there was room, so nothing forced it to widen
            assert ratio <= RANK_RATIO
    narrow = pools.ratio[pools.pool[pools.pool >= 0]] <= RANK_RATIO
    assert narrow.mean() > 0.7


def test_a_pool_has_enough_words_of_one_look_and_length(pools) -> None:
    absent = np.exp(-128 * COUNTS / COUNTS.sum())
    for number, members in enumerate(pools.members):
        assert len(set(LOOKS[members])) == 1
        assert (len(set(PIECES[members])) == 1) == bool(pools.same_pieces[number])
        assert absent[members].sum() >= 24 - 1e-6


def test_every_word_is_in_one_pool_or_left_out(pools) -> None:
    for number, members in enumerate(pools.members):
        assert (pools.pool[members] == number).all()
    assert sum(map(len, pools.members)) == (pools.pool >= 0).sum()
    assert (pools.pool[LOOKS == -1] == -1).all()
    assert (pools.pool[(LOOKS >= 0) & (PIECES <= 2)] >= 0).all()


def test_words_of_a_pool_are_asked_equally_often(pools) -> None:
    for members in pools.members:
        expected = COUNTS[members] * pools.asked_rate[members]
        assert expected == pytest.approx(np.full(len(members), COUNTS[members].min()))


def test_too_few_words_make_no_pool() -> None:
    pools = make_pools(np.zeros(20, np.int64), np.ones(20, np.int64), np.full(20, 5), np.ones(20), 24)
    assert (pools.pool == -1).all()
    assert not pools.members
