"""Paragraphs of a plain text: which line breaks end a thought, and which only wrap a line at some width."""
from __future__ import annotations

import re
from itertools import pairwise

WIDEST_WRAP = 100  # columns; longer lines are paragraphs of their own
NARROWEST_WRAP = 50
MIN_LINES = 3
AGREEMENT = 0.7
FIRST_WORD = re.compile(r"\S+")
WIDE_FROM = "\u2e80"  # from here on scripts that are written without spaces


def paragraph_spans(text: str) -> list[tuple[int, int]]:
    """The paragraphs as (start, stop) offsets without surrounding white space; together they hold all the rest.

    A line is a paragraph, unless the text is wrapped: its longest line has 50 to 100 characters and nearly every
    line ends where its next word would not have fitted. Chinese lines are never joined.
    """
    lines = _lines(text)
    if len(lines) < 2:
        return lines
    joined = _wrapped(text, lines)
    result = [lines[0]]
    for join, line in zip(joined, lines[1:], strict=True):
        if join:
            result[-1] = (result[-1][0], line[1])
        else:
            result.append(line)
    return result


def _lines(text: str) -> list[tuple[int, int]]:
    """Lines that hold more than white space, stripped."""
    spans = []
    start = 0
    while start <= len(text):
        stop = text.find("\n", start)
        if stop < 0:
            stop = len(text)
        line = text[start:stop]
        if stripped := line.strip():
            first = start + line.index(stripped[0])
            spans.append((first, first + len(stripped)))
        start = stop + 1
    return spans


def _wrapped(text: str, lines: list[tuple[int, int]]) -> list[bool]:
    """For each line but the last: does the next one go on with it?"""
    width = max(stop - start for start, stop in lines)
    neighbors = list(pairwise(lines))
    if not NARROWEST_WRAP <= width <= WIDEST_WRAP:
        return [False] * len(neighbors)
    adjacent = [text.count("\n", before[1], after[0]) == 1 for before, after in neighbors]
    adjacent = [
        near and text[before[1] - 1] < WIDE_FROM and text[after[0]] < WIDE_FROM
        for near, (before, after) in zip(adjacent, neighbors, strict=True)
    ]
    full = [
        near and before[1] - before[0] + 1 + len(_first_word(text, after)) > width
        for near, (before, after) in zip(adjacent, neighbors, strict=True)
    ]
    small = [near and text[after[0]].islower() for near, (_, after) in zip(adjacent, neighbors, strict=True)]
    if len(lines) >= MIN_LINES and sum(full) >= AGREEMENT * max(sum(adjacent), 1):
        return [a or b for a, b in zip(full, small, strict=True)]
    return small


def _first_word(text: str, line: tuple[int, int]) -> str:
    match = FIRST_WORD.match(text, *line)
    assert match is not None, "a line holds more than white space"
    return match.group()
