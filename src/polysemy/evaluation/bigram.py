"""The simplest models that answer cloze questions: word frequency, and counts of neighboring words.

The bigram control is the yardstick of the first minutes of a ladder: it asks how often the candidate followed the word
on its left and came before the word on its right, smoothed by adding k imagined observations from the frequencies:
P(b | a) = (c(a b) + k P(b)) / (c(a) + k). Words and single signs are units, capitals do not count.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.evaluation.fingerprints import counted, mix, read_blocks, words_of

EDGE = np.uint64(0x45444745)
"""The unit before and after every document."""
SMOOTHING = 100.0
"""The best or near it on half a million to sixteen million words of English and on Chinese."""
MOST_PAIRS = 20_000_000
"""When there are more different pairs, those seen once are forgotten: memory stays below a gigabyte."""
BATCH_UNITS = 1 << 22
CONTEXT_CHARACTERS = 200
Counts = tuple[np.ndarray, np.ndarray]
NOTHING: Counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)


class UnigramControl:
    """Scores a candidate by its frequency alone; it must be at chance."""

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates): log frequency in the training text."""
        return np.array([item.log_frequency for item in items], np.float64)


class BigramControl:
    """Counts of units and of pairs of neighbors, each as sorted 64-bit numbers with their counts."""

    def __init__(self, units: Counts, pairs: Counts, *, unit: str = "character", smoothing: float = SMOOTHING) -> None:
        if not len(units[0]):
            raise InputError("training text must hold words, got none; add text")
        self.units, self.pairs, self.unit, self.smoothing = units, pairs, unit, smoothing
        self.total = int(units[1].sum())

    @classmethod
    def train(cls, path: Path, *, unit: str = "character", smoothing: float = SMOOTHING) -> BigramControl:
        """Count a text file (documents between blank lines), streaming."""
        units, pairs = NOTHING, NOTHING
        for row in _rows(path, unit):
            units = _merge(units, counted(row))
            pairs = _merge(pairs, counted(_pair(row[:-1], row[1:])))
            if len(pairs[0]) > MOST_PAIRS:
                pairs = pairs[0][pairs[1] > 1], pairs[1][pairs[1] > 1]
        return cls(units, pairs, unit=unit, smoothing=smoothing)

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates): log P(candidate | word before) + log P(word after | candidate)."""
        before = self._ends([item.left[-CONTEXT_CHARACTERS:] for item in items], last=True)
        after = self._ends([item.right[:CONTEXT_CHARACTERS] for item in items], last=False)
        words = [word for item in items for word in item.candidates]
        shape = (len(items), len(items[0].candidates) if items else 0)
        first, last = (self._ends(words, last=side).reshape(shape) for side in (False, True))
        return self.log_probability(before[:, None], first) + self.log_probability(last, after[:, None])

    def log_probability(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Natural log P(second | first) of units given by their numbers; the arrays broadcast."""
        first, second = np.broadcast_arrays(first, second)
        share = (_look_up(self.units, second) + 0.5) / (self.total + 0.5)
        together, alone = _look_up(self.pairs, _pair(first, second)), _look_up(self.units, first)
        return np.log((together + self.smoothing * share) / (alone + self.smoothing))

    def _ends(self, texts: Sequence[str], *, last: bool) -> np.ndarray:
        """uint64 (texts,): the number of the last or first unit of each text; EDGE where it has none."""
        lines = [" ".join(text.splitlines()) for text in texts]
        words = words_of("\n".join(lines), self.unit, punctuation=True)
        stops = np.cumsum([len(line) + 1 for line in lines])
        end = np.searchsorted(words.starts, stops)
        begin = np.searchsorted(words.starts, stops - [len(line) + 1 for line in lines])
        result = np.full(len(lines), EDGE)
        some = end > begin
        result[some] = words.numbers(folded=True)[(end - 1 if last else begin)[some]]
        return result


def _rows(path: Path, unit: str) -> Iterator[np.ndarray]:
    """uint64 arrays of some BATCH_UNITS units in a row, EDGE before, between and after the documents."""
    batch: list[np.ndarray] = []
    for blocks in read_blocks(path):
        batch.append(_row(blocks, unit))
        if sum(map(len, batch)) >= BATCH_UNITS:
            yield np.concatenate(batch)
            batch = []
    if batch:
        yield np.concatenate(batch)


def _row(blocks: Sequence[str], unit: str) -> np.ndarray:
    words = words_of("\n\n".join(blocks), unit, punctuation=True)
    stops = np.cumsum([len(block) + 2 for block in blocks])
    places = np.searchsorted(words.starts, np.concatenate([[0], stops]))
    return np.insert(words.numbers(folded=True), places, EDGE)


def _pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return mix(mix(first) + second)


def _merge(old: Counts, new: Counts) -> Counts:
    return counted(np.concatenate([old[0], new[0]]), np.concatenate([old[1], new[1]]))


def _look_up(counts: Counts, numbers: np.ndarray) -> np.ndarray:
    """float64: the count of each number, 0 where it has none."""
    if not len(counts[0]):
        return np.zeros(numbers.shape)
    at = np.minimum(np.searchsorted(counts[0], numbers), len(counts[0]) - 1)
    return np.where(counts[0][at] == numbers, counts[1][at], 0).astype(np.float64)
