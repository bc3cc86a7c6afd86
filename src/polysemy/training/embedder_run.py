"""A run that trains a sentence embedder in its folder, from its newest checkpoint to the model folder."""
from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polysemy.artifact import finish, save_tensors, write_bytes
from polysemy.memory import keep_freed_memory
from polysemy.models.pretrained import WEIGHTS
from polysemy.models.recipe import TrainingConfig
from polysemy.models.sentence_vectors import SentenceModel, SentenceVectors
from polysemy.objectives.contrastive import LossName, SentencePairs
from polysemy.text.sentence_batches import SentenceBatches
from polysemy.training.budget import Budget, Course, State
from polysemy.training.checkpoint import Checkpoints
from polysemy.training.distributed import World
from polysemy.training.embedder_config import EmbedderConfig
from polysemy.training.learner import Learner
from polysemy.training.loop import Step, train
from polysemy.training.metrics import Metrics
from polysemy.training.outcome import InterruptError
from polysemy.training.record import changes_of, write_record
from polysemy.training.signals import Signals

Judge = Callable[[SentenceVectors], Mapping[str, float]]
HEADLINE = "spearman"
"""the score by which the best weights are chosen"""
log = logging.getLogger(__name__)


class EmbedderRun:
    """One run in its folder, from its newest checkpoint to the model folder."""

    def __init__(self, folder: Path, config: EmbedderConfig, embedder: SentenceVectors, batches: SentenceBatches,
                 judge: Judge | None, record: dict[str, Any]) -> None:
        self.folder, self.config, self.embedder, self.batches = folder, config, embedder, batches
        self.judge, self.record = judge, record
        self.checkpoints = Checkpoints(folder / "checkpoints", keep=1)
        self.metrics = Metrics(folder / "metrics.jsonl")
        self.course = Course(Budget(epochs=config.epochs), batches=batches)
        self.state, self.loss, self.before = State(), float("nan"), {}
        self.scores: dict[str, float] = {}

    def prepare(self, seed: int, device: str) -> None:
        """Put the learner together, at the newest checkpoint if there is one."""
        c = self.config
        epoch = max(1, -(-len(self.batches.examples) // self.batches.batch_size))
        assert c.learning_rate is not None
        assert c.length is not None
        self.training = TrainingConfig(
            learning_rate=c.learning_rate, batch_size=self.batches.batch_size, length=max(8, c.length),
            warmup_rate=c.warmup_rate, weight_decay=c.weight_decay, clip=c.clip, dtype=c.dtype, beta2=0.999,
            evaluate_every=c.evaluate_every or epoch)
        assert c.loss != "auto"
        loss: LossName = c.loss
        objective: Any = SentencePairs(loss, temperature=c.temperature, both=c.both, dimensions=c.prefixes,
                                       chunk_size=c.chunk_size)
        model: Any = SentenceModel(self.embedder.model.body, self.embedder.task.pooling)
        self.learner = Learner.make(model, objective, self.training, world=World(device=device), seed=seed)
        self.embedder.model.to(self.learner.world.device)
        self.checkpoints.clean()
        changes = changes_of(self.checkpoints.folder, self.record, start="model", new_text="")
        found = self.checkpoints.newest()
        if found is not None:
            if changes:
                log.warning("going on with other settings than before: %s", "; ".join(changes))
            self.learner.read(found)
            saved = found.state()
            self.state, self.before = State.from_dict(saved["state"]), saved["before"]
            self.scores, self.loss = saved["scores"], float(saved["loss"])
        else:
            self.before = dict(self.evaluate()) if self.judge is not None else {}
        write_record(self.checkpoints.folder, self.record)
        self.metrics.keep_until(self.state.step)

    def evaluate(self) -> Mapping[str, float]:
        """The scores of the weights as they are now."""
        assert self.judge is not None
        self.learner.model.eval()
        return self.judge(self.embedder)

    def go(self, signals: Signals, progress: Callable[[Step], None] | None) -> None:
        """Train to the end; InterruptError after a signal, once the step is done and saved."""
        keep_freed_memory()
        for step in train(self.learner, self.batches, self.training, course=self.course, state=self.state,
                          evaluate=self.evaluate if self.judge is not None else None):
            self.state, self.loss = step.state, step.loss
            self.scores = dict(step.scores) or self.scores
            self.metrics.append(step.row())
            if progress is not None:
                progress(step)
            if step.last or signals.caught or step.number % self.training.evaluate_every == 0:
                self.save(step.scores)
            if signals.caught and not step.last:
                raise InterruptError(signals.caught, f"stopped after step {step.number} and saved; go on with the same "
                                     "command", saved=True)

    def save(self, scores: Mapping[str, float]) -> None:
        """A checkpoint; of those that were judged the best stays beside the newest."""
        state = {"state": self.state.to_dict(), "before": self.before, "scores": dict(scores), "loss": str(self.loss)}
        judged = scores.get(HEADLINE)
        with self.checkpoints.new(self.state.step, state, score=None if judged is None else -judged) as work:
            self.learner.write(work)

    def export(self) -> dict[str, Any]:
        """Write the model folder from the best checkpoint, or the newest; checkpoints go."""
        chosen = (self.checkpoints.best() if self.judge is not None else None) or self.checkpoints.newest()
        assert chosen is not None, "a run ends with a checkpoint"
        weights, saved, model = chosen.tensors("model"), chosen.state(), self.embedder
        loss = float(saved["loss"])
        results = {"step": self.state.step, "kept_step": chosen.step, "seconds": self.state.seconds,
                   "tokens": self.state.tokens, "before": self.before, "scores": saved["scores"],
                   "pairs": len(self.batches.examples), "loss": loss if math.isfinite(loss) else None}
        if results["scores"].get(HEADLINE, math.inf) < self.before.get(HEADLINE, -math.inf):
            log.warning("%s on the held-out pairs fell from %.4f to %.4f: this training did harm; lower the rate, or "
                        "learn from other pairs", HEADLINE, self.before[HEADLINE], results["scores"][HEADLINE])
        save_tensors(self.folder / WEIGHTS, {name: tensor.float().contiguous() for name, tensor in weights.items()})
        model.tokenizer.save(self.folder)
        write_bytes(self.folder / "README.md", card(self.record, model, results).encode())
        finish(self.folder, {"recipe": model.config.recipe, "config": model.config.to_dict(),
                             "task": model.task.to_dict(), "embedder": self.record, "results": results})
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        return results


def card(record: Mapping[str, Any], model: SentenceVectors, results: Mapping[str, Any]) -> str:
    """The README.md of an embedder."""
    task, text = model.task, record["text"]
    facts = {
        "vectors": f"{task.dimensions or model.config.model.hidden_size} numbers, {task.pooling} of the tokens, "
                   + ("length 1" if task.normalize else "not normalized"),
        "learned from": f"{text['pairs']:,} pairs ({text['source']}) of {text['texts']:,} texts",
        "loss": record["config"]["loss"], "steps": f"{results['step']:,}, kept {results['kept_step']:,}",
        "training seconds": f"{results['seconds']:,.1f}",
        **{f"{name.replace('_', ' ')} on held-out pairs, before and after":
           f"{results['before'].get(name, float('nan')):.4f}, {value:.4f}"
           for name, value in results["scores"].items()}}
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    head = [f"# {model.config.recipe}, a sentence embedder", "", "| | |", "|---|---|"]
    return "\n".join([*head, *rows, "", "## Use", "", "```",
                      "polysemy embed DIR sentences.txt -o vectors.npy",
                      'polysemy similarity DIR "one text" "another"',
                      "polysemy convert DIR st/ --to sentence-transformers", "```", ""])
