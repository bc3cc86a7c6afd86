"""Counts of words that stand near each other: X_ij is the sum of 1 / distance over all j near an i, a line at a time.

Each thread adds up its pieces of the text in a table of bounded size; a full table is moved into a run, in blocks of
2,048 x 2,048 words, and runs beyond the memory limit lie in files. At the end the runs are added up block by block.
Pairs are stored once, the larger number first, in random order within their block (the training needs no other
shuffling). Same text, threads and limit: same counts, bit for bit.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.models.glove import counting_kernels as kernels
from polysemy.models.glove.counting_kernels import DENSE, SIDE

PIECE_TOKENS = 1 << 19
FIRST_SLOTS, SLOT_BYTES, PAIR_BYTES = 1 << 14, 16, 8


@dataclass
class Counts:
    """Co-occurrence counts of `num_words` words, X symmetric, each pair once.

    places: uint16 (pairs, 2), a pair's words within its block; values: float32 (pairs,); bounds: int64 (blocks + 1,),
    block `R (R + 1) / 2 + C` has the larger word among the R-th 2,048 words, the smaller among the C-th.
    """

    places: np.ndarray
    values: np.ndarray
    bounds: np.ndarray
    num_words: int

    def __len__(self) -> int:
        return len(self.values)

    @functools.cached_property
    def num_entries(self) -> int:
        """Cells of the symmetric matrix that are not zero."""
        return 2 * len(self) - sum(int((places[:, 0] == places[:, 1]).sum()) for R, C, places, _ in self.blocks()
                                   if R == C)

    def blocks(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """(R, C, places, values) of each block that has pairs."""
        for block in np.flatnonzero(np.diff(self.bounds)).tolist():
            R, C = block_place(block)
            part = slice(int(self.bounds[block]), int(self.bounds[block + 1]))
            yield R, C, self.places[part], self.values[part]

    def row(self, word: int) -> np.ndarray:
        """float64 (words,): the counts of one word with all."""
        result = np.zeros(self.num_words)
        for R, C, places, values in self.blocks():
            for side, other, base in ((R, 1, C), (C, 0, R)):
                if side == word // SIDE:
                    found = places[:, 1 - other] == word % SIDE
                    result[base * SIDE + places[found, other].astype(np.int64)] = values[found]
        return result

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(larger, smaller, values): int64 numbers of words and float32 counts of all pairs, in stored order."""
        sizes = np.diff(self.bounds)
        R, C = np.array([block_place(block) for block in range(len(sizes))], np.int64).reshape(-1, 2).T
        return (np.repeat(R, sizes) * SIDE + self.places[:, 0], np.repeat(C, sizes) * SIDE + self.places[:, 1],
                np.asarray(self.values))


def block_place(block: int) -> tuple[int, int]:
    """(R, C) of a block's number."""
    R = (math.isqrt(8 * block + 1) - 1) // 2
    return R, block - R * (R + 1) // 2


