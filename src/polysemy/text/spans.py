"""The compiled loops of span masking: which spans are hidden, and from which states their tokens are predicted.

What they do and why stands in `polysemy.text.masking`. Importing this file imports Numba; import it inside functions.
"""
from __future__ import annotations

import numpy as np

from polysemy.text.choosing import CHOICE
from polysemy.text.keyed import below, bits, compiled, find, uniform
from polysemy.text.masking import PieceText

ANCHOR, LENGTH = range(2)
LONGEST_OFFSET = 20  # rows of SpanBERT's table of places in a span; farther tokens of a merged span are not predicted


@compiled
def choose_spans(text: PieceText, budgets: np.ndarray, keys: np.ndarray, cumulative: np.ndarray, most: np.ndarray):
    """Merged spans; cumulative[n - 1] is the chance of at most n words, most[i] the spans allowed in piece i."""
    groups = np.zeros(len(text.ids), np.int32)
    for piece in range(len(keys)):
        start, stop = text.run_ends[text.piece_runs[piece]], text.run_ends[text.piece_runs[piece + 1]]
        left, spans, attempt, choice_key = budgets[piece], 0, 0, bits(keys[piece], CHOICE)
        while left > 0 and spans < most[piece] and attempt < 8 * (stop - start) + 64:
            key = bits(choice_key, attempt)
            attempt += 1
            anchor = start + below(key, ANCHOR, stop - start)
            if groups[anchor] > 0:
                continue
            words = 1 + find(cumulative[:-1], uniform(key, LENGTH))
            if 1 < spans + 1 == most[piece]:
                words = stop - start  # the last span allowed takes what is left
            hidden = hide_words(text, groups, anchor, words, left)
            left -= hidden
            spans += 1 if hidden > 0 else 0
        if spans == 0:
            hide_words(text, groups, start + below(choice_key, ANCHOR, stop - start), 1, stop - start)
        number_spans(text, groups, piece)
    return groups


@compiled
def hide_words(text: PieceText, groups: np.ndarray, anchor: int, words: int, left: int) -> int:
    """Hide up to so many words from the anchor's on, within its run and at most `left` tokens; how many it hid."""
    run_stop = text.run_ends[find(text.run_ends, anchor)]
    at, hidden = anchor, 0
    while not text.word_starts[at]:
        at -= 1
    for _ in range(words):
        end = at + 1
        while end < run_stop and not text.word_starts[end]:
            end += 1
        if at >= run_stop or (groups[at] == 0 and hidden + end - at > left):
            break
        if groups[at] == 0:
            groups[at:end] = 1
            hidden += end - at
        at = end
    return hidden


@compiled
def number_spans(text: PieceText, groups: np.ndarray, piece: int) -> None:
    """Number the piece's spans from 1; hidden neighbors within a run are one span."""
    number = 0
    for run in range(text.piece_runs[piece], text.piece_runs[piece + 1]):
        inside = False
        for at in range(text.run_ends[run], text.run_ends[run + 1]):
            if groups[at] > 0:
                number += 0 if inside else 1
                groups[at] = number
            inside = groups[at] > 0


@compiled
def span_fields(groups: np.ndarray, usable: np.ndarray, distance: int):
    """What the span boundary objective needs of laid out rows; four int64 arrays: at, left, right, offset.

    groups: int32 (b, t), the number of the span or 0. usable: bool (b, t), may the state serve as a boundary? A span
    whose boundary `distance` columns away is not usable is left out.
    """
    rows, length = groups.shape
    count = (groups > 0).sum()
    at, left, right, offset = (np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64),
                               np.empty(count, np.int64))
    count = 0
    for row in range(rows):
        start = 0
        while start < length:
            end = start + 1
            if groups[row, start] > 0:
                while end < length and groups[row, end] == groups[row, start]:
                    end += 1
                before, after = start - distance, end - 1 + distance
                if before >= 0 and after < length and usable[row, before] and usable[row, after]:
                    for column in range(start, min(end, start + LONGEST_OFFSET)):
                        at[count], offset[count] = row * length + column, column - start + 1
                        left[count], right[count] = row * length + before, row * length + after
                        count += 1
            start = end
    return at[:count].copy(), left[:count].copy(), right[:count].copy(), offset[:count].copy()
