"""GPT (Radford et al. 2018, 2019): a Transformer that sees only what is before it, trained to say the next token.

Preset `paper` is GPT-2's layout: norms before the sublayers and one at the end, learned positions, the output tied to
the token table without a bias.  GPT-1's has its norms after the sublayers and 512 positions:
`--set model.transformer.norm=post --set model.embedding.position.max_positions=512 --set training.length=512`.
"""
from __future__ import annotations

from polysemy.models.bert import LADDER_VOCABULARY, ladder_training, shape_of
from polysemy.models.encoder import EncoderConfig
from polysemy.models.recipe import SIZES, PretrainingConfig, TrainingConfig
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.position import Learned, Rotary
from polysemy.nn.transformer import TransformerConfig
from polysemy.text.streams import Chunks
from polysemy.text.tokenizer import TokenizerConfig

GPT_SIZES: dict[str, tuple[int, int]] = {**SIZES, "xlarge": (36, 1280), "xxlarge": (48, 1600)}
"""(num_layers, hidden_size); base, large, xlarge and xxlarge are the published small, medium, large and XL of GPT-2"""
DEVIATIONS = (
    "paper: the batch is 512 rows as published; rate, schedule and decay, which are not, are those of GPT-3's model of "
    "that size.",
    "paper: rows hold whole documents with a mark between them and never look across it; the original's do.",
    "paper: special tokens of their own (padding, unknown) take places of the vocabulary; the original has one mark.",
    "ladder: rotary positions, exact GELU and dropout 0, as BERT's ladder has them: for every rung alike.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or the one that all rungs of the ladder share (`ladder`), at one of GPT_SIZES."""
    num_layers, hidden_size = shape_of(size, preset, GPT_SIZES)
    paper = preset == "paper"
    vocab_size = vocab_size or (50_257 if paper else LADDER_VOCABULARY)
    training = TrainingConfig(learning_rate=6e-4, batch_size=512, length=1024, beta2=0.95, epsilon=1e-8,
                              weight_decay=0.1, schedule="cosine", warmup_rate=0.01)
    return PretrainingConfig(
        recipe="gpt", preset="paper" if paper else "ladder", size=size, heads=("next_token",),
        model=body(num_layers, hidden_size, vocab_size, paper=paper),
        tokenizer=TokenizerConfig(kind="bytebpe", vocab_size=vocab_size), segments=Chunks(), corruption=None,
        training=training if paper else ladder_training(hidden_size))


def body(num_layers: int, hidden_size: int, vocab_size: int, *, paper: bool) -> EncoderConfig:
    """GPT-2's stack; the ladder's has the same shape with rotary positions and without dropout."""
    dropout = 0.1 if paper else 0.0
    return EncoderConfig(
        embedding=EmbeddingConfig(vocab_size=vocab_size, position=Learned(max_positions=1024) if paper else None,
                                  norm=False, norm_eps=1e-5, dropout=dropout),
        transformer=TransformerConfig(
            hidden_size=hidden_size, num_layers=num_layers, num_heads=max(1, hidden_size // 64),
            intermediate_size=4 * hidden_size, activation="gelu_tanh" if paper else "gelu", causal=True, norm="pre",
            norm_eps=1e-5, distance=None if paper else Rotary(), initializer="gpt2", dropout=dropout,
            attention_dropout=dropout))
