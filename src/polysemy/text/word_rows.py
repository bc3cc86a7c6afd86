"""A hash table of words kept as UTF-8 bytes, for Numba kernels: exact, without a Python object for each word.

A row takes 40 bytes. A word of up to 16 bytes lies in its row; of a longer one the row has the first eight and a hash
of the others, and all its bytes lie in `text`, where they are compared. So most look-ups touch one line of the cache.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from polysemy.machine_code import compiled
from polysemy.text.pages import pages

LOW, HIGH, PLACE, COUNT, NUMBER = range(5)
"""Columns of a row: bytes 0-7; bytes 8-15, or a hash of all from 8 on; start in `text`, length and whether it has bytes
beyond ASCII (39, 24 and 1 bits); how often it was met; its number in the encoded text."""
PACKED = 16  # a longer word has its bytes in `text`
FACTOR = np.uint64(0x9E3779B97F4A7C15)
FACTOR_2 = np.uint64(0xC2B2AE3D27D4EB4F)
HALF, ONE, SEVEN, TOP, LAST_SHIFT = np.uint64(32), np.uint64(1), np.uint64(7), np.uint64(56), np.uint64(63)
START_SHIFT = np.uint64(25)
SHAPE = np.uint64((1 << 25) - 1)  # length and ODD of a PLACE: equal words have equal ones


def eight(byte: int) -> np.uint64:
    """Eight times the same byte in a number."""
    return np.uint64(byte * 0x0101010101010101)


HIGH_BITS, LOW_BITS = eight(0x80), eight(0x7F)
FROM_A, ABOVE_Z = eight(0x80 - ord("A")), eight(0x7F - ord("Z"))  # added to a byte below 128, they set its high bit
PLACES = np.uint64(0x0001020304050607)


class Text(NamedTuple):
    """`size` bytes of UTF-8 as uint8 and, the same memory, as uint64; NULs behind make every load of eight safe."""

    data: np.ndarray
    eights: np.ndarray
    size: int


class Words(NamedTuple):
    """Different words in the order they were met. `state`: rows used, bytes of text used."""

    slots: np.ndarray  # int32 (a power of two,): row, -1 empty; at least twice as many as rows
    rows: np.ndarray  # uint64 (capacity, 5)
    text: np.ndarray  # uint8, of the long words
    state: np.ndarray  # int64 (2,)


def new_words(capacity: int, text_bytes: int) -> Words:
    """An empty table for that many words with that much text of long ones in all."""
    slots = pages(1 << max(int(2 * capacity - 1).bit_length(), 4), np.int32)
    slots.fill(-1)
    return Words(slots, pages(5 * capacity, np.uint64).reshape(-1, 5), pages(text_bytes, np.uint8),
                 np.zeros(2, np.int64))


def padded(data: bytes) -> Text:
    """The bytes as a text for the kernels."""
    eights = np.frombuffer(data + bytes(24 - len(data) % 8), np.uint64)
    return Text(eights.view(np.uint8), eights, len(data))


def joined(words: Words, rows: np.ndarray) -> np.ndarray:
    """uint8: the words of those rows in that order, a line feed after each."""
    size = int(((words.rows[rows, PLACE] & SHAPE) >> ONE).sum()) + len(rows)
    return _join(words.rows, words.text, rows, np.empty(size, np.uint8))


@compiled
def _join(rows, text, chosen, out):
    at = 0
    for row in chosen:
        length, start = length_of(rows, row), start_of(rows, row)
        for i in range(length):
            if length > PACKED:
                out[at + i] = text[start + i]
            else:
                out[at + i] = rows[row, LOW + (i >> 3)] >> np.uint64((i & 7) << 3)
        out[at + length] = 10
        at += length + 1
    return out


@compiled
def length_of(rows, row):
    return np.int64((rows[row, PLACE] & SHAPE) >> ONE)


@compiled
def start_of(rows, row):
    """Where the bytes of a long word begin in `text`."""
    return np.int64(rows[row, PLACE] >> START_SHIFT)


# The kernels take the four arrays of `Words` one by one: a tuple of arrays costs reference counts in every call.


@compiled(inline="always")
def put(slots, rows, text, state, data, eights, start, stop, small):
    """The row of the word data[start:stop] of `padded` data; added with count 0 when it is new.

    `small` makes letters of ASCII small. The caller sees to it that there is room for one more row and its text.
    """
    low, high = _part(eights, start, stop, small), np.uint64(0)
    seen = low
    if stop - start > 8:
        high = _part(eights, start + 8, stop, small)
        seen |= high
        for at in range(start + PACKED, stop, 8):
            part = _part(eights, at, stop, small)
            seen |= part
            high = (high ^ part ^ (high >> HALF)) * FACTOR
    shape = np.uint64(stop - start) << ONE | (ONE if seen & HIGH_BITS else np.uint64(0))
    row = _find(slots, rows, text, low, high, shape, data, start, small)
    if row >= 0:
        return row
    return _append(slots, rows, text, state, -1 - row, low, high, shape, data, start, small)


@compiled
def put_row(slots, rows, text, state, others, other_text, row):
    """The row of a word of another table; added with count 0 when it is new."""
    found = find_row(slots, rows, text, others, other_text, row)
    if found >= 0:
        return found
    return _append(slots, rows, text, state, -1 - found, others[row, LOW], others[row, HIGH],
                   others[row, PLACE] & SHAPE, other_text, start_of(others, row), False)


@compiled
def find_row(slots, rows, text, others, other_text, row):
    """The row of a word of another table; below 0 when it has none."""
    return _find(slots, rows, text, others[row, LOW], others[row, HIGH], others[row, PLACE] & SHAPE, other_text,
                 start_of(others, row), False)


@compiled
def index_rows(slots, rows, used):
    """Fill the empty slots of a table from its first `used` rows."""
    mask = np.uint64(slots.shape[0] - 1)
    for row in range(used):
        slot = _hash(rows[row, LOW], rows[row, HIGH]) & mask
        while slots[slot] >= 0:
            slot = (slot + ONE) & mask
        slots[slot] = row


@compiled
def load(eights, i):
    """The eight bytes from byte i on, the first one in the lowest bits; of two aligned numbers, without a branch."""
    shift = np.uint64((i & 7) << 3)
    return eights[i >> 3] >> shift | (eights[(i >> 3) + 1] << ONE) << (LAST_SHIFT - shift)


@compiled
def small_letters(eight_bytes):
    """Eight bytes at once with A to Z made small."""
    low = eight_bytes & LOW_BITS
    capitals = (low + FROM_A) & ~(low + ABOVE_Z) & ~eight_bytes & HIGH_BITS
    return eight_bytes | capitals >> np.uint64(2)


@compiled
def bytes_before(marks):
    """How many bytes stand before the first one whose high bit is set; there must be one."""
    first = (marks & (~marks + ONE)) >> SEVEN
    return np.int64((first * PLACES) >> TOP)


@compiled
def _part(eights, at, stop, small):
    part = load(eights, at)
    if stop - at < 8:
        part &= (ONE << np.uint64((stop - at) << 3)) - ONE
    return small_letters(part) if small else part


@compiled
def _hash(low, high):
    mixed = low * FACTOR
    mixed = (mixed ^ (mixed >> HALF) ^ high) * FACTOR_2
    return mixed ^ (mixed >> HALF)


@compiled(inline="always")
def _find(slots, rows, text, low, high, shape, data, start, small):
    """The row of a word with those numbers, or -1 - the slot where it belongs."""
    mask = np.uint64(slots.shape[0] - 1)
    slot = _hash(low, high) & mask
    while True:
        row = np.int64(slots[slot])
        if row < 0:
            return -1 - np.int64(slot)
        if rows[row, LOW] == low and rows[row, HIGH] == high and rows[row, PLACE] & SHAPE == shape:
            length = np.int64(shape >> ONE)
            if length <= PACKED or _same(text, start_of(rows, row), data, start, length, small):
                return row
        slot = (slot + ONE) & mask


@compiled
def _same(text, at, data, start, length, small):
    """Are the bytes behind the first eight equal? Those are known to be."""
    for i in range(8, length):  # noqa: SIM110, Numba knows no all()
        if text[at + i] != _byte(data[start + i], small):
            return False
    return True


@compiled
def _byte(byte, small):
    return byte | np.uint8(32) if small and 65 <= byte <= 90 else byte


@compiled
def _append(slots, rows, text, state, slot, low, high, shape, data, start, small):
    row, at, length = state[0], state[1], np.int64(shape >> ONE)
    slots[slot] = row
    rows[row, LOW] = low
    rows[row, HIGH] = high
    rows[row, PLACE] = np.uint64(at) << START_SHIFT | shape
    rows[row, COUNT] = 0
    rows[row, NUMBER] = row
    state[0] = row + 1
    if length > PACKED:
        for i in range(length):
            text[at + i] = _byte(data[start + i], small)
        state[1] = at + length
    return row
