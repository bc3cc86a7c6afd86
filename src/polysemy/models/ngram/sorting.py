"""A text as records sorted by word, ready to be sorted again by the words further left.

If all places of a text are sorted by the k words that begin there, one stable counting sort of the places before them
sorts these by k + 1 words: of two places with the same word before, the earlier one comes earlier. (The step is that of
radix sort from the last digit; that neighboring places share their digits is what saves packing them into keys.) So
that nothing has to be looked up in the text, each place carries the words before it along.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from polysemy.machine_code import compiled, prefetch

BLOCK = 1 << 22
"""records a call of a kernel, a fraction of a second, so that Ctrl-C is heard"""
AHEAD = 24


@njit(inline="always")
def ask(records, j, column, cursors, room, stride):
    """Ask for where the record that comes AHEAD records after j will go; what stands there need not be a record."""
    if j + AHEAD < len(records):
        word = records[j + AHEAD, column]
        if 0 <= word < len(cursors):
            prefetch(room + np.uint64(cursors[word, 0]) * stride)


class Buckets(NamedTuple):
    """Where the records of each word lie: word w from starts[w] on, before starts[w + 1]; int32 (size + 1,)."""

    starts: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray) -> Buckets:
        starts = np.zeros(len(counts) + 1, np.int32)
        np.cumsum(counts, out=starts[1:])
        return cls(starts)

    def ranges(self, most: int) -> list[tuple[int, int]]:
        """Ranges of words in order that cover all, of at most `most` records where a range has more than one word."""
        size, result, low = len(self.starts) - 1, [], 0
        while low < size:
            end = int(np.searchsorted(self.starts, int(self.starts[low]) + most, side="right")) - 1
            result.append((low, max(low + 1, end)))
            low = result[-1][1]
        return result

    def cursors(self) -> np.ndarray:
        """int32 (size, 2): where the next record of each word goes, and what its last one stood before (-1: none)."""
        result = np.full((len(self.starts) - 1, 2), -1, np.int32)
        result[:, 0] = self.starts[:-1]
        return result


def count_words(stream: np.ndarray, size: int) -> np.ndarray:
    """int32 (size,): occurrences of each id, the first boundary left out."""
    counts = np.zeros(size, np.int64)
    for first in range(1, len(stream), BLOCK):
        counts += np.bincount(stream[first : first + BLOCK], minlength=size)
    return counts.astype(np.int32)


@compiled
def sort_words(stream, first, last, low, high, base, cursors, records):
    """Put places first..last-1 with words low..high-1 into their buckets, which begin at `base`.

    A record is the words before the place, the nearest first; before the text there are boundaries.
    """
    stride = np.uint64(records.itemsize * records.shape[1])
    room = np.uint64(records.ctypes.data) - np.uint64(base) * stride
    for place in range(first, last):
        if place + AHEAD < len(stream):
            prefetch(room + np.uint64(cursors[stream[place + AHEAD], 0]) * stride)
        word = stream[place]
        if word < low or word >= high:
            continue
        at = cursors[word, 0]
        cursors[word, 0] = at + 1
        at -= base
        for i in range(records.shape[1]):
            records[at, i] = stream[place - 1 - i] if place > i else 1


@compiled
def sort_pairs(records, starts, from_word, to_word, low, high, base, cursors, neighbors, after):
    """From records sorted by a word, those of the place before whose word is in low..high-1: sorted by two words.

    A record is now the second word, then the words before the first one. `neighbors` counts, for the words
    from_word..to_word-1, the different words before each.
    """
    width, stride = records.shape[1], np.uint64(after.itemsize * after.shape[1])
    room = np.uint64(after.ctypes.data) - np.uint64(base) * stride
    for word in range(from_word, to_word):
        different = 0
        for j in range(starts[word], starts[word + 1]):
            ask(records, j, 0, cursors, room, stride)
            before = records[j, 0]
            if before < low or before >= high:
                continue
            at = cursors[before, 0]
            different += cursors[before, 1] != word
            cursors[before, 0] = at + 1
            cursors[before, 1] = word
            at -= base
            after[at, 0] = word
            for i in range(1, width):
                after[at, i] = records[j, i]
        neighbors[word] += different
