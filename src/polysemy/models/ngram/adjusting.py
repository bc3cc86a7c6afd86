"""Stage 2, adjusted counts: below the highest order an n-gram counts by how many different words precede it.

N1+(. g) = |{w : c(w g) > 0}|. An n-gram that begins with `<s>` has nothing before it and keeps its count, as in KenLM.
"""
from __future__ import annotations

import numpy as np

from polysemy.models.ngram.counting import Counts
from polysemy.models.ngram.stream import BOUNDARY


def adjust(counts: Counts) -> list[np.ndarray]:
    """Adjusted counts of each order from 1, int32; the highest order's are its counts themselves.

    Uses up the counts' `neighbors`: they are the adjusted counts but for the n-grams that begin with `<s>`.
    """
    low, high = BOUNDARY, BOUNDARY + 1
    for level in counts.levels[1:-1]:
        low, high = level.first[low], level.first[high]
        level.neighbors[low:high] = level.count[low:high]
    return [*(level.neighbors for level in counts.levels[:-1]), counts.levels[-1].count]
