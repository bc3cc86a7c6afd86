"""LSTM language model: stacked LSTM layers (Hochreiter and Schmidhuber 1997) that say the next token.

Preset `paper` is the medium model of Zaremba et al. 2014 at every size's own shape; size `medium-2014` is theirs.  The
weight drop and per-row masks of AWD-LSTM (Merity et al. 2018) are settings:
`--set model.weight_drop=0.5 --set model.variational=true --set model.embedding_dropout=0.1`.
"""
from __future__ import annotations

from typing import Any

from polysemy.models.bert import LADDER_VOCABULARY, shape_of
from polysemy.models.recipe import PretrainingConfig, TrainingConfig
from polysemy.models.recurrent import RecurrentConfig
from polysemy.nn.recurrent import CellName
from polysemy.text.streams import Streams
from polysemy.text.tokenizer import TokenizerConfig

RECURRENT_SIZES: dict[str, tuple[int, int]] = {
    "tiny": (2, 128),
    "mini": (2, 384),
    "small": (2, 768),
    "medium": (3, 896),
    "base": (4, 1536),
    "large": (4, 3072),
    "medium-2014": (2, 650),
    "large-2014": (2, 1500),
}
"""(num_layers, hidden_size); tiny to large have about as many numbers to learn as a Transformer of that size"""
DEVIATIONS = (
    "paper: AdamW with a falling rate; the original has plain gradient descent, whose rate of 1 is divided by 1.2 "
    "after every epoch from the 7th on.",
    "paper: one bias a gate; the original adds two.",
    "paper: the vocabulary is that of a tokenizer of words with 10,000 of them; the original's is the Penn Treebank's.",
    "ladder: the output is tied to the token table and the gate that keeps begins open: what learns most in minutes.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or that of the ladder, at one of RECURRENT_SIZES."""
    return recurrent("lstm", "lstm", size, preset, vocab_size)


def recurrent(recipe: str, cell: CellName, size: str, preset: str, vocab_size: int | None) -> PretrainingConfig:
    """The same for either cell."""
    num_layers, hidden_size = shape_of(size, preset, RECURRENT_SIZES)
    paper = preset == "paper"
    vocab_size = vocab_size or (10_000 if paper else LADDER_VOCABULARY)
    shape: dict[str, Any] = {"cell": cell, "vocab_size": vocab_size, "num_layers": num_layers,
                             "hidden_size": hidden_size}
    if paper:
        model = RecurrentConfig(**shape, tied=False, dropout=0.65 if hidden_size >= 1500 else 0.5, first="zaremba",
                                forget_bias=0.0)
        training = TrainingConfig(learning_rate=1e-3, batch_size=20, length=35, weight_decay=0.0, clip=5.0)
    else:
        model, training = RecurrentConfig(**shape), ladder_training(cell, hidden_size)
    return PretrainingConfig(
        recipe=recipe, preset="paper" if paper else "ladder", size=size, heads=("next_token",), model=model,
        tokenizer=TokenizerConfig(kind="word" if paper else "bytebpe", vocab_size=vocab_size), segments=Streams(),
        corruption=None, training=training)


def ladder_training(cell: CellName, hidden_size: int) -> TrainingConfig:
    """Truncated back-propagation through 64 steps; wider models, and those without gates, take smaller steps."""
    rate = 5e-3 * min(1.5, (384 / hidden_size) ** 0.5)
    return TrainingConfig(learning_rate=round(rate if cell == "lstm" else rate / 3, 6), batch_size=16, length=64)
