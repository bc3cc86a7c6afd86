"""A hash table of words kept as UTF-8 bytes, for Numba kernels: exact, without a Python object for each word.

A word is known by its bytes packed into numbers: the first eight, the next eight, and a hash of the rest; only words of
more than 16 bytes are ever compared byte by byte. So most look-ups touch one line of the cache.
"""
from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

LOW, HIGH, REST, START, LENGTH, COUNT, ODD, NUMBER = range(8)
"""Columns of a row: bytes 0-7, bytes 8-15, hash of the rest; where its text is; how often it was met; whether it has
bytes beyond ASCII; its number in the encoded text."""
PACKED = 16  # bytes of a word that are in its row
FACTOR = np.uint64(0x9E3779B97F4A7C15)
FACTOR_2 = np.uint64(0xC2B2AE3D27D4EB4F)
HALF, ONE, SEVEN, TOP, LAST_SHIFT = np.uint64(32), np.uint64(1), np.uint64(7), np.uint64(56), np.uint64(63)


def eight(byte: int) -> np.uint64:
    """Eight times the same byte in a number."""
    return np.uint64(byte * 0x0101010101010101)


HIGH_BITS, LOW_BITS = eight(0x80), eight(0x7F)
FROM_A, ABOVE_Z = eight(0x80 - ord("A")), eight(0x7F - ord("Z"))  # added to a byte below 128, they set its high bit
PLACES = np.uint64(0x0001020304050607)


class Words(NamedTuple):
    """Different words in the order they were met. `state`: rows used, bytes of text used."""

    slots: np.ndarray  # int32 (a power of two,): row, -1 empty; at least twice as many as rows
    rows: np.ndarray  # uint64 (capacity, 8)
    text: np.ndarray  # uint8
    state: np.ndarray  # int64 (2,)


def new_words(capacity: int, text_bytes: int) -> Words:
    """An empty table for that many words with that much text in all."""
    slots = 1 << max(int(2 * capacity - 1).bit_length(), 4)
    return Words(np.full(slots, -1, np.int32), np.empty((capacity, 8), np.uint64), np.empty(text_bytes, np.uint8),
                 np.zeros(2, np.int64))


