"""An untrained GPT of two layers."""
from __future__ import annotations

import functools

from small_encoder import tokenizer

from polysemy.models import gpt as recipe
from polysemy.models.language_model import LanguageModel
from polysemy.models.pretrained import PretrainingModel


@functools.cache
def gpt() -> LanguageModel:
    """Random weights, the same every time."""
    made = recipe.configure("tiny", vocab_size=tokenizer().vocab_size)
    transformer = made.model.transformer.replace(hidden_size=32, num_heads=2, num_layers=2, intermediate_size=64)
    config = made.replace(model=made.model.replace(transformer=transformer))
    return LanguageModel(PretrainingModel(config.model, config.heads, seed=1), tokenizer(), config)
