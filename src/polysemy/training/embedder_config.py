"""Settings of training a sentence embedder, and what is chosen where nothing was said."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.text_model import TextModel
from polysemy.text.sentence_examples import SentenceExamples
from polysemy.training.fine_tuning_config import EXAMPLES_SHOWN, FEWEST_EPOCHS, MOST_EPOCHS, usual_rate

TEXT_TOKENS = 64


@dataclass(frozen=True, kw_only=True)
class EmbedderConfig(Config):
    """How vectors are made and how they are learned."""

    pooling: Literal["mean", "cls", "last", "max"] | None = None
    """none: the last token of models that read from left to right, else the mean"""
    normalize: bool = True
    """whether the finished model gives vectors of length 1"""
    dimensions: int | None = None
    """how many numbers the finished model gives; none: all"""
    prefixes: tuple[int, ...] = ()
    """sum the loss over the first so many numbers too, so that vectors may be cut there (Kusupati et al. 2022)"""
    loss: Literal["auto", "softmax", "cosent", "cosine"] = "auto"
    """auto: softmax over the batch for pairs, cosent for scored pairs"""
    temperature: float = 0.05
    """cosines are divided by it"""
    both: bool = False
    """also let each partner find its text among the others"""
    epochs: float | None = None
    """passes over the pairs; none: 1 of plain text, else 3, and more for small data"""
    learning_rate: float | None = None
    """peak; none: as for other tasks by the body's kind and width, and half of that from plain text"""
    batch_size: int = 64
    """pairs, each of which has all others of its batch as negatives"""
    chunk_size: int | None = None
    """texts whose graph is held at once: larger batches in the same memory, the same gradient, a third more work"""
    length: int | None = None
    """most tokens of a text in training; none: 64"""
    dropout: float | None = None
    """none: 0.1 for twins, which learn from nothing else; else as the model was trained"""
    warmup_rate: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    evaluate_every: int | None = None
    """steps between evaluations; none: an epoch"""

    def check(self) -> None:
        for name in ("epochs", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be above 0, got {value}")
        for name in ("batch_size", "chunk_size", "evaluate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if self.loss == "softmax" and self.batch_size < 2:
            raise InputError("batch_size must be at least 2 with loss softmax, got 1: a pair alone has no negatives")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be in 0..1, got {self.dropout}")
        if any(d < 1 for d in self.prefixes):
            raise InputError(f"prefixes must be at least 1, got {min(self.prefixes)}")


def settled(config: EmbedderConfig, examples: SentenceExamples, reader: TextModel) -> EmbedderConfig:
    """The config with all that the data and the body decide: loss, dropout, epochs, rate."""
    scored = examples.scores is not None
    loss = ("cosent" if scored else "softmax") if config.loss == "auto" else config.loss
    if (loss != "softmax") and not scored:
        raise InputError(f"loss {loss} must be learned from pairs with scores, got {examples.source}")
    if loss == "softmax" and scored:
        raise InputError("loss softmax must be learned from pairs that belong together, got pairs with scores; use "
                         "loss cosent or cosine, or leave out the column of scores")
    twins = examples.source == "twins"
    dropout = 0.1 if twins and config.dropout is None else config.dropout
    if twins and not dropout:
        raise InputError("dropout must be above 0 to learn from twins, got 0: both readings would be the same vector")
    plain = examples.source in ("twins", "adjacent sentences")
    epochs = 1.0 if plain else float(min(max(-(-EXAMPLES_SHOWN // len(examples)), FEWEST_EPOCHS), MOST_EPOCHS))
    rate = usual_rate(reader.config.recipe, reader.config.model) / (2 if plain else 1)
    return config.replace(loss=loss, dropout=dropout, epochs=config.epochs or epochs,
                          learning_rate=config.learning_rate or rate, length=config.length or TEXT_TOKENS)
