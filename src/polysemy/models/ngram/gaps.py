"""Gaps in a text: what could stand there, given the words on both sides.

A candidate changes the n-grams that contain it: itself after the words on its left, and the next order - 1 words after
it. The other n-grams of the text are the same for all candidates and are left out.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polysemy.capability import GAP, Candidate, ClozeItem
from polysemy.errors import InputError
from polysemy.models.ngram.scoring import Scorer
from polysemy.models.ngram.stream import BOUNDARY, FIRST_WORD, OFFSET, UNKNOWN_ID

if TYPE_CHECKING:
    from polysemy.models.ngram.model import NgramModel

LN10 = float(np.log(10.0))
SIDE_CHARACTERS = 400
"""characters of a side that are looked at; six words are seldom longer"""
MAX_GAPS = 32


class Side(NamedTuple):
    """Where a gap stands: a scorer behind the words on its left, and the ids that follow on its right."""

    scorer: Scorer
    right: np.ndarray


def side(model: NgramModel, left: str, right: str, *, closed: bool) -> Side:
    """The surroundings of a gap.

    closed  the text is whole: it begins a sentence and ends one; else it is cut out of a longer text, and beyond it
            nothing is known. A line end always ends a sentence.
    """
    order, vocabulary = model.trie.order, model.vocabulary
    begins = closed or "\n" in left
    line = left.rsplit("\n", 1)[-1]
    if len(line) > SIDE_CHARACTERS:
        line, begins = _from_white_space(line[-SIDE_CHARACTERS:]), False
    before = vocabulary.ids(line) + OFFSET
    if len(before) >= order:
        before, begins = before[len(before) - order + 1 :], False
    scorer = Scorer(model.trie, after_boundary=begins)
    scorer.advance(before)
    line, end, _ = right.partition("\n")
    ends = closed or bool(end)
    if len(line) > SIDE_CHARACTERS:
        line, ends = line[:SIDE_CHARACTERS].rsplit(None, 1)[0], False
    after = vocabulary.ids(line) + OFFSET
    if ends:
        after = np.append(after, BOUNDARY)
    return Side(scorer, after[: order - 1].astype(np.int32))


def _from_white_space(text: str) -> str:
    parts = text.split(None, 1)
    return parts[1] if len(parts) == 2 else text


def fill(model: NgramModel, text: str, top: int) -> list[list[Candidate]]:
    """Per gap the `top` likeliest words of the vocabulary; probabilities are of the word given both sides.

    Another gap of the text hides the words beyond it.
    """
    if top < 1:
        raise InputError(f"top must be at least 1, got {top}")
    parts = text.split(GAP)
    if not 2 <= len(parts) <= MAX_GAPS + 1:
        raise InputError(f"text must hold 1 to {MAX_GAPS} gaps written {GAP}, got {len(parts) - 1}")
    result = []
    for number in range(len(parts) - 1):
        around = _between(model, parts, number)
        words = np.arange(FIRST_WORD, model.trie.size, dtype=np.int32)
        logs = around.scorer.windows(words, around.right) * LN10
        top_log = float(logs.max())
        total = top_log + float(np.log(np.exp(logs - top_log).sum())) if np.isfinite(top_log) else 0.0
        best = np.argsort(-logs, kind="stable")[:top]
        result.append([
            Candidate(text=model.vocabulary.words[i], probability=float(np.exp(logs[i] - total)),
                      log_probability=float(logs[i] - total))
            for i in best.tolist()
        ])
    return result


def _between(model: NgramModel, parts: Sequence[str], number: int) -> Side:
    """The surroundings of one gap among several: known up to the next gap on either side."""
    around = side(model, parts[number], parts[number + 1], closed=True)
    scorer, right = around
    if number > 0 and "\n" not in parts[number]:
        scorer = side(model, parts[number], "", closed=False).scorer
    if number + 2 < len(parts) and "\n" not in parts[number + 1]:
        right = side(model, "", parts[number + 1], closed=False).right
    return Side(scorer, right)


def cloze_scores(model: NgramModel, items: Sequence[ClozeItem], *, left_only: bool = False) -> np.ndarray:
    """(items, candidates) float64: natural log-probability of the candidate and of the words that follow it.

    A candidate with a word that is not in the vocabulary gets 1 less than the lowest of its row, 0 when there is none.
    left_only  leave the words on the right out
    """
    counts = {len(item.candidates) for item in items}
    if len(counts) > 1:
        raise InputError(f"items must all have as many candidates, got {', '.join(map(str, sorted(counts)))}")
    scores = np.full((len(items), counts.pop() if counts else 0), np.nan)
    for row, item in enumerate(items):
        around = side(model, item.left, "" if left_only else item.right, closed=False)
        ids = [model.vocabulary.ids(candidate) + OFFSET for candidate in item.candidates]
        known = np.array([len(found) > 0 and UNKNOWN_ID not in found for found in ids], bool)
        single = known & np.array([len(found) == 1 for found in ids], bool)
        if single.any():
            first = np.array([ids[i][0] for i in np.flatnonzero(single)])
            scores[row, single] = around.scorer.windows(first, around.right) * LN10
        for i in np.flatnonzero(known & ~single):
            window = np.concatenate([ids[i][1:], around.right])
            scores[row, i] = around.scorer.windows(ids[i][:1], window)[0] * LN10
        scores[row, ~known] = (scores[row, known].min() if known.any() else 1.0) - 1.0
    return scores
