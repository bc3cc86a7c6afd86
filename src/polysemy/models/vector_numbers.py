"""The loops behind `vector_files`: finding words and numbers in bytes, and writing numbers as short decimals.

A decimal of up to 19 digits is read as a 64-bit whole number times a power of ten in float64, then rounded to float32,
as `np.float32(text)` does. A float32 is written with the fewest digits (at most 9) that this reading gives back.
"""

from __future__ import annotations

import numpy as np

from polysemy.machine_code import compiled

FINE, NO_NUMBER, NOT_FINITE, TOO_FEW, TOO_MANY, NO_WORD, LONG_WORD, LINE_IN_WORD, CUT = range(9)
"""What is wrong with a row."""
SPACE, TAB, LINE, RETURN = 32, 9, 10, 13
POWERS = 10.0 ** np.arange(0, 23)
MAX_FLOAT32 = float(np.finfo(np.float32).max)
LONGEST_NUMBER = 16
"""Bytes that a written number takes at most, with the space after it."""


@compiled
def count_lines(data):  # pragma: no cover - compiled
    """Line feeds in a uint8 array."""
    total = 0
    for byte in data:
        total += byte == LINE
    return total


@compiled
def _number(data, start, stop):  # pragma: no cover - compiled
    """(what is wrong, value) of the decimal in data[start:stop]."""
    at, negative = start, False
    if at < stop and (data[at] == 45 or data[at] == 43):
        negative = data[at] == 45
        at += 1
    letter = data[at] | 32 if at < stop else 0
    if letter == 110 or letter == 105:  # nan, inf, infinity
        size = stop - at
        second = data[at + 1] | 32 if size > 1 else 0
        third = data[at + 2] | 32 if size > 2 else 0
        if size == 3 and letter == 110 and second == 97 and third == 110:
            return NOT_FINITE, 0.0
        if (size == 3 or size == 8) and letter == 105 and second == 110 and third == 102:
            return NOT_FINITE, 0.0
        return NO_NUMBER, 0.0
    whole, digits, power, seen, point = np.uint64(0), 0, 0, False, False
    while at < stop:
        byte = data[at]
        if 48 <= byte <= 57:
            seen = True
            if digits < 19:
                whole = whole * np.uint64(10) + np.uint64(byte - 48)
                digits += whole > 0
                power -= point
            else:
                power += not point
        elif byte == 46 and not point:
            point = True
        else:
            break
        at += 1
    if not seen:
        return NO_NUMBER, 0.0
    if at < stop and (data[at] | 32) == 101:
        at += 1
        down = False
        if at < stop and (data[at] == 45 or data[at] == 43):
            down = data[at] == 45
            at += 1
        if at == stop:
            return NO_NUMBER, 0.0
        exponent = 0
        while at < stop and 48 <= data[at] <= 57:
            exponent = min(exponent * 10 + (data[at] - 48), 9999)
            at += 1
        power += -exponent if down else exponent
    if at != stop:
        return NO_NUMBER, 0.0
    value = float(whole)
    while power > 0 and value < 1e300 and whole > 0:
        step = min(power, 22)
        value *= POWERS[step]
        power -= step
    while power < 0 and value > 0:
        step = min(-power, 22)
        value /= POWERS[step]
        power += step
    if value > MAX_FLOAT32:
        return NOT_FINITE, 0.0
    return FINE, -value if negative else value


@compiled
def numbers_at_end(data, start, stop):  # pragma: no cover - compiled
    """(numbers at the end of data[start:stop], the first field never counted; fields in all)."""
    numbers, fields, going = 0, 0, True
    end = stop
    while end > start:
        while end > start and data[end - 1] <= SPACE and (data[end - 1] == SPACE or data[end - 1] == TAB or
                                                          data[end - 1] == RETURN):
            end -= 1
        if end == start:
            break
        first = end
        while first > start and data[first - 1] != SPACE and data[first - 1] != TAB:
            first -= 1
        fields += 1
        if going and first > start and _number(data, first, end)[0] != NO_NUMBER:
            numbers += 1
        else:
            going = False
        end = first
    return numbers, fields


@compiled
def parse_rows(data, start, vectors, words, limit):  # pragma: no cover - compiled
    """Read rows `word numbers...` from data[start:] into vectors (rows, size) and words int64 (rows, 2) (start, stop).

    Returns (rows read, what is wrong, line feeds before the end, first byte not read). The last `size` fields of a line
    are its numbers, what stands before them is the word. Empty lines are passed over.
    """
    size, total = vectors.shape[1], len(data)
    row, line, at = 0, 0, start
    while at < total and row < limit:
        stop = at
        while stop < total and data[stop] != LINE:
            stop += 1
        end = stop
        while end > at and (data[end - 1] == SPACE or data[end - 1] == TAB or data[end - 1] == RETURN):
            end -= 1
        if end == at:
            at, line = stop + 1, line + 1
            continue
        if data[at] == SPACE or data[at] == TAB:
            return row, NO_WORD, line, at
        if row >= len(vectors):
            return row, TOO_FEW, line, at
        for column in range(size - 1, -1, -1):
            first = end
            while first > at and data[first - 1] != SPACE and data[first - 1] != TAB:
                first -= 1
            if first == at:
                return row, TOO_FEW, line, at
            wrong, value = _number(data, first, end)
            if wrong != FINE:
                return row, wrong, line, at
            vectors[row, column] = value
            end = first - 1
            while end > at and (data[end - 1] == SPACE or data[end - 1] == TAB):
                end -= 1
        first = end
        while first > at and data[first - 1] != SPACE and data[first - 1] != TAB:
            first -= 1
        if first > at and _number(data, first, end)[0] != NO_NUMBER:
            return row, TOO_MANY, line, at
        words[row, 0], words[row, 1] = at, end
        row += 1
        at, line = stop + 1, line + 1
    return row, FINE, line, min(at, total)


