"""DistilBERT's body (Sanh et al. 2019): half of BERT's layers, no segments, no pooler."""
from __future__ import annotations

from polysemy.models.bert import LADDER_RATE, LADDER_VOCABULARY, body, ladder_training, shape_of
from polysemy.models.recipe import PretrainingConfig, TrainingConfig
from polysemy.text.masking import Tokens
from polysemy.text.segments import FullSentences
from polysemy.text.tokenizer import TokenizerConfig

DEVIATIONS = (
    "`train` gives the body on its own, learned from text by masked LM; learning from a teacher is `distill`.",
    "paper: hidden tokens are drawn uniformly; the original prefers rare ones (count to the power -0.7).",
    "paper: positions are learned, as in the published weights, whose config says sinusoidal.",
    "ladder: rotary positions, 40 % hidden, pre-norm, dropout 0 and the optimizer of all rungs.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """Half of the layers that BERT has at the same size, published settings (`paper`) or the ladder's (`ladder`)."""
    num_layers, hidden_size = shape_of(size, preset)
    paper = preset == "paper"
    vocab_size = vocab_size or (30_522 if paper else LADDER_VOCABULARY)
    model = body(num_layers // 2, hidden_size, vocab_size, paper=paper)
    training = TrainingConfig(learning_rate=5e-4, batch_size=4096, length=512, weight_decay=0.0, warmup_rate=0.05,
                              clip=5.0)
    return PretrainingConfig(
        recipe="distilbert", preset="paper" if paper else "ladder", size=size, heads=("masked_lm",),
        model=model.replace(embedding=model.embedding.replace(num_segments=0)),
        tokenizer=TokenizerConfig(kind="wordpiece", vocab_size=vocab_size), segments=FullSentences(),
        corruption=Tokens() if paper else Tokens(rate=LADDER_RATE),
        training=training if paper else ladder_training(hidden_size))
