"""The loops of the fast encoder, compiled by Numba: cut text into words, look each up, cut the new ones into pieces.

All work on one long array of code points. A word that was met before costs a hash, a comparison and a copy; its pieces
are kept with offsets relative to its first character. The key is the raw text of the word (before clean-up) and whether
a space stands before it.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from polysemy.machine_code import compiled
from polysemy.text.fast_cache import (
    FACTS,
    FIVE,
    HALF,
    HIGH,
    INSIDE,
    LONGEST_KEPT,
    LOW,
    LOW_FIVE,
    LOW_HALF,
    PIECES,
    PLACES,
    hash_of,
    key_of,
    new_word,
    same_text,
)
from polysemy.text.fast_cutting import PLAIN, SPACED, WHITE
from polysemy.text.fast_tables import (
    ALONE,
    BERT_RULE,
    BLANK,
    DELETED,
    GPT2_RULE,
    GPT2_SPACED_RULE,
    INTRICATE,
    LETTER,
    SPACE,
    UNSEEN,
)

DONE, FULL, LEAVE_ROW = range(3)


class Output(NamedTuple):
    """Where the pieces go; state = pieces written, and the next stretch for the library."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    state: np.ndarray  # int64 (2,)


class Given(NamedTuple):
    """Stretches of text [first, stop) that the library has encoded, with their pieces, spans relative to `first`."""

    firsts: np.ndarray
    stops: np.ndarray
    splits: np.ndarray
    pieces: np.ndarray


@compiled
def survey(text, classes, unseen):
    """(number of characters without a class, each noted in `unseen` up to its size; number of intricate ones)"""
    count, intricate = 0, 0
    for code in text:
        kind = classes[code]
        if kind == UNSEEN:
            if count < len(unseen):
                unseen[count] = code
            count += 1
        elif kind == INTRICATE:
            intricate += 1
    return count, intricate


@compiled
def intricate_stretches(text, classes, bounds, rows, firsts, stops):
    """Fill row, first, stop of the stretches between white space with intricate characters inside; returns how many."""
    count, row, at = 0, 0, 0
    while at < len(text):
        if classes[text[at]] != INTRICATE:
            at += 1
            continue
        while bounds[row + 1] <= at:
            row += 1
        first, stop = at, at + 1
        while first > bounds[row] and classes[text[first - 1]] != SPACE:
            first -= 1
        while stop < bounds[row + 1] and classes[text[stop]] != SPACE:
            stop += 1
        rows[count], firsts[count], stops[count] = row, first, stop
        count += 1
        at = stop
    return count


@compiled
def encode_rows(rule, text, bounds, row, characters, vocabulary, cache, scratch, given, output, splits):
    """Encode rows from `row` on; returns (next row, DONE | FULL | LEAVE_ROW). A row is written whole or not at all.

    One loop, with the arrays it touches for each word as plain locals: passing groups of arrays on to another function
    for each word would cost several times the work itself.
    """
    classes, forms = characters.classes, characters.forms
    slots, rows, known, pieces = cache.slots, cache.rows, cache.text, cache.pieces
    ids, starts, ends, state = output.ids, output.starts, output.ends, output.state
    mask = np.uint64(len(slots) - 1)
    while row < len(bounds) - 1:
        first, stop = bounds[row], bounds[row + 1]
        out, next_given = state[0], state[1]
        if rule == GPT2_SPACED_RULE and (first == stop or classes[text[first]] == BLANK):
            return row, LEAVE_ROW
        at = first
        while at < stop:
            limit = stop
            if next_given < len(given.firsts) and given.firsts[next_given] < stop:
                limit = given.firsts[next_given]
            if at == limit:
                count = given.splits[next_given + 1] - given.splits[next_given]
                if out + count > len(ids):
                    return row, FULL
                _copy_given(given, next_given, at - first, out, output)
                out += count
                at = given.stops[next_given]
                next_given += 1
                continue
            at, end, before = _next_word(rule, text, at, limit, first, classes, forms)
            if at == end:
                continue
            size = end - at
            low, high, wide = key_of(text, at, end)
            facts = np.uint64(size << 3 | wide << 2 | before)
            slot = hash_of(low, high, before) & mask
            entry = np.int64(slots[slot])
            while entry >= 0 and not (rows[entry, LOW] == low and rows[entry, HIGH] == high
                                      and rows[entry, FACTS] & LOW_HALF == facts
                                      and (wide == 0 or same_text(text, at, size, known, rows[entry, PLACES] >> HALF))):
                slot = (slot + np.uint64(1)) & mask
                entry = np.int64(slots[slot])
            if entry < 0:
                entry = new_word(text, at, end, before, (low, high, facts, slot), characters, vocabulary, cache,
                                  scratch)
                if entry < 0:
                    return row, LEAVE_ROW
            count = np.int64(rows[entry, FACTS] >> HALF)
            if out + count > len(ids):
                return row, FULL
            base = np.int32(at - first)
            if count <= INSIDE and size <= LONGEST_KEPT:
                for piece in range(count):
                    packed = rows[entry, PIECES + piece]
                    ids[out + piece] = packed & LOW_HALF
                    starts[out + piece] = np.int32(packed >> HALF & LOW_FIVE) + base
                    ends[out + piece] = np.int32(packed >> HALF + FIVE) + base
            else:
                kept = np.int64(rows[entry, PLACES] & LOW_HALF)
                for piece in range(count):
                    ids[out + piece] = pieces[kept + piece, 0]
                    starts[out + piece] = pieces[kept + piece, 1] + base
                    ends[out + piece] = pieces[kept + piece, 2] + base
            out += count
            at = end
        state[0], state[1] = out, next_given
        row += 1
        splits[row] = out
    return row, DONE


