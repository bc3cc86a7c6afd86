"""Share blocks of text out to threads, with one schedule for passes and for a budget of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from polysemy.models.progress import Progress

REPORT_SECONDS = 0.5


@dataclass
class Schedule:
    """How far training is: by passes over the text, or by the part of a budget used where `limit` says more.

    total: words a pass; rate: at the start, falling to 0 in a line.
    """

    total: int
    epochs: int
    rate: float
    report: Callable[[Progress], None]
    stop: Callable[[], bool]
    limit: Callable[[], float] | None = None
    words: int = 0
    loss_sum: float = 0.0
    loss_count: float = 0.0
    stopped: bool = False
    passes: float = 0.0
    _reported: float = field(default_factory=time.perf_counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> float:
        """0..1"""
        part = self.words / max(self.total * self.epochs, 1)
        return min(part if self.limit is None else max(part, self.limit()), 1.0)

    @property
    def rate_now(self) -> float:
        return self.rate * (1 - self.done)

    def slope(self, threads: int) -> float:
        """How much the rate falls with each word that one of so many threads reads; 0 where time sets the rate."""
        return 0.0 if self.limit is not None else self.rate * threads / max(self.total * self.epochs, 1)

    def went(self, words: int, loss: float, count: float) -> None:
        """Take in what a block did, and report twice a second. The loss is a mean that forgets older blocks."""
        with self._lock:
            self.words += int(words)
            self.loss_sum, self.loss_count = 0.99 * self.loss_sum + loss, 0.99 * self.loss_count + count
            due = time.perf_counter() - self._reported >= REPORT_SECONDS
            if due:
                self._reported = time.perf_counter()
        if due:
            self.report(Progress(done=self.done, words=self.words, loss=self.loss))

    @property
    def loss(self) -> float | None:
        return self.loss_sum / self.loss_count if self.loss_count else None

    def over(self, passes: int) -> bool:
        """Is it time to end, after so many whole passes?"""
        if self.stop():
            self.stopped = True
        return self.stopped or passes >= self.epochs or (self.limit is not None and self.limit() >= 1)


def run_blocks(
    schedule: Schedule, threads: int, num_blocks: int, work: Callable[[int, int, int], tuple[int, float, float]]
) -> None:
    """Call work(block, epoch, thread) -> (words, loss sum, loss count) for all blocks of each pass until it is over.

    Each thread takes every threads-th block in order; work runs compiled loops without the interpreter's lock. With one
    thread the order, and so the result, depends on nothing else. `stop` and `limit` are asked between blocks.
    """
    epoch = 0

    def share(thread: int) -> None:
        for block in range(thread, num_blocks, threads):
            if schedule.stopped or (schedule.limit is not None and schedule.limit() >= 1):
                return
            schedule.went(*work(block, epoch, thread))
            if thread == 0 and schedule.stop():
                schedule.stopped = True

    with ThreadPoolExecutor(threads) if threads > 1 else _Here() as pool:
        while not schedule.over(epoch) and num_blocks:
            for result in [pool.submit(share, thread) for thread in range(threads)]:
                result.result()
            epoch += 1
    schedule.passes = epoch
    schedule.report(Progress(done=schedule.done, words=schedule.words, loss=schedule.loss))


class _Here:
    """Runs what is submitted at once, on the calling thread."""

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *unused: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> _Here:
        function(*arguments)
        return self

    def result(self) -> None:
        pass
