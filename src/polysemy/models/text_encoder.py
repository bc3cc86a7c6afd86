"""A trained encoder in use: what `polysemy.load` gives for BERT and its relatives.

Everything takes plain text.  Texts run in groups of like length, results come in the order asked, and which texts share
a group changes no number beyond rounding.  A model reads at most `length` tokens at once, those it was trained on;
longer texts are read in windows.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from polysemy.capability import Candidate, ClozeItem, Score
from polysemy.errors import InputError
from polysemy.models import filling, ordering, reading
from polysemy.models.encoder import Encoded
from polysemy.models.pretrained import PretrainingModel, open_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.runtime import choose_device
from polysemy.text.segments import SentenceOrder
from polysemy.text.tokenizer import Encoding, Tokenizer

GROUP_TOKENS = 4096
GROUP_ROWS = 256


class Row(NamedTuple):
    """One input of the model: ids with [CLS] and [SEP], and the segment of each."""

    ids: np.ndarray
    segments: np.ndarray


class AttentionMap(NamedTuple):
    """What each piece of a text looked at."""

    pieces: list[str]
    weights: np.ndarray
    """(layers, heads, t, t) float32; row i says how piece i spread its attention"""


class TextEncoder:
    """Embeds, fills gaps, scores, orders.  `model` is in evaluation mode; nothing here is random."""

    def __init__(self, model: PretrainingModel, tokenizer: Tokenizer, config: PretrainingConfig) -> None:
        self.model, self.tokenizer, self.config = model.eval(), tokenizer, config
        positions = getattr(config.model.embedding.position, "max_positions", config.training.length)
        self.length = min(positions, config.training.length)
        """most tokens at once, [CLS] and [SEP] included"""

    @classmethod
    def load(cls, folder: str | Path) -> TextEncoder:
        """The model of a run folder, checked before it is believed."""
        return cls(*open_run(Path(folder)))

    def to(self, device: str = "auto", dtype: str = "float32") -> TextEncoder:
        """Move to a device; `bfloat16` is faster where the hardware has it and moves cosines by about 1e-4."""
        if dtype not in ("float32", "bfloat16"):
            raise InputError(f"dtype must be float32 or bfloat16, got {dtype!r}")
        self.model.to(device=choose_device(device), dtype=getattr(torch, dtype))
        return self

    # what it can do

    def fill(self, text: str, top: int = 5, *, longest: int = 3) -> list[list[Candidate]]:
        """The likeliest words for each [MASK] of `text`, of 1 to `longest` pieces each (see `filling.fill`)."""
        return filling.fill(self, text, top, longest)

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """(items, candidates) float64 natural log-probabilities: a mask for each piece, filled from left to right."""
        return filling.cloze_scores(self, items)

    def piece_counts(self, words: Sequence[str]) -> np.ndarray:
        """Pieces of each word as it stands in running text, int64."""
        return filling.piece_counts(self.tokenizer, words)

    def score(self, text: str) -> Score:
        """Pseudo-log-probability (Salazar et al. 2020): every token predicted from all others, one hidden at a time."""
        return filling.score(self, text)

    def order(self, sentences: Sequence[str]) -> list[int]:
        """Indices of `sentences` in the most coherent order, by the sentence-order head."""
        if "pair" not in self.config.heads or not isinstance(self.config.segments, SentenceOrder):
            raise InputError(f"model must have learned sentence order, got a {self.config.recipe} with segments "
                             f"{type(self.config.segments).__name__}; train albert, or any with segments=sentenceorder")
        return ordering.order(self, sentences)

    def attention(self, text: str, pair: str | None = None) -> AttentionMap:
        """What each piece of a text (or pair) looked at, in every layer and head."""
        encodings = self.encode([text] if pair is None else [text, pair])
        row = self.row(*(e.ids for e in encodings))
        if len(row.ids) > self.length:
            raise InputError(f"text must be at most {self.length} tokens for attention, got {len(row.ids)}")
        for _, shown in self.run([row], attention=True):
            weights = torch.cat(shown.weights).float().cpu().numpy()  # type: ignore[union-attr]
            return AttentionMap(self.tokenizer.pieces(row.ids), weights)
        raise AssertionError("one row gives one group")

    def embed(self, texts: Sequence[str], *, layer: int | str = -1, pooling: str = "mean",
              pairs: Sequence[str] | None = None, batch_size: int | None = None) -> Any:
        """Vectors of texts, or of text pairs, from any layer.

        pooling  mean: over all tokens, [CLS] and [SEP] included, as sentence-transformers; cls: the state at [CLS];
                 token: one vector a piece; word: the mean over the pieces of each word of `word_spans`
        layer    0 is the embedding, -1 the last, `mean` the mean of all

        Returns float32 (texts, d), or a list of (pieces or words, d) arrays.  A long text is read in windows, a pair's
        longer part is cut at its end; token and word vectors of a pair are those of the first text, then the second.
        """
        return reading.embed(self, texts, layer, pooling, pairs, batch_size)

    # inputs and passes

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Pieces and offsets of each text, without [CLS] and [SEP]."""
        return self.tokenizer.encode_batch(list(texts))

    def row(self, first: np.ndarray, second: np.ndarray | None = None) -> Row:
        """[CLS] first [SEP], or [CLS] first [SEP] second [SEP] with the second in segment 1.

        RoBERTa's pairs have two separators in the middle and one segment.
        """
        cls, sep = [self.tokenizer.cls_id], [self.tokenizer.sep_id]
        parts: list[Any] = [cls, first, sep]
        ends = len(first) + 2
        if second is not None:
            parts += [sep, second, sep] if self.tokenizer.kind == "bytebpe" else [second, sep]
        ids = np.concatenate(parts).astype(np.int64)
        segments = np.zeros(len(ids), np.int64)
        if self.config.model.embedding.num_segments > 1:
            segments[ends:] = 1
        return Row(ids, segments)

    def specials(self, pair: bool) -> int:
        """Special tokens around a text or a pair."""
        return (4 if self.tokenizer.kind == "bytebpe" else 3) if pair else 2

    @torch.inference_mode()
    def run(self, rows: Sequence[Row], *, batch_size: int | None = None, hidden_states: bool = False,
            attention: bool = False) -> Iterator[tuple[np.ndarray, Tensor | Encoded]]:
        """(indices into rows, states (b, t, d) or Encoded) for groups of rows of like length, padded on the right."""
        device = self.model.table.device
        for group in _groups([len(row.ids) for row in rows], batch_size):
            t = max(len(rows[i].ids) for i in group)
            ids = np.full((len(group), t), self.tokenizer.pad_id if self.tokenizer.has("pad") else 0, np.int64)
            segments, visible = np.zeros_like(ids), np.zeros(ids.shape, bool)
            for line, i in enumerate(group):
                n = len(rows[i].ids)
                ids[line, :n], segments[line, :n], visible[line, :n] = rows[i].ids, rows[i].segments, True
            tensors = [torch.from_numpy(array).to(device) for array in (ids, segments, visible)]
            yield group, self.model.body(tensors[0], None, tensors[1], visible=tensors[2], hidden_states=hidden_states,
                                         attention=attention)

    @torch.inference_mode()
    def log_probabilities(self, rows: Sequence[Row], places: Sequence[int]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """(indices, log-probabilities (b, v) in float32 at one place of each row), in groups of like length."""
        if "masked_lm" not in self.model.heads:
            raise InputError(f"model must have a masked-LM head, got heads {', '.join(self.model.heads) or 'none'}; "
                             "this one can only embed")
        for group, states in self.run(rows):
            assert isinstance(states, Tensor)
            at = torch.tensor([places[i] for i in group], device=states.device)
            at += torch.arange(len(group), device=states.device) * states.shape[1]
            yield group, self.model.masked_lm_logits(states, at).float().log_softmax(-1)


def _groups(lengths: Sequence[int], batch_size: int | None) -> Iterator[np.ndarray]:
    """Indices in groups of like length, longest first, each of bounded tokens (or of `batch_size` rows)."""
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = batch_size or max(1, min(GROUP_ROWS, GROUP_TOKENS // lengths[order[start]]))
        yield order[start:start + rows]
        start += rows
