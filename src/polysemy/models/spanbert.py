"""SpanBERT (Joshi et al. 2020): one stretch of text, hidden spans, predicted also from the two tokens around them."""
from __future__ import annotations

from polysemy.models.bert import LADDER_RATE, LADDER_VOCABULARY, body, ladder_training, shape_of
from polysemy.models.recipe import PretrainingConfig, TrainingConfig
from polysemy.text.masking import Spans
from polysemy.text.segments import Stretch
from polysemy.text.tokenizer import TokenizerConfig

DEVIATIONS = (
    "The last span ends before a word that would exceed the count; the released code cuts that word.",
    "Tokens of a merged span beyond the 20th are left to the masked LM alone; the released code shortens such spans.",
    "corruption=markedspans, spans between [S] and [/S], is a variant of our own and no part of the paper.",
    "ladder: uncased WordPiece, rotary positions, 40 % hidden, pre-norm, dropout 0: what all rungs share; a sentence "
    "is cut where the row would stay more than 3 % empty.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or the ladder's (`ladder`), at one of SIZES."""
    num_layers, hidden_size = shape_of(size, preset)
    paper = preset == "paper"
    vocab_size = vocab_size or (28_996 if paper else LADDER_VOCABULARY)
    training = TrainingConfig(learning_rate=1e-4, batch_size=256, length=512, beta2=0.999, epsilon=1e-8,
                              warmup_rate=0.0042)
    return PretrainingConfig(
        recipe="spanbert", preset="paper" if paper else "ladder", size=size, heads=("masked_lm", "span_boundary"),
        model=body(num_layers, hidden_size, vocab_size, paper=paper),
        tokenizer=TokenizerConfig(kind="wordpiece", vocab_size=vocab_size, lowercase=False if paper else None),
        segments=Stretch() if paper else Stretch(empty_rate=0.03),
        corruption=Spans(p=0.2, longest=10) if paper else Spans(p=0.2, longest=10, rate=LADDER_RATE),
        training=training if paper else ladder_training(hidden_size))
