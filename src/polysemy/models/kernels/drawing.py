"""Randomness inside compiled loops, and the table that negatives are drawn from."""
from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import inlined
from polysemy.runtime import seed_for

TABLE_BITS = 22
"""the table of negatives has 2**22 places, 16 MB: it stays in the last cache"""


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


def negative_table(counts: np.ndarray, power: float = 0.75, bits: int = TABLE_BITS) -> np.ndarray:
    """int32 (2**bits,): word i fills a share count**power of the places, to within one place, in order.

    word2vec.c's table has 10**8 places (400 MB). A uniform place is drawn by masking a random number. The table grows
    for vocabularies that would have fewer than 8 places a word on average.
    """
    assert len(counts), "no words to draw from"
    while (1 << bits) < 8 * len(counts):
        bits += 1
    weights = np.maximum(counts, 0).astype(np.float64) ** power
    ends = np.cumsum(weights)
    places = (np.arange(1 << bits) + 0.5) * (ends[-1] / (1 << bits))
    return np.minimum(np.searchsorted(ends, places, side="right"), len(counts) - 1).astype(np.int32)
