"""Transformer-XL (Dai et al. 2019): a causal Transformer with distances in its scores and a memory of earlier segments.

Training reads contiguous streams: a segment sees what every layer read in the one before, without gradients into it.
Preset `paper` is the model of enwik8 (characters); size `enwik8` has its shape.
"""
from __future__ import annotations

from polysemy.models.bert import LADDER_VOCABULARY, ladder_training, shape_of
from polysemy.models.recipe import SIZES, PretrainingConfig, TrainingConfig
from polysemy.models.segment_memory import SegmentMemoryConfig
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.transformer import TransformerConfig
from polysemy.text.streams import Streams
from polysemy.text.tokenizer import TokenizerConfig

XL_SIZES: dict[str, tuple[int, int]] = {**SIZES, "enwik8": (12, 512)}
"""(num_layers, hidden_size); enwik8 is the published one of 41,055,436 parameters with its 204 characters"""
BYTES = 263
"""a byte vocabulary with its special tokens"""
DEVIATIONS = (
    "paper: tokens are bytes; the original's enwik8 has the same ones without special tokens (204 occur).",
    "paper: the sinusoids of distances are not dropped; the original drops a tenth of them.",
    "paper: norms begin at 1; the original draws them around 1 with deviation 0.02. First weights are cut at two "
    "deviations.",
    "paper: in use a token sees itself and as many before it as the memory holds; the original's sees one less.",
    "ladder: norms before their sublayers (the memory's too) with one at the end, GELU, dropout 0: what learns most in "
    "minutes, for every rung alike; in use the memory is twice the segment, as far as training saw.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or the one that all rungs of the ladder share (`ladder`), at one of XL_SIZES."""
    num_layers, hidden_size = shape_of(size, preset, XL_SIZES)
    paper = preset == "paper"
    vocab_size = vocab_size or (BYTES if paper else LADDER_VOCABULARY)
    training = TrainingConfig(learning_rate=2.5e-4, batch_size=22, length=512, beta2=0.999, epsilon=1e-8,
                              weight_decay=0.0, schedule="cosine", warmup_rate=0.0, clip=0.25)
    training = training if paper else ladder_training(hidden_size)
    return PretrainingConfig(
        recipe="transformer-xl", preset="paper" if paper else "ladder", size=size, heads=("next_token",),
        model=body(num_layers, hidden_size, vocab_size, memory=training.length, paper=paper),
        tokenizer=TokenizerConfig(kind="bytebpe", vocab_size=vocab_size), segments=Streams(), corruption=None,
        training=training)


def body(num_layers: int, hidden_size: int, vocab_size: int, *, memory: int, paper: bool) -> SegmentMemoryConfig:
    """The stack with a memory of as many tokens; the ladder's has the same shape, pre-norm and without dropout."""
    dropout = 0.1 if paper else 0.0
    return SegmentMemoryConfig(
        embedding=EmbeddingConfig(vocab_size=vocab_size, position=None, norm=False, scale_tokens=paper,
                                  dropout=dropout),
        transformer=TransformerConfig(
            hidden_size=hidden_size, num_layers=num_layers, num_heads=max(1, hidden_size // 64),
            intermediate_size=4 * hidden_size, activation="relu" if paper else "gelu", causal=True,
            norm="post" if paper else "pre", norm_eps=1e-5, initializer="bert" if paper else "gpt2", dropout=dropout,
            attention_dropout=0.0),
        memory=memory, evaluation_memory=2100 if paper else 2 * memory, clamp_length=820 if paper else None,
        output_bias=paper)