def count_pairs(
    tokens: np.ndarray,
    num_words: int,
    *,
    window: int = 15,
    threads: int = 1,
    memory_bytes: int = 2 << 30,
    folder: Path | None = None,
    stop: Callable[[float], bool] | None = None,
) -> Counts:
    """Count the pairs of int32 `tokens` (-1 ends a line; other negative numbers take a place but are no words).

    memory_bytes bounds the tables and the runs kept in memory; beyond it runs lie in files in `folder` (which must be
    empty and is the caller's to remove; without it they stay in memory). stop(part done) is asked a few times a second;
    true ends the counting with what was read.
    """
    if window < 1:
        raise InputError(f"window must be at least 1, got {window}")
    tokens = np.asarray(tokens).view()
    tokens.flags.writeable = False  # as a mapped text is: one compiled loop for both
    rows = -(-num_words // SIDE)
    blocks, pieces = rows * (rows + 1) // 2, range(0, len(tokens), PIECE_TOKENS)
    store = _Store(blocks, memory_bytes // 2, folder)
    slots = max(FIRST_SLOTS, 1 << ((memory_bytes // 2 // threads // SLOT_BYTES).bit_length() - 1))
    workers, lock = [_Worker(store, slots) for _ in range(threads)], threading.Lock()

    def work(number: int) -> None:
        worker = workers[number]
        for start in pieces[number::threads]:
            with lock:
                if stop is not None and stop(start / len(tokens)):
                    break
            worker.count(tokens, start, min(start + PIECE_TOKENS, len(tokens)), window)
        worker.drain()

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work, number) for number in range(threads)]:
            future.result()
    return _merged(store, workers, num_words)


class _Store:
    """Runs, in memory until they take more than `limit` bytes, then in files."""

    def __init__(self, blocks: int, limit: int, folder: Path | None) -> None:
        self.blocks, self.limit, self.folder = blocks, limit, folder
        self.bytes = 0

    def empty(self, name: str, pairs: int) -> tuple[np.ndarray, np.ndarray]:
        """Room for places and values of so many pairs."""
        self.bytes += pairs * PAIR_BYTES
        if self.folder is None or self.bytes <= self.limit or not pairs:
            return np.empty((pairs, 2), np.uint16), np.empty(pairs, np.float32)
        shapes: Any = ("places", np.uint16, (pairs, 2)), ("values", np.float32, (pairs,))
        places, values = (np.memmap(self.folder / f"{name}.{kind}", dtype, "w+", shape=shape)
                          for kind, dtype, shape in shapes)
        return places, values


class _Worker:
    """What one thread has counted: a dense square, a hash table and the runs it was emptied into."""

    def __init__(self, store: _Store, most_slots: int) -> None:
        self.store, self.most_slots = store, most_slots
        self.dense = np.zeros((DENSE, DENSE))
        self.runs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.used = 0
        self.table = np.zeros((FIRST_SLOTS, 2), np.uint64)

    def count(self, tokens: np.ndarray, start: int, stop: int, window: int) -> None:
        """Count one piece; the table grows, and is emptied when it may not grow."""
        while True:
            start, self.used = kernels.count_piece(
                tokens, start, stop, window, self.dense, self.table, self.table.view(np.float64), self.used
            )
            if start >= stop:
                return
            if len(self.table) < self.most_slots:
                larger = np.zeros((2 * len(self.table), 2), np.uint64)
                kernels.rehash(self.table, self.table.view(np.float64), larger, larger.view(np.float64))
                self.table = larger
            else:
                self.drain()

    def drain(self) -> None:
        """Empty the table into a run."""
        if self.used:
            bounds = np.zeros(self.store.blocks + 1, np.int64)
            places, values = self.store.empty(f"run-{id(self)}-{len(self.runs)}", self.used)
            kernels.drain(self.table, self.table.view(np.float64), bounds, places, values)
            self.runs.append((bounds, places, values))
        self.used = 0


def _merged(store: _Store, workers: list[_Worker], num_words: int) -> Counts:
    """All runs and dense squares added up."""
    runs = [run for worker in workers for run in worker.runs]
    square = workers[0].dense
    for worker in workers[1:]:
        square += worker.dense
    cells = np.empty(SIDE * SIDE, np.int32)
    noted = kernels.note_dense(square, cells)
    room = noted + sum(len(run[2]) for run in runs)
    store.bytes = 0 if store.bytes + room * PAIR_BYTES < 2 * store.limit else store.bytes
    places, values = store.empty("counts", room)
    bounds = np.zeros(store.blocks + 1, np.int64)
    state = np.uint64(0x9E3779B97F4A7C15)
    sizes = sum((np.diff(run[0]) for run in runs), np.zeros(store.blocks, np.int64))
    at = 0
    for block in np.flatnonzero(sizes + (np.arange(store.blocks) == 0)).tolist():
        count = noted if block == 0 else 0
        for run_bounds, run_places, run_values in runs:
            part = slice(int(run_bounds[block]), int(run_bounds[block + 1]))
            count = kernels.add_to_square(run_places[part], run_values[part], square, cells, count)
        (R, C), part = block_place(block), slice(at, at + count)
        state = np.uint64(kernels.empty_square(square, cells, count, R == C, places[part], values[part], state))
        at += count
        bounds[block + 1] = at
    np.maximum.accumulate(bounds, out=bounds)
    return Counts(places[:at], values[:at], bounds, num_words)
