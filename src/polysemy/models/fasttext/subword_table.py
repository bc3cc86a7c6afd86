"""The n-grams of a whole vocabulary as rows of a matrix, by compiled loops that equal `subwords` word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polysemy.models.fasttext.subwords import END, to_bytes
from polysemy.models.kernels.compiling import exactly


@dataclass(frozen=True)
class SubwordTable:
    """Which rows of the input matrix a word is made of, for each word of a vocabulary.

    rows[starts[w]:starts[w + 1]] are the rows of word w: its own, w, then those of its n-grams, from `words` on.
    used[i] is the bucket whose row is words + i: only buckets that some word uses have one. The original keeps a row
    for each bucket, most of which stay as they were drawn; here those are zero and take no memory.
    """

    starts: np.ndarray
    """int64 (words + 1,)"""
    rows: np.ndarray
    """int32 (starts[-1],)"""
    used: np.ndarray
    """int32 (rows of buckets,), the most used first"""

    @property
    def num_rows(self) -> int:
        """Rows of the input matrix: words and used buckets."""
        return len(self.starts) - 1 + len(self.used)


def bucket_table(words: Sequence[str], shortest: int, longest: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """The buckets of the n-grams of many words: int64 starts (words + 1,) and int32 buckets, as `subword_buckets`.

    Some ten million n-grams a second.
    """
    encoded = [b"" if word == END else b"<" + to_bytes(word) + b">" for word in words]
    ends = np.cumsum([0, *map(len, encoded)])
    data = np.frombuffer(b"".join(encoded), np.uint8)
    starts = np.zeros(len(words) + 1, np.int64)
    if longest < 1:
        return starts, np.zeros(0, np.int32)
    np.cumsum(_count(data, ends, shortest, longest), out=starts[1:])
    found = np.empty(starts[-1], np.int32)
    _hash(data, ends, shortest, longest, buckets, starts, found)
    return starts, found


def hash_words(words: Sequence[str]) -> np.ndarray:
    """int32 (words,): the hash of each word, as the signed number that the original mixes into word n-grams."""
    encoded = [to_bytes(word) for word in words]
    hashes = np.empty(len(words), np.uint32)
    _hash_whole(np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)]), hashes)
    return hashes.view(np.int32)


def subword_table(words: Sequence[str], counts: np.ndarray, shortest: int, longest: int, buckets: int) -> SubwordTable:
    """The table of a vocabulary; rows of buckets stand in the order of how often running words use them."""
    starts, found = bucket_table(words, shortest, longest, buckets)
    used, places = np.unique(found, return_inverse=True)
    weights = np.bincount(places.ravel(), np.repeat(counts, np.diff(starts)), len(used))
    order = np.argsort(-weights, kind="stable")
    place_of = np.empty(len(used), np.int64)
    place_of[order] = np.arange(len(used))
    return join_rows(starts, place_of[places.ravel()], used[order])


def join_rows(starts: np.ndarray, places: np.ndarray, used: np.ndarray) -> SubwordTable:
    """Put each word's own row before the rows of its n-grams; places: index into `used` of each n-gram, -1 for none."""
    num_words = len(starts) - 1
    owner = np.repeat(np.arange(num_words), np.diff(starts))
    kept = places >= 0
    sizes = np.bincount(owner[kept], minlength=num_words) + 1
    ends = np.zeros(num_words + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    rows = np.empty(ends[-1], np.int32)
    rows[ends[:-1]] = np.arange(num_words)
    others = np.ones(len(rows), bool)
    others[ends[:-1]] = False
    rows[others] = places[kept] + num_words
    return SubwordTable(ends, rows, used.astype(np.int32))


@exactly
def compose(starts: np.ndarray, rows: np.ndarray, matrix: np.ndarray, result: np.ndarray) -> None:
    """result[w] = mean of matrix[rows[starts[w]:starts[w + 1]]], summed in float64; zero for a word without rows."""
    size = matrix.shape[1]
    total = np.empty(size, np.float64)
    for word in range(len(starts) - 1):
        total[:] = 0
        for place in range(starts[word], starts[word + 1]):
            row = matrix[rows[place]]
            for j in range(size):
                total[j] += row[j]
        divisor = max(starts[word + 1] - starts[word], 1)
        for j in range(size):
            result[word, j] = total[j] / divisor


@exactly
def _hash_whole(data: np.ndarray, ends: np.ndarray, hashes: np.ndarray) -> None:
    for word in range(len(hashes)):
        state = np.uint32(2166136261)
        for place in range(ends[word], ends[word + 1]):
            byte = np.uint32(data[place])
            if byte >= 128:
                byte |= np.uint32(0xFFFFFF00)
            state = np.uint32((np.uint32(state ^ byte)) * np.uint32(16777619))
        hashes[word] = state


@exactly
def _count(data: np.ndarray, ends: np.ndarray, shortest: int, longest: int) -> np.ndarray:
    counts = np.zeros(len(ends) - 1, np.int64)
    for word in range(len(ends) - 1):
        characters = 0
        for place in range(ends[word], ends[word + 1]):
            characters += (data[place] & 0xC0) != 0x80
        for length in range(max(shortest, 1), longest + 1):
            counts[word] += max(characters - length + 1, 0)
        if shortest <= 1 <= longest and characters > 0:
            counts[word] -= 2 if characters > 1 else 1
    return counts


@exactly
def _hash(data: np.ndarray, ends: np.ndarray, shortest: int, longest: int, buckets: int, starts: np.ndarray,
          found: np.ndarray) -> None:
    for word in range(len(ends) - 1):
        begin, end, put = ends[word], ends[word + 1], starts[word]
        for first in range(begin, end):
            if (data[first] & 0xC0) == 0x80:
                continue
            state, place, length = np.uint32(2166136261), first, 0
            while place < end and length < longest:
                while True:
                    byte = np.uint32(data[place])
                    if byte >= 128:
                        byte |= np.uint32(0xFFFFFF00)
                    state = np.uint32((np.uint32(state ^ byte)) * np.uint32(16777619))
                    place += 1
                    if place >= end or (data[place] & 0xC0) != 0x80:
                        break
                length += 1
                if length >= shortest and not (length == 1 and (first == begin or place == end)):
                    found[put] = np.int64(state) % buckets
                    put += 1
