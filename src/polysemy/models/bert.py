"""BERT (Devlin et al. 2019): a two-sided encoder over token + position + segment; hidden tokens and next sentence."""
from __future__ import annotations

from polysemy.config import nearest
from polysemy.errors import InputError
from polysemy.models.encoder import EncoderConfig
from polysemy.models.recipe import SIZES, PretrainingConfig, TrainingConfig
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.position import Learned, Rotary
from polysemy.nn.transformer import TransformerConfig
from polysemy.text.masking import Tokens
from polysemy.text.segments import NextSentence
from polysemy.text.tokenizer import TokenizerConfig

LADDER_VOCABULARY = 8000
LADDER_RATE = 0.4
"""share of the tokens that the ladder hides: in minutes 0.4 learns more than 0.15 (docs/benchmarks/learning.md)"""
DEVIATIONS = (
    "paper: GELU is exact (erf), as in transformers; Google's code has the tanh approximation.",
    "paper: one row length throughout; the original runs 90 % of its steps at 128 tokens and the rest at 512.",
    "paper: masks are drawn afresh each epoch; the original stores ten fixed copies of the corpus.",
    "paper: random replacements are ordinary pieces; the original may also draw special ones.",
    "paper: a random second sentence is never from the same document, and the target length is drawn for each chunk "
    "instead of once a document.",
    "paper: AdamW corrects its bias; Google's optimizer does not.",
    "ladder: rotary positions, 40 % of the tokens hidden, norms before their sublayers with one at the end, dropout 0 "
    "and smaller first weights where a residual branch closes: what learns most in minutes, for every rung alike.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or the one that all rungs of the ladder share (`ladder`), at one of SIZES."""
    num_layers, hidden_size = shape_of(size, preset)
    paper = preset == "paper"
    vocab_size = vocab_size or (30_522 if paper else LADDER_VOCABULARY)
    training = TrainingConfig(learning_rate=1e-4, batch_size=256, length=512, beta2=0.999, warmup_rate=0.01)
    return PretrainingConfig(
        recipe="bert", preset="paper" if paper else "ladder", size=size, heads=("masked_lm", "pair"),
        model=body(num_layers, hidden_size, vocab_size, paper=paper),
        tokenizer=TokenizerConfig(kind="wordpiece", vocab_size=vocab_size),
        segments=NextSentence(), corruption=Tokens() if paper else Tokens(rate=LADDER_RATE),
        training=training if paper else ladder_training(hidden_size))


def body(num_layers: int, hidden_size: int, vocab_size: int, *, paper: bool) -> EncoderConfig:
    """BERT's encoder; the ladder's has the same shape with rotary positions, pre-norm and without dropout."""
    dropout = 0.1 if paper else 0.0
    return EncoderConfig(
        embedding=EmbeddingConfig(vocab_size=vocab_size, position=Learned() if paper else None, num_segments=2,
                                  dropout=dropout),
        transformer=TransformerConfig(
            hidden_size=hidden_size, num_layers=num_layers, num_heads=max(1, hidden_size // 64),
            intermediate_size=4 * hidden_size, norm="post" if paper else "pre", norm_eps=1e-12,
            distance=None if paper else Rotary(),
            initializer="bert" if paper else "gpt2", dropout=dropout, attention_dropout=dropout))


def ladder_training(hidden_size: int) -> TrainingConfig:
    """One optimizer for all rungs; wider models take smaller steps."""
    return TrainingConfig(learning_rate=round(1e-3 * min(2.0, 256 / hidden_size), 6), batch_size=8)


def shape_of(size: str, preset: str, sizes: dict[str, tuple[int, int]] = SIZES) -> tuple[int, int]:
    """(num_layers, hidden_size) of a named size; InputError for an unknown size or preset."""
    if size not in sizes:
        raise InputError(f"size must be {' | '.join(sizes)}, got {size!r}{nearest(size, sizes)}")
    if preset not in ("paper", "ladder"):
        raise InputError(f"preset must be paper | ladder, got {preset!r}")
    return sizes[size]
