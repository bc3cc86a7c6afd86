"""Phrases: neighbors that stand together far more often than their counts explain become one word, `new_york`.

The rule of word2phrase (Mikolov et al. 2013, "Distributed Representations of Words and Phrases"): a pair a b of a line
is joined when

    score(a b) = (c(a b) - delta) / (c(a) c(b)) * total > threshold

with `total` the running words of the text. Joining goes from left to right and takes a word once; a further pass, with
a lower threshold, finds longer phrases. gensim's default scorer puts the size of the vocabulary where `total` stands,
so its thresholds are not comparable with these; its scores are the same once that number is.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from polysemy.artifact import read_json, write_json
from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.machine_code import compiled
from polysemy.text.encoded import EncodedText
from polysemy.text.vocabulary import MAX_WORDS, UNKNOWN, Vocabulary
from polysemy.text.word_store import GONE, drop_unknown, renumber_all

FILE_NAME = "phrases.int32"
MOST_PAIRS = 1 << 24
"""When there are more different pairs, those seen least are forgotten: the table stays at 400 MB."""
CHUNK = 1 << 22
EMPTY = np.uint64(0)
FACTOR = np.uint64(0x9E3779B97F4A7C15)
HALF, ONE = np.uint64(32), np.uint64(1)


@dataclass(frozen=True, kw_only=True)
class PhraseConfig(Config):
    """Which neighbors become one word."""

    threshold: float = 100.0
    """join a pair whose score is above this; higher means fewer phrases"""
    delta: int = 5
    """taken from the count of a pair, so that pairs of rare words do not win by chance"""
    passes: int = 1
    """each further pass joins longer phrases: two words, then up to four, then up to eight"""
    decay: float = 0.5
    """the threshold of each further pass, as a share of the one before"""
    joiner: str = "_"
    """stands between the parts of a phrase"""

    def check(self) -> None:
        for name, least in (("threshold", 0), ("delta", 0), ("passes", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.decay <= 1:
            raise InputError(f"decay must be above 0 and at most 1, got {self.decay}")
        if not self.joiner or any(sign.isspace() for sign in self.joiner):
            raise InputError(f"joiner must be a sign that is no white space, got {self.joiner!r}")


@dataclass(frozen=True)
class Phrases:
    """The pairs of each pass with their scores; joins new text in the same way."""

    passes: tuple[dict[tuple[str, str], float], ...]
    joiner: str = "_"

    def join(self, words: Sequence[str]) -> list[str]:
        """The words of one line with its phrases joined."""
        joined = list(words)
        for pairs in self.passes:
            words, joined = joined, []
            place = 0
            while place < len(words):
                size = 2 if tuple(words[place : place + 2]) in pairs else 1
                joined.append(self.joiner.join(words[place : place + size]))
                place += size
        return joined

    def save(self, folder: str | Path) -> None:
        """Write `phrases.json` into an existing folder."""
        passes = [[[*pair, score] for pair, score in pairs.items()] for pairs in self.passes]
        write_json(Path(folder) / "phrases.json", {"joiner": self.joiner, "passes": passes})

    @classmethod
    def load(cls, folder: str | Path) -> Phrases:
        """Read what `save` wrote."""
        data = read_json(path := Path(folder) / "phrases.json", max_bytes=1 << 30)
        try:
            passes = tuple({(str(a), str(b)): float(score) for a, b, score in pairs} for pairs in data["passes"])
            return cls(passes, str(data["joiner"]))
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"{path} must hold passes of pairs with scores and a joiner, got others") from error


def join_phrases(text: EncodedText, config: PhraseConfig, *, folder: Path | None = None, keep_unknown: bool = True
                 ) -> tuple[EncodedText, Phrases]:
    """The text with its phrases as single words and a vocabulary that has them, and the phrases.

    Words of which fewer than min_count are left, because they stand in phrases, leave the vocabulary as phrases do that
    are not frequent enough; what max_words says holds again. Encode with keep_unknown=True where words that left
    nothing should keep their neighbors apart, and join with keep_unknown=False to have their marks dropped then. `text`
    is not changed; the result is in memory, or memory-mapped in `folder` where one is given. Deterministic.
    """
    began = time.perf_counter()
    words, total = list(text.vocabulary.words), text.vocabulary.total
    tokens: np.ndarray = np.asarray(text.tokens)
    out = _room(len(tokens), folder)
    passes = []
    for number in range(config.passes):
        counts = _counts(tokens, len(words))
        threshold = config.threshold * config.decay**number
        pairs, scores = _pairs_above(tokens, counts, total, config.delta, threshold)
        names = [(words[a], words[b]) for a, b in pairs.tolist()]
        passes.append(dict(zip(names, scores.tolist(), strict=True)))
        words, numbers = _name(words, names, config.joiner)
        before = len(tokens)
        tokens = out[: _join(tokens, *_slots(pairs), numbers, out)]
        total -= before - len(tokens)
    vocabulary, numbers = _rank(words, _counts(tokens, len(words)), text.vocabulary, total)
    size = renumber_all(tokens, numbers)
    size = size if keep_unknown else drop_unknown(tokens[:size])
    seconds = text.seconds + time.perf_counter() - began
    result = replace(text, tokens=_cut_to(out, size, folder), vocabulary=vocabulary, seconds=seconds)
    vocabulary.phrases = Phrases(tuple(passes), config.joiner)
    return result, vocabulary.phrases


def pair_scores(pair: np.ndarray, first: np.ndarray, second: np.ndarray, total: int, delta: int) -> np.ndarray:
    """float64: the score of pairs from their counts and those of their words."""
    return (pair - float(delta)) / (first.astype(np.float64) * second) * total


def count_pairs(tokens: np.ndarray, most_pairs: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Neighbors within a line: int64 (n, 2) word numbers in rising order, and int64 (n,) how often they stand so.

    Beyond `most_pairs` (0: 16 million) different ones the rarest are forgotten, again and again as they come.
    """
    most_pairs = most_pairs or MOST_PAIRS
    keys, counts = np.zeros(1 << 12, np.uint64), np.zeros(1 << 12, np.int64)
    used, at = 0, 0
    while at < len(tokens) - 1:
        at, used = _count(tokens, at, min(at + CHUNK, len(tokens) - 1), keys, counts, used)
        if used * 2 >= len(keys):
            kept = keys != EMPTY
            if used > most_pairs:
                rest = counts[kept]
                kept &= counts > max(int(np.partition(rest, len(rest) // 2)[len(rest) // 2]), 1)
            size = len(keys) * (1 if used > most_pairs else 2)
            keys, counts = _refill(keys[kept], counts[kept], size)
            used = int(kept.sum())
    found = np.flatnonzero(keys)
    found = found[np.argsort(keys[found])]
    return _unpacked(keys[found]), counts[found]


def _pairs_above(
    tokens: np.ndarray, counts: np.ndarray, total: int, delta: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    pairs, seen = count_pairs(tokens)
    scores = pair_scores(seen, counts[pairs[:, 0]], counts[pairs[:, 1]], total, delta)
    kept = scores > threshold
    return pairs[kept], scores[kept]


def _counts(tokens: np.ndarray, size: int) -> np.ndarray:
    counts = np.zeros(size, np.int64)
    for at in range(0, len(tokens), CHUNK):
        part = tokens[at : at + CHUNK]
        counts += np.bincount(part[part >= 0], minlength=size)
    return counts


def _name(words: list[str], names: list[tuple[str, str]], joiner: str) -> tuple[list[str], np.ndarray]:
    """The words with the phrases after them, and the number of each phrase; one that is a word already is that word."""
    numbers = {word: number for number, word in enumerate(words)}
    found = [numbers.setdefault(joiner.join(pair), len(numbers)) for pair in names]
    if len(numbers) > MAX_WORDS:
        raise InputError(f"words with phrases must be at most {MAX_WORDS:,}, got {len(numbers):,}; raise threshold")
    return list(numbers), np.array(found, np.int32)


def _rank(words: list[str], counts: np.ndarray, old: Vocabulary, total: int) -> tuple[Vocabulary, np.ndarray]:
    """The vocabulary in its order, and the new number of each of `words`."""
    kept = np.flatnonzero(counts >= old.config.min_count).tolist()
    kept.sort(key=lambda number: (-counts[number], words[number].encode()))
    kept = kept[: old.config.max_words or None]
    numbers = np.full(len(words), UNKNOWN if old.config.keep_unknown else GONE, np.int32)
    numbers[kept] = np.arange(len(kept), dtype=np.int32)
    return Vocabulary([words[number] for number in kept], counts[kept], old.config, total), numbers


def _room(size: int, folder: Path | None) -> np.ndarray:
    if folder is None:
        return np.empty(size, np.int32)
    return np.memmap(folder / FILE_NAME, np.int32, "w+", shape=(size,))


def _cut_to(out: np.ndarray, size: int, folder: Path | None) -> np.ndarray:
    if folder is None:
        return out[:size]
    assert isinstance(out, np.memmap)
    out.flush()
    with open(folder / FILE_NAME, "r+b") as file:
        file.truncate(4 * size)
    return np.memmap(folder / FILE_NAME, np.int32, "r")


def _slots(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hash table from a pair to its row."""
    size = 1 << max(4, (2 * len(pairs)).bit_length())
    return _refill(_packed(pairs), np.arange(len(pairs), dtype=np.int64), size)


def _packed(pairs: np.ndarray) -> np.ndarray:
    """A number above 0 for each pair."""
    both = pairs.astype(np.uint64)
    return (both[:, 0] << HALF | both[:, 1]) + ONE


def _unpacked(keys: np.ndarray) -> np.ndarray:
    keys = keys - ONE
    return np.stack([keys >> HALF, keys & np.uint64(0xFFFFFFFF)], 1).astype(np.int64)


def _refill(keys: np.ndarray, values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    table, found = np.zeros(size, np.uint64), np.zeros(size, np.int64)
    _fill(keys, values, table, found)
    return table, found


@compiled
def _slot(keys, key):
    mask = np.uint64(keys.shape[0] - 1)
    mixed = key * FACTOR
    slot = (mixed ^ (mixed >> HALF)) & mask
    while keys[slot] != EMPTY and keys[slot] != key:
        slot = (slot + ONE) & mask
    return slot


@compiled
def _fill(keys, values, table, found):
    for i in range(keys.shape[0]):
        slot = _slot(table, keys[i])
        table[slot] = keys[i]
        found[slot] = values[i]


@compiled
def _count(tokens, start, stop, keys, counts, used):
    """Count the pairs that begin at start .. stop - 1, until half the slots are used: (where it ended, slots used)."""
    for i in range(start, stop):
        if tokens[i] < 0 or tokens[i + 1] < 0:
            continue
        if 2 * used >= keys.shape[0]:
            return i, used
        key = (np.uint64(tokens[i]) << HALF | np.uint64(tokens[i + 1])) + ONE
        slot = _slot(keys, key)
        if keys[slot] == EMPTY:
            keys[slot] = key
            used += 1
        counts[slot] += 1
    return stop, used


@compiled
def _join(tokens, keys, rows, numbers, out):
    """Write the tokens with pairs joined to `out`, which may be `tokens`; how many there are."""
    size, i = 0, 0
    while i < tokens.shape[0]:
        token = tokens[i]
        if token >= 0 and i + 1 < tokens.shape[0] and tokens[i + 1] >= 0:
            key = (np.uint64(token) << HALF | np.uint64(tokens[i + 1])) + ONE
            slot = _slot(keys, key)
            if keys[slot] != EMPTY:
                token = numbers[rows[slot]]
                i += 1
        out[size] = token
        size += 1
        i += 1
    return size
