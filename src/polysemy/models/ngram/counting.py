"""Stage 1, counting: the distinct n-grams of every order, order by order, by sorting the text once more for each.

The places of the text, sorted by the n words that begin there, lie in groups of equal n-grams, which are numbered as
they come: that is their order in the tree that is the model. All that smoothing asks for falls out on the way. The
n-gram without its first word is the group from which a record was sorted here; the one without its last word is the
group of the order below at the same rank; the different words before it are counted when the group is sorted on.
N-grams do not cross a boundary: `<s>` may be the first word only, and `</s>` the last.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from polysemy.machine_code import compiled
from polysemy.models.ngram.sorting import BLOCK, Buckets, ask, count_words, sort_pairs, sort_words
from polysemy.models.ngram.stream import BOUNDARY

CHUNK = BLOCK // 4


class Allocate(Protocol):
    """Makes an array of a size that is an upper bound: pages that are never written cost nothing."""

    def __call__(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray: ...


@dataclass
class Level:
    """All distinct n-grams of one order, sorted by their words from left to right.

    order      words of each
    words      (n,) int32, the last word
    count      (n,) int32, occurrences in the text
    suffix     (n,) int32, number of the n-gram without its first word, in the level below
    first      (m + 1,) int32: those that continue n-gram i of the level below are first[i] .. first[i + 1] - 1
    neighbors  (n,) int32, how many different words stand before it, 0 for one that begins with a boundary; not known
               for the highest order, (0,)
    """

    order: int
    words: np.ndarray
    count: np.ndarray
    suffix: np.ndarray
    first: np.ndarray
    neighbors: np.ndarray

    def of_histories(self, values: np.ndarray) -> np.ndarray:
        """Values of the level below, each repeated for the n-grams that continue it."""
        return np.repeat(values, np.diff(self.first))


@dataclass
class Counts:
    """The n-grams of a text: a Level for each order; order 1 has one for every id, in its own place."""

    levels: list[Level]

    @property
    def order(self) -> int:
        return len(self.levels)

    def sizes(self) -> list[int]:
        return [len(level.words) for level in self.levels]

    def find(self, ids: list[int]) -> int:
        """The number of an n-gram that occurs."""
        node = ids[0]
        for word, level in zip(ids[1:], self.levels[1:], strict=False):
            low, high = level.first[node : node + 2].tolist()
            node = low + int(np.searchsorted(level.words[low:high], word))
            assert level.words[node] == word
        return node


@compiled
def number(records, starts, ends, from_word, to_word, state, below_words, below_count, first, words, count, suffix,
           neighbors, last_column, low, high, base, cursors, after):
    """Number the n-grams whose first words are from_word..to_word-1, and sort the places before them into `after`.

    records      column 0 the number of the n-gram without its first word, `last_column` the last word, then the words
                 before; from starts[w] to ends[w] for first word w
    state        history that is being continued, its occurrences not met yet, number of the last n-gram
    low, high    only places with these words are sorted on, into buckets that begin at `base`; high = 0 for none
    """
    width, stride = after.shape[1], np.uint64(after.itemsize * after.shape[1])
    room = np.uint64(after.ctypes.data) - np.uint64(base) * stride
    history, left, node = state[0], state[1], state[2]
    for word in range(from_word, to_word):
        sort_on = high > 0 and word != 1
        for j in range(starts[word], ends[word]):
            shorter, last = records[j, 0], records[j, last_column]
            same = left > 0 and suffix[node] == shorter
            while left == 0:
                history += 1
                first[history] = node + 1
                if last_column == 0 or below_words[history] != 1:  # what ends with </s> is not continued
                    left = below_count[history]
            left -= 1
            if same:
                count[node] += 1
            else:
                node += 1
                words[node] = last
                count[node] = 1
                suffix[node] = shorter
                if low == 0 and high > 0:
                    neighbors[node] = 0
            if sort_on:
                ask(records, j, last_column + 1, cursors, room, stride)
                before = records[j, last_column + 1]
                if before >= low and before < high:
                    at = cursors[before, 0]
                    neighbors[node] += cursors[before, 1] != node
                    cursors[before, 0] = at + 1
                    cursors[before, 1] = node
                    at -= base
                    after[at, 0] = node
                    after[at, 1] = last
                    for i in range(2, width - last_column):
                        after[at, i] = records[j, last_column + i]
    state[0], state[1], state[2] = history, left, node


def count_ngrams(
    stream: np.ndarray, size: int, order: int, *, allocate: Allocate | None = None, memory: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Counts:
    """The n-grams of 1 to `order` words of a stream of ids below `size`.

    allocate  where arrays are, in memory by default
    memory    sort at most about so many bytes at a time (never less than one word's records); 0 for no limit
    check     called between blocks; may raise to give up
    """
    return _Counter(stream, size, order, allocate or in_memory, memory, check).run()


class _Counter:
    """The passes over the text and its sorted records."""

    def __init__(self, stream: np.ndarray, size: int, order: int, allocate: Allocate, memory: int,
                 check: Callable[[], None]) -> None:
        self.stream, self.size, self.order, self.allocate, self.check = stream, size, order, allocate, check
        self.width = order - 1
        self.counts = count_words(stream, size)
        self.buckets = Buckets.of(self.counts)
        self.blocks = self.buckets.ranges(CHUNK)
        self.ranges = self.buckets.ranges(memory // (4 * self.width)) if memory and self.width else [(0, size)]

    def run(self) -> Counts:
        none = np.zeros(1, np.int32)
        level = Level(1, np.arange(self.size, dtype=np.int32), self.counts, none, none, np.zeros(self.size, np.int32))
        if self.order == 1:
            return Counts([level])
        places, room = (self.allocate(name, (len(self.stream) - 1, self.width), np.int32) for name in ("odd", "even"))
        self._sort(places, self._words)
        cursors = self._sort(room, lambda *to: self._pairs(places, level.neighbors, *to))
        levels, records, room = [level], room, places
        for order in range(2, self.order + 1):
            level, cursors = self._level(order, levels[-1], records, cursors[:, 0].copy(), room)
            levels.append(level)
            records, room = room, records
        return Counts(levels)

    def _level(self, order: int, below: Level, records: np.ndarray, ends: np.ndarray, room: np.ndarray
               ) -> tuple[Level, np.ndarray]:
        """The n-grams of one order; `room` then holds the records sorted for the next one, and cursors their ends."""
        tokens, histories = len(records), len(below.words)
        words, count, suffix, neighbors = (
            self.allocate(f"{name}{order}", (tokens * (name != "neighbors" or order < self.order),), np.int32)
            for name in ("words", "count", "suffix", "neighbors"))
        first = self.allocate(f"first{order}", (histories + 1,), np.int32)
        state = np.zeros(3, np.int64)

        def run(low: int, high: int, base: int, cursors: np.ndarray, after: np.ndarray) -> None:
            state[:] = -1, 0, -1
            for block in self.blocks:
                self.check()
                number(records, self.buckets.starts, ends, *block, state, below.words, below.count, first, words, count,
                       suffix, neighbors, int(order > 2), low, high, base, cursors, after)

        cursors = np.zeros((1, 2), np.int32)
        if order < self.order:
            cursors = self._sort(room, run)
        else:
            run(0, 0, 0, cursors, room)
        size = int(state[2]) + 1
        first[int(state[0]) + 1 :] = size
        return Level(order, words[:size], count[:size], suffix[:size], first, neighbors[:size]), cursors

    def _sort(self, room: np.ndarray, run: Callable[..., None]) -> np.ndarray:
        """Fill the buckets of `room`, a range of words after the other, by run(low, high, base, cursors, array)."""
        cursors, starts = self.buckets.cursors(), self.buckets.starts
        for low, high in self.ranges:
            if len(self.ranges) == 1:
                run(low, high, 0, cursors, room)
            else:
                begin, end = int(starts[low]), int(starts[high])
                part = np.zeros((end - begin, self.width), np.int32)
                run(low, high, begin, cursors, part)
                room[begin:end] = part
        return cursors

    def _words(self, low: int, high: int, base: int, cursors: np.ndarray, after: np.ndarray) -> None:
        for first in range(1, len(self.stream), CHUNK):
            self.check()
            sort_words(self.stream, first, min(first + CHUNK, len(self.stream)), low, high, base, cursors, after)

    def _pairs(self, records: np.ndarray, neighbors: np.ndarray, low: int, high: int, base: int, cursors: np.ndarray,
               after: np.ndarray) -> None:
        for block in self.blocks:
            self.check()
            sort_pairs(records, self.buckets.starts, *block, low, high, base, cursors, neighbors, after)


def in_memory(name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array that is not filled; the system gives memory only to the pages that are written."""
    return np.empty(shape, dtype)


assert BOUNDARY == 1, "the kernels write it as a number"
