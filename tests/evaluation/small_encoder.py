"""An untrained two-layer BERT with a tokenizer of a few hundred pieces."""
from __future__ import annotations

import functools
from pathlib import Path

from polysemy.models import bert
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.text_encoder import TextEncoder
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig


@functools.cache
def tokenizer() -> Tokenizer:
    """Trained on the words of the made-up language."""
    from word_world import documents

    return Tokenizer.train(documents(100), TokenizerConfig(vocab_size=500))


def config() -> PretrainingConfig:
    """Two layers, 32 wide, rows of 128 tokens."""
    made = bert.configure("tiny", vocab_size=tokenizer().vocab_size)
    transformer = made.model.transformer.replace(hidden_size=32, num_heads=2, intermediate_size=64)
    return made.replace(model=made.model.replace(transformer=transformer))


@functools.cache
def encoder() -> TextEncoder:
    """Random weights, the same every time."""
    return TextEncoder(PretrainingModel(config().model, config().heads, seed=1), tokenizer(), config())


def write_small_run(folder: Path) -> None:
    """A run folder of it."""
    write_run(folder, encoder().model, tokenizer(), config())
