"""Do the cosines of pairs of texts stand in the order in which people find them alike (STS, Cer et al. 2017)?

Spearman's correlation is the measure of the field, with its 95 % interval; Pearson's stands beside it.  Where the pairs
have but two scores (same meaning or not, LCQMC), `auc` says how often a pair of the one kind has a higher cosine than
one of the other, and `accuracy` what the best threshold on these very pairs reaches.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.evaluation.similarity import interval, plain
from polysemy.models.sentence_vectors import cosines
from polysemy.models.vector_questions import correlations
from polysemy.text.sentence_examples import SentenceExamples, read_scored


def judge_similarity(model: Any, pairs: str | Path | SentenceExamples, **options: Any) -> dict[str, Any]:
    """Plain values for any model that embeds; `options` go to its `embed`.

    spearman, interval [low, high], pearson, pairs; of two kinds of pairs also auc and accuracy.
    """
    examples = read_scored(Path(pairs)) if isinstance(pairs, str | Path) else pairs
    assert examples.scores is not None, "pairs to judge by have scores"
    first, second = ([examples.texts[i] for i in column] for column in examples.pairs.T[:2])
    found = cosines(model, first, second, **options).astype(np.float64)
    scores = examples.scores.astype(np.float64)
    pearson, spearman = correlations(found, scores)
    result = {"spearman": plain(spearman[0]), "interval": interval(spearman[0], len(found)),
              "pearson": plain(pearson[0]), "pairs": len(found)}
    if len(np.unique(scores)) == 2:
        result |= two_kinds(found, scores > scores.min())
    return result


def judge_of(pairs: str | Path | SentenceExamples) -> Callable[[Any], Mapping[str, float]]:
    """What `training.embedder` takes as its judge: spearman and pearson on these pairs, left out where undefined."""
    examples = read_scored(Path(pairs)) if isinstance(pairs, str | Path) else pairs

    def judge(model: Any) -> Mapping[str, float]:
        found = judge_similarity(model, examples)
        return {name: found[name] for name in ("spearman", "pearson") if found[name] is not None}

    return judge


def two_kinds(values: Sequence[float] | np.ndarray, same: np.ndarray) -> dict[str, float]:
    """auc: chance that a pair of the same meaning has the higher cosine, ties half; accuracy: at the best threshold."""
    values, same = np.asarray(values), np.asarray(same, bool)
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order], append=-np.inf))  # a threshold cannot stand between equal values
    hits, misses = (np.concatenate([[0], np.cumsum(kind[order])[ends]]) for kind in (same, ~same))
    auc = float(((hits[1:] + hits[:-1]) / 2 * np.diff(misses)).sum() / max(hits[-1] * misses[-1], 1))
    return {"auc": auc, "accuracy": float((hits + misses[-1] - misses).max() / len(values))}
