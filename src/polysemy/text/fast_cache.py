"""Words that the fast encoder met before, with their pieces: a row of one cache line for each; compiled by Numba."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from polysemy.machine_code import compiled
from polysemy.text.fast_cutting import cut_word

LONGEST_KEPT = 16  # characters of a word in the cache
LOW, HIGH, FACTS, PIECES, PLACES = 0, 1, 2, 3, 7
"""Columns of a row of the cache: the word's characters, eight a column, if all are below 256, else a hash and 0; facts:
what stands before it, 4 if it is known by a hash, 8 times its length, and in the high half the number of pieces; up to
four pieces as id, start, end in 32, 5 and 5 bits; where its pieces and, in the high half, its characters are kept."""
INSIDE = PLACES - PIECES  # pieces that are in the row
FACTOR, FACTOR_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
HALF, LOW_HALF, FIVE, LOW_FIVE = np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(5), np.uint64(31)


class Cache(NamedTuple):
    """slots -> row, which is a line of the processor's cache. state: rows, characters, pieces used."""

    slots: np.ndarray  # int32, -1 empty
    rows: np.ndarray  # uint64 (rows, 8)
    text: np.ndarray  # uint32, of the words that are known by a hash
    pieces: np.ndarray  # int32 (pieces, 3): id, start, end, of the words that have more than four
    state: np.ndarray  # int64 (3,)


@compiled(inline="always")
def key_of(text, at, end):
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


@compiled
def hash_of(low, high, before):
    mixed = (low + np.uint64(before)) * FACTOR
    mixed = (mixed ^ mixed >> HALF ^ high) * FACTOR_2
    return mixed ^ mixed >> HALF


@compiled
def same_text(text, at, size, known, start):
    equal = True
    for place in range(size):
        equal &= known[np.int64(start) + place] == text[at + place]
    return equal


@compiled
def new_word(text, at, end, before, key, characters, vocabulary, cache, scratch):
    """Cut a word that was not met before and keep it; returns its row, or -1 when the library must do the text."""
    count = cut_word(text, at, end, before, characters, vocabulary, scratch)
    if count < 0 or end - at > len(cache.text) or count > len(cache.pieces):
        return np.int64(-1)
    return _remember(text[at:end], key, count, cache, scratch.pieces)


@compiled
def _remember(word, key, count, cache, pieces):
    """Keep a word and return its row; when there is no room left the cache is emptied first.

    A long word, which is rarely met again, is written but not kept: its row is good until the next one is written.
    """
    low, high, facts, slot = key
    state, size, rows = cache.state, len(word), cache.rows
    if state[0] >= len(rows) or state[1] + size > len(cache.text) or state[2] + count > len(cache.pieces):
        cache.slots[:] = -1
        state[:] = 0
        slot = hash_of(low, high, facts & np.uint64(3)) & np.uint64(len(cache.slots) - 1)
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