@compiled
def _next_word(rule, text, at, stop, first, classes, forms):
    """(start, end, what stands before) of the next word of the text; start = end when there is none."""
    if rule == BERT_RULE:
        return _next_bert(text, at, stop, classes)
    if rule == GPT2_RULE or rule == GPT2_SPACED_RULE:  # noqa: SIM109 - faster compiled
        return _next_gpt2(text, at, stop, classes, forms, rule == GPT2_SPACED_RULE and at == first)
    return _next_marked(text, at, stop, classes, first)


@compiled
def _copy_given(given, number, offset, out, output):
    for at in range(given.splits[number], given.splits[number + 1]):
        output.ids[out] = given.pieces[at, 0]
        output.starts[out] = given.pieces[at, 1] + offset
        output.ends[out] = given.pieces[at, 2] + offset
        out += 1


@compiled
def _next_bert(text, at, stop, classes):
    """A run of letters, or one sign or Chinese character."""
    while at < stop and (classes[text[at]] == SPACE or classes[text[at]] == DELETED):
        at += 1
    if at == stop:
        return at, at, PLAIN
    end = at + 1
    if classes[text[at]] != ALONE:
        while end < stop and (classes[text[end]] == LETTER or classes[text[end]] == DELETED):
            end += 1
    return at, end, PLAIN


@compiled
def _next_marked(text, at, stop, classes, first):
    """The next run of one class; a space before it, or the beginning of the text, belongs to it."""
    while at < stop and classes[text[at]] == SPACE:
        at += 1
    if at == stop:
        return at, at, PLAIN
    kind = classes[text[at]]
    end = at + 1
    while end < stop and classes[text[end]] == kind:
        end += 1
    return at, end, SPACED if at == first or classes[text[at - 1]] == SPACE else PLAIN


@compiled
def _next_gpt2(text, at, stop, classes, forms, spaced):
    """The next match of GPT-2's pattern: contraction, run of one class with one space before it, or white space.

    `spaced`: as if a space stood before the first word.
    """
    kind = classes[text[at]]
    before = SPACED if spaced and kind != SPACE else PLAIN
    if kind == SPACE or kind == BLANK:  # noqa: SIM109 - faster compiled
        end = at + 1
        while end < stop and (classes[text[end]] == SPACE or classes[text[end]] == BLANK):
            end += 1
        if end == stop:
            return at, end, WHITE
        if end - at > 1:
            return at, end - 1, WHITE  # the last one goes with, or stands before, the next word
        if kind == BLANK:
            return at, end, WHITE
        before = SPACED
        at += 1
        kind = classes[text[at]]
    end = _contraction(text, at, stop, forms) if before == PLAIN else at
    if end == at:
        end = at + 1
        while end < stop and classes[text[end]] == kind:
            end += 1
    return at, end, before


@compiled
def _contraction(text, at, stop, forms):
    """Where an English contraction ('s 't 're 've 'm 'll 'd) that begins at `at` ends, or `at`."""
    if forms[text[at]] != 39 or at + 1 >= stop:
        return at
    letter = forms[text[at + 1]]
    if letter == 115 or letter == 116 or letter == 109 or letter == 100:
        return at + 2
    if at + 2 < stop:
        after = forms[text[at + 2]]
        if (after == 101 and (letter == 114 or letter == 118)) or (after == 108 and letter == 108):
            return at + 3
    return at
