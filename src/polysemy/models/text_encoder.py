"""A trained encoder in use: what `polysemy.load` gives for BERT and its relatives.

Everything takes plain text.  A model reads at most `length` tokens at once, those it was trained on; longer texts are
read in windows.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polysemy.capability import Candidate, ClozeItem, Score
from polysemy.errors import InputError
from polysemy.models import filling, ordering
from polysemy.models.text_model import Row, TextModel
from polysemy.text.segments import SentenceOrder


class TextEncoder(TextModel):
    """Embeds, fills gaps, scores, orders.  `model` is in evaluation mode; nothing here is random."""

    # what it can do

    def fill(self, text: str, top: int = 5, *, longest: int = 3) -> list[list[Candidate]]:
        """The likeliest words for each [MASK] of `text`, of 1 to `longest` pieces each (see `filling.fill`)."""
        return filling.fill(self, text, top, longest)

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """(items, candidates) float64 natural log-probabilities: a mask for each piece, filled from left to right."""
        return filling.cloze_scores(self, items)

    def score(self, text: str) -> Score:
        """Pseudo-log-probability (Salazar et al. 2020): every token predicted from all others, one hidden at a time."""
        return filling.score(self, text)

    def order(self, sentences: Sequence[str]) -> list[int]:
        """Indices of `sentences` in the most coherent order, by the sentence-order head."""
        if "pair" not in self.config.heads or not isinstance(self.config.segments, SentenceOrder):
            raise InputError(f"model must have learned sentence order, got {self.config.recipe} with segments "
                             f"{type(self.config.segments).__name__}; train albert, or any with segments=sentenceorder")
        return ordering.order(self, sentences)

    # inputs and passes

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
        embedding = getattr(self.config.model, "embedding", None)
        if getattr(embedding, "num_segments", 0) > 1:
            segments[ends:] = 1
        return Row(ids, segments)

    def specials(self, pair: bool) -> int:
        """Special tokens around a text or a pair."""
        return (4 if self.tokenizer.kind == "bytebpe" else 3) if pair else 2

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
