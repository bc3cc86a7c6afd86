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
    INTRICATE,
    LETTER,
    SPACE,
    UNSEEN,
    WORDPIECE,
)
from polysemy.text.trie import child, slot_of

DONE, FULL, LEAVE_ROW = range(3)
LONGEST_CACHED = 48  # characters; longer words are rarely met again
LONGEST_MERGED = 1024  # symbols; merging is quadratic, so longer words are left to the library
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
    splits: np.ndarray
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
    ranks: np.ndarray  # int64
    values: np.ndarray  # float64
    pieces: np.ndarray  # int32 (n, 3)


@numba.njit(cache=True, nogil=True)
def fill_pairs(keys, results, pairs, ranks, merged):
    """Hash table of the merges; of a pair given twice the last counts, as in the library."""
    for rank in range(len(keys)):
        slot = slot_of(pairs, keys[rank])
        pairs[slot] = keys[rank]
        ranks[slot] = rank
        merged[slot] = results[rank]


@numba.njit(cache=True, nogil=True)
def survey(text, classes, unseen):
    """(number of characters without a class, each noted in `unseen` up to its size; are there intricate ones?)"""
    count = 0
    intricate = False
    for code in text:
        kind = classes[code]
        if kind == UNSEEN:
            if count < len(unseen):
                unseen[count] = code
            count += 1
        elif kind == INTRICATE:
            intricate = True
    return count, intricate


@numba.njit(cache=True, nogil=True)
def encode_rows(rule, text, bounds, row, characters, vocabulary, cache, scratch, given, output):
    """Encode rows from `row` on; returns (next row, DONE | FULL | LEAVE_ROW). A row is written whole or not at all."""
    state = output.state
    while row < len(bounds) - 1:
        begin, before = state[0], state[1]
        if rule == BERT_RULE:
            status = _bert_row(text, bounds[row], bounds[row + 1], characters, vocabulary, cache, scratch, given, output)
        elif rule == GPT2_RULE:
            status = _gpt2_row(text, bounds[row], bounds[row + 1], characters, vocabulary, cache, scratch, given, output)
        else:
            status = _marked_row(text, bounds[row], bounds[row + 1], characters, vocabulary, cache, scratch, given, output)
        if status != DONE:
            state[0], state[1] = begin, before
            return row, status
        row += 1
        output.splits[row] = state[0]
    return row, DONE


@numba.njit(cache=True, nogil=True)
def _bert_row(text, at, stop, characters, vocabulary, cache, scratch, given, output):
    first = at
    classes = characters.classes
    while at < stop:
        if _is_given(at, given, output):
            if not _copy_given(at - first, given, output):
                return FULL
            at = given.stops[output.state[1] - 1]
            continue
        kind = classes[text[at]]
        if kind == SPACE or kind == DELETED:
            at += 1
            continue
        end = at + 1
        if kind != ALONE:
            while end < stop and (classes[text[end]] == LETTER or classes[text[end]] == DELETED):
                end += 1
        status = _word(text, first, at, end, PLAIN, characters, vocabulary, cache, scratch, output)
        if status != DONE:
            return status
        at = end
    return DONE


@numba.njit(cache=True, nogil=True)
def _marked_row(text, at, stop, characters, vocabulary, cache, scratch, given, output):
    first = at
    classes = characters.classes
    before = SPACED  # the first word has a mark too
    while at < stop:
        kind = classes[text[at]]
        if kind == SPACE:
            before = SPACED
            at += 1
            continue
        if _is_given(at, given, output):
            if not _copy_given(at - first, given, output):
                return FULL
            at = given.stops[output.state[1] - 1]
            continue
        end = at + 1
        while end < stop and classes[text[end]] == kind:
            end += 1
        status = _word(text, first, at, end, before, characters, vocabulary, cache, scratch, output)
        if status != DONE:
            return status
        before = PLAIN
        at = end
    return DONE


