"""Stage 1, counting: the distinct n-grams of every order, from positions sorted by their last words.

One scan of the sorted positions makes a tree read from right to left: the children of an n-gram are the same n-gram
with one more word on its left. Neighbors in the sorted row that agree in k words before the last share their nodes
down to k. N-grams do not cross a boundary: `<s>` may be the leftmost word only.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numba import njit

from polysemy.models.ngram.sorting import BLOCK, sort_positions

CHUNK = BLOCK // 4


class Allocate(Protocol):
    """Makes an array of a size that is an upper bound: pages that are never written cost nothing."""

    def __call__(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray: ...


@dataclass
class Level:
    """All distinct n-grams of one order >= 2, sorted by last word, then by the words before it from right to left.

    order     words of each
    left      (n,) int32, the leftmost word
    count     (n,) int32, occurrences in the text
    suffix    (n,) int32, number of the n-gram without its leftmost word, in the level below; ascending
    context   (n,) int32, number of the n-gram without its last word, in the level below
    """

    order: int
    left: np.ndarray
    count: np.ndarray
    suffix: np.ndarray
    context: np.ndarray


@dataclass
class Counts:
    """The n-grams of a text: occurrences of each id, and a Level for each order from 2."""

    unigrams: np.ndarray
    levels: list[Level]

    @property
    def order(self) -> int:
        return len(self.levels) + 1

    def sizes(self) -> list[int]:
        return [len(self.unigrams), *(len(level.left) for level in self.levels)]


@njit(nogil=True, cache=True)
def scan(stream, positions, previous, order, used, left, count, suffix, place, numbers, shift):
    """Add the nodes of some sorted positions. Row k of left.. is for n-grams of k + 2 words; used (order - 1,) counts.

    previous  the position before positions[0] in the sorted row, 0 for none
    place     an occurrence of each node
    numbers   at each position >> shift the number of the n-gram of 2, 3, ... words that ends there
    """
    for j in range(len(positions)):
        position = positions[j]
        same = previous != 0 and stream[previous] == stream[position]
        below = np.int32(stream[position])
        for k in range(order - 1):
            word = stream[position - k - 1]
            same = same and stream[previous - k - 1] == word
            at = used[k]
            if same:
                at -= 1
                count[k, at] += 1
            else:
                used[k] = at + 1
                left[k, at] = word
                count[k, at] = 1
                suffix[k, at] = below
                place[k, at] = position
            if k < order - 2:
                numbers[position >> shift, k] = at
            below = np.int32(at)
            if word == 1:
                break
        previous = position
    return previous


@njit(nogil=True, cache=True)
def find_contexts(stream, numbers, level, place, first, last):
    """Turn place[first:last] of n-grams of level + 2 words into the number of the n-gram one word shorter, in place."""
    for i in range(first, last):
        before = place[i] - 1
        if level == 0:
            place[i] = stream[before]
        else:
            place[i] = numbers[before, level - 1]


def count_ngrams(
    stream: np.ndarray, size: int, order: int, *, allocate: Allocate | None = None,
    check: Callable[[], None] = lambda: None,
) -> Counts:
    """The n-grams of 1 to `order` words of a stream of ids below `size`, counted in memory."""
    allocate = allocate or in_memory
    if order == 1:
        return Counts(np.bincount(stream[1:], minlength=size).astype(np.int32), [])
    positions, starts = sort_positions(stream, size, order, check)
    builder = TreeBuilder(stream, order, allocate)
    previous = 0
    for first in range(0, len(positions), CHUNK):
        check()
        previous = builder.add(stream, positions[first : first + CHUNK], previous)
    return Counts(np.diff(starts).astype(np.int32), builder.levels(check))


class TreeBuilder:
    """Arrays of nodes that grow while sorted positions are scanned."""

    def __init__(self, stream: np.ndarray, order: int, allocate: Allocate) -> None:
        self.stream, self.order = stream, order
        rows, tokens = order - 1, len(stream) - 1
        self.left, self.count, self.suffix, self.place = (
            allocate(name, (rows, tokens), np.int32) for name in ("left", "count", "suffix", "place")
        )
        self.numbers = allocate("numbers", (tokens + 1, max(1, order - 2)), np.int32)
        self.used = np.zeros(rows, np.int64)

    def add(self, stream: np.ndarray, positions: np.ndarray, previous: int, numbers: np.ndarray | None = None,
            shift: int = 0) -> int:
        """Scan more of the sorted positions; returns what `previous` is for the next call."""
        numbers = self.numbers if numbers is None else numbers
        return scan(stream, positions, previous, self.order, self.used, self.left, self.count, self.suffix, self.place,
                    numbers, shift)

    def levels(self, check: Callable[[], None]) -> list[Level]:
        """The nodes of each order, with their contexts; call once."""
        result = []
        for k, used in enumerate(self.used.tolist()):
            for first in range(0, used, BLOCK):
                check()
                find_contexts(self.stream, self.numbers, k, self.place[k], first, min(first + BLOCK, used))
            arrays = (array[k, :used] for array in (self.left, self.count, self.suffix, self.place))
            result.append(Level(k + 2, *arrays))
        del self.numbers
        return result


def in_memory(name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array that is not filled; the system gives memory only to the pages that are written."""
    return np.empty(shape, dtype)
