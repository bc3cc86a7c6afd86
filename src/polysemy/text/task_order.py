"""The order in which an epoch of a task shows its rows: random, with rows of like length in one batch."""
from __future__ import annotations

import numpy as np

from polysemy.runtime import random_for

BLOCK = 50
"""batches whose rows are sorted by length together"""


def epoch_order(lengths: np.ndarray, size: int, seed: int, epoch: int) -> np.ndarray:
    """The numbers of all rows of these lengths once: a head that fills up the last batch of the epoch before, whole
    batches, a tail.

    A function of its arguments.  The order of the batches is random, and so is which rows of like length share one.
    """
    n = len(lengths)
    random = random_for("task batches", seed, epoch)
    order = random.permutation(n)
    head_size = min(-epoch * n % size, n)
    tail_size = (n - head_size) % size
    tail, order = order[::-1][:tail_size], order[:n - tail_size]
    head, whole = order[:head_size], order[head_size:]
    groups: list[np.ndarray] = []
    for start in range(0, len(whole), BLOCK * size):
        block = whole[start:start + BLOCK * size]
        groups += list(block[np.argsort(lengths[block], kind="stable")].reshape(-1, size))
    return np.concatenate([head, *(groups[i] for i in random.permutation(len(groups))), tail])
