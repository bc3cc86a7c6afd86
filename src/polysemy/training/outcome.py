"""How a run ends when it does not end well; each exception carries the command line's exit code.  No torch here."""
from __future__ import annotations

import signal
from typing import Any


class RunError(RuntimeError):
    """A run that cannot go on: one clear line, exit code 1; what was saved before is untouched."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


class NotFiniteError(RunError):
    """Too many steps in a row had a loss or gradient that is not a number; `batches` says which rows they read."""

    def __init__(self, message: str, batches: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.batches = batches


class InterruptError(Exception):
    """A run that a signal ended; `exit_code` is 128 + the signal's number, `saved` whether its last step was saved."""

    def __init__(self, number: int, message: str, *, saved: bool) -> None:
        super().__init__(" ".join(str(message).split()))
        self.number, self.exit_code = number, 128 + number
        self.name = signal.Signals(number).name
        self.saved = saved
