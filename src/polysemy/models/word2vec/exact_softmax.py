"""The full softmax over the vocabulary: what negative sampling and hierarchical softmax are there to avoid.

P(w | h) = exp(u_w . h) / sum over all words. A step costs words x size, so it is for small vocabularies: the reference
that the cheaper losses are held against. Windows and order are those of `plain`; no negatives are drawn.
"""
from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import exactly

MOST_WORDS = 5000
"""the largest vocabulary that `fit` trains with it"""


def softmax_gradients(hidden: np.ndarray, target: int, outputs: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """(loss -log P(target | hidden), its derivative by hidden (size,), by outputs (words, size)), as NumPy has them."""
    scores = outputs @ hidden
    top = scores.max()
    total = top + np.log(np.exp(scores - top).sum())
    errors = np.exp(scores - total)
    errors[target] -= 1
    return float(total - scores[target]), errors @ outputs, np.outer(errors, hidden)


@exactly
def learn_softmax(hidden, error, target, outputs, scores, rate):
    """One step down that gradient: every output row learns, the error of the hidden vector is gathered."""
    top = np.float32(-np.inf)
    for w in range(len(outputs)):
        score = np.float32(0)
        for j in range(len(hidden)):
            score += outputs[w, j] * hidden[j]
        scores[w] = score
        top = max(top, score)
    total = np.float32(0)
    for w in range(len(outputs)):
        scores[w] = np.exp(scores[w] - top)
        total += scores[w]
    for j in range(len(error)):
        error[j] = 0
    for w in range(len(outputs)):
        g = (np.float32(w == target) - scores[w] / total) * np.float32(rate)
        for j in range(len(hidden)):
            error[j] += g * outputs[w, j]
            outputs[w, j] += g * hidden[j]
