"""Fitting vectors to counts: passes over all counts until the epochs, the time or the user's patience are spent.

`fast` takes the counts in cache blocks, in float32, with threads that write to the same rows without asking each other
(Hogwild); with one thread it is deterministic. `plain` takes them one by one in one random order, in float64, on one
thread: the textbook's and the original program's arithmetic.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from polysemy.models.glove import adagrad
from polysemy.models.glove.counting import Counts, block_place
from polysemy.models.kernels.rows import aligned, padded
from polysemy.runtime import random_for

PART = 1 << 16
"""Counts that are learned from in a row; a block with more is cut."""
TASK = 1 << 18
"""Counts between two looks at whether to stop."""
LOOK_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Pass:
    """The mean cost of the counts that a pass took, and which part of all that is (1 unless it was stopped)."""

    cost: float
    part: float


def targets(values: np.ndarray, x_max: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """float32 logarithms of the counts and weights f(X) = min(1, (X / x_max)^alpha).

    In files beside the counts where those lie in a file, else in memory.
    """
    logs, weights = (_like(values, name) for name in ("logs", "weights"))
    for start in range(0, len(values), 1 << 20):
        part = slice(start, start + (1 << 20))
        np.log(values[part], out=logs[part])
        np.exp(np.minimum(0, np.float32(alpha) * (logs[part] - np.float32(np.log(x_max)))), out=weights[part])
    return logs, weights


class FastTables:
    """Vectors, biases and sums of squares in float32 rows that the fast loop likes."""

    def __init__(self, num_words: int, size: int, seed: int) -> None:
        self.size, self.width = size, padded(size + 1)
        self.tables = [self._drawn(num_words, name, seed) for name in ("input", "output")]

    def _drawn(self, num_words: int, name: str, seed: int) -> np.ndarray:
        table = aligned(num_words, 2 * self.width)
        table[:, : self.size + 1] = _drawn(num_words, self.size, name, seed)
        table[:, self.width : 2 * self.width] = 1
        return table

    def passes(self, counts: Counts, x_max: float, alpha: float, rate: float, seed: int, threads: int,
               stop: Callable[[float], bool]) -> Iterator[Pass]:
        """Passes without end; stop(part of the pass done) is asked between tasks."""
        logs, weights = targets(counts.values, x_max, alpha)
        loop = adagrad.fast_pass(self.size, self.width)
        parts, number, entries_in_all = _parts(counts), 0, 2 * len(counts)
        while True:
            tasks = _tasks(parts[random_for(seed, "glove", "order", number).permutation(len(parts))])
            costs, done = _shared_out(
                lambda task: loop(task, counts.places, logs, weights, *self.tables, np.float32(rate)),
                tasks, threads, stop,
            )
            taken = sum(int((task[:, 3] - task[:, 2]).sum()) for task in tasks[:done])
            entries = counts.num_entries if done == len(tasks) else taken
            number += 1
            yield Pass(cost=sum(costs) / max(1, entries), part=1.0 if done == len(tasks) else taken / entries_in_all)

    def tensors(self) -> dict[str, np.ndarray]:
        """What is kept of the model: input, output (words, size) and their biases (words,), float32."""
        found = {}
        for name, table in zip(("input", "output"), self.tables, strict=True):
            found[name] = np.ascontiguousarray(table[:, : self.size])
            found[f"{name}_bias"] = table[:, self.size].copy()
        return found


class PlainTables:
    """The same in float64, learned from one count after the other."""

    def __init__(self, num_words: int, size: int, seed: int) -> None:
        self.size = size
        self.tables = [np.ones((num_words, 2, size + 1)) for _ in range(2)]
        for name, table in zip(("input", "output"), self.tables, strict=True):
            table[:, 0] = _drawn(num_words, size, name, seed)

    def passes(self, counts: Counts, x_max: float, alpha: float, rate: float, seed: int, threads: int,
               stop: Callable[[float], bool]) -> Iterator[Pass]:
        """Passes without end, each in the one random order of this seed."""
        larger, smaller, values = counts.pairs()
        logs = np.log(values.astype(np.float64))
        weights = np.minimum(1, (values / np.float64(x_max)) ** alpha)
        both = np.concatenate([np.arange(len(values)), len(values) + np.flatnonzero(larger != smaller)])
        order = random_for(seed, "glove", "order").permutation(both)
        while True:
            cost, done = 0.0, 0
            while done < len(order) and not stop(done / len(order)):
                part = order[done : done + TASK]
                cost += adagrad.plain_pass(part, larger, smaller, logs, weights, *self.tables, self.size, rate)
                done += len(part)
            yield Pass(cost=cost / max(1, done), part=done / len(order))

    def tensors(self) -> dict[str, np.ndarray]:
        """What is kept of the model: input, output (words, size) and their biases (words,), float32."""
        found = {}
        for name, table in zip(("input", "output"), self.tables, strict=True):
            found[name] = np.ascontiguousarray(table[:, 0, : self.size], np.float32)
            found[f"{name}_bias"] = table[:, 0, self.size].astype(np.float32)
        return found


def _like(values: np.ndarray, name: str) -> np.ndarray:
    if isinstance(values, np.memmap) and values.filename is not None and len(values):
        return np.memmap(f"{values.filename}.{name}", np.float32, "w+", shape=values.shape)
    return np.empty(len(values), np.float32)


def _drawn(num_words: int, size: int, name: str, seed: int) -> np.ndarray:
    """float32 (words, size + 1): vectors and biases from U(-1/2, 1/2) / size."""
    random = random_for(seed, "glove", name)
    return (random.random((num_words, size + 1), np.float32) - np.float32(0.5)) / np.float32(size)


def _tasks(parts: np.ndarray) -> list[np.ndarray]:
    """The parts in groups of some TASK counts."""
    ends = np.cumsum(parts[:, 3] - parts[:, 2])
    cuts = [0, *(np.flatnonzero(np.diff(ends // TASK)) + 1).tolist(), len(parts)]
    return [parts[a:b] for a, b in itertools.pairwise(cuts) if b > a]


def _shared_out(work: Callable[[np.ndarray], float], tasks: list[np.ndarray], threads: int,
                stop: Callable[[float], bool]) -> tuple[list[float], int]:
    """Results of the tasks, by threads that each take the next one, and how many were begun before stop said so."""
    results, begun, lock, halted = [0.0] * len(tasks), [0], threading.Lock(), threading.Event()

    def run() -> None:
        while True:
            with lock:
                number = begun[0]
                if number == len(tasks) or halted.is_set():
                    return
                begun[0] += 1
            results[number] = work(tasks[number])

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(run) for _ in range(threads)]
        try:
            while wait(futures, timeout=LOOK_SECONDS).not_done:
                if stop(begun[0] / max(1, len(tasks))):
                    halted.set()
        finally:
            halted.set()
    for future in futures:
        future.result()
    return results, begun[0]


def _parts(counts: Counts) -> np.ndarray:
    """int64 (parts, 5): word block, context block, first count, end, exchanged; each pair of words both ways round."""
    parts = []
    for block in np.flatnonzero(np.diff(counts.bounds)).tolist():
        R, C = block_place(block)
        start, stop = int(counts.bounds[block]), int(counts.bounds[block + 1])
        for at in range(start, stop, PART):
            end = min(at + PART, stop)
            parts += [(R, C, at, end, 0), (C, R, at, end, 1)]
    return np.array(parts, np.int64).reshape(-1, 5)
