"""Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998; Heafield et al. 2013 for the details).

Counts -> adjusted counts -> discounts -> sums of histories -> interpolation, one stage a file. All numbers equal those
of KenLM's lmplz but two, both undone by `kenlm_compat`: in the counts of counts lmplz takes the very last n-gram of
each lower order, in its own order of sorting, with its plain count instead of its adjusted one; and its discounts where
none can be estimated are 0.5, 1, 1.5.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from polysemy.models.ngram.adjusting import adjust
from polysemy.models.ngram.counting import Counts
from polysemy.models.ngram.discounts import FALLBACK, KENLM_FALLBACK, Discounts, count_of_counts, discounts_from
from polysemy.models.ngram.estimates import Estimates
from polysemy.models.ngram.interpolating import interpolate, unigram_probabilities
from polysemy.models.ngram.sorting import BLOCK
from polysemy.models.ngram.stream import BOUNDARY, UNKNOWN_ID


def kneser_ney(
    counts: Counts, *, prune: Sequence[int] = (), last_ngram: Sequence[int] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Estimates:
    """Estimates of all orders; uses the counts up, all but their `words`, `count` and `first`.

    prune       thresholds from order 1 (which must be 0), the last one holding for all higher orders
    last_ngram  given: do as lmplz does (`kenlm_compat`); see `last_ngram`
    """
    thresholds = spread(prune, counts.order)
    adjusted = adjust(counts)
    discounts = estimate_discounts(adjusted, None if last_ngram is None else exchanges(counts, adjusted, last_ngram))
    probabilities: list[np.ndarray] = [unigram_probabilities(adjusted[0], discounts[0].table())]
    backoffs = []
    for k, level in enumerate(counts.levels[1:], 1):
        found, weights = interpolate(level, adjusted[k], discounts[k].table(), probabilities[-1], adjusted[k - 1],
                                     threshold=thresholds[k], check=check)
        probabilities.append(found)
        backoffs.append(weights)
    facts = {"discounts": [list(d.values) for d in discounts], "estimated": [d.estimated for d in discounts]}
    return Estimates(probabilities, backoffs, threshold=thresholds, facts=facts)


def estimate_discounts(adjusted: Sequence[np.ndarray], exchanged: Sequence[tuple[int, int]] | None = None
                       ) -> list[Discounts]:
    """Discounts of each order from 1.

    exchanged  (an adjusted count, the count taken in its place) for the lower orders, as `exchanges` gives them
    """
    result = []
    for k, values in enumerate(adjusted):
        n = count_of_counts(values)
        if exchanged is not None and k < len(exchanged):
            for count, change in zip(exchanged[k], (-1, 1), strict=True):
                n[count : count + 1] += change
        result.append(discounts_from(n, FALLBACK if exchanged is None else KENLM_FALLBACK))
    return result


def exchanges(counts: Counts, adjusted: Sequence[np.ndarray], last_ngram: Sequence[int]) -> list[tuple[int, int]]:
    """(adjusted count, count) of the last 1, 2, ... words of `last_ngram`, below the highest order."""
    result = []
    for words in range(1, min(len(last_ngram), counts.order - 1) + 1):
        node = counts.find(list(last_ngram[-words:]))
        result.append((int(adjusted[words - 1][node]), int(counts.levels[words - 1].count[node])))
    return result


def spread(prune: Sequence[int], order: int) -> list[int]:
    """A threshold for each order: those given, the last repeated."""
    given = list(prune) or [0]
    return [*given, *[given[-1]] * order][:order]


def last_ngram(stream: np.ndarray, size: int, order: int) -> list[int]:
    """The n-gram that lmplz sorts last, ids from left to right; shorter than `order` where a sentence begins with it.

    lmplz numbers `<unk>`, `<s>`, `</s>`, then words as they first occur, and sorts by last words first.
    """
    first = np.full(size, -1, np.int64)
    for start in reversed(range(1, len(stream), BLOCK)):
        part = stream[start : start + BLOCK]
        first[part[::-1]] = np.arange(start + len(part) - 1, start - 1, -1)
    first[BOUNDARY], first[UNKNOWN_ID] = 0, -1
    last = int(first.argmax())
    best: tuple[list[int], list[int]] = ([], [])
    for start in range(1, len(stream), BLOCK):
        for place in (start + np.flatnonzero(stream[start : start + BLOCK] == last)).tolist():
            words = [last]
            while len(words) < order and (len(words) == 1 or words[-1] != BOUNDARY):
                words.append(int(stream[place - len(words)]))
            best = max(best, ([int(first[word]) for word in words], words))
    return best[1][::-1]