def padded(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The bytes as uint8 and, the same memory, as uint64; NULs after them make every load of eight bytes safe."""
    eights = np.frombuffer(data + bytes(24 - len(data) % 8), np.uint64)
    return eights.view(np.uint8), eights


def joined(words: Words, rows: np.ndarray) -> np.ndarray:
    """uint8: the texts of those rows in that order, a line feed after each."""
    size = int(words.rows[rows, LENGTH].sum()) + len(rows)
    return _join(words.rows, words.text, rows, np.empty(size, np.uint8))


@numba.njit(nogil=True, cache=True)
def _join(rows, text, chosen, out):
    at = 0
    for row in chosen:
        start = np.int64(rows[row, START])
        for i in range(start, start + np.int64(rows[row, LENGTH])):
            out[at] = text[i]
            at += 1
        out[at] = 10
        at += 1
    return out


# The kernels take the four arrays of `Words` one by one: a tuple of arrays costs reference counts in every call.


@numba.njit(nogil=True, cache=True, inline="always")
def put(slots, rows, text, state, data, eights, start, stop, small):
    """The row of the word data[start:stop] of `padded` data; added with count 0 when it is new.

    `small` makes letters of ASCII small. The caller sees to it that there is room for one more row and its text.
    """
    low, high, rest = _part(eights, start, stop, small), np.uint64(0), np.uint64(0)
    seen = low
    if stop - start > 8:
        high = _part(eights, start + 8, stop, small)
        seen |= high
        for at in range(start + PACKED, stop, 8):
            part = _part(eights, at, stop, small)
            seen |= part
            rest = (rest ^ part ^ (rest >> HALF)) * FACTOR
    row = _find(slots, rows, text, low, high, rest, data, start, stop, small)
    if row >= 0:
        return row
    return _append(slots, rows, text, state, -1 - row, low, high, rest, seen & HIGH_BITS, data, start, stop, small)


@numba.njit(nogil=True, cache=True)
def put_row(slots, rows, text, state, others, other_text, row):
    """The row of a word of another table; added with count 0 when it is new."""
    found = find_row(slots, rows, text, others, other_text, row)
    if found >= 0:
        return found
    start = np.int64(others[row, START])
    stop = start + np.int64(others[row, LENGTH])
    return _append(slots, rows, text, state, -1 - found, others[row, LOW], others[row, HIGH], others[row, REST],
                   others[row, ODD], other_text, start, stop, False)


@numba.njit(nogil=True, cache=True)
def find_row(slots, rows, text, others, other_text, row):
    """The row of a word of another table; below 0 when it has none."""
    start = np.int64(others[row, START])
    stop = start + np.int64(others[row, LENGTH])
    return _find(slots, rows, text, others[row, LOW], others[row, HIGH], others[row, REST], other_text, start, stop,
                 False)


@numba.njit(nogil=True, cache=True)
def index_rows(slots, rows, used):
    """Fill the empty slots of a table from its first `used` rows."""
    mask = np.uint64(slots.shape[0] - 1)
    for row in range(used):
        slot = _hash(rows[row, LOW], rows[row, HIGH], rows[row, REST]) & mask
        while slots[slot] >= 0:
            slot = (slot + ONE) & mask
        slots[slot] = row


@numba.njit(nogil=True, cache=True)
def load(eights, i):
    """The eight bytes from byte i on, the first one in the lowest bits; of two aligned numbers, without a branch."""
    shift = np.uint64((i & 7) << 3)
    return eights[i >> 3] >> shift | (eights[(i >> 3) + 1] << ONE) << (LAST_SHIFT - shift)


@numba.njit(nogil=True, cache=True)
def small_letters(eight_bytes):
    """Eight bytes at once with A to Z made small."""
    low = eight_bytes & LOW_BITS
    capitals = (low + FROM_A) & ~(low + ABOVE_Z) & ~eight_bytes & HIGH_BITS
    return eight_bytes | capitals >> np.uint64(2)


@numba.njit(nogil=True, cache=True)
def bytes_before(marks):
    """How many bytes stand before the first one whose high bit is set; there must be one."""
    first = (marks & (~marks + ONE)) >> SEVEN
    return np.int64((first * PLACES) >> TOP)


@numba.njit(nogil=True, cache=True)
def _part(eights, at, stop, small):
    part = load(eights, at)
    if stop - at < 8:
        part &= (ONE << np.uint64((stop - at) << 3)) - ONE
    return small_letters(part) if small else part


@numba.njit(nogil=True, cache=True)
def _hash(low, high, rest):
    mixed = low * FACTOR
    mixed = (mixed ^ (mixed >> HALF) ^ high) * FACTOR_2
    mixed = (mixed ^ (mixed >> HALF) ^ rest) * FACTOR
    return mixed ^ (mixed >> HALF)


@numba.njit(nogil=True, cache=True, inline="always")
def _find(slots, rows, text, low, high, rest, data, start, stop, small):
    """The row of a word with those numbers, or -1 - the slot where it belongs."""
    length = np.uint64(stop - start)
    mask = np.uint64(slots.shape[0] - 1)
    slot = _hash(low, high, rest) & mask
    while True:
        row = np.int64(slots[slot])
        if row < 0:
            return -1 - np.int64(slot)
        if rows[row, LOW] == low and rows[row, HIGH] == high and rows[row, LENGTH] == length:
            if length <= np.uint64(PACKED):
                return row
            if rows[row, REST] == rest and _same(text, np.int64(rows[row, START]), data, start, stop, small):
                return row
        slot = (slot + ONE) & mask


@numba.njit(nogil=True, cache=True)
def _same(text, at, data, start, stop, small):
    """Are the bytes behind the packed ones equal? The packed ones are known to be."""
    for i in range(PACKED, stop - start):  # noqa: SIM110, Numba knows no all()
        if text[at + i] != _byte(data[start + i], small):
            return False
    return True


@numba.njit(nogil=True, cache=True)
def _byte(byte, small):
    return byte | np.uint8(32) if small and 65 <= byte <= 90 else byte


@numba.njit(nogil=True, cache=True)
def _append(slots, rows, text, state, slot, low, high, rest, odd, data, start, stop, small):
    row, at = state[0], state[1]
    slots[slot] = row
    rows[row, LOW] = low
    rows[row, HIGH] = high
    rows[row, REST] = rest
    rows[row, START] = at
    rows[row, LENGTH] = stop - start
    rows[row, COUNT] = 0
    rows[row, ODD] = odd
    rows[row, NUMBER] = row
    for i in range(stop - start):
        text[at + i] = _byte(data[start + i], small)
    state[0] = row + 1
    state[1] = at + stop - start
    return row
