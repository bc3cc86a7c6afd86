"""Are the answers right? Exact match and F1 of extracted answers by SQuAD's formula (Rajpurkar et al. 2016 and 2018).

Both texts are made alike first: lower case, no punctuation, no English articles, single spaces. An exact match is the
same text; F1 is that of the two bags of tokens; the best over the gold answers counts. A question without an answer is
right when none was given, and then only.

Chinese is scored by characters, the tokens of CMRC 2018: each Han character is a token, runs of other letters are one,
and all Unicode punctuation goes. As in MLQA the F1 is still that of bags (CMRC's own takes the longest common
substring). This reading is chosen where a gold answer has Han characters, so that other text is scored exactly as by
SQuAD's script.
"""
from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from polysemy.text.words import is_han

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = frozenset(string.punctuation)


def normalized_answer(text: str, *, han: bool = False) -> str:
    """Lower case without punctuation, articles and needless spaces; with `han` spaces stand around Han characters."""
    text = text.lower()
    if han:
        text = "".join(f" {ch} " if is_han(ch) else ch for ch in text if not _is_punctuation(ch))
    else:
        text = "".join(ch for ch in text if ch not in PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", text).split())


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1.0 when the answer equals one of the golds after both were made alike, else 0.0; no golds: the answer is ''."""
    return _best(answer, golds, lambda found, gold: float(found == gold))


def answer_f1(answer: str, golds: Sequence[str]) -> float:
    """The best F1, 0..1, of the answer's bag of tokens against one of the golds'; no golds: 1.0 for the answer ''."""
    return _best(answer, golds, lambda found, gold: bag_f1(found.split(), gold.split()))


def bag_f1(found: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of two bags of tokens; where one of them is empty, 1.0 if both are."""
    if not found or not gold:
        return float(not found and not gold)
    same = sum((Counter(found) & Counter(gold)).values())
    return 2 * same / (len(found) + len(gold))


def span_scores(answers: Sequence[str], golds: Sequence[Sequence[str]]) -> dict[str, float]:
    """{exact_match, f1}, each in 0..1, means over questions; with questions without an answer also both for each part.

    golds: the right texts of each question, none for a question that has no answer.
    """
    exact = np.array([exact_match(answer, right) for answer, right in zip(answers, golds, strict=True)])
    f1 = np.array([answer_f1(answer, right) for answer, right in zip(answers, golds, strict=True)])
    scores = {"exact_match": float(exact.mean()), "f1": float(f1.mean())}
    known = np.array([bool(_real(right)) for right in golds])
    if 0 < known.sum() < len(known):
        scores |= {"has_answer_exact_match": float(exact[known].mean()), "has_answer_f1": float(f1[known].mean()),
                   "no_answer_accuracy": float(exact[~known].mean())}
    return scores


def best_threshold(values: Sequence[float], null_values: Sequence[float],
                   differences: Sequence[float]) -> tuple[float, float]:
    """(threshold, mean score) of the best rule "say that there is no answer where the difference is above it".

    values, null_values: what each question scores with its best span and with no answer; differences: score of no
    answer less that of the best span. One sweep over the sorted differences, equal ones together; it finds what trying
    every threshold finds. Of equally good thresholds the one nearest to 0.

    A threshold belongs to the questions it was chosen on: choose it on dev, then judge other questions with it.
    """
    gap = np.asarray(differences, np.float64)
    order = np.argsort(gap, kind="stable")
    gain = (np.asarray(values, np.float64) - np.asarray(null_values, np.float64))[order]
    totals = np.concatenate([[0.0], np.cumsum(gain)]) + float(np.sum(null_values))
    gap = gap[order]
    last = np.append(gap[1:] != gap[:-1], True)  # equal differences are answered together
    places = np.concatenate([[0], np.flatnonzero(last) + 1])
    thresholds = np.concatenate([[gap[0] - 1.0], gap[last]])
    best = totals[places].max()
    good = thresholds[totals[places] >= best - 1e-9]
    return float(good[np.abs(good).argmin()]), float(best / len(gap))


def _best(answer: str, golds: Sequence[str], score: Callable[[str, str], float]) -> float:
    right = _real(golds) or [""]
    han = any(is_han(ch) for gold in right for ch in gold)
    found = normalized_answer(answer, han=han)
    return max(score(found, normalized_answer(gold, han=han)) for gold in right)


def _real(golds: Sequence[str]) -> list[str]:
    """Golds that are more than punctuation and articles, as in the script."""
    return [gold for gold in golds if normalized_answer(gold)]


def _is_punctuation(ch: str) -> bool:
    return ch in PUNCTUATION or unicodedata.category(ch).startswith("P")
