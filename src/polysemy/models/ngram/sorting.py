"""Positions of a text sorted by the words that end there: the last word first, then the words before it.

If the positions are sorted by their last k words, one stable counting sort of their successors sorts these by k + 1
words: the successor of an earlier position comes earlier within its word. So order n costs n linear passes, for any
size of vocabulary, with nothing but two arrays of positions. (The step is that of radix sort from the last digit; that
neighboring positions share their digits is what saves packing them into keys.)
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

BLOCK = 1 << 22
"""positions a call of a kernel, a fraction of a second, so that Ctrl-C is heard"""


@njit(nogil=True, cache=True)
def sort_block(stream, before, first, last, cursors, after):
    """Put the successors of before[first:last] behind what their words' buckets hold; the last wraps to position 1."""
    end = len(stream) - 1
    for j in range(first, last):
        position = before[j] + 1
        if position > end:
            position = 1
        word = stream[position]
        at = cursors[word]
        cursors[word] = at + 1
        after[at] = position


def sort_positions(stream: np.ndarray, size: int, order: int, check: Callable[[], None]
                   ) -> tuple[np.ndarray, np.ndarray]:
    """All positions 1..n of a stream sorted by their last `order` words, ties of equal n-grams in no stated order.

    stream  int32 (n + 1,), a boundary first and last
    size    number of model ids
    check   called between blocks; may raise to give up

    Returns (positions int32 (n,), starts int64 (size + 1,)): positions of word w are positions[starts[w]:starts[w+1]].
    Beyond the first boundary the order goes on by the sentence before, which changes nothing for n-grams.
    """
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(stream[1:], minlength=size), out=starts[1:])
    before = np.arange(len(stream) - 1, dtype=np.int32)
    after = np.empty_like(before)
    for _ in range(order):
        cursors = starts[:-1].copy()
        for first in range(0, len(before), BLOCK):
            check()
            sort_block(stream, before, first, min(first + BLOCK, len(before)), cursors, after)
        before, after = after, before
    return before, starts
