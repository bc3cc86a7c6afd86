"""Pools of interchangeable words: whichever of them stood in the gap, the others could have been the wrong answers.

Words of one look and one number of pieces are cut by rank into pools in which no rank exceeds another by more than a
quarter. The wrong answers come from the pool of the right one, and a word is asked in inverse proportion to its
frequency within its pool. So, but for the context, each of the sixteen is equally likely to be the right answer: a
model that knows frequencies alone can do no better than chance. (Taking neighbors on both sides of the right answer
instead would put it in the middle of its candidates, and picking the middle one would be right three times as often
as chance.)
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RANK_RATIO = 1.25


@dataclass(frozen=True)
class Pools:
    """Which words go together. All arrays but `ratio` and `same_pieces` have one entry a word of the vocabulary."""

    pool: np.ndarray
    """number of the word's pool, -1 for words that are never asked nor offered"""
    asked_rate: np.ndarray
    """with which probability an occurrence of the word may be asked"""
    ratio: np.ndarray
    """for each pool, its last rank over its first; above RANK_RATIO the pool was widened"""
    same_pieces: np.ndarray
    """for each pool, whether all its words have the same number of pieces"""
    members: list[np.ndarray]
    """for each pool, the indices of its words"""


def make_pools(looks: np.ndarray, pieces: np.ndarray, counts: np.ndarray, absent: np.ndarray,
               need: float = 24.0) -> Pools:
    """Cut a vocabulary into pools.

    looks: kinds of words, -1 for those to leave out; pieces: of each word under the shared tokenizer; counts: falling,
    so that the index of a word is its rank less one; absent: how likely a context lacks the word; need: words of a
    pool that must be expected to be absent, or the pool takes in further ranks, and where a whole look has too few
    words of one number of pieces, other numbers too. What is still too little is left out.
    """
    groups: list[tuple[np.ndarray, bool]] = []
    for look in np.unique(looks[looks >= 0]).tolist():
        mine, scarce = looks == look, []
        for number in np.unique(pieces[mine]).tolist():
            group = np.flatnonzero(mine & (pieces == number))
            if absent[group].sum() >= need:
                groups.append((group, True))
            else:
                scarce.append(group)
        rest = np.sort(np.concatenate([np.zeros(0, np.int64), *scarce]))
        if absent[rest].sum() >= need:
            groups.append((rest, len(scarce) == 1))
    members, ratio, same = [], [], []
    for group, alike in groups:
        for block in _blocks(group, absent[group], need):
            members.append(block)
            ratio.append((block[-1] + 1) / (block[0] + 1))
            same.append(alike)
    pool, rate = np.full(len(looks), -1, np.int64), np.zeros(len(looks))
    for number, block in enumerate(members):
        pool[block] = number
        rate[block] = counts[block].min() / counts[block]
    return Pools(pool, rate, np.array(ratio), np.array(same, bool), members)


def _blocks(group: np.ndarray, absent: np.ndarray, need: float) -> list[np.ndarray]:
    """Consecutive stretches of a group of indices, each of a rank ratio up to RANK_RATIO and at least `need` words."""
    room = np.concatenate([[0.0], np.cumsum(absent)])
    cuts, start = [0], 0
    while start < len(group):
        by_rank = np.searchsorted(group + 1, RANK_RATIO * (group[start] + 1), side="right")
        by_need = np.searchsorted(room, room[start] + need - 1e-9, side="left")
        start = int(max(by_rank, by_need))
        if start >= len(group) or room[-1] - room[start] < need:
            break
        cuts.append(start)
    return np.split(group, cuts[1:])
