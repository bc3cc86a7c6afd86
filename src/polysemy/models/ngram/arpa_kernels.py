"""Reads the usual lines of an ARPA file many at once; what is not usual is left to the reader of single lines."""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from polysemy.machine_code import compiled

LINE_FEED, RETURN, TAB, SPACE = 10, 13, 9, 32
MINUS, PLUS, POINT, ZERO, NINE, SMALL_E = 45, 43, 46, 48, 57, 101
EXACT_DIGITS, EXACT_POWER = 15, 22
"""a whole number of so many digits times or divided by so high a power of ten is the nearest float64, no nearer one"""
POWERS = 10.0 ** np.arange(EXACT_POWER + 1)
PRIME = np.uint64(1099511628211)


class Names(NamedTuple):
    """Words as bytes in a hash table; number i lies in text[starts[i] : starts[i + 1]]."""

    slots: np.ndarray  # int32 (a power of two,), -1 empty
    starts: np.ndarray  # int64
    text: np.ndarray  # uint8

    @classmethod
    def of(cls, words: Iterable[bytes]) -> Names:
        """A table of different words, numbered as they come."""
        words = list(words)
        starts = np.zeros(len(words) + 1, np.int64)
        np.cumsum([len(word) for word in words], out=starts[1:])
        names = cls(np.full(1 << (2 * len(words) + 1).bit_length(), -1, np.int32), starts,
                    np.frombuffer(b"".join(words), np.uint8))
        put_names(*names)
        return names


@compiled
def slot_of(slots, starts, text, data, begin, end):
    """The slot that holds the word data[begin:end], or the empty one where it would be."""
    h = np.uint64(14695981039346656037)
    for i in range(begin, end):
        h = (h ^ np.uint64(data[i])) * PRIME
    slot = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(len(slots) - 1))
    while slots[slot] >= 0:
        start = starts[slots[slot]]
        if starts[slots[slot] + 1] - start == end - begin:
            i = 0
            while i < end - begin and text[start + i] == data[begin + i]:
                i += 1
            if i == end - begin:
                break
        slot = slot + 1 if slot + 1 < len(slots) else 0
    return slot


@compiled
def put_names(slots, starts, text):
    for i in range(len(starts) - 1):
        slots[slot_of(slots, starts, text, text, starts[i], starts[i + 1])] = i


@compiled
def read_number(data, at):
    """(the number that begins there, where it ends); it ends where it begins if it is not one of the usual form."""
    begin, value, digits, power = at, np.int64(0), 0, 0
    negative = data[at] == MINUS
    at += negative
    point = False
    while (ZERO <= data[at] <= NINE) or (data[at] == POINT and not point):
        if data[at] == POINT:
            point = True
        else:
            value = value * 10 + data[at] - ZERO
            digits += 1
            power -= point
            if digits > EXACT_DIGITS:
                return 0.0, begin
        at += 1
    if digits == 0:
        return 0.0, begin
    if data[at] == SMALL_E:
        at += 1
        down = data[at] == MINUS
        at += down or data[at] == PLUS
        exponent, first = 0, at
        while ZERO <= data[at] <= NINE and at < first + 3:
            exponent = exponent * 10 + data[at] - ZERO
            at += 1
        if at == first:
            return 0.0, begin
        power += -exponent if down else exponent
    if not -EXACT_POWER <= power <= EXACT_POWER:
        return 0.0, begin
    number = np.float64(value) / POWERS[-power] if power < 0 else np.float64(value) * POWERS[power]
    return -number if negative else number, at


@compiled
def skip_blanks(data, at):
    while data[at] == SPACE or data[at] == TAB:
        at += 1
    return at


@compiled
def read_ngrams(data, at, end, order, highest, begin_id, finish_id, slots, starts, text, words, logs, weights):
    """Read lines of n-grams from data[at:end], which ends with a line feed, into the rows of three arrays.

    Stops before the first line that is not of the usual form, which may be right all the same, and when the arrays are
    full. A weight that is not there is nan. Returns (lines read, where the next one begins).
    """
    for row in range(len(words)):
        if at >= end:
            return row, at
        log, place = read_number(data, skip_blanks(data, at))
        if place == at or log > 0 or not (data[place] == TAB or data[place] == SPACE):
            return row, at
        for k in range(order):
            first = skip_blanks(data, place)
            place = first
            while data[place] > SPACE:
                place += 1
            slot = slot_of(slots, starts, text, data, first, place)
            word = slots[slot]
            if first == place or word < 0 or (k > 0 and word == begin_id) or (k + 1 < order and word == finish_id):
                return row, at
            words[row, k] = word
        if data[place] != TAB and data[place] != SPACE and data[place] != RETURN and data[place] != LINE_FEED:
            return row, at
        place = skip_blanks(data, place)
        weights[row] = np.nan
        if not highest and data[place] != RETURN and data[place] != LINE_FEED:
            weights[row], after = read_number(data, place)
            if after == place:
                return row, at
            place = skip_blanks(data, after)
        place += data[place] == RETURN
        if data[place] != LINE_FEED:
            return row, at
        logs[row] = log
        at = place + 1
    return len(words), at
