"""Ctrl-C and friends: the first signal asks the run to finish its step and save, the second ends it at once."""
from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from polysemy.training.outcome import InterruptError

REPEAT_SECONDS = 3.0
"""under torchrun, which hands on to its workers a signal that the terminal already gave them"""
CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Signals:
    """`with Signals() as signals:` catches SIGINT, SIGTERM and SIGHUP; `signals.caught` is the first one, or None.

    A second signal raises `InterruptError` where the program stands.  A signal that the caller ignores (`nohup`) stays
    ignored; outside the main thread, where Python allows no handlers, nothing is caught.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self._repeats = REPEAT_SECONDS if "TORCHELASTIC_RUN_ID" in os.environ else 0.0
        self._first_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in CAUGHT:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self.caught is not None:
            if time.monotonic() - self._first_at < self._repeats:
                return
            raise InterruptError(number, "stopped at once; go on from the last checkpoint with the same command",
                              saved=False)
        self.caught, self._first_at = number, time.monotonic()
