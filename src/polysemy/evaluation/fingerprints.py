"""Every word of a text as a 64-bit number, by array operations: the common ground of counting and finding copies.

Two equal words have equal numbers on every machine; two different ones share a number about once in 2**64. Nothing
here loops over characters, so some 50 MB of text a second go through one core.
"""
from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polysemy.text.words import HAN, character_classes, code_points, word_bounds

CHUNK_CHARACTERS = 1 << 20
BASE = 0x9E3779B97F4A7C15 | 1
MODULUS = 1 << 64
LAST_CASED = 0x1FFFF  # no letter beyond it has two cases


@dataclass(frozen=True)
class Words:
    """The words of one text: character offsets, whether each is Han, and the text's characters as numbers."""

    codes: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    han: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def numbers(self, *, folded: bool = False) -> np.ndarray:
        """uint64 (words,): a number for each word; `folded` takes capital and small letters as the same."""
        return span_numbers(self.codes, self.starts, self.stops, folded=folded)


def words_of(text: str, unit: str = "character", *, punctuation: bool = False) -> Words:
    """The words of a text (text/words.py); with `punctuation` every other visible character is a word as well."""
    starts, stops = word_bounds(text, unit)
    codes, classes = code_points(text), character_classes(text)
    if punctuation:
        inside = np.zeros(len(codes) + 1, np.int8)
        inside[starts] += 1
        inside[stops] -= 1
        visible = (np.cumsum(inside[:-1], dtype=np.int8) == 0) & ~space_table()[codes]
        signs = np.flatnonzero(visible)
        starts, stops = np.concatenate([starts, signs]), np.concatenate([stops, signs + 1])
        order = np.argsort(starts, kind="stable")
        starts, stops = starts[order], stops[order]
    return Words(codes, starts, stops, classes[starts] == HAN)


def span_numbers(codes: np.ndarray, starts: np.ndarray, stops: np.ndarray, *, folded: bool = False) -> np.ndarray:
    """uint64 (spans,): a polynomial in the characters of each span, from differences of one running sum."""
    powers, inverses = _powers(_rounded(len(codes) + 1))
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(_character_numbers(folded)[codes] * powers[: len(codes)], out=sums[1:])
    return mix((sums[stops] - sums[starts]) * inverses[starts])


def mix(numbers: np.ndarray) -> np.ndarray:
    """Spread 64-bit numbers over their whole range (the finalizer of splitmix64; one to one)."""
    x = numbers.astype(np.uint64, copy=True)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def uniform(numbers: np.ndarray, key: int) -> np.ndarray:
    """float64 in [0, 1): keyed noise for each number, a pure function of (number, key)."""
    return (mix(mix(numbers) ^ np.uint64(key)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def distinct(numbers: np.ndarray) -> np.ndarray:
    """The different numbers, ascending (several times as fast on 64-bit numbers as `np.unique`)."""
    ordered = np.sort(numbers)
    return ordered[_begins(ordered)]


def counted(numbers: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers, ascending, and how often each stands there (int64), or the sum of its weights."""
    if weights is None:
        ordered = np.sort(numbers)
        first = np.flatnonzero(_begins(ordered))
        return ordered[first], np.diff(first, append=len(ordered))
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    first = np.flatnonzero(_begins(ordered))
    return ordered[first], np.add.reduceat(weights[order], first) if len(first) else np.zeros(0, np.int64)


def _begins(ordered: np.ndarray) -> np.ndarray:
    begins = np.ones(len(ordered), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return begins


def read_blocks(path: Path, characters: int = CHUNK_CHARACTERS) -> Iterator[list[str]]:
    """Lists of documents (blocks between blank lines) of a text file, each list about `characters` long."""
    batch: list[str] = []
    size = 0
    for block in _blocks(path):
        batch.append(block)
        size += len(block)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _blocks(path: Path) -> Iterator[str]:
    lines: list[str] = []
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            if line == "\n":
                if lines:
                    yield "".join(lines).rstrip("\n")
                lines = []
            else:
                lines.append(line)
    if lines:
        yield "".join(lines).rstrip("\n")


@functools.cache
def space_table() -> np.ndarray:
    """bool (0x110000,): white space, separators and control characters."""
    table = np.zeros(0x110000, bool)
    table[:0x21] = table[0x7F:0xA1] = True
    table[[code for code in range(0x1680, 0x3001) if chr(code).isspace()]] = True
    return table


@functools.cache
def lower_table() -> np.ndarray:
    """uint32 (0x110000,): each character's small letter, where that is one character."""
    table = np.arange(0x110000, dtype=np.uint32)
    for code in range(LAST_CASED + 1):
        small = chr(code).lower()
        if len(small) == 1:
            table[code] = ord(small)
    return table


@functools.cache
def _character_numbers(folded: bool) -> np.ndarray:
    codes = lower_table() if folded else np.arange(0x110000, dtype=np.uint32)
    return mix(codes.astype(np.uint64) + np.uint64(0x1234567))


@functools.cache
def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers of BASE and of its inverse, modulo 2**64; BASE is odd and so has one."""
    return _running_product(BASE, size), _running_product(pow(BASE, -1, MODULUS), size)


def _running_product(factor: int, size: int) -> np.ndarray:
    values = np.full(size, factor, np.uint64)
    values[0] = 1
    return np.cumprod(values)


def _rounded(size: int) -> int:
    return 1 << max(16, (size - 1).bit_length())