@compiled
def parse_binary(data, start, vectors, words, longest):  # pragma: no cover - compiled
    """Read `word SPACE float32...` from data[start:] into vectors, uint8 (rows, 4 size), and words int64 (rows, 2).

    Returns (rows read, what is wrong, first byte not read). A line feed before a word is passed over.
    """
    width, total = vectors.shape[1], len(data)
    at = start
    for row in range(len(vectors)):
        if at < total and data[at] == LINE:
            at += 1
        stop, edge = at, min(total, at + longest + 1)
        while stop < edge and data[stop] != SPACE:
            if data[stop] == LINE:
                return row, LINE_IN_WORD, at
            stop += 1
        if stop == total:
            return row, CUT, at
        if stop == edge:
            return row, LONG_WORD, at
        if stop == at:
            return row, NO_WORD, at
        if stop + 1 + width > total:
            return row, CUT, at
        words[row, 0], words[row, 1] = at, stop
        vectors[row] = data[stop + 1 : stop + 1 + width]
        at = stop + 1 + width
    if at < total and data[at] == LINE:
        at += 1
    return len(vectors), FINE, at


@compiled
def join_words(data, words):  # pragma: no cover - compiled
    """uint8: the words, each followed by a line feed."""
    size = 0
    for row in range(len(words)):
        size += words[row, 1] - words[row, 0] + 1
    result = np.empty(size, np.uint8)
    at = 0
    for row in range(len(words)):
        for place in range(words[row, 0], words[row, 1]):
            result[at] = data[place]
            at += 1
        result[at] = LINE
        at += 1
    return result


@compiled
def write_rows(vectors, words, bounds, out):  # pragma: no cover - compiled
    """Lines `word numbers` into uint8 `out`; word i is words[bounds[i]:bounds[i + 1]]. Returns the bytes written."""
    at = 0
    for row in range(len(vectors)):
        for place in range(bounds[row], bounds[row + 1]):
            out[at] = words[place]
            at += 1
        for column in range(vectors.shape[1]):
            out[at] = SPACE
            at = _decimal(vectors[row, column], out, at + 1)
        out[at] = LINE
        at += 1
    return at


@compiled
def _decimal(value, out, at):  # pragma: no cover - compiled
    """Write a finite float32 in its shortest decimal; returns the place after it."""
    x = float(value)
    if x < 0:
        out[at] = 45
        at += 1
        x = -x
    if x == 0:
        out[at] = 48
        return at + 1
    exponent = int(np.floor(np.log10(x)))
    whole, digits = np.int64(0), 0
    for digits in range(1, 10):
        shift = digits - 1 - exponent
        whole = np.int64(np.rint(_scaled(x, shift)))
        if np.float32(_scaled(float(whole), -shift)) == value or np.float32(_scaled(float(whole), -shift)) == -value:
            break
    power = exponent - digits + 1
    while whole % 10 == 0:
        whole //= 10
        power += 1
    text = np.empty(20, np.uint8)
    size = 0
    while whole > 0:
        text[size] = 48 + whole % 10
        whole //= 10
        size += 1
    place = size + power  # digits before the point
    if 0 < place <= 9:
        for k in range(max(size, place)):
            if k == place:
                out[at] = 46
                at += 1
            out[at] = text[size - 1 - k] if k < size else 48
            at += 1
        return at
    if -4 < place <= 0:
        out[at], out[at + 1] = 48, 46
        at += 2
        for _ in range(-place):
            out[at] = 48
            at += 1
        for k in range(size):
            out[at] = text[size - 1 - k]
            at += 1
        return at
    out[at] = text[size - 1]
    at += 1
    if size > 1:
        out[at] = 46
        at += 1
        for k in range(1, size):
            out[at] = text[size - 1 - k]
            at += 1
    out[at] = 101
    at += 1
    place -= 1
    if place < 0:
        out[at] = 45
        at += 1
        place = -place
    if place >= 10:
        out[at] = 48 + place // 10
        at += 1
    out[at] = 48 + place % 10
    return at + 1


@compiled
def _scaled(x, power):  # pragma: no cover - compiled
    """x times ten to the power, exactly rounded where the power of ten is exact."""
    while power > 22:
        x *= POWERS[22]
        power -= 22
    while power < -22:
        x /= POWERS[22]
        power += 22
    return x * POWERS[power] if power >= 0 else x / POWERS[-power]
