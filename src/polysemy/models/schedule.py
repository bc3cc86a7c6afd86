"""Threads that pass over a text block by block, with a step that falls by the words read or by a budget of time.

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

POLL_SECONDS = 0.05
REPORT_SECONDS = 0.5
KEPT = 0.99
"""of the sums behind the running loss, when the next block is added"""
Tell = Callable[[], None]
Stretch = Callable[[int, int, int, float, int], tuple[int, int, int]]
"""(at, until, stop, rate, random state) -> (next place, words read, random state)"""
Block = Callable[[int, int, int], tuple[int, float, float]]
"""(block, pass, thread) -> (words read, sum of losses, how many)"""


class Schedule:
    """How far training is: by words read of `total`, or by `limit` if that is further; and whether it was stopped.

    total: words of all `epochs` passes; rate: at the start, falling in a line to `floor` of it; limit: the part 0..1 of
    a budget that is used, which never falls.
    """

    def __init__(self, total: int, *, epochs: int, rate: float, threads: int, stop: Callable[[], bool],
                 limit: Callable[[], float] | None = None, floor: float = 0.0) -> None:
        self.total, self.epochs, self.first_rate, self.floor = max(total, 1), epochs, rate, floor
        self.stop, self.limit = stop, limit
        self.seen = [0] * threads
        self.halted = self.stopped = False
        self._used = 0.0
        self._loss_sum = self._loss_count = 0.0
        self._lock = threading.Lock()

    @property
    def threads(self) -> int:
        """How many threads share the work."""
        return len(self.seen)

    @property
    def words(self) -> int:
        """Words read by all threads."""
        return sum(self.seen)

    @property
    def done(self) -> float:
        """0 at the start, 1 at the end; it never falls."""
        part = min(self.words / self.total, 1.0)
        if self.limit is None:
            return part
        with self._lock:
            if self._used < 1:
                self._used = max(self._used, part, min(float(self.limit()), 1.0))
            return self._used

    @property
    def rate(self) -> float:
        """The step size now."""
        return self.first_rate * max(1 - self.done, self.floor)

    @property
    def slope(self) -> float:
        """How much the rate falls with each word that one of the threads reads; 0 where time sets the rate."""
        return 0.0 if self.limit is not None else self.first_rate * self.threads / self.total

    @property
    def loss(self) -> float | None:
        """The mean loss of late: blocks long ago count for little. None where no block told any."""
        return self._loss_sum / self._loss_count if self._loss_count else None

    def went(self, thread: int, words: int, loss: float = 0.0, count: float = 0.0) -> None:
        """Take in what a thread's block did."""
        self.seen[thread] += int(words)
        with self._lock:
            self._loss_sum, self._loss_count = KEPT * self._loss_sum + loss, KEPT * self._loss_count + count

    def over(self, passes: int) -> bool:
        """Whether a thread that made so many passes over its part is done."""
        return self.halted or passes >= self.epochs or (self.limit is not None and self.done >= 1)

    def ask(self) -> None:
        """Ask `stop`, and halt all threads when it says so."""
        if not self.halted and self.stop():
            self.halted = self.stopped = True


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


def run_parts(work: Stretch, parts: list[tuple[int, int]], states: list[int], schedule: Schedule, *, block_tokens: int,
              tell: Tell) -> None:
    """Pass over the parts, one thread each, until the schedule is over; a thread's random state goes on and on."""
    def share(thread: int) -> None:
        (first, last), state, passes = parts[thread], states[thread], 0
        at = first
        while first < last and not schedule.over(passes):
            at, words, state = work(at, min(at + block_tokens, last), last, schedule.rate, state)
            schedule.went(thread, words)
            if at >= last:
                at, passes = first, passes + 1

    _run(share, schedule, tell)


def run_blocks(work: Block, num_blocks: int, schedule: Schedule, *, tell: Tell) -> int:
    """Do all blocks of each pass until the schedule is over; returns the passes. Of n threads each does every n-th.

    All threads end a pass before the next begins. With one thread the order depends on nothing else.
    """
    passes = 0

    def share(thread: int) -> None:
        for block in range(thread, num_blocks, schedule.threads):
            if schedule.over(passes):
                return
            schedule.went(thread, *work(block, passes, thread))

    schedule.ask()
    while num_blocks and not schedule.over(passes):
        _run(share, schedule, tell)
        passes += 1
    return passes


def _run(share: Callable[[int], None], schedule: Schedule, tell: Tell) -> None:
    """Run the threads; `tell` is called about twice a second.

    `stop` is asked 20 times a second by the calling thread, so an interrupt arrives there and ends the others soon.
    """
    with ThreadPoolExecutor(schedule.threads) as pool:
        try:
            _watch([pool.submit(share, thread) for thread in range(schedule.threads)], schedule, tell)
        except BaseException:
            schedule.halted = True
            raise


def _watch(running: list[Future[None]], schedule: Schedule, tell: Tell) -> None:
    told = time.perf_counter()
    waiting = set(running)
    while waiting:
        ended, waiting = wait(waiting, POLL_SECONDS)
        for future in ended:
            future.result()
        if waiting:
            schedule.ask()
        if time.perf_counter() - told > REPORT_SECONDS:
            tell()
            told = time.perf_counter()
