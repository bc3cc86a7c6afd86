"""How long work is shown: a bar on a terminal, a line now and then in a log, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Any

from polysemy.cli.printing import count


class TrainingProgress:
    """Draws training steps: rate, loss, time left.  On a terminal only; elsewhere it stays quiet."""

    def __init__(self, title: str, unit: str = "tokens") -> None:
        self.unit = unit
        self.title, self.bar, self.task, self.smooth, self.previous = title, None, None, None, None

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, step: Any) -> None:
        """Take one Step of the training loop."""
        if not sys.stderr.isatty():
            return
        bar = self._drawn()
        now = time.perf_counter()
        if self.previous is not None:
            rate = step.tokens / max(now - self.previous, 1e-9)
            self.smooth = rate if self.smooth is None else 0.95 * self.smooth + 0.05 * rate
        self.previous = now
        scores = "".join(
            f" · {name.replace('_', ' ')} {value:.3f}" for name, value in step.scores.items() if name == "held_out_loss"
        )
        bar.update(
            self.task,
            completed=step.fraction,
            loss="" if step.loss is None else f"loss {step.loss:.3f}{scores}",
            rate=f"{count(self.smooth or 0)} {self.unit}/s",
            left=_clock(step.seconds_left),
        )

    def _drawn(self) -> Any:
        if self.bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn(self.title),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[loss]}"),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[left]}"),
                console=Console(stderr=True),
                transient=False,
            )
            self.task = self.bar.add_task(self.title, total=1.0, loss="", rate="", left="")
            self.bar.start()
        return self.bar


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} left" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} left"
