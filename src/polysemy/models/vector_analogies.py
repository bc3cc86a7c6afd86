"""Thousands of analogies at once: cosines with the distinct words of all questions, combined block by block.

A question needs three rows of cosines; there are far fewer different words than questions, so the matrix product is
done once a word and the rest is adding (or multiplying) rows that lie in the cache.
"""

from __future__ import annotations

import numpy as np

from polysemy.machine_code import compiled
from polysemy.models.vector_search import TINY, normalized

BLOCK_BYTES = 32 << 20


def answers(
    vectors: np.ndarray, norms: np.ndarray, rows: np.ndarray, questions: np.ndarray, *, method: str = "add"
) -> np.ndarray:
    """int64 (questions,): the row that is best by 3CosAdd or 3CosMul for each (a, b, c), other than these; -1 if none.

    vectors (words, size) with their lengths; rows: which may be answers, ascending; questions: int64 (questions, 3).
    """
    words, places = np.unique(questions, return_inverse=True)
    places = places.reshape(questions.shape)
    best_score = np.full(len(questions), -np.inf, np.float32)
    best_row = np.full(len(questions), -1, np.int64)
    units = normalized(np.asarray(vectors[words])) if len(words) else np.zeros((0, vectors.shape[1]), np.float32)
    step = max(256, min(8192, BLOCK_BYTES // (4 * max(1, len(words)))))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        found = units @ (np.asarray(vectors[block]) / norms[block][:, None]).T
        if method == "mul":
            found += 1
            found /= 2
        _combine(found, places, questions, block, method == "mul", best_score, best_row)
    return best_row


@compiled(fastmath={"nsz", "arcp", "contract", "reassoc"})
def _combine(found, places, questions, rows, multiply, best_score, best_row):  # pragma: no cover - compiled
    """Raise each question's best score over one block of rows; an equal score does not replace an earlier row."""
    count = found.shape[1]
    scores = np.empty(count, np.float32)
    for q in range(len(places)):
        a, b, c = found[places[q, 0]], found[places[q, 1]], found[places[q, 2]]
        if multiply:
            for j in range(count):
                scores[j] = b[j] * c[j] / (a[j] + TINY)
        else:
            for j in range(count):
                scores[j] = b[j] + c[j] - a[j]
        for k in range(3):
            at = np.searchsorted(rows, questions[q, k])
            if at < count and rows[at] == questions[q, k]:
                scores[at] = -np.inf
        top = np.float32(-np.inf)
        for j in range(count):
            top = max(top, scores[j])
        if top > best_score[q]:
            for j in range(count):
                if scores[j] == top:
                    best_score[q] = top
                    best_row[q] = rows[j]
                    break
