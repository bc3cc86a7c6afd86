"""RoBERTa (Liu et al. 2019): BERT trained better: full rows, fresh masks, no sentence pairs, byte-level pieces."""
from __future__ import annotations

from polysemy.models.bert import LADDER_RATE, LADDER_VOCABULARY, body, ladder_training, shape_of
from polysemy.models.recipe import PretrainingConfig, TrainingConfig
from polysemy.nn.position import Learned
from polysemy.text.masking import Tokens
from polysemy.text.segments import FullSentences
from polysemy.text.tokenizer import TokenizerConfig

DEVIATIONS = (
    "paper: exactly 15 % of each row is hidden; the original rounds the number at random.",
    "paper: a sentence is cut where a row would else stay more than 3 % empty (segments.empty_rate=1 keeps it whole).",
    "ladder: WordPiece instead of byte-level pieces, rotary positions, 40 % hidden, pre-norm, dropout 0, no segment "
    "row: what all rungs share.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or the ladder's (`ladder`), at one of SIZES."""
    num_layers, hidden_size = shape_of(size, preset)
    paper = preset == "paper"
    vocab_size = vocab_size or (50_265 if paper else LADDER_VOCABULARY)
    model = body(num_layers, hidden_size, vocab_size, paper=paper)
    # the published tables hold one segment row, and two rows of positions that are never used
    embedding = model.embedding.replace(num_segments=1, position=Learned(offset=2), norm_eps=1e-5)
    published = model.replace(embedding=embedding, transformer=model.transformer.replace(norm_eps=1e-5))
    training = TrainingConfig(learning_rate=6e-4, batch_size=8192, length=512, warmup_rate=0.048, clip=0.0)
    return PretrainingConfig(
        recipe="roberta", preset="paper" if paper else "ladder", size=size, heads=("masked_lm",),
        model=published if paper else model.replace(embedding=model.embedding.replace(num_segments=0)),
        tokenizer=TokenizerConfig(kind="bytebpe" if paper else "wordpiece", vocab_size=vocab_size),
        segments=FullSentences(cross_documents=True), corruption=Tokens() if paper else Tokens(rate=LADDER_RATE),
        training=training if paper else ladder_training(hidden_size))
