"""The observation GloVe was made from: ratios of co-occurrence probabilities tell what distinguishes two words.

P(k | ice) / P(k | steam) is large for k = solid, small for k = gas, near 1 for water (near both) and fashion (near
neither). Vectors fitted to log X must give the same ratios: P(k | i) = exp(w_i . c_k + b_i + b_k) / X_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.models.glove.counting import Counts
from polysemy.models.glove.model import GloveModel


def cooccurrence_ratios(
    model: GloveModel, counts: Counts, first: str, second: str, probes: Sequence[str]
) -> list[dict[str, Any]]:
    """For each probe k: P(k | first), P(k | second) and their ratio, from the counts and from the vectors.

    counts: those of the text the model was trained on (`count_pairs` with its window). A probability that the counts
    have as 0 gives no ratio (None); the vectors have none that is 0.
    """
    if counts.num_words != len(model):
        raise InputError(f"counts must be of the model's {len(model):,} words, got {counts.num_words:,}")
    i, j, *ks = (_index(model, word) for word in (first, second, *probes))
    rows = np.stack([counts.row(word)[ks] for word in (i, j)])
    totals = np.maximum(model.totals[[i, j]].astype(np.float64), 1e-12)[:, None]
    counted, learned = rows / totals, np.exp(model.log_counts([i, j], ks)) / totals
    return [
        {
            "probe": probe,
            "counted": [float(p) for p in counted[:, k]],
            "counted_ratio": float(counted[0, k] / counted[1, k]) if counted[:, k].all() else None,
            "learned": [float(p) for p in learned[:, k]],
            "learned_ratio": float(learned[0, k] / learned[1, k]),
        }
        for k, probe in enumerate(probes)
    ]


def _index(model: GloveModel, word: str) -> int:
    model.get_vector(word)  # an unknown word is an error that names a near one
    return model.key_to_index[word]
