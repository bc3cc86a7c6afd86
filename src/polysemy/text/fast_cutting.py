"""The fast encoder's way to cut one new word into pieces, for each kind of model; compiled by Numba.

The same rules as the tokenizers library, ties included; `learn_bpe`, `learn_wordpiece` and `learn_unigram` say them in
readable form.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from polysemy.machine_code import compiled
from polysemy.text.fast_tables import BPE, INTRICATE, WORDPIECE
from polysemy.text.trie import child

MERGED_BITS = 10
LONGEST_MERGED = 1 << MERGED_BITS  # symbols; merging is quadratic, so longer words are left to the library
NO_PAIR = np.int32(2**31 - 1)
PLAIN, SPACED, WHITE = range(3)  # what stands before a word: nothing, a space that belongs to it; or it is white space


class Scratch(NamedTuple):
    """Work space for one word: characters and where they came from, symbols, best paths."""

    form: np.ndarray  # int64
    origin: np.ndarray  # int64; -1 for the space before the word
    symbols: np.ndarray  # int64
    starts: np.ndarray  # int64
    ends: np.ndarray  # int64
    following: np.ndarray  # int64
    preceding: np.ndarray  # int64
    orders: np.ndarray  # int32
    values: np.ndarray  # float64
    pieces: np.ndarray  # int32 (n, 3)


@compiled
def fill_pairs(keys, results, pairs):
    """Hash table of the merges: key, rank << 32 | result. Of a pair given twice the last counts, as in the library."""
    for rank in range(len(keys)):
        slot = slot_of_pair(pairs, keys[rank])
        pairs[slot, 0] = keys[rank]
        pairs[slot, 1] = np.int64(rank) << 32 | results[rank]


@compiled
def cut_word(text, at, end, before, characters, vocabulary, scratch):
    """Cut a word into scratch.pieces; returns their number, or -1 when the library must do it."""
    form, origin = scratch.form, scratch.origin
    size = np.int64(0)
    if before == SPACED:
        form[0], origin[0] = vocabulary.space, -1
        size = 1
    for place in range(at, end):
        if characters.classes[text[place]] == INTRICATE:
            return -1
        code = characters.forms[text[place]]
        length, start = 1, 0
        if code < 0:
            start = -1 - code
            length = characters.pool[start]
        if size + length >= len(form):
            return -1
        for part in range(length):
            form[size] = code if code >= 0 else characters.pool[start + 1 + part]
            origin[size] = place - at
            size += 1
    if vocabulary.model == WORDPIECE:
        count = _wordpiece(size, vocabulary, scratch)
    elif vocabulary.model == BPE:
        count = _merge(size, vocabulary, scratch)
    else:
        count = _unigram(size, vocabulary, scratch)
    if before == WHITE:  # spans leave white space out
        for piece in range(count):
            scratch.pieces[piece, 1] = scratch.pieces[piece, 2]
    return count


@compiled
def _put(number, piece, start, end, scratch):
    """One piece over the normalized characters start..end (stop excluded), with its span in the raw word."""
    scratch.pieces[number, 0] = piece
    scratch.pieces[number, 1] = max(scratch.origin[start], 0)
    scratch.pieces[number, 2] = scratch.origin[end - 1] + 1


@compiled
def _wordpiece(size, vocabulary, scratch):
    """Greedy longest match from the left; a word that cannot be finished is one unknown piece."""
    start, count = np.int64(0), np.int64(0)
    bad = size > vocabulary.longest
    while start < size and not bad:
        node = np.int32(0) if start == 0 else np.int32(vocabulary.inner)
        best, best_end = np.int64(-1), start
        for end in range(start, size):
            node = child(vocabulary.keys, vocabulary.children, node, scratch.form[end])
            if node < 0:
                break
            if vocabulary.ids[node] >= 0:
                best, best_end = np.int64(vocabulary.ids[node]), np.int64(end + 1)
        bad = best < 0
        if not bad:
            _put(count, best, start, best_end, scratch)
            count += 1
            start = best_end
    if bad:
        _put(np.int64(0), np.int64(vocabulary.unknown), np.int64(0), np.int64(size), scratch)
        return np.int64(1)
    return count


@compiled
def _first_symbols(size, vocabulary, scratch):
    """The characters (or bytes) of a word as ids, starts and ends the characters they lie in. Returns how many."""
    count = 0
    for place in range(size):
        code = scratch.form[place]
        if len(vocabulary.bytes):
            if count + 4 > len(scratch.symbols):
                return -1
            length = 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
            for part in range(length):
                byte = code
                if length > 1:
                    byte = code >> 6 * (length - 1 - part) & 63 | 128
                    if part == 0:
                        byte = code >> 6 * (length - 1) | (0xF00 >> length & 0xFF)
                scratch.symbols[count] = vocabulary.bytes[byte]
                scratch.starts[count] = place
                scratch.ends[count] = place + 1
                count += 1
            continue
        if count + 1 > len(scratch.symbols):
            return -1
        node = child(vocabulary.keys, vocabulary.children, np.int32(0), code)
        known = node >= 0 and vocabulary.ids[node] >= 0
        symbol = vocabulary.ids[node] if known else np.int32(vocabulary.unknown)
        if not known and vocabulary.fuse and count and scratch.symbols[count - 1] == vocabulary.unknown:
            scratch.ends[count - 1] = place + 1
            continue
        scratch.symbols[count] = symbol
        scratch.starts[count] = place
        scratch.ends[count] = place + 1
        count += 1
    return count


@compiled
def _merge(size, vocabulary, scratch):
    """Byte-pair encoding: the pair of lowest rank, leftmost first, becomes one symbol until no pair is known.

    Symbols keep their places in a linked list; orders[at] = rank and place of the pair that begins at `at`.
    """
    symbols, ends, orders = scratch.symbols, scratch.ends, scratch.orders
    following, preceding, pairs = scratch.following, scratch.preceding, vocabulary.pairs
    count = _first_symbols(size, vocabulary, scratch)
    if count < 0 or count > LONGEST_MERGED:
        return -1
    for at in range(count):
        following[at], preceding[at] = at + 1, at - 1
        orders[at] = _order(symbols[at], symbols[at + 1], at, pairs) if at + 1 < count else NO_PAIR
    while True:
        lowest = NO_PAIR
        for at in range(count):
            lowest = min(lowest, orders[at])
        if lowest == NO_PAIR:
            break
        at = np.int64(lowest & LONGEST_MERGED - 1)
        gone = following[at]
        after = following[gone]
        symbols[at] = pairs[slot_of_pair(pairs, symbols[at] << 32 | symbols[gone]), 1] & 0xFFFFFFFF
        ends[at], following[at] = ends[gone], after
        orders[gone] = orders[at] = NO_PAIR
        if after < count:
            preceding[after] = at
            orders[at] = _order(symbols[at], symbols[after], at, pairs)
        if at > 0:
            orders[preceding[at]] = _order(symbols[preceding[at]], symbols[at], preceding[at], pairs)
    at, number = np.int64(0), np.int64(0)
    while at < count:
        _put(number, symbols[at], scratch.starts[at], ends[at], scratch)
        at = following[at]
        number += 1
    return number


@compiled
def _order(left, right, at, pairs):
    """Rank of a pair in the high bits, its place in the low ones; NO_PAIR when it is never merged."""
    slot = slot_of_pair(pairs, left << 32 | right)
    return np.int32(pairs[slot, 1] >> 32 << MERGED_BITS | at) if pairs[slot, 0] >= 0 else NO_PAIR


@compiled
def slot_of_pair(pairs, key):
    """Where a pair stands in the table, or the empty slot where it belongs."""
    mask = len(pairs) - 1
    mixed = key * 0x2545F4914F6CDD1D
    slot = (mixed ^ mixed >> 29) & mask
    while pairs[slot, 0] >= 0 and pairs[slot, 0] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def _unigram(size, vocabulary, scratch):
    """The segmentation of highest total score; a character without a piece is unknown, neighbours in one piece."""
    values, back, piece_at = scratch.values, scratch.ends, scratch.symbols
    if size == 0:
        return 0
    for at in range(1, size + 1):
        back[at] = -1
    values[0] = 0.0
    for start in range(size):
        node = np.int32(0)
        single = False
        for end in range(start + 1, size + 1):
            node = child(vocabulary.keys, vocabulary.children, node, scratch.form[end - 1])
            if node < 0:
                break
            piece = vocabulary.ids[node]
            if piece >= 0:
                value = vocabulary.scores[piece] + values[start]
                if back[end] < 0 or value > values[end]:
                    values[end], back[end], piece_at[end] = value, start, piece
                single = single or end == start + 1
        if not single:
            value = vocabulary.unknown_score + values[start]
            if back[start + 1] < 0 or value > values[start + 1]:
                values[start + 1], back[start + 1], piece_at[start + 1] = value, start, vocabulary.unknown
    return _read_back(size, vocabulary, scratch)


@compiled
def _read_back(size, vocabulary, scratch):
    count, end = np.int64(0), np.int64(size)
    while end > 0:  # from the right, then turned round
        start = scratch.ends[end]
        piece = scratch.symbols[end]
        if piece == vocabulary.unknown:
            while start > 0 and scratch.symbols[start] == vocabulary.unknown:
                start = scratch.ends[start]
        _put(count, piece, start, end, scratch)
        count += 1
        end = start
    for at in range(count // 2):
        for column in range(3):
            held = scratch.pieces[at, column]
            scratch.pieces[at, column] = scratch.pieces[count - 1 - at, column]
            scratch.pieces[count - 1 - at, column] = held
    return count
