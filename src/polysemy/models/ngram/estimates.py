"""What every way of smoothing gives: probabilities of the n-grams and weights of their histories."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Estimates:
    """Probabilities in the form of a back-off model, as numbers, not yet logarithms.

    probabilities  for each order from 1, (n,): of the last word after the others
    backoffs       for each order below the highest, (n,): weight of the shorter history where a word did not follow
    missing        weight of the shorter history where the history itself was never seen
    absolute       the weight is the probability itself of any word that did not follow, and `missing` that after a
                   history never seen (add-k, which does not look at shorter histories)
    threshold      for each order: n-grams that occur at most so often are left out
    facts          plain numbers worth reporting
    """

    probabilities: list[np.ndarray]
    backoffs: list[np.ndarray]
    missing: float = 1.0
    absolute: bool = False
    threshold: list[int] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
