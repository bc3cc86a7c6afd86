"""How long to train: steps, minutes, epochs or tokens, and which fraction of that is done.

The learning rate follows the fraction, so a run of any budget warms up, decays and ends where it should.  With minutes
the fraction is measured time: it is written down for every step, and steps that are repeated after a crash take the
written fraction instead of the clock, so they give the same weights again.
"""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from polysemy.config import Config
from polysemy.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Budget(Config):
    """Exactly one of the four amounts; time counts training steps only, not evaluation or saving."""

    steps: int | None = None
    """optimizer steps"""
    minutes: float | None = None
    """time spent in training steps"""
    epochs: float | None = None
    """times that the text is read"""
    tokens: int | None = None
    """real (not padded) tokens read"""
    clock: Literal["wall", "cpu"] = "wall"
    """what minutes count: time on the wall, or processor time divided by threads (fair on a shared machine)"""

    def check(self) -> None:
        amounts = {name: getattr(self, name) for name in ("steps", "minutes", "epochs", "tokens")}
        given = {name: value for name, value in amounts.items() if value is not None}
        if len(given) != 1:
            raise InputError("budget must be one of steps, minutes, epochs or tokens, "
                             f"got {' and '.join(given) or 'none'}")
        (name, value), = given.items()
        if not value > 0:
            raise InputError(f"budget.{name} must be above 0, got {value}")

    def __str__(self) -> str:
        for name in ("steps", "minutes", "epochs", "tokens"):
            value = getattr(self, name)
            if value is not None:
                unit = name.removesuffix("s") if value == 1 else name
                return f"{value:,g} {unit}" if isinstance(value, float) else f"{value:,} {unit}"
        raise AssertionError("a budget has an amount")


@dataclass(frozen=True, kw_only=True)
class State(Config):
    """Where a run stands: all that a checkpoint holds beside tensors."""

    step: int = 0
    """batches consumed; the next one is batch number `step`"""
    tokens: int = 0
    """real tokens read so far"""
    seconds: float = 0.0
    """time spent in steps so far, by the budget's clock"""
    step_seconds: float = 0.0
    """what a step takes lately"""
    skipped: int = 0
    """steps left out because the loss or the gradient was not finite"""
    skipped_in_a_row: int = 0
    clipped: int = 0
    """steps whose gradient was cut to the allowed norm"""


class Moment(NamedTuple):
    """What the clock said about a step that was done before: its fraction and the seconds after it."""

    fraction: float
    seconds: float


class Course:
    """A budget laid over a corpus: which fraction is done, when to stop, and what a step's time is."""

    def __init__(self, budget: Budget, *, batches: Any = None, recorded: Mapping[int, Moment] | None = None,
                 timer: Callable[[], float] | None = None) -> None:
        """`recorded` maps steps (1 is the first) to what was measured before; `timer` gives seconds."""
        self.budget, self.recorded = budget, recorded or {}
        self.timer = timer or (time.perf_counter if budget.clock == "wall" else cpu_seconds)
        self.steps = budget.steps if budget.epochs is None else epoch_steps(batches, budget.epochs)

    def fraction(self, state: State, batch_tokens: int) -> float:
        """Part of the budget done in the middle of the next step, in 0..1: never 0, so no first step is wasted."""
        if self.steps is not None:
            return min((state.step + 0.5) / self.steps, 1.0)
        if self.budget.tokens is not None:
            return min((state.tokens + batch_tokens / 2) / self.budget.tokens, 1.0)
        if state.step + 1 in self.recorded:
            return self.recorded[state.step + 1].fraction
        return min((state.seconds + state.step_seconds / 2) / self.total_seconds, 1.0)

    def done(self, state: State) -> bool:
        """Whether to stop before the next step; with minutes, when stopping now is nearer to the budget than later."""
        if self.steps is not None:
            return state.step >= self.steps
        if self.budget.tokens is not None:
            return state.tokens >= self.budget.tokens
        if state.step + 1 in self.recorded:
            return False
        return state.seconds + state.step_seconds / 2 >= self.total_seconds

    def seconds_left(self, state: State, fraction: float) -> float | None:
        """Time to the end at the present pace; None before the first step."""
        if self.budget.minutes is not None:
            return max(self.total_seconds - state.seconds, 0.0)
        return state.seconds * (1 - fraction) / fraction if state.step else None

    def after(self, state: State, measured: float, **changes: int) -> State:
        """The state one step later; `measured` is the step's own time, which a recorded step replaces."""
        moment = self.recorded.get(state.step + 1)
        seconds = state.seconds + max(measured, 0.0) if moment is None else moment.seconds
        taken = max(seconds - state.seconds, 0.0)
        lately = taken if state.step_seconds == 0 else 0.9 * state.step_seconds + 0.1 * taken
        return state.replace(step=state.step + 1, seconds=seconds, step_seconds=lately, **changes)

    @property
    def total_seconds(self) -> float:
        """The budget in seconds; only for budgets in minutes."""
        assert self.budget.minutes is not None
        return self.budget.minutes * 60


def epoch_steps(batches: Any, epochs: float) -> int:
    """Steps that read the text `epochs` times: whole epochs by their own rows, the last part in proportion."""
    whole = math.floor(epochs)
    rows = sum(batches.rows_per_epoch(epoch) for epoch in range(whole))
    rows += (epochs - whole) * batches.rows_per_epoch(whole) if epochs > whole else 0
    return max(1, math.ceil(rows / batches.batch_size))


def cpu_seconds() -> float:
    """Processor time of this process, divided by the threads that torch computes with."""
    import torch

    return time.process_time() / torch.get_num_threads()
