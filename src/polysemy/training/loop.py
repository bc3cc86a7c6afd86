"""The training loop, as a generator: it yields after every step and knows nothing of files, signals or tasks.

Whoever needs work between steps (saving, a pruning schedule, an average of weights) does it in
`for step in train(...)`; whoever has enough stops asking for more.
"""
from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from polysemy.models.recipe import TrainingConfig
from polysemy.nn.dropout import dropout_key
from polysemy.text.batches import prefetch
from polysemy.training.budget import Course, State
from polysemy.training.distributed import rank_rows
from polysemy.training.learner import Learner
from polysemy.training.optimizer import rate_factor
from polysemy.training.outcome import NotFiniteError, RunError


class Rows(Protocol):
    """Some rows that are learned from together (`text.batches.Batch`, `text.task_batches.TaskBatch`)."""

    @property
    def ids(self) -> np.ndarray:
        """(b, t)"""
        ...

    @property
    def rows(self) -> np.ndarray:
        """(b,): global numbers of the rows, which key their dropout"""
        ...

    @property
    def num_tokens(self) -> int:
        """Columns that are not padding."""
        ...

    def part(self, rows: Sequence[int]) -> Rows:
        """Some of the rows; without rows any row at all, of which nothing will count."""
        ...


class Numbered(Protocol):
    """Batches by number, each a pure function of its number (`text.batches.Batches`, `incremental.Replay`)."""

    def __getitem__(self, t: int) -> Rows: ...


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step done: what it cost, what it learned, where the run stands."""

    state: State
    """after this step"""
    fraction: float
    """of the budget, where this step's learning rate was taken"""
    seconds_left: float | None
    loss: float
    """the total: weighted sum of the heads' mean losses"""
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    """before clipping; not finite when the step was skipped for it"""
    tokens: int
    """real tokens of this step"""
    skipped: bool
    last: bool
    scores: dict[str, float] = field(default_factory=dict)
    """of the evaluation after this step, if one was due"""

    @property
    def number(self) -> int:
        """Steps done, this one included."""
        return self.state.step

    def row(self) -> dict[str, Any]:
        """What metrics.jsonl says of this step."""
        row = {"step": self.number, "seconds": self.state.seconds, "tokens": self.state.tokens, "loss": self.loss,
               **{f"loss_{name}": value for name, value in self.losses.items()}, "learning_rate": self.learning_rate,
               "gradient_norm": self.gradient_norm, "fraction": self.fraction}
        return {**row, **({"skipped": True} if self.skipped else {}), **self.scores}


def train(learner: Learner, batches: Numbered, config: TrainingConfig, *, course: Course, state: State | None = None,
          evaluate: Callable[[], Mapping[str, float]] | None = None) -> Iterator[Step]:
    """Steps from `state` to the end of the course: batch t, its loss over all processes, one update, a `Step`.

    The gradient is that of the total loss over the whole batch, however it is cut into micro-batches and processes.
    A step whose loss or gradient is not finite changes no weight and is counted; `config.skip_limit` of them in a row
    raise `NotFiniteError`.  `evaluate` runs every `config.evaluate_every` steps and after the last, outside the clock.
    Same weights bit for bit on the same processes, threads and dtype, from whichever step it is resumed.
    """
    world, state = learner.world, state or State()
    bad: list[dict[str, Any]] = []
    stream: Any = prefetch(batches, state.step)  # pyright: ignore[reportArgumentType]
    with contextlib.closing(stream):
        while not course.done(state):
            started = course.timer()
            batch = next(stream)
            fraction = course.fraction(state, batch.num_tokens)
            factor = rate_factor(fraction, config.schedule, config.warmup_rate)
            counts = learner.objective.counts(batch)
            carried = learner.model.carry.snapshot()
            sums = _gradient(learner, batch, counts, config, state.step)
            loss = float(learner.objective.total({name: torch.tensor(value, dtype=torch.float64)
                                                  for name, value in sums.items()}, counts))
            norm, skipped, clipped = _update(learner, factor, loss)
            if skipped:
                learner.model.carry.restore(carried)  # what a bad step left is no state to go on from
            measured = world.from_first(course.timer() - started)
            state = course.after(state, measured, tokens=state.tokens + batch.num_tokens,
                                 skipped=state.skipped + skipped,
                                 skipped_in_a_row=state.skipped_in_a_row + 1 if skipped else 0,
                                 clipped=state.clipped + clipped)
            bad = [*bad, _identity(batch, state.step, loss, norm)] if skipped else []
            if state.skipped_in_a_row >= config.skip_limit:
                raise NotFiniteError(f"loss or gradient was not finite in {config.skip_limit} steps in a row, up to "
                                     f"step {state.step}; lower training.learning_rate "
                                     f"(now {config.learning_rate:g})", bad)
            last = course.done(state)
            due = evaluate is not None and (last or state.step % config.evaluate_every == 0)
            yield Step(state=state, fraction=fraction, seconds_left=course.seconds_left(state, fraction), loss=loss,
                       losses=learner.objective.means(sums, counts), learning_rate=config.learning_rate * factor,
                       gradient_norm=norm, tokens=batch.num_tokens, skipped=skipped, last=last,
                       scores=dict(evaluate()) if due and evaluate is not None else {})


def _gradient(learner: Learner, batch: Rows, counts: Mapping[str, float], config: TrainingConfig,
              step: int) -> dict[str, float]:
    """Gradients of the total loss in the parameters; returns the loss sums by head over all processes."""
    world, objective = learner.world, learner.objective
    parts = rank_rows(len(batch.ids), world, config.micro_batch_size)
    found: Tensor | None = None
    learner.model.train()
    try:
        for rows in parts:
            part = batch.part(rows)  # without rows: any row at weight 0, as others wait for our part
            with dropout_key(learner.seed, step, torch.from_numpy(part.rows).to(world.device)):
                sums = objective.losses(learner.module, objective.tensors(part, world.device))
                share = world.size if rows else 0  # gradients are averaged over processes, and we want their sum
                (objective.total(sums, counts) * share).backward()
            if len(parts) > 1:
                learner.optimizer.accumulate()
            values = torch.stack([value.detach().double() for value in sums.values()]) * bool(rows)
            found = values if found is None else found + values
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        raise RunError(f"memory is used up by {len(parts[0])} rows of {batch.ids.shape[1]} tokens; use "
                        f"--set training.micro_batch_size={max(1, len(parts[0]) // 2)} (the same gradient in parts)"
                        ) from error
    assert found is not None
    return dict(zip(counts, world.sum(found.tolist()), strict=True))


def _update(learner: Learner, factor: float, loss: float) -> tuple[float, bool, bool]:
    """Move the weights unless loss or gradient is not finite: gradient norm, whether skipped, whether clipped."""
    if not math.isfinite(loss):
        learner.optimizer.zero_grad()
        return math.nan, True, False
    update = learner.optimizer.step(factor)
    return update.norm, not update.applied, update.clipped


def _identity(batch: Rows, step: int, loss: float, norm: float) -> dict[str, Any]:
    return {"step": step, "rows": [int(row) for row in batch.rows], "loss": str(loss), "gradient_norm": str(norm)}


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "t allocate memory" in str(error)
