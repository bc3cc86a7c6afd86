"""NNLM (Bengio et al. 2003): a token from the vectors of the last few, the first model whose words are points.

Preset `paper` is their best model for the Brown corpus (MLP9 and its like): n = 5, m = 30, h = 100, direct connections.
"""
from __future__ import annotations

from polysemy.models.bert import LADDER_VOCABULARY, shape_of
from polysemy.models.feed_forward import FeedForwardConfig
from polysemy.models.recipe import PretrainingConfig, TrainingConfig
from polysemy.text.streams import Chunks
from polysemy.text.tokenizer import TokenizerConfig

NNLM_SIZES: dict[str, tuple[int, int]] = {
    "tiny": (5, 64),
    "mini": (5, 128),
    "small": (6, 256),
    "medium": (8, 384),
    "base": (8, 768),
    "large": (8, 1024),
}
"""(n, m); the inner layer of the ladder is twice as wide as a vector"""
DEVIATIONS = (
    "paper: AdamW; the original has plain gradient descent with a rate of 0.001 that falls very slowly.",
    "paper: weight decay is that of AdamW, apart from the gradient.",
    "paper: the bias begins at the log frequencies of the text; the original does not say where.",
    "paper: before a text stand zeros; the original does not say what.",
    "paper: one model; the original's best figures mix it with a trigram.",
    "ladder: pieces instead of words, no direct connections.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or that of the ladder, at one of NNLM_SIZES."""
    order, width = shape_of(size, preset, NNLM_SIZES)
    paper = preset == "paper"
    vocab_size = vocab_size or (16_383 if paper else LADDER_VOCABULARY)
    if paper:
        model = FeedForwardConfig(vocab_size=vocab_size, order=5, embedding_size=30, inner_size=100, direct=True)
        training = TrainingConfig(learning_rate=1e-3, batch_size=16, length=64, weight_decay=1e-4, clip=0.0,
                                  schedule="constant", warmup_rate=0.0)
    else:
        model = FeedForwardConfig(vocab_size=vocab_size, order=order, embedding_size=width, inner_size=2 * width)
        training = TrainingConfig(learning_rate=2e-3, batch_size=16, length=64)
    return PretrainingConfig(
        recipe="nnlm", preset="paper" if paper else "ladder", size=size, heads=("next_token",), model=model,
        tokenizer=TokenizerConfig(kind="word" if paper else "bytebpe", vocab_size=vocab_size), segments=Chunks(),
        corruption=None, training=training)
