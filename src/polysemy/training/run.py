"""A run in its folder: what happens to each step (rows, checkpoints, signals), and what is written at the end."""
from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polysemy.artifact import finish, new_folder, save_tensors, write_bytes
from polysemy.models.pretrained import WEIGHTS, count_parameters
from polysemy.models.recipe import PretrainingConfig
from polysemy.text.batches import Batches
from polysemy.text.tokenizer import Tokenizer
from polysemy.training.budget import Course, State
from polysemy.training.card import card
from polysemy.training.checkpoint import WRITE_ERRORS, Checkpoints
from polysemy.training.incremental import Replay, forgetting
from polysemy.training.learner import Learner
from polysemy.training.loop import Step, train
from polysemy.training.metrics import Metrics
from polysemy.training.outcome import InterruptError, RunError
from polysemy.training.signals import Signals
from polysemy.training.warm_up import warm_up

Scores = Mapping[str, float]
log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Run:
    """One run, ready to go on from `state`."""

    folder: Path
    config: PretrainingConfig
    tokenizer: Tokenizer
    learner: Learner
    batches: Batches | Replay
    course: Course
    checkpoints: Checkpoints
    metrics: Metrics
    record: dict[str, Any]
    """what the run was started with: goes into config.json"""
    evaluate: Callable[[], Scores] | None = None
    texts: Mapping[str, Callable[[], Scores]]
    """held-out losses by text, for the forgetting table; empty unless another model was started from"""
    before: Mapping[str, Scores]
    """those losses before the first step"""
    milestones: tuple[float, ...] = ()
    progress: Callable[[Step], None] | None = None
    state: State
    loss: float = float("nan")
    """of the last step"""
    scores: dict[str, float]
    """of the last evaluation"""
    saved: int | None = None
    """step of the newest checkpoint"""

    def go(self, signals: Signals) -> None:
        """Train to the end of the budget and export; InterruptError after a signal, once the step is done and saved."""
        world, every = self.learner.world, self.config.training.checkpoint_every
        if not self.course.done(self.state):
            warm_up(self.learner, self.batches[self.state.step])
        for step in train(self.learner, self.batches, self.config.training, course=self.course, state=self.state,
                          evaluate=self.evaluate):
            self.state, self.loss = step.state, step.loss
            self.scores = step.scores or self.scores
            if world.first:
                self.metrics.append(step.row())
                self._show(step)
            caught = int(world.largest(signals.caught or 0))
            if step.last or caught or step.number % every == 0:
                self.save()
            self._pass_milestones(step)
            if caught and not step.last:
                raise self._interrupted(caught)
        self.export(self.folder, self._results())

    def save(self) -> None:
        """Write a checkpoint; when the disk refuses, say so loudly and go on with the older ones as they were."""
        if not self.learner.finite():
            raise RunError(f"a weight is not a finite number at step {self.state.step}; nothing was saved, the last "
                           f"good checkpoint is {self._last()}; lower training.learning_rate")
        try:
            self._write_checkpoint()
            self.saved = self.state.step
        except WRITE_ERRORS as error:
            log.warning("CHECKPOINT NOT SAVED at step %d (%s); training goes on, the last good one is %s",
                        self.state.step, error, self._last())

    def _write_checkpoint(self) -> None:
        """The first process alone writes whole weights; every process writes its part of sharded ones."""
        world = self.learner.world
        state = {"state": self.state.to_dict(), "loss": str(self.loss), "scores": self.scores}
        carried = self.learner.carried()
        new = self.checkpoints.new(self.state.step, state, score=self.scores.get("held_out_loss"))
        if not self.learner.sharded:
            if world.first:
                with new as work:
                    self.learner.write(work, carried)
            return
        with contextlib.ExitStack() as stack:
            failure, place = None, None
            try:
                place = str(stack.enter_context(new)) if world.first else None
            except WRITE_ERRORS as error:
                failure = error
            place = world.from_first(place)
            if place is None:
                raise failure or OSError("the first process could not begin")
            self.learner.write(Path(place), carried)

    def export(self, folder: Path, results: dict[str, Any]) -> None:
        """Write the model folder: config.json goes first and comes last, so a folder that has one is whole."""
        weights = self.learner.weights()
        with self.learner.world.together("writing the model"):
            if self.learner.world.first:
                (folder / "config.json").unlink(missing_ok=True)
                save_tensors(folder / WEIGHTS, weights)
                self.tokenizer.save(folder)
                write_bytes(folder / "README.md", card(self.record, **results).encode())
                finish(folder, {"recipe": self.config.recipe, **self.record, **results})

    def _pass_milestones(self, step: Step) -> None:
        for milestone in self.milestones:
            path = self.folder / "milestones" / f"{milestone:g}"
            if step.fraction >= milestone and not self.learner.world.from_first(path.exists()):
                with new_folder(path) if self.learner.world.first else contextlib.nullcontext(path) as work:
                    self.export(work, self._results())

    def _results(self) -> dict[str, Any]:
        state = self.state
        results = {"step": state.step, "tokens": state.tokens, "seconds": state.seconds, "skipped": state.skipped,
                   "clipped": state.clipped, "loss": self.loss if math.isfinite(self.loss) else None,
                   "scores": self.scores, "parameters": count_parameters(self.learner.model),
                   "missing_rows": self.metrics.missing}
        after = {name: judge() for name, judge in self.texts.items()}
        return {"results": results, "forgetting": forgetting(self.before, after)}

    def _show(self, step: Step) -> None:
        if self.progress is not None:
            try:
                self.progress(step)
            except OSError:  # a closed terminal or pipe
                self.progress = None

    def _interrupted(self, number: int) -> InterruptError:
        saved = self.saved == self.state.step
        told = f"stopped after step {self.state.step}" + (" and saved" if saved else f"; last saved: {self._last()}")
        return InterruptError(number, f"{told}; go on with the same command", saved=saved)

    def _last(self) -> str:
        return "none" if self.saved is None else f"step {self.saved}"


def evaluation(learner: Learner, held_out: Callable[[Any], Scores] | None,
               more: Callable[[Any], Scores] | None) -> Callable[[], Scores] | None:
    """The held-out loss and the user's own scores as one call; None where there is nothing to measure."""
    if held_out is None and more is None:
        return None

    def judge() -> Scores:
        scores = dict(held_out(learner.model)) if held_out is not None else {}
        if more is not None:
            learner.model.eval()
            with torch.no_grad():
                scores |= more(learner.model)
        return scores

    return judge
