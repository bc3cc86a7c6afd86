"""One seed of a fine-tuning: its steps, what happens between epochs, its checkpoints and its best weights."""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from polysemy.artifact import save_tensors
from polysemy.models.task_model import TaskModel
from polysemy.models.task_use import TaskUser
from polysemy.objectives.task import TaskObjective
from polysemy.text.task_batches import TaskBatches
from polysemy.training.budget import Course, State
from polysemy.training.checkpoint import Checkpoint, Checkpoints
from polysemy.training.distributed import World
from polysemy.training.fine_tuning_start import Tell
from polysemy.training.layer_rates import Unfreezing, layer_rates, tables
from polysemy.training.learner import Learner
from polysemy.training.loop import Step, train
from polysemy.training.metrics import Metrics
from polysemy.training.outcome import InterruptError
from polysemy.training.signals import Signals
from polysemy.training.warm_up import warm_up

if TYPE_CHECKING:
    from polysemy.training.finetune import Work

BEST = "best"
PARTS = ("has_answer", "no_answer")
"""scores of a part of the examples: in metrics.jsonl, not in the line of an epoch"""
SAVE_SECONDS = 120.0
"""between checkpoints: a kill costs no more"""


class Judge(NamedTuple):
    """How predictions are scored: `metrics(task, predictions, examples)`, of which `headline` decides, higher is
    better."""

    metrics: Callable[[Any, Sequence[Any], Iterable[Any]], Mapping[str, Any]]
    headline: str


