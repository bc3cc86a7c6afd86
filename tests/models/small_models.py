"""Small trained tokenizers and untrained models for tests of what models do with text."""
from __future__ import annotations

import functools
from typing import Any

from polysemy.models import albert, bert, distilbert, roberta, spanbert
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.text_encoder import TextEncoder
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

RECIPES = {"bert": bert, "roberta": roberta, "albert": albert, "spanbert": spanbert, "distilbert": distilbert}
SENTENCES = (
    "The bank of the river was green and the river was slow.",
    "She put the money into the bank before the bank closed for the day.",
    "Unhappiness is not the opposite of happiness, said the old woman.",
    "He walked along the river, looked at the water and sat down.",
    "银行在河边。", "我喜欢在河边看书。", "她去银行取钱。",
)


@functools.cache
def tokenizer(kind: str = "wordpiece") -> Tokenizer:
    """Trained on SENTENCES, with so few pieces that most words have several."""
    sizes = {"wordpiece": 150, "bpe": 150, "unigram": 110, "bytebpe": 340}
    config = TokenizerConfig(kind=kind, vocab_size=sizes[kind], coverage=1.0, min_frequency=1)  # type: ignore[arg-type]
    return Tokenizer.train(SENTENCES * 3, config)


def small_config(recipe: str, preset: str = "paper", kind: str = "wordpiece", **transformer: Any) -> PretrainingConfig:
    """Two layers, 32 wide, rows of 48 tokens."""
    config: PretrainingConfig = RECIPES[recipe].configure("tiny", preset, vocab_size=360)
    size = tokenizer(kind).vocab_size
    sizes = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "num_layers": 2, **transformer}
    embedding = config.model.embedding
    if embedding.factor_size:
        embedding = embedding.replace(factor_size=12)
    return config.replace(
        model=config.model.replace(embedding=embedding.replace(vocab_size=size),
                                   transformer=config.model.transformer.replace(**sizes)),
        tokenizer=config.tokenizer.replace(kind=kind, vocab_size=360), training=config.training.replace(length=48))


@functools.cache
def encoder(recipe: str = "bert", preset: str = "paper", kind: str = "wordpiece") -> TextEncoder:
    """An untrained model with weights large enough for its answers to differ."""
    config = small_config(recipe, preset, kind)
    loud = config.model.replace(transformer=config.model.transformer.replace(initializer="xavier"))
    return TextEncoder(PretrainingModel(loud, config.heads, seed=1), tokenizer(kind), config)
