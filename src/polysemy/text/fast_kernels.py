"""The loops of the fast encoder, compiled by Numba: cut text into words, look each up, cut the new ones into pieces.

All work on one long array of code points. A word that was met before costs a hash, a comparison and a copy; its pieces
are kept with offsets relative to its first character. The key is the raw text of the word (before clean-up) and whether
a space stands before it.
"""
from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from polysemy.text.fast_tables import (
    ALONE,
    BERT_RULE,
    BLANK,
    BPE,
    DELETED,
    GPT2_RULE,
    GPT2_SPACED_RULE,
    INTRICATE,
    LETTER,
    SPACE,
    UNSEEN,
    WORDPIECE,
)
from polysemy.text.trie import child

DONE, FULL, LEAVE_ROW = range(3)
LONGEST_KEPT = 64  # characters of a word in the cache
MERGED_BITS = 10
LONGEST_MERGED = 1 << MERGED_BITS  # symbols; merging is quadratic, so longer words are left to the library
NO_PAIR = np.int32(2**31 - 1)
PLAIN, SPACED, WHITE = range(3)  # what stands before a word: nothing, a space that belongs to it; or it is white space


class Cache(NamedTuple):
    """Words met before: slots -> entry; entry -> key text and pieces. state = entries, key characters, pieces used."""

    slots: np.ndarray  # int32, -1 empty
    hashes: np.ndarray  # uint64 by entry
    keys: np.ndarray  # int64 (entries, 4): first key character, key length and flag, first piece, number of pieces
    text: np.ndarray  # uint32
    pieces: np.ndarray  # int32 (pieces, 3): id, start, end
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


@numba.njit(cache=True, nogil=True)
def fill_pairs(keys, results, pairs):
    """Hash table of the merges: key, rank << 32 | result. Of a pair given twice the last counts, as in the library."""
    for rank in range(len(keys)):
        slot = slot_of_pair(pairs, keys[rank])
        pairs[slot, 0] = keys[rank]
        pairs[slot, 1] = np.int64(rank) << 32 | results[rank]


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
    slots, hashes, keys, known, pieces = cache.slots, cache.hashes, cache.keys, cache.text, cache.pieces
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
            if rule == BERT_RULE:
                at, end, before = _next_bert(text, at, limit, classes)
            elif rule == GPT2_RULE or rule == GPT2_SPACED_RULE:  # noqa: SIM109
                at, end, before = _next_gpt2(text, at, limit, classes, forms, rule == GPT2_SPACED_RULE and at == first)
            else:
                at, end, before = _next_marked(text, at, limit, classes, first)
            if at == end:
                continue
            size = end - at
            mixed = np.uint64(before) + np.uint64(0x9E3779B97F4A7C15)
            for place in range(at, end):
                mixed = (mixed ^ np.uint64(text[place])) * np.uint64(0x9FB21C651E98DF25)
                mixed ^= mixed >> np.uint64(32)
            slot = np.int64(mixed & mask)
            entry = np.int64(slots[slot])
            while entry >= 0:
                if hashes[entry] == mixed and keys[entry, 1] == size << 2 | before:
                    same = True
                    for place in range(size):
                        same &= known[keys[entry, 0] + place] == text[at + place]
                    if same:
                        break
                slot = (slot + 1) & np.int64(mask)
                entry = np.int64(slots[slot])
            if entry < 0:
                entry = _new_word(text, at, end, before, mixed, slot, characters, vocabulary, cache, scratch)
                if entry < 0:
                    return row, LEAVE_ROW
            begin = keys[entry, 2]
            count = keys[entry, 3]
            if out + count > len(ids):
                return row, FULL
            offset = at - first
            for piece in range(begin, begin + count):
                ids[out] = pieces[piece, 0]
                starts[out] = pieces[piece, 1] + offset
                ends[out] = pieces[piece, 2] + offset
                out += 1
            at = end
        state[0], state[1] = out, next_given
        row += 1
        splits[row] = out
    return row, DONE


@numba.njit(cache=True, nogil=True)
def _copy_given(given, number, offset, out, output):
    for at in range(given.splits[number], given.splits[number + 1]):
        output.ids[out] = given.pieces[at, 0]
        output.starts[out] = given.pieces[at, 1] + offset
        output.ends[out] = given.pieces[at, 2] + offset
        out += 1


@numba.njit(cache=True, nogil=True)
def _next_bert(text, at, stop, classes):
    """(start, end, what stands before) of the next word: a run of letters, or one sign or Chinese character."""
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
def _new_word(text, at, end, before, mixed, slot, characters, vocabulary, cache, scratch):
    """Cut a word that was not met before and keep it; returns its entry, or -1 when the library must do the row."""
    count = _cut(text, at, end, before, characters, vocabulary, scratch)
    size = end - at
    if count < 0 or size > len(cache.text) or count > len(cache.pieces):
        return np.int64(-1)
    return _remember(text, at, size, before, mixed, slot, count, cache, scratch)


@numba.njit(cache=True, nogil=True)
def _remember(text, at, size, before, mixed, slot, count, cache, scratch):
    """Keep a word and return its entry; when there is no room left the cache is emptied first.

    A long word, which is rarely met again, is written but not kept: its entry is good until the next one is written.
    """
    state = cache.state
    if state[0] >= len(cache.keys) or state[1] + size > len(cache.text) or state[2] + count > len(cache.pieces):
        cache.slots[:] = -1
        state[:] = 0
        slot = np.int64(mixed & np.uint64(len(cache.slots) - 1))
    entry = state[0]
    cache.hashes[entry] = mixed
    cache.keys[entry, 0], cache.keys[entry, 1] = state[1], size << 2 | before
    cache.keys[entry, 2], cache.keys[entry, 3] = state[2], count
    for place in range(size):
        cache.text[state[1] + place] = text[at + place]
    for piece in range(count):
        for column in range(3):
            cache.pieces[state[2] + piece, column] = scratch.pieces[piece, column]
    if size <= LONGEST_KEPT:
        cache.slots[slot] = entry
        state[0] += 1
        state[1] += size
        state[2] += count
    return entry


@numba.njit(cache=True, nogil=True)
def _cut(text, at, end, before, characters, vocabulary, scratch):
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
        if size + length > len(form):
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


@numba.njit(cache=True, nogil=True)
def _put(number, piece, start, end, scratch):
    """One piece over the normalized characters start..end (stop excluded), with its span in the raw word."""
    scratch.pieces[number, 0] = piece
    scratch.pieces[number, 1] = max(scratch.origin[start], 0)
    scratch.pieces[number, 2] = scratch.origin[end - 1] + 1


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def _order(left, right, at, pairs):
    """Rank of a pair in the high bits, its place in the low ones; NO_PAIR when it is never merged."""
    slot = slot_of_pair(pairs, left << 32 | right)
    return np.int32(pairs[slot, 1] >> 32 << MERGED_BITS | at) if pairs[slot, 0] >= 0 else NO_PAIR


@numba.njit(cache=True, nogil=True)
def slot_of_pair(pairs, key):
    """Where a pair stands in the table, or the empty slot where it belongs."""
    mask = len(pairs) - 1
    mixed = key * 0x2545F4914F6CDD1D
    slot = (mixed ^ mixed >> 29) & mask
    while pairs[slot, 0] >= 0 and pairs[slot, 0] != key:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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
