"""What all models of word vectors share in answering cloze questions: the words around a gap, and the candidates."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysemy.capability import ClozeItem
from polysemy.text.vocabulary import Vocabulary

BATCH = 1000
"""items scored at once"""


def contexts_of(items: Sequence[ClozeItem], vocabulary: Vocabulary, window: int) -> np.ndarray:
    """int64 (items, 2 window): the nearest known words left and right of each gap, -1 where there are fewer.

    Unknown words leave no place, as in training; ends of lines do not end the context.
    """
    found = np.full((len(items), 2 * window), -1, np.int64)
    for row, item in zip(found, items, strict=True):
        left, right = (ids[ids >= 0] for ids in (vocabulary.ids(item.left), vocabulary.ids(item.right)))
        words = np.concatenate([left[-window:], right[:window]])
        row[: len(words)] = words
    return found


def candidates_of(items: Sequence[ClozeItem], vocabulary: Vocabulary) -> np.ndarray:
    """int64 (items, candidates): each candidate's number, -1 for one that is unknown or not one word."""
    found = np.full((len(items), len(items[0].candidates) if items else 0), -1, np.int64)
    for row, item in zip(found, items, strict=True):
        for k, candidate in enumerate(item.candidates):
            words = vocabulary.split(candidate)
            row[k] = vocabulary.find(words[0]) if len(words) == 1 else -1
    return found


def dot_scores(contexts: np.ndarray, candidates: np.ndarray, context_rows: np.ndarray, candidate_rows: np.ndarray,
               *, mean: bool) -> np.ndarray:
    """float64 (items, candidates): the candidate's row times the sum, or mean, of the context's rows."""
    scores = np.zeros(candidates.shape)
    for start in range(0, len(contexts), BATCH):
        some = slice(start, start + BATCH)
        hidden = pooled(contexts[some], context_rows, mean=mean)
        scores[some] = np.einsum("nkd,nd->nk", candidate_rows[candidates[some]], hidden, dtype=np.float64)
    return scores


def pooled(contexts: np.ndarray, rows: np.ndarray, *, mean: bool) -> np.ndarray:
    """float64 (items, size): the sum, or mean, of the rows of each context; 0 where it is empty."""
    real = contexts >= 0
    total = (rows[contexts] * real[..., None]).sum(1, dtype=np.float64)
    return total / np.maximum(real.sum(1), 1)[:, None] if mean else total


def with_unknown(scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """An unknown candidate scores one less than the worst known one of its row; a row without known ones is all 0."""
    known = candidates >= 0
    worst = np.where(known, scores, np.inf).min(1, keepdims=True, initial=np.inf)
    return np.where(known, scores, np.where(np.isfinite(worst), worst - 1, 0.0))
