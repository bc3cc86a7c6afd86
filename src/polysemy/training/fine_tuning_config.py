"""Settings of fine-tuning, and what is chosen where nothing was said: by the body and by its data."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.recipe import TrainingConfig
from polysemy.nn.task_heads import Reading
from polysemy.training.budget import Budget
from polysemy.training.optimizer import Schedule

EXAMPLES_SHOWN = 25_000
"""examples that a run reads at least, small data again and again"""
FEWEST_EPOCHS, MOST_EPOCHS = 3, 20
ROW_TOKENS = 128
"""most tokens of a row by default; questions with their texts have as many as the body reads"""


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig(Config):
    """How a pretrained body learns a task (Devlin et al. 2019, A.3; Howard and Ruder 2018; Mosbach et al. 2021)."""

    epochs: float | None = None
    """passes over the examples; none of epochs, steps, minutes: 3, and more for small data"""
    steps: int | None = None
    """optimizer steps, instead of epochs"""
    minutes: float | None = None
    """training time, instead of epochs; evaluation does not count"""
    learning_rate: float | None = None
    """peak; none: by the body's kind and width"""
    batch_size: int | None = None
    """rows a step; none: 32, and 16 for less than 2,000 examples"""
    length: int | None = None
    """most tokens of a row, special ones included; none: 128, or all that the body reads for questions"""
    warmup_rate: float = 0.1
    """part of the budget over which the rate climbs; then it falls"""
    schedule: Schedule = "linear"
    weight_decay: float = 0.01
    clip: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    dropout: float | None = None
    """everywhere in the body; none: as it was pretrained"""
    layer_decay: float = 1.0
    """the rate of each layer is that of the next higher one times this; the head has the whole rate"""
    freeze: int | None = None
    """the embedding and so many lowest layers keep their weights (0: the embedding alone)"""
    gradual: bool = False
    """the head learns alone in the first epoch; each further epoch a layer more, from the top (ULMFiT)"""
    reinit: int = 0
    """so many top layers, and the pooler, begin with random weights (Zhang et al. 2021)"""
    reuse_layers: int | None = None
    """only the embedding and so many lowest layers come from the model, all above begin with random weights"""
    reading: Reading | None = None
    """what of a text the head reads: first, last, mean, mix, or apart (pairs); none: as published for the body"""
    seeds: int = 1
    """runs that differ in their random numbers; the best on dev is kept"""
    patience: int | None = None
    """stop after so many evaluations without a better score"""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: rare labels count more, so that all labels count alike"""
    smoothing: float = 0.0
    """share of a target spread over all labels"""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    micro_batch_size: int | None = None
    """rows computed at once; none: the whole batch"""
    compile: bool = False

    def check(self) -> None:
        for name in ("epochs", "steps", "minutes", "learning_rate", "batch_size", "layer_decay", "seeds", "patience"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be above 0, got {value}")
        given = [name for name in ("epochs", "steps", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"budget must be one of epochs, steps or minutes, got {' and '.join(given)}")
        if self.layer_decay > 1:
            raise InputError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if self.reinit < 0:
            raise InputError(f"reinit must not be negative, got {self.reinit}")
        if self.reinit and self.reuse_layers is not None:
            raise InputError("reinit must be left out with reuse_layers, which says it already, got both")

    def training(self, length: int) -> TrainingConfig:
        """What the loop and the optimizer are told; all choices are made."""
        assert self.learning_rate is not None
        assert self.batch_size is not None
        return TrainingConfig(
            learning_rate=self.learning_rate, batch_size=self.batch_size, length=max(length, 8), beta1=self.beta1,
            beta2=self.beta2, epsilon=self.epsilon, weight_decay=self.weight_decay, clip=self.clip,
            schedule=self.schedule, warmup_rate=self.warmup_rate, dtype=self.dtype, compile=self.compile,
            micro_batch_size=self.micro_batch_size)

    def budget(self) -> Budget:
        """Steps, minutes or epochs; all choices are made."""
        return Budget(epochs=self.epochs, steps=self.steps, minutes=self.minutes)


def settled(config: FineTuningConfig, recipe: str, body: Any, kind: str, examples: int) -> FineTuningConfig:
    """The config with everything chosen: for a body (its config), a kind of task and so many training examples."""
    changes: dict[str, Any] = {}
    if config.epochs is None and config.steps is None and config.minutes is None:
        epochs = min(max(-(-EXAMPLES_SHOWN // max(examples, 1)), FEWEST_EPOCHS), MOST_EPOCHS)
        changes["epochs"] = float(max(epochs, body.num_layers + 2 if config.gradual else 0))
    if config.learning_rate is None:
        changes["learning_rate"] = usual_rate(recipe, body, config.freeze)
    if config.batch_size is None:
        changes["batch_size"] = 32 if examples >= 2000 else 16
    others = config.freeze, config.reading, config.reuse_layers
    if recipe == "elmo" and others == (None, None, None) and not (config.gradual or config.reinit):
        changes["freeze"] = body.num_layers  # its features are mixed, not trained (Peters et al. 2018, 3.2)
    if config.length is None and kind != "span":
        changes["length"] = ROW_TOKENS
    return config.replace(**changes)


def usual_rate(recipe: str, body: Any, freeze: int | None = None) -> float:
    """The peak learning rate: the narrower the body, the higher; tables of word vectors take the most.

    Measured on SST-2 for bodies of 128 and for tables (docs/fine-tuning.md); 768 and more get Devlin et al.'s 3e-5.
    """
    if recipe == "static" or getattr(body, "kind", "") == "static":
        return 1e-2
    width = body.hidden_size
    if getattr(body, "transformer", None) is None:
        return 1e-3
    rate = 3e-5 if width >= 768 else 5e-5 if width >= 384 else 3e-4 if width >= 256 else 1e-3
    return rate * 10 if freeze is not None and freeze >= body.num_layers else rate
