"""ALBERT (Lan et al. 2020): one set of layer weights, a narrow token table, n-gram masking and sentence order."""
from __future__ import annotations

from polysemy.models.bert import LADDER_RATE, LADDER_VOCABULARY, body, ladder_training, shape_of
from polysemy.models.recipe import SIZES as COMMON_SIZES
from polysemy.models.recipe import PretrainingConfig, TrainingConfig
from polysemy.text.masking import NGrams
from polysemy.text.segments import SentenceOrder
from polysemy.text.tokenizer import TokenizerConfig

FACTOR_SIZE = 128
SIZES = {**COMMON_SIZES, "xlarge": (24, 2048), "xxlarge": (12, 4096)}
HEADS = {"xlarge": 16, "xxlarge": 64}
DEVIATIONS = (
    "Sharing saves memory, not computation: a step costs what BERT's does. Norms are shared with their sublayer.",
    "paper: xxlarge has 222,595,584 parameters, as the published weights; the paper's table says 235M.",
    "paper: a passage of one sentence is cut in two at a word; Google's script takes a random document instead.",
    "paper: dropout 0 everywhere, as in version 2 of the published weights; tokens are Unigram pieces learned here.",
    "ladder: rotary positions, 40 % hidden, pre-norm, exact GELU, WordPiece and AdamW as all rungs; the table is at "
    "most half as wide as the model.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or the ladder's (`ladder`), at one of SIZES, xlarge and xxlarge included."""
    num_layers, hidden_size = shape_of(size, preset, SIZES)
    paper = preset == "paper"
    vocab_size = vocab_size or (30_000 if paper else LADDER_VOCABULARY)
    model = body(num_layers, hidden_size, vocab_size, paper=paper)
    factor_size = FACTOR_SIZE if paper else min(FACTOR_SIZE, hidden_size // 2)
    transformer = model.transformer.replace(
        num_groups=1, num_heads=HEADS.get(size, model.transformer.num_heads), dropout=0.0, attention_dropout=0.0,
        activation="gelu_tanh" if paper else "gelu")
    training = TrainingConfig(learning_rate=1.76e-3, batch_size=4096, length=512, optimizer="lamb", beta2=0.999,
                              warmup_rate=0.025)
    return PretrainingConfig(
        recipe="albert", preset="paper" if paper else "ladder", size=size, heads=("masked_lm", "pair"),
        model=model.replace(embedding=model.embedding.replace(factor_size=factor_size, dropout=0.0),
                            transformer=transformer),
        tokenizer=TokenizerConfig(kind="unigram" if paper else "wordpiece", vocab_size=vocab_size),
        segments=SentenceOrder(), corruption=NGrams(longest=3) if paper else NGrams(longest=3, rate=LADDER_RATE),
        training=training if paper else ladder_training(hidden_size))
