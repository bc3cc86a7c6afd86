"""Text as bytes to numbers of words in one pass: find each word, look it up, write its number.

Two rules, the same as `vocabulary.split_words` in plain Python: tokens between white space, and words of letters of one
script or digits. The numbers are those of the block's own table of words, in the order of first sight; whoever reads
block after block numbers them anew. Runs of ASCII are measured eight bytes at a time and folded to small letters at
once; words with other letters are lower-cased by `str.lower` afterwards, each different one once, because their small
form may have another length or depend on what stands beside it.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from polysemy.machine_code import compiled
from polysemy.text.pages import pages
from polysemy.text.vocabulary import LINE_END, WordConfig, split_words
from polysemy.text.word_rows import (
    COUNT,
    HIGH_BITS,
    LOW_BITS,
    NUMBER,
    ONE,
    PLACE,
    Text,
    Words,
    bytes_before,
    eight,
    joined,
    load,
    new_words,
    padded,
    put,
)
from polysemy.text.words import DIGIT, HAN, MARK, OTHER, character_table

MAX_DIFFERENT = 1 << 16  # words of a scan; the rest of the block gets another table
LINE_FEED = 10
GAPS = np.zeros(256, np.bool_)
"""Which bytes stand between tokens by the rule `space`: white space of ASCII, and NUL."""
GAPS[[0, 9, 10, 11, 12, 13, 32]] = True

# numbers that, added to a byte below 128, set its high bit from a sign on, or above it
FROM_A, ABOVE_Z = eight(0x80 - ord("a")), eight(0x7F - ord("z"))
FROM_0, ABOVE_9 = eight(0x80 - ord("0")), eight(0x7F - ord("9"))
FROM_TAB, ABOVE_RETURN = eight(0x80 - 9), eight(0x7F - 13)
SMALL_BIT, NOT_BLANK = eight(0x20), eight(0x5F)


class Scan(NamedTuple):
    """A stretch of text: its different words with counts, and int32 rows of `words` with -1 for line ends.

    A row whose count is 0 stands for another word: its NUMBER is the row of its small form.
    """

    words: Words
    tokens: np.ndarray
    nuls: int
    room: np.ndarray  # where the tokens lie

    @property
    def words_read(self) -> int:
        """Running words."""
        return int(self.words.rows[: self.words.state[0], COUNT].sum())


class Scratch:
    """Buffers of scans, to be used again: a fresh one for each block would cost more memory than the text."""

    def __init__(self) -> None:
        self._free: list[tuple[Words, np.ndarray]] = []

    def take(self, size: int) -> tuple[Words, np.ndarray]:
        """An empty table and room for tokens, enough for a stretch of that many bytes."""
        with contextlib.suppress(IndexError):  # when another thread takes the last one
            while self._free:
                words, tokens = self._free.pop()
                if len(tokens) >= size:
                    words.slots.fill(-1)
                    words.state.fill(0)
                    return words, tokens
        # of the text at most all words differ, and the small form of a word has up to 1.5 times its bytes
        return new_words(2 * MAX_DIFFERENT, 3 * size), pages(size, np.int32)

    def give_back(self, scan: Scan) -> None:
        """The scan is read and its arrays are free."""
        self._free.append((scan.words, scan.room))


def scan_block(text: Text | bytes, config: WordConfig, scratch: Scratch | None = None) -> Iterator[Scan]:
    """The words of a block of valid UTF-8; it must end where a word ends. Several scans when it has too many words."""
    scratch = scratch or Scratch()
    space, small = config.tokens == "space", config.lowercase
    if isinstance(text, bytes):
        text = padded(text)
    if not space and config.unit == "word":  # the segmenter works on text; the kernel then only has to find spaces
        lines = text.data[: text.size].tobytes().decode().split("\n")
        text = padded("\n".join(" ".join(split_words(line, config)) for line in lines).encode())
        space, small = True, False
    start = 0
    while start < text.size:
        words, tokens = scratch.take(text.size - start)
        bounds = start, text.size
        if space:
            start, size, nuls = scan_tokens(text.data, text.eights, bounds, small, GAPS, tokens, *words)
        else:
            table = character_table()
            start, size, nuls = scan_words(text.data, text.eights, bounds, small, table, tokens, *words)
        if small:
            _lower(words)
        yield Scan(words, tokens[:size], nuls, tokens)


def _lower(words: Words) -> None:
    """Give each word with letters beyond ASCII the row of its small form; its count moves there."""
    odd = np.flatnonzero(words.rows[: words.state[0], PLACE] & ONE)
    if len(odd):
        small = joined(words, odd).tobytes().decode().lower().encode()
        _put_small(*words, *padded(small)[:2], odd)


@compiled
def _put_small(slots, rows, text, state, lines, eights, odd):
    start = 0
    for row in odd:
        stop = start
        while lines[stop] != LINE_FEED:
            stop += 1
        small = put(slots, rows, text, state, lines, eights, start, stop, False)
        if small != row:
            rows[small, COUNT] += rows[row, COUNT]
            rows[row, COUNT] = 0
            rows[row, NUMBER] = small
        start = stop + 1


@compiled
def scan_tokens(data, eights, bounds, small, gaps, tokens, slots, rows, text, state):
    """Rule `space`, within bounds or until the table is full: (where it ended, tokens written, NULs met)."""
    i, stop = bounds
    size, nuls = 0, 0
    while i < stop:
        if gaps[data[i]]:
            size, nuls = _gap(data[i], tokens, size, nuls)
            i += 1
            continue
        if state[0] >= MAX_DIFFERENT:
            break
        first = i
        while True:  # the padding is a gap, so this ends
            gap = _gaps(load(eights, i))
            if gap:
                i += bytes_before(gap)
                break
            i += 8
        row = put(slots, rows, text, state, data, eights, first, i, small)
        rows[row, COUNT] += ONE
        tokens[size] = row
        size += 1
    return i, size, nuls


@compiled
def scan_words(data, eights, bounds, small, classes, tokens, slots, rows, text, state):
    """Rule `words`, as `scan_tokens`; `classes` is the table of characters of `text.words`."""
    i, stop = bounds
    size, nuls = 0, 0
    while i < stop:
        kind, width = _character(data, i, classes)
        if kind == OTHER or kind == MARK:  # noqa: SIM109, faster so
            size, nuls = _gap(data[i], tokens, size, nuls)
            i += width
            continue
        if state[0] >= MAX_DIFFERENT:
            break
        first = i
        while True:  # the padding is no part of a word, so this ends
            if data[i] < 0x80:
                if classes[data[i]] != kind:
                    break
                i = _run(eights, i, kind == DIGIT)
            else:
                after, width = _character(data, i, classes)
                if i > first and after != MARK and (after != kind or kind == HAN):
                    break
                i += width
        row = put(slots, rows, text, state, data, eights, first, i, small)
        rows[row, COUNT] += ONE
        tokens[size] = row
        size += 1
    return i, size, nuls


@compiled(inline="always")
def _gap(byte, tokens, size, nuls):
    """Write a line end, unless one stands there already, and count NULs: (tokens written, NULs met)."""
    if byte == LINE_FEED:
        if size == 0 or tokens[size - 1] != LINE_END:
            tokens[size] = LINE_END
            size += 1
    elif byte == 0:
        nuls += 1
    return size, nuls


@compiled(inline="always")
def _run(eights, i, digits):
    """Where a run of ASCII digits, or of ASCII letters, that has begun ends."""
    while True:  # the padding is neither, so this ends
        others = ~(_digits(load(eights, i)) if digits else _letters(load(eights, i))) & HIGH_BITS
        if others:
            return i + bytes_before(others)
        i += 8


@compiled
def _letters(eight_bytes):
    """The high bit of each byte that is a letter of ASCII."""
    low = (eight_bytes | SMALL_BIT) & LOW_BITS
    return (low + FROM_A) & ~(low + ABOVE_Z) & ~eight_bytes & HIGH_BITS


@compiled
def _digits(eight_bytes):
    low = eight_bytes & LOW_BITS
    return (low + FROM_0) & ~(low + ABOVE_9) & ~eight_bytes & HIGH_BITS


@compiled
def _gaps(eight_bytes):
    """The high bit of each byte that is a gap by the rule `space`."""
    low = eight_bytes & LOW_BITS
    blank = ~((eight_bytes & NOT_BLANK) + LOW_BITS)
    return (blank | (low + FROM_TAB) & ~(low + ABOVE_RETURN)) & ~eight_bytes & HIGH_BITS


@compiled(inline="always")
def _character(data, i, classes):
    """(class, bytes) of the character that begins at byte i of valid UTF-8."""
    byte = data[i]
    if byte < 0x80:
        return classes[byte], 1
    if byte < 0xE0:
        return classes[(byte & 0x1F) << 6 | (data[i + 1] & 0x3F)], 2
    if byte < 0xF0:
        return classes[(byte & 0x0F) << 12 | (data[i + 1] & 0x3F) << 6 | (data[i + 2] & 0x3F)], 3
    code = (byte & 0x07) << 18 | (data[i + 1] & 0x3F) << 12 | (data[i + 2] & 0x3F) << 6 | (data[i + 3] & 0x3F)
    return classes[code], 4
