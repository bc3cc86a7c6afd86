"""Where sentences begin in many texts at once: `sentences.sentence_spans` with its usual cases compiled by Numba.

The compiled loop finds the lines and every run of end marks as the expression END does, and decides the common cases: a
mark before a space and a letter, or in Chinese. What is rare (an initial, a quotation that goes on, a list number) it
leaves to the plain rules, and goes on behind that place. Wrapped texts and texts without capitals are left to them too.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysemy.machine_code import compiled
from polysemy.text import sentences as rules
from polysemy.text.fast_marks import (
    ENDS,
    LINE_FEED,
    MARK,
    SOFT,
    SPACE,
    UNSURE,
    end_of_marks,
    kind_of,
    tables,
    verdict_on,
)
from polysemy.text.lines import NARROWEST_WRAP, WIDEST_WRAP, paragraph_spans
from polysemy.text.words import code_points

DONE, ASK = range(2)


def sentence_starts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """int64: where sentences begin in the texts joined by line feeds, in order; and how many each text has."""
    joined = "\n".join(texts)
    codes = code_points(joined)
    bounds = np.cumsum([0, *(len(text) + 1 for text in texts)])
    paragraphs = _paragraphs(codes, texts, bounds)
    state, soft = np.zeros(4, np.int64), np.zeros(len(texts), np.int64)
    state[1] = -1
    found = np.empty(len(codes) + 1, np.int64)
    while find_sentences(codes, *tables(), paragraphs, state, soft, found) == ASK:
        _ask(texts, bounds, paragraphs[state[0]], state, soft, found)
    found = found[: state[3]]
    counts = np.diff(np.searchsorted(found, bounds))
    uncased = np.flatnonzero((soft >= rules.UNCASED_EVIDENCE) & (soft > 2 * counts))
    if len(uncased):
        own = {text: np.array([bounds[text] + start for start, _ in rules.sentence_spans(texts[text])])
               for text in uncased.tolist()}
        parts = np.split(found, np.cumsum(counts)[:-1])
        found = np.concatenate([own.get(number, part) for number, part in enumerate(parts)])
        counts = np.diff(np.searchsorted(found, bounds))
    return found, counts


def _ask(texts: Sequence[str], bounds: np.ndarray, paragraph: np.ndarray, state: np.ndarray, soft: np.ndarray,
         found: np.ndarray) -> None:
    """Decide by the plain rules on the mark at which the loop stands."""
    _, mark, start, size = state.tolist()
    _, stop, number = paragraph.tolist()
    text, base = str(texts[number]), int(bounds[number])
    match = rules.END.match(text, mark - base, stop - base)
    assert match is not None, "the loop finds what the expression finds"
    verdict, end = rules.border(text, start - base, match, stop - base)
    state[1] = match.end() + base
    soft[number] += verdict is None
    if verdict and end < stop - base:
        while text[end].isspace():
            end += 1
        state[2] = found[size] = end + base
        state[3] = size + 1


def _paragraphs(codes: np.ndarray, texts: Sequence[str], bounds: np.ndarray) -> np.ndarray:
    """int64 (paragraphs, 3): start, stop and text of each, in order."""
    lines = np.empty((int(np.count_nonzero(codes == LINE_FEED)) + 1, 3), np.int64)
    lines = lines[: find_lines(codes, tables()[0], bounds, lines)]
    widths, counts = np.zeros(len(texts), np.int64), np.bincount(lines[:, 2], minlength=len(texts))
    np.maximum.at(widths, lines[:, 2], lines[:, 1] - lines[:, 0])
    wrapped = (counts > 1) & (widths >= NARROWEST_WRAP) & (widths <= WIDEST_WRAP)
    if not wrapped.any():
        return lines
    own = [(bounds[number] + start, bounds[number] + stop, number) for number in np.flatnonzero(wrapped).tolist()
           for start, stop in paragraph_spans(texts[number])]
    lines = np.concatenate([lines[~wrapped[lines[:, 2]]], np.array(own, np.int64)])
    return lines[np.argsort(lines[:, 0])]


@compiled
def find_lines(codes, kinds, bounds, lines):
    """Fill start, stop and text of the lines that hold more than white space, stripped; how many there are."""
    count = 0
    for text in range(len(bounds) - 1):
        start, end = bounds[text], bounds[text + 1] - 1
        while start < end:
            stop = start
            while stop < end and codes[stop] != LINE_FEED:
                stop += 1
            following = stop + 1
            while stop > start and kind_of(codes[stop - 1], kinds) & SPACE:
                stop -= 1
            while start < stop and kind_of(codes[start], kinds) & SPACE:
                start += 1
            if stop > start:
                lines[count, 0], lines[count, 1], lines[count, 2] = start, stop, text
                count += 1
            start = following
    return count


@compiled
def find_sentences(codes, kinds, abbreviations, names, paragraphs, state, soft, found):
    """Fill `found` until the plain rules must decide (ASK) or all is DONE.

    state: paragraph, where in it (-1: at its beginning), where the sentence began, starts found.
    """
    while state[0] < len(paragraphs):
        first, stop, text = paragraphs[state[0]]
        at = state[1]
        if at < 0:
            at = state[2] = found[state[3]] = first
            state[3] += 1
        while at < stop:
            if not kind_of(codes[at], kinds) & MARK:
                at += 1
                continue
            end = end_of_marks(codes, kinds, at, stop)
            if end < 0:
                at += 1
                continue
            if end == stop:
                break
            verdict = verdict_on(codes, kinds, abbreviations, names, state[2], at, end, stop)
            if verdict == UNSURE:
                state[1] = at
                return ASK
            if verdict == SOFT:
                soft[text] += 1
            at = end
            if verdict == ENDS:
                while kind_of(codes[end], kinds) & SPACE:
                    end += 1
                state[2] = found[state[3]] = end
                state[3] += 1
        state[0] += 1
        state[1] = -1
    return DONE
