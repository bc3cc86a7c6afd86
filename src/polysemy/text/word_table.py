"""The words of a whole corpus with their counts, gathered from the tables of its blocks; bounded in size.

Blocks are taken in their order, so a word's number, which is the order of first sight, depends on the text alone.
"""
from __future__ import annotations

import numpy as np

from polysemy.errors import InputError
from polysemy.machine_code import compiled
from polysemy.text.pages import pages
from polysemy.text.word_rows import (
    COUNT,
    HIGH,
    LOW,
    NUMBER,
    PACKED,
    PLACE,
    SHAPE,
    START_SHIFT,
    Words,
    find_row,
    index_rows,
    joined,
    length_of,
    new_words,
    padded,
    put,
    put_row,
    start_of,
)

MOST_WORDS = 1 << 23
"""When more different words have been met, the rare ones are forgotten: the table stays below a gigabyte."""
KEPT_SHARE = 0.75
MOST_BYTES = (1 << 24) - 1  # of a word


class WordTable:
    """Counts of words. When it holds more than `most_words` (0: 8 million) it forgets those seen least.

    word2vec's ReduceVocab does so too. A forgotten word that comes again starts anew with count 0 and another number.

    `forgotten` counts the words that were dropped so, and `lost` their occurrences.
    """

    def __init__(self, most_words: int = 0) -> None:
        self.most_words = most_words or MOST_WORDS
        self.next_number = 0
        self.forgotten = 0
        self.lost = 0
        self._words = new_words(1 << 12, 1 << 16)

    def __len__(self) -> int:
        return int(self._words.state[0])

    @property
    def total(self) -> int:
        """Occurrences of all words, also the forgotten ones."""
        return int(self._rows[:, COUNT].sum()) + self.lost

    @classmethod
    def of(cls, words: list[str]) -> WordTable:
        """A table of given words: the number of a word is its place in the list."""
        table = cls(len(words))
        texts = [word.encode() for word in words]
        if max(map(len, texts), default=0) > MOST_BYTES:
            raise InputError(f"words must have at most {MOST_BYTES:,} bytes, got one of {max(map(len, texts)):,}")
        data, eights, size = padded(b"".join(texts))
        stops = np.cumsum([len(text) for text in texts], dtype=np.int64)
        table._reserve(len(words), size)
        _put_all(*table._words, data, eights, stops)
        table.next_number = len(words)
        return table

    def add(self, words: Words) -> np.ndarray:
        """Add the counts of a block's words; int32: the number of each row of the block."""
        self._reserve(int(words.state[0]), int(words.state[1]))
        numbers = np.empty(int(words.state[0]), np.int32)
        self.next_number = _merge(*self._words, words.rows, words.text, numbers, self.next_number)
        if len(self) > self.most_words:
            self._forget()
        return numbers

    def find(self, words: Words) -> np.ndarray:
        """int32: the number of each of a block's words in a table that is not added to, -1 where it has none."""
        numbers = np.empty(int(words.state[0]), np.int32)
        _look_up(*self._words[:3], words.rows, words.text, numbers)
        return numbers

    def ranked(self, min_count: int, max_words: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The words seen often enough, by falling count, then by their bytes: (words, int64 counts, int64 numbers)."""
        kept = np.flatnonzero(self._rows[:, COUNT] >= np.uint64(min_count))
        keys = [_second_eight(*self._words[1:3], kept).byteswap(), self._rows[kept, LOW].byteswap(),
                -self._rows[kept, COUNT].astype(np.int64)]
        kept = self._settle_long_ties(kept, np.lexsort(keys), keys)[: max_words or None]
        words = joined(self._words, kept).tobytes().decode().split("\n")[:-1]
        return words, self._rows[kept, COUNT].astype(np.int64), self._rows[kept, NUMBER].astype(np.int64)

    @property
    def _rows(self) -> np.ndarray:
        return self._words.rows[: self._words.state[0]]

    def _settle_long_ties(self, rows: np.ndarray, order: np.ndarray, keys: list[np.ndarray]) -> np.ndarray:
        """The rows in that order; words of equal keys (count, first 16 bytes) in the order of all their bytes."""
        same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
        rows = rows[order]
        edges = np.diff(np.concatenate([[False], same, [False]]).astype(np.int8))
        for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            group = rows[first : last + 1]
            texts = joined(self._words, group).tobytes().split(b"\n")[:-1]
            rows[first : last + 1] = [row for _, row in sorted(zip(texts, group, strict=True))]
        return rows

    def _reserve(self, rows: int, text: int) -> None:
        """Room for that many more rows and bytes of text."""
        words = self._words
        used, bytes_used = int(words.state[0]), int(words.state[1])
        if used + rows > len(words.rows):
            grown = new_words(max(used + rows, 2 * len(words.rows)), 0)
            grown.rows[:used] = words.rows[:used]
            words = grown._replace(text=words.text, state=words.state)
            index_rows(words.slots, words.rows, used)
        if bytes_used + text > len(words.text):
            longer = pages(max(bytes_used + text, 2 * len(words.text)), np.uint8)
            longer[:bytes_used] = words.text[:bytes_used]
            words = words._replace(text=longer)
        self._words = words

    def _forget(self) -> None:
        counts = self._rows[:, COUNT]
        place = len(counts) - int(KEPT_SHARE * self.most_words)
        highest = max(int(np.partition(counts, place)[place]), 1)
        gone = counts <= np.uint64(highest)
        self.forgotten += int(gone.sum())
        self.lost += int(counts[gone].sum())
        _compact(*self._words[1:], highest)
        self._words.slots[:] = -1
        index_rows(self._words.slots, self._words.rows, len(self))


@compiled
def _second_eight(rows, text, chosen):
    """uint64: bytes 8-15 of each of those words."""
    found = np.empty(chosen.shape[0], np.uint64)
    for place in range(chosen.shape[0]):
        row = chosen[place]
        found[place] = rows[row, HIGH]
        if length_of(rows, row) > PACKED:
            found[place] = 0
            for i in range(8, 16):
                found[place] |= np.uint64(text[start_of(rows, row) + i]) << np.uint64((i & 7) << 3)
    return found


@compiled
def _put_all(slots, rows, text, state, data, eights, stops):
    start = 0
    for number in range(stops.shape[0]):
        put(slots, rows, text, state, data, eights, start, stops[number], False)
        start = stops[number]


@compiled
def _merge(slots, rows, text, state, others, other_text, numbers, next_number):
    for row in range(numbers.shape[0]):
        count = others[row, COUNT]
        if count == 0:
            continue
        before = state[0]
        found = put_row(slots, rows, text, state, others, other_text, row)
        if found == before:
            rows[found, NUMBER] = next_number
            next_number += 1
        rows[found, COUNT] += count
        numbers[row] = rows[found, NUMBER]
    _stand_in(others, numbers)
    return next_number


@compiled
def _look_up(slots, rows, text, others, other_text, numbers):
    for row in range(numbers.shape[0]):
        found = find_row(slots, rows, text, others, other_text, row)
        numbers[row] = rows[found, NUMBER] if found >= 0 else -1
    _stand_in(others, numbers)


@compiled
def _stand_in(others, numbers):
    """Words that stand for another one take its number."""
    for row in range(numbers.shape[0]):
        if others[row, COUNT] == 0:
            numbers[row] = numbers[np.int64(others[row, NUMBER])]


@compiled
def _compact(rows, text, state, highest):
    """Keep the rows with a count above `highest`, and their text, in their order."""
    kept, used = 0, 0
    for row in range(state[0]):
        if rows[row, COUNT] <= np.uint64(highest):
            continue
        start, length = start_of(rows, row), length_of(rows, row)
        rows[kept] = rows[row]
        if length > PACKED:
            for i in range(length):
                text[used + i] = text[start + i]
            rows[kept, PLACE] = np.uint64(used) << START_SHIFT | rows[row, PLACE] & SHAPE
            used += length
        kept += 1
    state[0] = kept
    state[1] = used
