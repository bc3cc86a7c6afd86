"""The numbers of a long text while it is read: packed in memory as long as they fit, then in a file.

Words are numbered in the order of first sight until their counts are known, so most numbers are small: packed they take
1.7 bytes a word instead of 4. The int32 array is made in the end, in one pass over the packed pieces, each of which
goes back to the system when it is read. So no second copy is ever there.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from polysemy.errors import InputError
from polysemy.machine_code import compiled
from polysemy.text.pages import pages
from polysemy.text.vocabulary import LINE_END, UNKNOWN

FILE_NAME, PACKED_NAME = "words.int32", "words.packed"
GONE = -3
"""In a table of new numbers: the word leaves nothing."""
CHUNK = 1 << 22
PIECE_BYTES = 1 << 20
MOST_BYTES = 5  # of a packed number
assert GONE not in (LINE_END, UNKNOWN)


class WordStore:
    """Appends numbers of words, renumbers them all in the end; line ends never follow one another or come first.

    folder       where `words.int32` is written when there are more than `memory_bytes` of numbers; None: always memory
    """

    def __init__(self, folder: Path | None, memory_bytes: int) -> None:
        self._folder = folder
        self._most = memory_bytes // 4
        self._pieces: list[np.ndarray] = []  # packed; in the file `words.packed` if `_sizes` has any
        self._sizes: list[int] = []
        self._room = pages(PIECE_BYTES, np.uint8)
        self._size = 0  # used of the room
        self._total = 0
        self._inside = False  # does the text so far end inside a line?

    def append(self, tokens: np.ndarray, numbers: np.ndarray) -> int:
        """Add the tokens of a scan, numbered anew: int32 numbers by row, below 0 as UNKNOWN or GONE; how many words."""
        if self._size + MOST_BYTES * len(tokens) > len(self._room):
            self._close_piece(MOST_BYTES * len(tokens))
        size, count, words, self._inside = _pack(tokens, numbers, self._room[self._size :], self._inside)
        self._size += size
        self._total += count
        return int(words)

    def finish(self, numbers: np.ndarray) -> np.ndarray:
        """All tokens, numbered anew; read-only and memory-mapped if they are in a file."""
        self._close_piece(0)
        if not self._sizes:
            tokens = np.empty(self._total, np.int32)
            size, inside = 0, False
            for piece in self._taken():
                count, inside = _unpack(piece, numbers, tokens[size:], inside)
                size += count
            tokens.resize(size, refcheck=False)
            return tokens
        assert self._folder is not None
        inside, written = False, 0
        with _room_in(self._folder), open(self._folder / FILE_NAME, "wb") as file:
            for piece in self._taken():
                tokens = np.empty(len(piece), np.int32)
                count, inside = _unpack(piece, numbers, tokens, inside)
                file.write(tokens[:count].data)
                written += count
        (self._folder / PACKED_NAME).unlink()
        return np.memmap(self._folder / FILE_NAME, np.int32, "r") if written else np.zeros(0, np.int32)

    def discard(self) -> None:
        """Leave nothing behind: what to do when reading fails."""
        if self._sizes and self._folder is not None:
            for name in (FILE_NAME, PACKED_NAME):
                (self._folder / name).unlink(missing_ok=True)

    def _taken(self) -> Iterator[np.ndarray]:
        """The packed pieces in order, each let go when the next one is asked for."""
        if self._sizes and self._folder is not None:
            with open(self._folder / PACKED_NAME, "rb") as file:
                for size in self._sizes:
                    yield np.frombuffer(file.read(size), np.uint8)
        self._pieces.reverse()
        while self._pieces:
            yield self._pieces.pop()

    def _close_piece(self, needed: int) -> None:
        """Put the used part of the room to the pieces, or all of them into the file, and take new room."""
        self._pieces.append(self._room[: self._size])
        self._room, self._size = pages(max(needed, PIECE_BYTES) if needed else 0, np.uint8), 0
        if self._folder is None or self._total <= self._most:
            return
        with _room_in(self._folder), open(self._folder / PACKED_NAME, "ab" if self._sizes else "wb") as file:
            for piece in self._pieces:
                file.write(piece.data)
                self._sizes.append(len(piece))
        self._pieces = []


@contextlib.contextmanager
def _room_in(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"folder must have room for the encoded text, got {folder} ({error.strerror})") from error


def renumber_all(tokens: np.ndarray, numbers: np.ndarray) -> int:
    """Put numbers[token] for each word, in place, without those that become GONE; how many tokens are left.

    Works in chunks, so that an interrupt is seen.
    """
    size, inside = 0, False
    for start in range(0, len(tokens), CHUNK):
        size += _renumber(tokens[start : start + CHUNK], numbers, tokens[size:], inside)
        inside = bool(size and tokens[size - 1] != LINE_END)
    return size


def drop_unknown(tokens: np.ndarray) -> int:
    """Take the marks of unknown words out of tokens, in place, and lines that are empty then; how many are left."""
    size, inside = 0, False
    for start in range(0, len(tokens), CHUNK):
        part = tokens[start : start + CHUNK]
        part = part[part != UNKNOWN]
        ends = part == LINE_END
        part = part[~(ends & np.concatenate([[not inside], ends[:-1]])[: len(part)])]
        tokens[size : size + len(part)] = part
        size += len(part)
        inside = bool(size and tokens[size - 1] != LINE_END)
    return size


@compiled(inline="always")
def _kept(token, numbers, inside):
    """What becomes of a token: its new number, GONE if it leaves nothing, as a line end does where no line is open."""
    if token >= 0:
        return numbers[token]
    return token if token != LINE_END or inside else np.int32(GONE)


@compiled
def _renumber(tokens, numbers, out, inside):
    """The kept tokens, written to the front of `out` (which may be `tokens` itself); how many were written."""
    size = 0
    for i in range(tokens.shape[0]):
        token = _kept(tokens[i], numbers, inside)
        if token != GONE:
            out[size] = token
            size += 1
            inside = token != LINE_END
    return size


@compiled
def _pack(tokens, numbers, out, inside):
    """The kept tokens, packed: (bytes written, tokens written, words among them, are we inside a line).

    number + 2 in groups of seven bits, the lowest first; the high bit of a byte says that more follow.
    """
    size, count, words = 0, 0, 0
    for i in range(tokens.shape[0]):
        token = _kept(tokens[i], numbers, inside)
        if token == GONE:
            continue
        count += 1
        words += token >= 0
        inside = token != LINE_END
        code = np.uint32(token - UNKNOWN)
        while code >= 0x80:
            out[size] = code & 0x7F | 0x80
            size += 1
            code >>= np.uint32(7)
        out[size] = code
        size += 1
    return size, count, words, inside


@compiled
def _unpack(packed, numbers, out, inside):
    """The kept tokens of a packed piece: (tokens written, are we inside a line)."""
    size, i = 0, 0
    while i < packed.shape[0]:
        code, shift = np.int64(packed[i]), 0
        while packed[i] >= 0x80:
            i += 1
            shift += 7
            code += (np.int64(packed[i]) - 1) << shift  # the 1 takes out the high bit of the byte before
        i += 1
        token = _kept(np.int32(code + UNKNOWN), numbers, inside)
        if token != GONE:
            out[size] = token
            size += 1
            inside = token != LINE_END
    return size, inside
