"""The loss on a few fixed places of the text, for progress: training itself never computes one."""
from __future__ import annotations

import numpy as np

from polysemy.models.kernels.drawing import drawn_words
from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word2vec.steps import Matrices
from polysemy.runtime import random_for

PLACES, PART = 1000, 100
"""places in all, and looked at together"""


class SampledLoss:
    """Nats a prediction (with negatives: of 1 + negatives decisions) at places drawn once, with full windows."""

    def __init__(self, config: Word2VecConfig, tokens: np.ndarray, matrices: Matrices, seed: int) -> None:
        random = random_for(seed, "word2vec", "loss")
        self.config, self.matrices = config, matrices
        pairs: list[tuple[int, list[int]]] = []
        for at in np.unique(random.integers(len(tokens), size=PLACES)).tolist():
            context = _context(tokens, at, config.window) if tokens[at] >= 0 else []
            if context:
                context = context if config.mode == "cbow" else [context[int(random.integers(len(context)))]]
                pairs.append((int(tokens[at]), context))
        self.targets = np.array([target for target, _ in pairs], np.int64)
        self.contexts = [context for _, context in pairs]
        if matrices.table is not None:
            states = random.integers(2**64, size=(len(pairs), config.negatives), dtype=np.uint64)
            self.negatives = drawn_words(states, matrices.table)

    def __call__(self) -> float | None:
        """Mean loss now; None where the text has no two words side by side."""
        if not self.contexts:
            return None
        inputs, outputs, tree = self.matrices.inputs, self.matrices.outputs, self.matrices.tree
        hidden = np.stack([inputs[context].mean(0) for context in self.contexts]).astype(np.float64)
        if tree is not None:
            lengths = tree.lengths[self.targets]
            rows = np.repeat(np.arange(len(lengths)), lengths)
            at = np.arange(len(rows)) + np.repeat(tree.starts[self.targets] - np.cumsum(lengths) + lengths, lengths)
            scores = (outputs[tree.nodes[at]] * hidden[rows]).sum(1)
            return float(np.logaddexp(0, -scores * (1 - 2.0 * tree.codes[at])).sum() / len(lengths))
        if self.matrices.table is None:
            scores = hidden @ outputs.T
            top = scores.max(1, keepdims=True)
            total = top[:, 0] + np.log(np.exp(scores - top).sum(1))
            return float((total - scores[np.arange(len(scores)), self.targets]).mean())
        total = 0.0
        for start in range(0, len(hidden), PART):
            some = slice(start, start + PART)
            x, targets, negatives = hidden[some], self.targets[some], self.negatives[some]
            positive, negative = (outputs[targets] * x).sum(1), np.einsum("nkd,nd->nk", outputs[negatives], x)
            real = negatives != targets[:, None]
            total += float(np.logaddexp(0, -positive).sum() + (np.logaddexp(0, negative) * real).sum())
        return total / len(hidden)


def _context(tokens: np.ndarray, at: int, window: int) -> list[int]:
    """The words up to `window` away on the same line."""
    left = [int(word) for word in tokens[max(0, at - window) : at][::-1]]
    right = [int(word) for word in tokens[at + 1 : at + 1 + window]]
    return [word for side in (left, right) for word in side[: side.index(-1) if -1 in side else None] if word >= 0]
