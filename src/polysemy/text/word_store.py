"""The numbers of a long text while it is read: in memory as long as they fit, then in a file.

Memory is taken in pieces that go back to the system one by one when the final array is made, so the peak stays near the
size of the encoded text.
"""
from __future__ import annotations

import mmap
from pathlib import Path

import numba
import numpy as np

from polysemy.errors import InputError
from polysemy.text.vocabulary import LINE_END, UNKNOWN

FILE_NAME = "words.int32"
GONE = -3
"""In a table of new numbers: the word leaves nothing."""
CHUNK = 1 << 22
assert GONE not in (LINE_END, UNKNOWN)


class WordStore:
    """Appends numbers of words, renumbers them all in the end; line ends never follow one another or come first.

    folder       where `words.int32` is written once there are more than `memory_bytes` of numbers; None: always memory
    """

    def __init__(self, folder: Path | None, memory_bytes: int) -> None:
        self._path = folder / FILE_NAME if folder is not None else None
        self._most = memory_bytes // 4
        self._pieces: list[np.ndarray] = []
        self._room = _piece(CHUNK)
        self._size = 0  # used of the room
        self._total = 0
        self._spilled = False  # are the pieces written to the file?
        self._begun = False  # was any? A file from before is replaced
        self._inside = False  # does the text so far end inside a line?

    def append(self, tokens: np.ndarray, numbers: np.ndarray) -> None:
        """Add the tokens of a scan, numbered anew: int32 numbers by row, below 0 as UNKNOWN or GONE."""
        if self._size + len(tokens) > len(self._room):
            self._close_piece(len(tokens))
        size = _renumber(tokens, numbers, self._room[self._size :], self._inside)
        if size:
            self._inside = bool(self._room[self._size + size - 1] != LINE_END)
        self._size += size
        self._total += size
        if self._path is not None and not self._spilled and self._total > self._most:
            self._spilled = True
            self._close_piece(0)

    def finish(self, numbers: np.ndarray | None) -> np.ndarray:
        """All tokens, numbered anew unless `numbers` is None; read-only and memory-mapped if they are in a file."""
        self._close_piece(0)
        if self._spilled:
            return self._finish_file(numbers)
        tokens = np.empty(self._total, np.int32)
        self._pieces.reverse()
        size, inside = 0, False
        while self._pieces:
            piece = self._pieces.pop()
            if numbers is None:
                tokens[size : size + len(piece)] = piece
                size += len(piece)
            else:
                size += _renumber(piece, numbers, tokens[size:], inside)
                inside = bool(size and tokens[size - 1] != LINE_END)
        tokens.resize(size, refcheck=False)
        return tokens

    def discard(self) -> None:
        """Leave nothing behind: what to do when reading fails."""
        if self._spilled and self._path is not None:
            self._path.unlink(missing_ok=True)

    def _finish_file(self, numbers: np.ndarray | None) -> np.ndarray:
        assert self._path is not None
        size = self._total
        if numbers is not None and size:
            mapped = np.memmap(self._path, np.int32, "r+")
            size = renumber_all(mapped, numbers)
            mapped.flush()
            del mapped
            with open(self._path, "r+b") as file:
                file.truncate(4 * size)
        return np.memmap(self._path, np.int32, "r") if size else np.zeros(0, np.int32)

    def _close_piece(self, needed: int) -> None:
        """Put the used part of the room to the pieces, or all of them into the file, and take new room."""
        self._pieces.append(self._room[: self._size])
        self._room, self._size = _piece(max(needed, CHUNK)), 0
        if not self._spilled:
            return
        assert self._path is not None
        try:
            with open(self._path, "ab" if self._begun else "wb") as file:
                for piece in self._pieces:
                    file.write(piece.data)
        except OSError as error:
            raise InputError(f"folder must have room for the encoded text, got {self._path.parent} ({error.strerror})"
                             ) from error
        self._begun = True
        self._pieces = []


def _piece(size: int) -> np.ndarray:
    """Memory that goes back to the system as soon as it is let go, which small or recycled blocks do not."""
    return np.frombuffer(mmap.mmap(-1, 4 * size), np.int32)


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


@numba.njit(nogil=True, cache=True)
def _renumber(tokens, numbers, out, inside):
    """numbers[token] for each, written to the front of `out` (which may be `tokens` itself); how many were written."""
    size = 0
    for i in range(tokens.shape[0]):
        token = tokens[i]
        if token >= 0:
            number = numbers[token]
            if number != GONE:
                out[size] = number
                size += 1
                inside = True
        elif token == LINE_END:
            if inside:
                out[size] = LINE_END
                size += 1
                inside = False
        else:
            out[size] = token
            size += 1
            inside = True
    return size

