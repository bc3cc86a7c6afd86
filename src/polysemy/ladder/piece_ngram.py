"""An n-gram model of the pieces that all rungs share, so that counting stands on the axis of bits per byte too.

The rung `ngram` predicts words, after another rule and with unknown ones, so its perplexity compares with no other's.
"""
from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from polysemy.models.ngram.model import NgramModel
    from polysemy.text.shards import Shards
    from polysemy.text.tokenizer import Tokenizer

END, UNKNOWN = -1, -2


class PieceNgram:
    """Interpolated modified Kneser-Ney over pieces; each document is a line."""

    def __init__(self, shards: Shards, tokenizer: Tokenizer, order: int = 5) -> None:
        counts = np.bincount(shards.ids(0, shards.num_tokens), minlength=tokenizer.vocab_size)
        ranked = np.lexsort((np.arange(len(counts)), -counts))[:np.count_nonzero(counts)]
        self.tokenizer = tokenizer
        self.numbers = np.full(len(counts), UNKNOWN, np.int32)
        """of each piece in the model; a piece that the text does not hold is unknown"""
        self.numbers[ranked] = np.arange(len(ranked), dtype=np.int32)
        self.model = self._fitted(shards, counts[ranked], [tokenizer.vocabulary[i] for i in ranked], order)

    def _fitted(self, shards: Shards, counts: np.ndarray, names: list[str], order: int) -> NgramModel:
        from polysemy.models.ngram.building import build
        from polysemy.models.ngram.config import NgramConfig
        from polysemy.models.ngram.model import NgramModel
        from polysemy.text.vocabulary import Vocabulary

        ends = np.asarray(shards.document_starts)[1:]
        tokens = np.insert(self.numbers[shards.ids(0, shards.num_tokens)], ends, END)
        config = NgramConfig(order=order)
        with tempfile.TemporaryDirectory(prefix="polysemy-") as scratch:
            trie, _ = build(tokens, len(names), config, scratch=Path(scratch))
        vocabulary = Vocabulary(names, counts.astype(np.int64), config.word_config, int(counts.sum()))
        return NgramModel(trie, vocabulary, config)

    def bits_per_byte(self, texts: Sequence[str]) -> float:
        """Bits that the texts' pieces need, by byte of text; ends of texts are not counted."""
        rows = [self.numbers[encoding.ids] for encoding in self.tokenizer.encode_batch(list(texts))]
        ids = np.concatenate([part for row in rows for part in (row, np.array([END], np.int32))])
        logs = self.model.score_tokens(ids).astype(np.float64)
        return float(-logs[ids != END].sum() / np.log10(2) / sum(len(text.encode()) for text in texts))