@numba.njit(cache=True, nogil=True)
def _gpt2_row(text, at, stop, characters, vocabulary, cache, scratch, given, output):
    first = at
    classes = characters.classes
    while at < stop:
        kind = classes[text[at]]
        before = PLAIN
        if kind == SPACE or kind == BLANK:
            end = at + 1
            while end < stop and (classes[text[end]] == SPACE or classes[text[end]] == BLANK):
                end += 1
            if end < stop and end - at == 1 and kind == SPACE:
                before = SPACED
                at = end
                kind = classes[text[at]]
            else:
                if end < stop and end - at > 1:
                    end -= 1  # the last one goes with, or stands before, the next word
                status = _word(text, first, at, end, WHITE, characters, vocabulary, cache, scratch, output)
                if status != DONE:
                    return status
                at = end
                continue
        if kind == INTRICATE:
            return LEAVE_ROW
        end = _contraction(text, at, stop, characters.forms) if before == PLAIN else at
        if end == at:
            end = at + 1
            while end < stop and classes[text[end]] == kind:
                end += 1
        status = _word(text, first, at, end, before, characters, vocabulary, cache, scratch, output)
        if status != DONE:
            return status
        at = end
    return DONE


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
def _is_given(at, given, output):
    number = output.state[1]
    return number < len(given.firsts) and given.firsts[number] == at


@numba.njit(cache=True, nogil=True)
def _copy_given(offset, given, output):
    number, out = output.state[1], output.state[0]
    count = given.splits[number + 1] - given.splits[number]
    if out + count > len(output.ids):
        return False
    for at in range(given.splits[number], given.splits[number + 1]):
        output.ids[out] = given.pieces[at, 0]
        output.starts[out] = given.pieces[at, 1] + offset
        output.ends[out] = given.pieces[at, 2] + offset
        out += 1
    output.state[0] = out
    output.state[1] = number + 1
    return True


@numba.njit(cache=True, nogil=True)
def _word(text, first, at, end, before, characters, vocabulary, cache, scratch, output):
    """Write the pieces of the word text[at:end], from the cache when it is there."""
    size = end - at
    mixed = np.uint64(before) + np.uint64(0x9E3779B97F4A7C15)
    for place in range(at, end):
        mixed = (mixed ^ np.uint64(text[place])) * np.uint64(0x9FB21C651E98DF25)
        mixed ^= mixed >> np.uint64(32)
    slot = np.int64(mixed & np.uint64(len(cache.slots) - 1))
    out = output.state[0]
    if size <= LONGEST_CACHED:
        while cache.slots[slot] >= 0:
            entry = cache.slots[slot]
            if cache.hashes[entry] == mixed and _equal(text, at, size, before, cache, entry):
                count = cache.keys[entry, 3]
                if out + count > len(output.ids):
                    return FULL
                offset = at - first
                for piece in range(cache.keys[entry, 2], cache.keys[entry, 2] + count):
                    output.ids[out] = cache.pieces[piece, 0]
                    output.starts[out] = cache.pieces[piece, 1] + offset
                    output.ends[out] = cache.pieces[piece, 2] + offset
                    out += 1
                output.state[0] = out
                return DONE
            slot = (slot + 1) & (len(cache.slots) - 1)
    count = _cut(text, at, end, before, characters, vocabulary, scratch)
    if count < 0:
        return LEAVE_ROW
    if out + count > len(output.ids):
        return FULL
    for piece in range(count):
        output.ids[out] = scratch.pieces[piece, 0]
        output.starts[out] = scratch.pieces[piece, 1] + at - first
        output.ends[out] = scratch.pieces[piece, 2] + at - first
        out += 1
    output.state[0] = out
    if size <= LONGEST_CACHED:
        _remember(text, at, size, before, mixed, slot, count, cache, scratch)
    return DONE


