"""Small trained tokenizers and untrained models for tests of what models do with text."""
from __future__ import annotations

import functools
from typing import Any

import torch

from polysemy.config import with_settings
from polysemy.models import (
    albert,
    bert,
    distilbert,
    elmo,
    gpt,
    lstm,
    nnlm,
    rnn,
    roberta,
    spanbert,
    transformer_xl,
)
from polysemy.models.language_model import LanguageModel
from polysemy.models.pretrained import PretrainingModel, know_pieces
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.text_encoder import TextEncoder
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

RECIPES = {"bert": bert, "roberta": roberta, "albert": albert, "spanbert": spanbert, "distilbert": distilbert}
LANGUAGE = {"gpt": gpt, "nnlm": nnlm, "rnn": rnn, "lstm": lstm, "transformer-xl": transformer_xl, "elmo": elmo,
            "adaptive": lstm, "adaptive-nnlm": nnlm}
SMALL: dict[str, dict[str, str]] = {
    "gpt": {"model.transformer.hidden_size": "32", "model.transformer.num_heads": "2",
            "model.transformer.intermediate_size": "48"},
    "nnlm": {"model.embedding_size": "16", "model.inner_size": "24"},
    "rnn": {"model.hidden_size": "24"},
    "lstm": {"model.hidden_size": "24"},
    "transformer-xl": {"model.transformer.hidden_size": "32", "model.transformer.num_heads": "2",
                       "model.transformer.intermediate_size": "48", "model.evaluation_memory": "500",
                       "model.same_length": "false"},
    "adaptive": {"model.hidden_size": "24", "tokenizer.kind": "word", "model.cutoffs": "40,90"},
    "adaptive-nnlm": {"model.embedding_size": "16", "model.inner_size": "24", "tokenizer.kind": "word",
                      "model.cutoffs": "40,90"},
    "elmo": {"model.cell_size": "24", "model.projection_size": "12"},
}
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


def language_model(recipe: str, **changes: Any) -> LanguageModel:
    """An untrained language model with rows of 48 tokens; `changes` by dotted name, as with --set."""
    config = LANGUAGE[recipe].configure("tiny")
    settings = {**SMALL[recipe], "training.length": "48", **changes}
    made = tokenizer("bytebpe" if config.tokenizer.kind == "bytebpe" else "wordpiece")
    config = with_settings(config, settings)
    config = config.replace(model=config.model.with_vocabulary(made.vocab_size))
    model = PretrainingModel(config.model, config.heads, seed=1)
    know_pieces(model, made)
    with torch.no_grad():
        for parameter in model.parameters():  # first weights are so small that every context looks alike
            parameter.mul_(4 if parameter.ndim > 1 else 1)
    return LanguageModel(model, made, config)