class SeedRun:
    """A model on its way through the examples."""

    def __init__(self, work: Work, folder: Path, metrics: Path, model: TaskModel, seed: int) -> None:
        config = work.config
        assert config.batch_size is not None
        self.work, self.model, self.seed = work, model, seed
        self.batches = TaskBatches(work.rows, config.batch_size, seed)
        self.training = config.training(int(work.rows.lengths.max()))
        self.course = Course(config.budget(), batches=self.batches)
        self.objective = TaskObjective(work.task, class_weights=work.weights, smoothing=config.smoothing)
        self.unfreezing = Unfreezing(model, layer_rates(model, config.layer_decay, config.freeze), config.gradual)
        self.checkpoints, self.metrics = Checkpoints(folder, keep=1), Metrics(metrics)
        self.state, self.history = State(), []
        self.losses = [0.0, 0.0]
        """sum and number of the steps' losses in this epoch"""
        self.best: dict[str, Tensor] = {}
        self.saved_at = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        """The learner, as it was at the newest checkpoint."""
        self.checkpoints.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoints.clean()
        found = self.checkpoints.newest()
        done = 0 if found is None else found.step
        # what a checkpoint holds is what learned in its last step
        rates = self.unfreezing.first(self.batches.epoch_of(max(done - 1, 0)))
        self.learner = Learner.make(self.model, self.objective, self.training, world=World(device=self.work.device),
                                    seed=self.seed, factors=rates, undecayed=tables(self.model))
        if found is not None:
            self._read(found)
        self.metrics.keep_until(self.state.step)
        self._thaw()

    def _read(self, found: Checkpoint) -> None:
        self.learner.read(found)
        saved = found.state()
        self.state, self.history = State.from_dict(saved["state"]), saved["history"]
        self.losses = saved["losses"]
        if (found.path / f"{BEST}.safetensors").exists():
            self.best = found.tensors(BEST)

    def go(self, signals: Signals, progress: Callable[[Step], None] | None, tell: Tell) -> None:
        """Train to the end of the budget or of patience; InterruptError after a signal, once the step is saved."""
        if self._over():
            return
        warm_up(self.learner, self.batches[self.state.step])
        for step in train(self.learner, self.batches, self.training, course=self.course, state=self.state):
            self.state = step.state
            if math.isfinite(step.loss):
                self.losses = [self.losses[0] + step.loss, self.losses[1] + 1]
            ends = step.last or self.batches.epoch_of(step.number) > self.batches.epoch_of(step.number - 1)
            scores = self._epoch(step, tell) if ends else {}
            self.metrics.append({**step.row(), **scores})
            if progress is not None:
                progress(step)
            over = step.last or self._over()
            if signals.caught and not over:
                self.save()
                raise InterruptError(signals.caught, f"stopped after step {step.number} and saved; go on with the same "
                                     "command", saved=True)
            if over:
                return
            if time.monotonic() - self.saved_at > SAVE_SECONDS:
                self.save()
            self._thaw()

    def _epoch(self, step: Step, tell: Tell) -> dict[str, Any]:
        """Judge dev after an epoch, and keep the weights when they are the best so far."""
        judge, epoch = self.work.judge, len(self.history) + 1
        loss = self.losses[0] / self.losses[1] if self.losses[1] else math.nan
        self.losses = [0.0, 0.0]
        scores = {} if judge is None else self.judged()
        # of answers with the threshold that this epoch would be kept with
        score = None if judge is None else scores.get(f"best_{judge.headline}", scores.get(judge.headline))
        before = [row["score"] for row in self.history if row["score"] is not None]
        if score is None or not before or score > max(before):
            self.best = {name: tensor.clone() for name, tensor in self.learner.weights().items()}
        self.history.append({"epoch": epoch, "step": step.number, "loss": None if math.isnan(loss) else loss,
                             "score": score, "scores": {name: value for name, value in scores.items()
                                                        if isinstance(value, int | float)}})
        told = ", ".join(f"{name} {value:.4f}" for name, value in self.history[-1]["scores"].items()
                         if not name.startswith(PARTS))
        tell(f"epoch {epoch}: loss {loss:.4f}" + (f", {told}" if told else "") + f" ({step.state.seconds:.0f} s)")
        return {f"dev_{name}": value for name, value in self.history[-1]["scores"].items()}

    def judged(self) -> dict[str, Any]:
        """The metrics of dev with the weights as they are."""
        work = self.work
        if work.judge is None or work.dev is None or work.dev_rows is None:
            return {}
        user = TaskUser(self.learner.model, work.reader.tokenizer, work.reader.config)
        with torch.no_grad():
            return dict(work.judge.metrics(work.task, user.predict_rows(work.dev_rows, work.dev), work.dev))

    def _over(self) -> bool:
        """Whether the budget is used up, or patience lost."""
        if self.course.done(self.state):
            return True
        patience, scores = self.work.config.patience, [row["score"] for row in self.history]
        if patience is None or not scores or scores[-1] is None:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def _thaw(self) -> None:
        """Let those learn whose epoch the next step belongs to."""
        due = self.unfreezing.due(self.learner.optimizer.frozen, self.batches.epoch_of(self.state.step))
        if due:
            self.learner.thaw(due)

    def save(self) -> None:
        """A checkpoint with the best weights so far beside the present ones."""
        state = {"state": self.state.to_dict(), "history": self.history, "losses": self.losses}
        with self.checkpoints.new(self.state.step, state) as folder:
            self.learner.write(folder)
            if self.best:
                save_tensors(folder / f"{BEST}.safetensors", self.best)
        self.saved_at = time.monotonic()

    def best_weights(self) -> dict[str, Tensor]:
        """Float32 weights of the best epoch."""
        return self.best or self.learner.weights()

    def results(self) -> dict[str, Any]:
        """What came of it."""
        best = self._best_row()
        state = self.state
        return {"seed": self.seed, "headline": self.work.judge.headline if self.work.judge is not None else "loss",
                "score": best["score"], "metrics": best["scores"], "epoch": best["epoch"], "loss": best["loss"],
                "epochs": self.history, "step": state.step, "tokens": state.tokens, "seconds": state.seconds,
                "skipped": state.skipped, "clipped": state.clipped}

    def _best_row(self) -> dict[str, Any]:
        scored = [row for row in self.history if row["score"] is not None]
        return max(scored, key=lambda row: row["score"]) if scored else self.history[-1]
