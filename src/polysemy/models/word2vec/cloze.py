"""How well each candidate fits a gap, by the words around it, from both matrices.

With v the input and u the output vectors, and C the words of the context:

    cbow                      u_w . h, h the mean of v_c          (with a tree: the log-probability of w's path)
    skip-gram, negatives      sum over C of v_w . u_c             each is a PMI of w and c but for a constant
    skip-gram, softmax        sum over C of u_w . v_c             log P(w | c) but for a constant
    skip-gram, tree           sum over C of log P(w | v_c)
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysemy.capability import ClozeItem
from polysemy.models.word2vec.huffman import Tree
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


def tree_scores(contexts: np.ndarray, candidates: np.ndarray, inputs: np.ndarray, nodes: np.ndarray, tree: Tree,
                *, mean: bool) -> np.ndarray:
    """float64 (items, candidates): log P(candidate | h), h the mean context, or summed over the context's words."""
    scores = np.zeros(candidates.shape)
    for n, (context, words) in enumerate(zip(contexts, np.maximum(candidates, 0), strict=True)):
        hidden = inputs[context[context >= 0]].astype(np.float64)
        if len(hidden):
            hidden = hidden.mean(0, keepdims=True) if mean else hidden
            scores[n] = path_log_probabilities(words, hidden, nodes, tree).sum(1)
    return scores


def path_log_probabilities(words: np.ndarray, hidden: np.ndarray, nodes: np.ndarray, tree: Tree) -> np.ndarray:
    """float64 (words, hidden vectors): log P(word | h) by the tree."""
    lengths = tree.lengths[words]
    ends = np.cumsum(lengths)
    at = np.arange(ends[-1]) + np.repeat(tree.starts[words] - ends + lengths, lengths)
    path, places = np.unique(tree.nodes[at], return_inverse=True)
    dots = (nodes[path].astype(np.float64) @ hidden.T)[places]
    signs = 1 - 2.0 * tree.codes[at]
    return -np.add.reduceat(np.logaddexp(0, -signs[:, None] * dots), ends - lengths, axis=0)


def with_unknown(scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """An unknown candidate scores one less than the worst known one of its row; a row without known ones is all 0."""
    known = candidates >= 0
    worst = np.where(known, scores, np.inf).min(1, keepdims=True, initial=np.inf)
    return np.where(known, scores, np.where(np.isfinite(worst), worst - 1, 0.0))
