"""Read the next sentence of an encoded text inside a compiled loop, dropping frequent words at random."""
from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import inlined
from polysemy.models.kernels.drawing import below, xorshift

LONGEST = 1000
"""words of a sentence; a longer line is cut, as word2vec.c does"""
CERTAIN = 1 << 24
"""the threshold of a word that is always kept"""


def thresholds(keep: np.ndarray) -> np.ndarray:
    """uint32: the probabilities with which words are kept, for comparison with 24 random bits."""
    return np.round(np.clip(keep, 0, 1) * CERTAIN).astype(np.uint32)


@inlined
def read_sentence(tokens, at, stop, kept_below, state, sentence):
    """Fill `sentence` with the words that are kept, up to a line's end, `stop`, or its own length.

    Returns (next place, words in the sentence, words read, random state). Unknown words (-2) leave nothing.
    """
    length = 0
    words = 0
    while at < stop and length < len(sentence):
        word = tokens[at]
        at += 1
        if word < 0:
            if word == -1:
                break
            continue
        words += 1
        state = xorshift(state)
        sentence[length] = word
        length += np.int64(np.uint32(state >> np.uint64(40)) < kept_below[word])
    return at, length, words, state


@inlined
def draw_reach(state, least, window):
    """How far the window reaches to each side, `least` to `window` words, and the random state."""
    state = xorshift(state)
    return least + below(state, window - least + 1), state


@inlined
def rows_around(numbers, i, begin, end, reach, first, row, x):
    """Write the addresses of the rows of the words around place i, within begin..end, into x; returns how many.

    numbers: the row number of each place; first: the address of row 0; row: bytes a row. One place of x beyond the
    count may be written.
    """
    count = 0
    for j in range(max(begin, i - reach), min(end, i + reach + 1)):
        x[count] = first + numbers[j] * row
        count += j != i
    return count