@numba.njit(cache=True, nogil=True)
def _equal(text, at, size, before, cache, entry):
    if cache.keys[entry, 1] != size << 2 | before:
        return False
    start = cache.keys[entry, 0]
    for place in range(size):
        if cache.text[start + place] != text[at + place]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _remember(text, at, size, before, mixed, slot, count, cache, scratch):
    """Keep a word; when there is no room left the cache is emptied first."""
    state = cache.state
    if state[0] >= len(cache.keys) or state[1] + size > len(cache.text) or state[2] + count > len(cache.pieces):
        cache.slots[:] = -1
        state[:] = 0
        slot = np.int64(mixed & np.uint64(len(cache.slots) - 1))
        if count > len(cache.pieces):
            return
    entry = state[0]
    cache.slots[slot] = entry
    cache.hashes[entry] = mixed
    cache.keys[entry, 0], cache.keys[entry, 1] = state[1], size << 2 | before
    cache.keys[entry, 2], cache.keys[entry, 3] = state[2], count
    for place in range(size):
        cache.text[state[1] + place] = text[at + place]
    for piece in range(count):
        cache.pieces[state[2] + piece] = scratch.pieces[piece]
    state[0] += 1
    state[1] += size
    state[2] += count


@numba.njit(cache=True, nogil=True)
def _cut(text, at, end, before, characters, vocabulary, scratch):
    """Cut a word into scratch.pieces; returns their number, or -1 when the library must do it."""
    form, origin = scratch.form, scratch.origin
    size = 0
    if before == SPACED:
        form[0], origin[0] = vocabulary.space, -1
        size = 1
    for place in range(at, end):
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
    if size == 0:
        return 0
    if size > vocabulary.longest:
        _put(0, vocabulary.unknown, 0, size, scratch)
        return 1
    start, count = 0, 0
    while start < size:
        node = np.int32(0) if start == 0 else np.int32(vocabulary.inner)
        best, best_end = np.int32(-1), start
        for end in range(start, size):
            node = child(vocabulary.keys, vocabulary.children, node, scratch.form[end])
            if node < 0:
                break
            if vocabulary.ids[node] >= 0:
                best, best_end = vocabulary.ids[node], end + 1
        if best < 0:
            _put(0, vocabulary.unknown, 0, size, scratch)
            return 1
        _put(count, best, start, best_end, scratch)
        count += 1
        start = best_end
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
    """Byte-pair encoding: the pair of lowest rank, leftmost first, becomes one symbol until no pair is known."""
    symbols, starts, ends, ranks = scratch.symbols, scratch.starts, scratch.ends, scratch.ranks
    count = _first_symbols(size, vocabulary, scratch)
    if count < 0 or count > LONGEST_MERGED:
        return -1
    none = np.int64(1) << 40
    for at in range(count - 1):
        ranks[at] = _rank(symbols[at], symbols[at + 1], vocabulary)
    while count > 1:
        best, lowest = 0, none
        for at in range(count - 1):
            if ranks[at] < lowest:
                best, lowest = at, ranks[at]
        if lowest == none:
            break
        symbols[best] = vocabulary.merged[slot_of(vocabulary.pairs, symbols[best] << 32 | symbols[best + 1])]
        ends[best] = ends[best + 1]
        count -= 1
        for at in range(best + 1, count):
            symbols[at] = symbols[at + 1]
            starts[at] = starts[at + 1]
            ends[at] = ends[at + 1]
            ranks[at] = ranks[at + 1]
        if best > 0:
            ranks[best - 1] = _rank(symbols[best - 1], symbols[best], vocabulary)
        if best < count - 1:
            ranks[best] = _rank(symbols[best], symbols[best + 1], vocabulary)
    for at in range(count):
        _put(at, symbols[at], starts[at], ends[at], scratch)
    return count


@numba.njit(cache=True, nogil=True)
def _rank(left, right, vocabulary):
    slot = slot_of(vocabulary.pairs, left << 32 | right)
    return np.int64(vocabulary.ranks[slot]) if vocabulary.pairs[slot] >= 0 else np.int64(1) << 40


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
    count = 0
    end = size
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
