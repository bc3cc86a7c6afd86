"""Counting for texts larger than memory: the sort done in partitions by last word, the nodes kept in files.

A pass over the text collects, for a range of last words, the windows of words that end in one of them; they are sorted
and scanned in memory, and their nodes are appended to memory-mapped files, which the system writes out when it needs
room. What memory has to hold is one partition and the counts of single words. The result equals that of
`count_ngrams`, number by number.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit

from polysemy.errors import InputError
from polysemy.models.ngram.counting import Allocate, Counts, TreeBuilder
from polysemy.models.ngram.sorting import BLOCK
from polysemy.models.ngram.stream import BOUNDARY

SHIFT = 3
WINDOW = 1 << SHIFT
"""words kept before and with each last word; a power of two that holds the highest order"""
RECORD_BYTES = 4 * WINDOW + 4 * 3 + 4 * 4


@njit(nogil=True, cache=True)
def collect(stream, first, last, low, high, order, used, windows, places):
    """Append the windows of positions first..last-1 whose word is in low..high-1; returns how many there are now."""
    for position in range(first, last):
        word = stream[position]
        if word < low or word >= high:
            continue
        for j in range(windows.shape[1]):
            windows[used, j] = 1
        windows[used, windows.shape[1] - 1] = word
        for j in range(1, order):
            word = stream[position - j]
            windows[used, windows.shape[1] - 1 - j] = word
            if word == 1:
                break
        places[used] = position
        used += 1
    return used


@njit(nogil=True, cache=True)
def sort_column(windows, column, before, cursors, after):
    """One stable counting sort of the records by one column."""
    for record in before:
        word = windows[record, column]
        at = cursors[word]
        cursors[word] = at + 1
        after[at] = record


class Scratch:
    """Arrays in files of a folder: sparse, so an upper bound for their size costs nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        try:
            return np.memmap(self.folder / name, dtype, "w+", shape=tuple(max(1, n) for n in shape))
        except OSError as error:
            raise InputError(f"scratch folder must be writable, got {self.folder} ({error.strerror})") from error


def count_in_partitions(
    stream: np.ndarray, size: int, order: int, *, allocate: Allocate, memory: int,
    check: Callable[[], None] = lambda: None,
) -> Counts:
    """As `count_ngrams`, with sorted partitions of at most about `memory` bytes (never less than one word's windows).

    stream  may be memory-mapped
    """
    unigrams = np.zeros(size, np.int64)
    for first in range(1, len(stream), BLOCK):
        unigrams += np.bincount(stream[first : first + BLOCK], minlength=size)
    if order == 1:
        return Counts(unigrams.astype(np.int32), [])
    builder = TreeBuilder(stream, order, allocate)
    for low, high in ranges(unigrams, max(1, memory // RECORD_BYTES)):
        _add_partition(builder, stream, low, high, unigrams[low:high], check)
    return Counts(unigrams.astype(np.int32), builder.levels(check))


def ranges(unigrams: np.ndarray, records: int) -> list[tuple[int, int]]:
    """Ranges of ids in order that cover all, of at most `records` occurrences where a range has more than one id."""
    result, low, held = [], 0, 0
    for word, count in enumerate(unigrams.tolist()):
        if held and held + count > records:
            result.append((low, word))
            low, held = word, 0
        held += count
    return [*result, (low, len(unigrams))]


def _add_partition(builder: TreeBuilder, stream: np.ndarray, low: int, high: int, counts: np.ndarray,
                   check: Callable[[], None]) -> None:
    total = int(counts.sum())
    if not total:
        return
    windows, places = np.empty((total, WINDOW), np.int32), np.empty(total, np.int32)
    used = 0
    for first in range(1, len(stream), BLOCK):
        check()
        used = collect(stream, first, min(first + BLOCK, len(stream)), low, high, builder.order, used, windows, places)
    assert used == total
    records = sort_windows(windows, builder.order, check)
    numbers = np.empty((total, max(1, builder.order - 2)), np.int32)
    begin = builder.used.copy()
    local = records * np.int32(WINDOW) + np.int32(WINDOW - 1)
    builder.add(windows.reshape(-1), local, 0, numbers, SHIFT)
    builder.numbers[places] = numbers
    for k, (first, last) in enumerate(zip(begin.tolist(), builder.used.tolist(), strict=True)):
        builder.place[k, first:last] = places[builder.place[k, first:last] >> SHIFT]


def sort_windows(windows: np.ndarray, order: int, check: Callable[[], None]) -> np.ndarray:
    """int64 (records,): the records sorted by last word, then by the words before it, ties in order of the text."""
    before = np.arange(len(windows), dtype=np.int64)
    after = np.empty_like(before)
    for column in range(WINDOW - order, WINDOW):
        check()
        keys, counts = np.unique(windows[:, column], return_counts=True)
        cursors = np.zeros(int(keys[-1]) + 1, np.int64)
        cursors[keys] = np.cumsum(counts) - counts
        sort_column(windows, column, before, cursors, after)
        before, after = after, before
    return before


assert BOUNDARY == 1, "the kernels write it as a number"
