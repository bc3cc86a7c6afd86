"""Threads that pass over a text block by block, with a step that falls by the words seen.

Threads share the matrices and write over each other now and then (Hogwild, Niu et al. 2011): the result is as good and
never the same twice. One thread gives the same bits for the same seed, unless a time limit sets the schedule.
"""
from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np

from polysemy.text.vocabulary import LINE_END

FLOOR = 1e-4
"""the rate never falls below this share of the first one"""
POLL_SECONDS = 0.05
REPORT_SECONDS = 0.5
Block = Callable[[int, int, int, float, int], tuple[int, int, int]]
"""(at, until, stop, rate, random state) -> (next place, words read, random state)"""


def parts_of(tokens: np.ndarray, count: int) -> list[tuple[int, int]]:
    """`count` stretches of about equal length that end where lines end; some may be empty."""
    bounds = [0]
    for part in range(1, count):
        at = max(len(tokens) * part // count, bounds[-1])
        while at < len(tokens):
            ends = np.flatnonzero(tokens[at : at + 4096] == LINE_END)
            if len(ends):
                at += int(ends[0]) + 1
                break
            at = min(at + 4096, len(tokens))
        bounds.append(at)
    bounds.append(len(tokens))
    return list(itertools.pairwise(bounds))


class Schedule:
    """How far training is: by words seen of `total`, or by `limit` if that is further; and whether it was stopped."""

    def __init__(self, total: int, threads: int, stop: Callable[[], bool], limit: Callable[[], float] | None) -> None:
        self.total, self.stop, self.limit = total, stop, limit
        self.seen = [0] * threads
        self.halted = self.stopped = False
        self.share = 0.0
        self.lock = threading.Lock()

    @property
    def words(self) -> int:
        """Words read by all threads."""
        return sum(self.seen)

    def done(self) -> float:
        """0 at the start, 1 at the end."""
        if self.limit is None:
            return self.words / (self.total + 1)
        with self.lock:
            self.share = max(self.share, min(float(self.limit()), 1.0), self.words / (self.total + 1))
            return self.share

    def rate(self, first: float) -> float:
        """The step size now."""
        return first * max(1 - self.done(), FLOOR)

    def over(self, passes: int, epochs: int) -> bool:
        """Whether a thread that made so many passes over its part is done."""
        return self.halted or passes >= epochs or (self.limit is not None and self.done() >= 1)


def run_threads(block: Block, parts: list[tuple[int, int]], states: list[int], schedule: Schedule, *, epochs: int,
                first_rate: float, block_tokens: int, tell: Callable[[], None]) -> None:
    """Pass over the parts, one thread each, until the schedule is over; `tell` is called about twice a second.

    `stop` is asked 20 times a second by the calling thread, so an interrupt arrives there and ends the others soon.
    """
    def work(thread: int) -> None:
        (first, last), state, passes = parts[thread], states[thread], 0
        at = first
        while first < last and not schedule.over(passes, epochs):
            rate = schedule.rate(first_rate)
            at, words, state = block(at, min(at + block_tokens, last), last, rate, state)
            schedule.seen[thread] += words
            if at >= last:
                at, passes = first, passes + 1

    with ThreadPoolExecutor(len(parts)) as pool:
        try:
            _watch([pool.submit(work, thread) for thread in range(len(parts))], schedule, tell)
        finally:
            schedule.halted = True


def _watch(running: list[Future[None]], schedule: Schedule, tell: Callable[[], None]) -> None:
    told = time.perf_counter()
    waiting = set(running)
    while waiting:
        ended, waiting = wait(waiting, POLL_SECONDS)
        for future in ended:
            future.result()
        if waiting and not schedule.halted and schedule.stop():
            schedule.halted = schedule.stopped = True
        if time.perf_counter() - told > REPORT_SECONDS:
            tell()
            told = time.perf_counter()
