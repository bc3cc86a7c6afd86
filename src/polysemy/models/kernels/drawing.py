"""Randomness inside compiled loops, and the table that negatives are drawn from."""
from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import exactly, inlined
from polysemy.runtime import seed_for


@inlined
def xorshift(state):
    """The next of 2**64 - 1 states (Marsaglia 2003, 13-7-17); use the high bits. The state must not be 0."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state


@inlined
def below(state, count):
    """A whole number 0..count - 1 from the high half of a state, without division; count is below 2**32."""
    return np.int64(((state >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


def start_state(*key: int | str) -> int:
    """A state to begin with, never 0, that depends on the key alone."""
    return seed_for(*key) or 1


@inlined
def drawn_word(state, table):
    """The word that a state picks from an `alias_table`: the high half says where, the low half which of the two."""
    word = below(state, len(table))
    entry = table[word]
    low = np.uint64(0xFFFFFFFF)
    return word if (state & low) < (entry >> np.uint64(32)) else np.int64(entry & low)


@inlined
def draw_negatives(state, table, drawn, count):
    """Fill the first `count` rows of `drawn` with words of the table; returns the state."""
    for i in range(count):
        for k in range(drawn.shape[1]):
            state = xorshift(state)
            drawn[i, k] = drawn_word(state, table)
    return state


def drawn_words(states: np.ndarray, table: np.ndarray) -> np.ndarray:
    """int64: `drawn_word` of many states (uint64), in NumPy."""
    words = (states >> 32) * np.uint64(len(table)) >> 32
    entries = table[words]
    return np.where((states & 0xFFFFFFFF) < entries >> 32, words, entries & 0xFFFFFFFF).astype(np.int64)


def alias_table(counts: np.ndarray, power: float = 0.75) -> np.ndarray:
    """uint64 (words,): draws word i by its share of count**power, to within 2**-32 of a place.

    The alias method (Walker 1977, Vose 1991): every place has the same chance; the high half of an entry is the share
    of the place that belongs to its own word, out of 2**32, the low half the word that has the rest. Eight bytes a
    word, where word2vec.c's table has 10**8 places (400 MB).
    """
    assert len(counts), "no words to draw from"
    weights = np.maximum(counts, 0).astype(np.float64) ** power
    weights *= len(weights) / weights.sum()
    return _fill_places(weights)


@exactly
def _fill_places(weights):
    """Give each place that is not full (its weight is below 1) the rest of one word that has more than its place."""
    count, whole = len(weights), np.uint64(0xFFFFFFFF)
    table = np.empty(count, np.uint64)
    order = np.empty(count, np.int32)  # words with less than a place from the left, words with more from the right
    few, many = 0, count
    for word in range(count):
        if weights[word] < 1:
            order[few] = word
            few += 1
        else:
            many -= 1
            order[many] = word
    while few > 0 and many < count:
        few -= 1
        small, large = order[few], order[many]
        share = np.uint64(weights[small] * 4294967296.0)
        table[small] = (min(share, whole) << np.uint64(32)) | np.uint64(large)
        weights[large] -= 1 - weights[small]
        if weights[large] < 1:
            many += 1
            order[few] = large
            few += 1
    for left in range(few):  # rounding leaves some; they have their places for themselves
        table[order[left]] = (whole << np.uint64(32)) | np.uint64(order[left])
    for left in range(many, count):
        table[order[left]] = (whole << np.uint64(32)) | np.uint64(order[left])
    return table
