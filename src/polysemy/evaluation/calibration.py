"""One calibration for all models: P(candidate) = softmax(a s + b log q + c pieces), three numbers fitted on dev.

Models score on scales of their own (log-probabilities, inner products, sums over pieces) and carry more or less of a
word's plain frequency in their scores. The three numbers take both out, for every model in the same way; the loss is
convex in them, so there is one best choice.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 1e-6
"""Pull to zero in units of standardized features: it keeps a perfect model's numbers finite and settles the number of
a feature that never differs within an item, and is too weak to be seen elsewhere."""


@dataclass(frozen=True)
class Calibration:
    """The three numbers: of the score, of the log frequency and of the number of pieces."""

    score: float
    log_frequency: float
    pieces: float

    def logits(self, scores: np.ndarray, log_frequency: np.ndarray, pieces: np.ndarray) -> np.ndarray:
        """float64 (items, candidates): unnormalized log-probabilities."""
        return self.score * scores + self.log_frequency * log_frequency + self.pieces * pieces

    def to_dict(self) -> dict[str, float]:
        return {"score": self.score, "log_frequency": self.log_frequency, "pieces": self.pieces}


def fit_calibration(scores: np.ndarray, log_frequency: np.ndarray, pieces: np.ndarray, gold: np.ndarray,
                    weights: np.ndarray | None = None) -> Calibration:
    """The calibration with the least mean -log P(gold), by Newton's method with a trust region (scipy).

    scores, log_frequency, pieces: (items, candidates), finite; gold: (items,) index of the right candidate;
    weights: (items,), uniform by default.
    """
    from scipy.optimize import minimize

    features = np.stack([scores, log_frequency, pieces.astype(np.float64)], axis=-1)
    features = features - features.mean(axis=1, keepdims=True)
    spread = np.sqrt((features**2).mean(axis=(0, 1)))
    scale = np.where(spread > 1e-12, spread, 1.0)
    features = np.where(spread > 1e-12, features / scale, 0.0)
    share = np.full(len(gold), 1 / len(gold)) if weights is None else weights / weights.sum()
    found = minimize(lambda x: _loss(x, features, gold, share)[:2], np.zeros(3), jac=True,
                     hess=lambda x: _loss(x, features, gold, share)[2], method="trust-exact", options={"gtol": 1e-9})
    return Calibration(*(found.x / scale).tolist())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _loss(x: np.ndarray, features: np.ndarray, gold: np.ndarray,
          weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss, gradient (3,) and Hessian (3, 3) at x."""
    log_p = log_softmax(features @ x)
    p = np.exp(log_p)
    rows = np.arange(len(gold))
    mean = np.einsum("nk,nkf->nf", p, features)
    value = -(weights * log_p[rows, gold]).sum() + 0.5 * RIDGE * (x @ x)
    gradient = weights @ (mean - features[rows, gold]) + RIDGE * x
    second = np.einsum("n,nk,nkf,nkg->fg", weights, p, features, features, optimize=True)
    hessian = second - np.einsum("n,nf,ng->fg", weights, mean, mean, optimize=True) + RIDGE * np.eye(3)
    return float(value), gradient, hessian
