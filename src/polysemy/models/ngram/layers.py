"""The tree order by order, as smoothing leaves it; joined it is a `Trie`, and it is written to a file as it lies."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polysemy.errors import InputError
from polysemy.models.ngram.counting import Counts, Level
from polysemy.models.ngram.estimates import Estimates
from polysemy.models.ngram.tensor_file import save_pieces
from polysemy.models.ngram.trie import MAX_NODES, Trie


@dataclass
class Layers:
    """What a `Trie` holds, in an array for each order.

    words, probabilities  of each order
    backoffs, first       of each order below the highest; `first` begins with an array of its first element
    """

    words: list[np.ndarray]
    probabilities: list[np.ndarray]
    backoffs: list[np.ndarray]
    first: list[np.ndarray]
    missing: float
    absolute: bool

    @property
    def sizes(self) -> np.ndarray:
        """int64 (order,): nodes of each order."""
        return np.array([len(words) for words in self.words], np.int64)

    def trie(self) -> Trie:
        """All in one, in memory."""
        words, probabilities, first = map(np.concatenate, (self.words, self.probabilities, self.first))
        backoffs = np.concatenate([*self.backoffs, np.zeros(0, np.float32)])
        return Trie(words, probabilities, backoffs, first, self.sizes, missing=self.missing, absolute=self.absolute)

    def save(self, path: Path) -> None:
        """Write the file of the `Trie`."""
        save_pieces(path, {
            "words": self.words, "probabilities": self.probabilities, "first": self.first,
            "backoffs": self.backoffs or [np.zeros(0, np.float32)], "sizes": [self.sizes],
            "rule": [np.array([self.missing, self.absolute], np.float32)],
        })


def assemble(counts: Counts, estimates: Estimates, check: Callable[[], None] = lambda: None) -> Layers:
    """The tree of counted n-grams with their estimates, without the pruned ones; both are used up."""
    levels = counts.levels
    kept = [None if threshold == 0 else level.count > threshold
            for level, threshold in zip(levels, estimates.threshold, strict=True)]
    sizes = [len(level.count) if keep is None else int(keep.sum()) for level, keep in zip(levels, kept, strict=True)]
    if sum(sizes) > MAX_NODES:
        raise InputError(f"model must have at most {MAX_NODES:,} n-grams, got {sum(sizes):,}; prune or lower the order")
    missing = float(_log(np.array([estimates.missing]))[0])
    begin = np.array(sizes[:1] if len(levels) > 1 else [0], np.int32)
    layers = Layers([], [], [], [begin], missing, estimates.absolute)
    end = 0
    for k, (level, keep) in enumerate(zip(levels, kept, strict=True)):
        check()
        end += sizes[k]
        layers.words.append(_only(level.words, keep))
        layers.probabilities.append(_log(_only(estimates.probabilities[k], keep)))
        if k + 1 < len(levels):
            layers.backoffs.append(_log(_only(estimates.backoffs[k], keep)))
            ends = _ends(levels[k + 1], keep, kept[k + 1])
            ends += np.int32(end)
            layers.first.append(ends)
    return layers


def _ends(level: Level, histories: np.ndarray | None, keep: np.ndarray | None) -> np.ndarray:
    """How many kept n-grams of a level continue each kept history or one before it. What is kept has kept histories."""
    ends = level.first[1:]
    if keep is not None:
        before = np.zeros(len(keep) + 1, np.int32)
        np.cumsum(keep, out=before[1:])
        ends = before[ends]
    return _only(ends, histories)


def _only(values: np.ndarray, keep: np.ndarray | None) -> np.ndarray:
    return values if keep is None else values[keep]


def _log(values: np.ndarray) -> np.ndarray:
    """float32: log10 of each, in place of float32 values."""
    with np.errstate(divide="ignore"):
        out = values if values.dtype == np.float32 else np.empty(len(values), np.float32)
        return np.log10(values, out=out, casting="same_kind")
