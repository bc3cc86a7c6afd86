"""Find runs of words that two texts share: 13 words, or 20 characters where the text is Han.

Thirteen words in a row hardly ever come about twice by chance, and a copy, an edited copy or a quotation keeps some
such run. The runs of the held-out text are kept as sorted 64-bit numbers behind a bitmap that turns nearly all other
runs away with one look; the training text streams past them, so memory follows the held-out text alone.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polysemy.evaluation.fingerprints import Words, distinct, mix, read_blocks, words_of

WORD_RUN = 13
HAN_RUN = 20
HAN_SALT = 0x48616E
BITMAP_BITS = 27
FACTOR = 0xD6E8FEB86659FD93
COPY_SHARE = 0.5
"""A document of which this part lies in shared passages is a copy, and goes as a whole."""


@dataclass(frozen=True)
class Runs:
    """The runs of one text: a number for each, and its first and last word."""

    numbers: np.ndarray
    first: np.ndarray
    last: np.ndarray


def runs_of(words: Words, documents: np.ndarray) -> Runs:
    """Every run of a text. documents: for each word the number of its document; no run crosses two.

    A run is WORD_RUN words without Han among them, or HAN_RUN words with some; capitals do not count, nor does
    what stands between the words.
    """
    numbers = words.numbers(folded=True)
    han = np.concatenate([[0], np.cumsum(words.han)])
    kinds = ((WORD_RUN, False), (HAN_RUN, True))
    found = [_windows(numbers, documents, han, size, with_han) for size, with_han in kinds]
    return Runs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def runs_of_blocks(blocks: Sequence[str]) -> Runs:
    """Every run of several documents; words are numbered through all of them."""
    return runs_of(*_words_of_blocks(blocks))


def _windows(numbers: np.ndarray, documents: np.ndarray, han: np.ndarray, size: int,
             with_han: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(numbers) - size + 1
    if count <= 0 or (with_han and not han[-1]):
        return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    first = np.flatnonzero((documents[:count] == documents[size - 1:])
                           & ((han[size:] > han[:count]) == with_han))
    total = np.full(count, HAN_SALT if with_han else 0, np.uint64)
    for place in range(size):
        total *= np.uint64(FACTOR)
        total += numbers[place : place + count]
    return mix(total[first]), first, first + size - 1


class RunIndex:
    """The runs of the held-out text, ready to be looked up; memory is 8 bytes a run and 16 MB."""

    def __init__(self, numbers: Iterable[np.ndarray]) -> None:
        self._bitmap = np.zeros(1 << (BITMAP_BITS - 3), np.uint8)
        self._numbers = distinct(np.concatenate([np.zeros(0, np.uint64), *numbers]))
        place = self._numbers & np.uint64((1 << BITMAP_BITS) - 1)
        for bit in range(8):
            mine = place[(place & np.uint64(7)) == bit] >> np.uint64(3)
            self._bitmap[mine.astype(np.int64)] |= np.uint8(1 << bit)

    @classmethod
    def of_files(cls, paths: Sequence[Path]) -> RunIndex:
        """The runs of whole text files (documents between blank lines)."""
        return cls(runs_of(*_words_of_blocks(blocks)).numbers for path in paths for blocks in read_blocks(path))

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, text: str) -> bool:
        """Does the text share any run with the held-out text?"""
        words = words_of(text)
        return bool(self.holds(runs_of(words, np.zeros(len(words), np.int64)).numbers).any())

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """bool (runs,): which of these runs stand in the held-out text."""
        place = numbers & np.uint64((1 << BITMAP_BITS) - 1)
        bytes_ = self._bitmap[(place >> np.uint64(3)).astype(np.int64)]
        maybe = np.flatnonzero((bytes_ >> (place & np.uint64(7)).astype(np.uint8)) & 1)
        held = np.zeros(len(numbers), bool)
        if len(maybe) and len(self._numbers):
            at = np.minimum(np.searchsorted(self._numbers, numbers[maybe]), len(self._numbers) - 1)
            held[maybe] = self._numbers[at] == numbers[maybe]
        return held


@dataclass(frozen=True)
class Filtered:
    """What is left of some documents, and how much was shared."""

    kept: list[str]
    words: int
    shared_words: int
    touched: int
    """documents with a shared run"""
    copies: int
    """documents removed whole"""


def without_shared(blocks: Sequence[str], index: RunIndex) -> Filtered:
    """Documents without the paragraphs (lines) that share a run with the index; copies go as a whole."""
    words, documents = _words_of_blocks(blocks)
    runs = runs_of(words, documents)
    hit = index.holds(runs.numbers)
    if not hit.any():
        return Filtered(list(blocks), len(words), 0, 0, 0)
    covered = np.zeros(len(words) + 1, np.int64)
    np.add.at(covered, runs.first[hit], 1)
    np.add.at(covered, runs.last[hit] + 1, -1)
    shared = np.cumsum(covered[:-1]) > 0
    line_of = np.searchsorted(np.flatnonzero(words.codes == 10), words.starts)
    bad_lines = np.zeros(int(line_of[-1]) + 2, bool)
    bad_lines[line_of[shared]] = True
    return _assemble(blocks, documents, bad_lines, bad_lines[line_of])


def _assemble(blocks: Sequence[str], documents: np.ndarray, bad_lines: np.ndarray, removed: np.ndarray) -> Filtered:
    lost = np.bincount(documents, weights=removed, minlength=len(blocks))
    total = np.bincount(documents, minlength=len(blocks))
    copy = (lost > 0) & (lost >= COPY_SHARE * total)
    kept: list[str] = []
    line = 0
    for number, block in enumerate(blocks):
        lines = block.split("\n")
        if not copy[number]:
            here = [text for place, text in enumerate(lines, line) if place >= len(bad_lines) or not bad_lines[place]]
            kept.append("\n".join(here))
        line += len(lines) + 1
    shared_words = int(np.where(copy, total, lost).sum())
    return Filtered(kept, len(removed), shared_words, int((lost > 0).sum()), int(copy.sum()))


def _words_of_blocks(blocks: Sequence[str]) -> tuple[Words, np.ndarray]:
    """The words of several documents joined by blank lines, and the number of each word's document."""
    words = words_of("\n\n".join(blocks))
    ends = np.cumsum([len(block) + 2 for block in blocks])
    return words, np.searchsorted(ends, words.starts, side="right")
