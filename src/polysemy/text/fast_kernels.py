"""The loops of the fast encoder, compiled by Numba: cut text into words, look each up, cut the new ones into pieces.

All work on one long array of code points. A word that was met before costs a hash, a comparison and a copy; its pieces
are kept with offsets relative to its first character. The key is the raw text of the word (before clean-up) and whether
a space stands before it.
"""
from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from polysemy.text.fast_cutting import PLAIN, SPACED, WHITE, cut_word
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
LONGEST_KEPT = 16  # characters of a word in the cache
LOW, HIGH, FACTS, PIECES, PLACES = 0, 1, 2, 3, 7
"""Columns of a row of the cache: the word's characters, eight a column, if all are below 256, else a hash and 0; facts:
what stands before it, 4 if it is known by a hash, 8 times its length, and in the high half the number of pieces; up to
four pieces as id, start, end in 32, 5 and 5 bits; where its pieces and, in the high half, its characters are kept."""
INSIDE = PLACES - PIECES  # pieces that are in the row
FACTOR, FACTOR_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
HALF, LOW_HALF, FIVE, LOW_FIVE = np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(5), np.uint64(31)


class Cache(NamedTuple):
    """Words met before: slots -> row; a row is a line of the processor's cache. state: rows, characters, pieces used."""

    slots: np.ndarray  # int32, -1 empty
    rows: np.ndarray  # uint64 (rows, 8)
    text: np.ndarray  # uint32, of the words that are known by a hash
    pieces: np.ndarray  # int32 (pieces, 3): id, start, end, of the words that have more than four
    state: np.ndarray  # int64 (3,)


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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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
            low, high, wide = _key(text, at, end)
            facts = np.uint64(size << 3 | wide << 2 | before)
            slot = _hash(low, high, before) & mask
            entry = np.int64(slots[slot])
            while entry >= 0 and not (rows[entry, LOW] == low and rows[entry, HIGH] == high
                                      and rows[entry, FACTS] & LOW_HALF == facts
                                      and (wide == 0 or _same(text, at, size, known, rows[entry, PLACES] >> HALF))):
                slot = (slot + np.uint64(1)) & mask
                entry = np.int64(slots[slot])
            if entry < 0:
                entry = _new_word(text, at, end, before, (low, high, facts, slot), characters, vocabulary, cache,
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


@numba.njit(cache=True, nogil=True, inline="always")
def _key(text, at, end):
    """(low, high, 0) with the characters of a word in 16 bytes, or (a hash, 0, 1) if they do not fit."""
    low, high, seen = np.uint64(0), np.uint64(0), np.uint32(0)
    if end - at <= LONGEST_KEPT:
        for place in range(at, min(end, at + 8)):
            seen |= text[place]
            low |= np.uint64(text[place]) << np.uint64(place - at << 3)
        for place in range(at + 8, end):
            seen |= text[place]
            high |= np.uint64(text[place]) << np.uint64(place - at - 8 << 3)
        if seen < 256:
            return low, high, 0
    low = FACTOR
    for place in range(at, end):
        low = (low ^ np.uint64(text[place])) * FACTOR_2
        low ^= low >> HALF
    return low, np.uint64(0), 1


@numba.njit(cache=True, nogil=True)
def _hash(low, high, before):
    mixed = (low + np.uint64(before)) * FACTOR
    mixed = (mixed ^ mixed >> HALF ^ high) * FACTOR_2
    return mixed ^ mixed >> HALF


@numba.njit(cache=True, nogil=True)
def _same(text, at, size, known, start):
    equal = True
    for place in range(size):
        equal &= known[np.int64(start) + place] == text[at + place]
    return equal


@numba.njit(cache=True, nogil=True)
def _next_word(rule, text, at, stop, first, classes, forms):
    """(start, end, what stands before) of the next word of the text; start = end when there is none."""
    if rule == BERT_RULE:
        return _next_bert(text, at, stop, classes)
    if rule == GPT2_RULE or rule == GPT2_SPACED_RULE:  # noqa: SIM109 - faster compiled
        return _next_gpt2(text, at, stop, classes, forms, rule == GPT2_SPACED_RULE and at == first)
    return _next_marked(text, at, stop, classes, first)


@numba.njit(cache=True, nogil=True)
def _copy_given(given, number, offset, out, output):
    for at in range(given.splits[number], given.splits[number + 1]):
        output.ids[out] = given.pieces[at, 0]
        output.starts[out] = given.pieces[at, 1] + offset
        output.ends[out] = given.pieces[at, 2] + offset
        out += 1


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def _new_word(text, at, end, before, key, characters, vocabulary, cache, scratch):
    """Cut a word that was not met before and keep it; returns its row, or -1 when the library must do the text."""
    count = cut_word(text, at, end, before, characters, vocabulary, scratch)
    if count < 0 or end - at > len(cache.text) or count > len(cache.pieces):
        return np.int64(-1)
    return _remember(text[at:end], key, count, cache, scratch.pieces)


@numba.njit(cache=True, nogil=True)
def _remember(word, key, count, cache, pieces):
    """Keep a word and return its row; when there is no room left the cache is emptied first.

    A long word, which is rarely met again, is written but not kept: its row is good until the next one is written.
    """
    low, high, facts, slot = key
    state, size, rows = cache.state, len(word), cache.rows
    if state[0] >= len(rows) or state[1] + size > len(cache.text) or state[2] + count > len(cache.pieces):
        cache.slots[:] = -1
        state[:] = 0
        slot = _hash(low, high, facts & np.uint64(3)) & np.uint64(len(cache.slots) - 1)
    row, characters, kept = state[0], np.int64(0), np.int64(0)
    if facts & np.uint64(4):
        characters = size
        cache.text[state[1] : state[1] + size] = word
    if count <= INSIDE and size <= LONGEST_KEPT:
        for piece in range(count):
            span = np.uint64(pieces[piece, 1]) | np.uint64(pieces[piece, 2]) << FIVE
            rows[row, PIECES + piece] = np.uint64(pieces[piece, 0]) | span << HALF
    else:
        kept = count
        cache.pieces[state[2] : state[2] + count] = pieces[:count]
    rows[row, LOW], rows[row, HIGH], rows[row, FACTS] = low, high, facts | np.uint64(count) << HALF
    rows[row, PLACES] = np.uint64(state[2]) | np.uint64(state[1]) << HALF
    if size <= LONGEST_KEPT:
        cache.slots[slot] = row
        state[0] += 1
        state[1] += characters
        state[2] += kept
    return row
