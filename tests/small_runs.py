"""A corpus of numbers and a model of a few hundred weights, on which a run takes milliseconds."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.models.encoder import EncoderConfig
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.recipe import PretrainingConfig, TrainingConfig
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.position import Learned
from polysemy.nn.transformer import TransformerConfig
from polysemy.objectives.pretraining import Pretraining
from polysemy.runtime import random_for
from polysemy.text.batches import Batches
from polysemy.text.masking import Corruption, Tokens
from polysemy.text.segments import FullSentences, Segments
from polysemy.text.shards import Shards
from polysemy.text.tokenizer import TokenizerConfig
from polysemy.training.learner import Learner

PAD, UNK, CLS, SEP, MASK, FIRST = range(6)


@dataclass(frozen=True)
class Numbers:
    """A tokenizer's ids without text: five special ones, then ordinary ones."""

    vocab_size: int = 40
    pad_id: int = PAD
    unk_id: int = UNK
    cls_id: int = CLS
    sep_id: int = SEP
    mask_id: int = MASK
    marks: tuple[int, ...] = ()

    @property
    def special_ids(self) -> frozenset[int]:
        return frozenset(range(FIRST))

    @cached_property
    def ordinary_ids(self) -> np.ndarray:
        return np.arange(FIRST, self.vocab_size)


def numbers(num_documents: int = 30, vocab_size: int = 40, seed: int = 0) -> Shards:
    """Documents of three to six sentences of random ids."""
    random = random_for("numbers", seed)
    documents = [[random.integers(FIRST, vocab_size, random.integers(3, 9)).tolist()
                  for _ in range(random.integers(3, 7))] for _ in range(num_documents)]
    return Shards.from_documents(documents, vocab_size)


def small_config(*, hidden_size: int = 16, num_layers: int = 1, num_heads: int = 2, vocab_size: int = 40,
                 heads: tuple[str, ...] = ("masked_lm",), segments: Segments | None = None,
                 corruption: Corruption | None = None, dropout: float = 0.1, **training: Any) -> PretrainingConfig:
    """A recipe whose steps take a millisecond."""
    settings = {"batch_size": 4, "length": 16, "learning_rate": 1e-2, "dtype": "float32", "checkpoint_every": 1000,
                "evaluate_every": 1000} | training
    model = EncoderConfig(
        embedding=EmbeddingConfig(vocab_size=vocab_size, position=Learned(max_positions=64), num_segments=2,
                                  dropout=dropout),
        transformer=TransformerConfig(hidden_size=hidden_size, num_layers=num_layers, num_heads=num_heads,
                                      intermediate_size=2 * hidden_size, dropout=dropout, attention_dropout=dropout))
    return PretrainingConfig(recipe="bert", model=model, heads=heads, tokenizer=TokenizerConfig(vocab_size=200),
                             segments=segments or FullSentences(), corruption=corruption or Tokens(),
                             training=TrainingConfig(**settings), size="tiny")


def make_batches(config: PretrainingConfig, shards: Shards | None = None, seed: int = 0,
                 tokenizer: Any = None) -> Batches:
    return Batches(shards or numbers(), tokenizer or Numbers(config.model.embedding.vocab_size), config.segments,
                   config.corruption, batch_size=config.training.batch_size, length=config.training.length, seed=seed)


def make_learner(config: PretrainingConfig, seed: int = 0) -> Learner:
    model = PretrainingModel(config.model, config.heads, seed=seed)
    return Learner.make(model, Pretraining(config.heads), config.training, seed=seed)


def write_text(path: Path, num_documents: int = 60, seed: int = 0) -> Path:
    """A text file of short documents with a little grammar, blank lines between them."""
    random = random_for("text", seed)
    things = ["river", "bank", "house", "garden", "doctor", "letter", "winter", "captain", "table", "window"]
    verbs = ["sees", "finds", "leaves", "follows", "remembers", "paints"]
    lines = []
    for _ in range(num_documents):
        for _ in range(random.integers(2, 6)):
            lines.append(f"The {random.choice(things)} {random.choice(verbs)} the {random.choice(things)} "
                         f"near the {random.choice(things)}.")
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
