"""ELMo (Peters et al. 2018): a forward and a backward LSTM language model, and all their layers as a word's vectors.

Preset `paper` is the published body: two layers in each direction whose cells are eight times as wide as what they give
out, over the bytes of each word.  At size `large` it has the published 93,600,848 parameters (without the softmax); at
`mini` and `medium` the shape of AllenNLP's small and medium models.
"""
from __future__ import annotations

from polysemy.models.bert import LADDER_VOCABULARY, shape_of
from polysemy.models.bidirectional import BidirectionalConfig, Table
from polysemy.models.recipe import PretrainingConfig, TrainingConfig
from polysemy.nn.characters import Characters
from polysemy.text.streams import Chunks
from polysemy.text.tokenizer import TokenizerConfig

NUM_LAYERS = 2
"""at every size, as published: layer 0 is the word alone, 1 serves grammar best and 2 meaning"""
VOCABULARY = 793_471
"""words in the softmax of the published model"""
WIDTHS, FILTERS = (1, 2, 3, 4, 5, 6, 7), (32, 32, 64, 128, 256, 512, 1024)
DEVIATIONS = (
    "both: every row is read from its beginning; the original carries the state of both directions on from row to row "
    "of 20 words, for the backward one from a text that does not stand there.",
    "both: documents are read alone, with one mark between two of them that ends the one and begins the other; the "
    "original has marks at both ends of each sentence, and its sentences are shuffled.",
    "paper: the softmax is exact; the original samples 8,192 words a batch.",
    "paper: AdamW; the original has Adagrad at 0.2.",
    "paper: marks are read as the bytes of their names; the original has a symbol for each.",
    "ladder: a table of tokens instead of characters (--set model.input=characters has them), tied to the output; "
    "cells four times as wide as the output, not eight; nothing is clipped, dropout 0: settings for minutes, "
    "of which the rate was tried and the rest was not.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or the one that all rungs of the ladder share (`ladder`), at one of SIZES.

    The states [forward; backward] are as wide as BERT's of the same size.
    """
    _, hidden_size = shape_of(size, preset)
    paper = preset == "paper"
    vocab_size = vocab_size or (VOCABULARY if paper else LADDER_VOCABULARY)
    training = TrainingConfig(learning_rate=1e-3, batch_size=384, length=20, beta2=0.999, warmup_rate=0.01, clip=10.0,
                              weight_decay=0.0)
    return PretrainingConfig(
        recipe="elmo", preset="paper" if paper else "ladder", size=size, heads=("next_token", "previous_token"),
        model=body(hidden_size, vocab_size, paper=paper),
        tokenizer=TokenizerConfig(kind="word" if paper else "bytebpe", vocab_size=vocab_size),
        segments=Chunks(), corruption=None, training=training if paper else ladder_training(hidden_size))


def body(hidden_size: int, vocab_size: int, *, paper: bool) -> BidirectionalConfig:
    """Published ELMo's body, or the ladder's, with states (both directions) of `hidden_size`."""
    if not paper:
        return BidirectionalConfig(vocab_size=vocab_size, input=Table(), num_layers=NUM_LAYERS,
                                   cell_size=2 * hidden_size, projection_size=hidden_size // 2)
    characters = Characters(widths=WIDTHS, filters=FILTERS, num_highways=2 if hidden_size >= 1024 else 1)
    return BidirectionalConfig(
        vocab_size=vocab_size, input=characters, num_layers=NUM_LAYERS, cell_size=4 * hidden_size,
        projection_size=hidden_size // 2, cell_clip=3.0, projection_clip=3.0, dropout=0.1, tied=False)


def ladder_training(hidden_size: int) -> TrainingConfig:
    """As many tokens a step as the Transformers have, in more and shorter rows, which a recurrent step does at once."""
    return TrainingConfig(learning_rate=round(2 / max(128, hidden_size), 6), batch_size=16, length=64)
