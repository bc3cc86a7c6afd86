"""The rows that a document is the mean of: its words, their subwords, and runs of words.

As in the original: each word that has a row gives that row and those of its subwords, an unknown word its subwords
alone; the end of the line is the word `</s>`; a run of 2..word_ngrams words is hashed from the words' hashes,
h = h * 116049371 + next in 64 bits, to a bucket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.subword_table import bucket_table, hash_words
from polysemy.models.fasttext.subwords import END
from polysemy.models.kernels.compiling import exactly


class BucketRows:
    """Finds the row of a bucket among those that have one; used: int32, the bucket of each row."""

    def __init__(self, used: np.ndarray) -> None:
        self.order = np.argsort(used, kind="stable")
        self.sorted = np.asarray(used, np.int64)[self.order]

    def find(self, buckets: np.ndarray) -> np.ndarray:
        """int64: the place of each bucket in `used`, -1 where it is not there."""
        if not len(self.sorted):
            return np.full(len(buckets), -1)
        at = np.minimum(np.searchsorted(self.sorted, buckets), len(self.sorted) - 1)
        return np.where(self.sorted[at] == buckets, self.order[at], -1)

    def rows(self, codes: np.ndarray, num_words: int) -> np.ndarray:
        """int64: the row of each feature code (see `Features`), -1 for a bucket without one."""
        found = self.find(codes - num_words)
        return np.where(codes < num_words, codes, np.where(found >= 0, found + num_words, -1))


@dataclass(frozen=True)
class Features:
    """codes[starts[d]:starts[d + 1]] are the features of document d: a row below num_words, else num_words + bucket."""

    codes: np.ndarray
    """int64"""
    starts: np.ndarray
    """int64 (documents + 1,)"""


def make_features(
    words: Sequence[str], tokens: np.ndarray, starts: np.ndarray, rows: Mapping[str, int], config: FasttextConfig
) -> Features:
    """Features of documents given as numbers of `words`.

    words: the different words that occur; tokens: int (n,), index into words; starts: int64 (documents + 1,); rows: the
    row of each word that has one; config: resolved. `</s>` is added to each document.
    """
    longest = config.longest or 0
    kinds = [*words, END]
    own = np.array([rows.get(word, -1) for word in kinds], np.int64)
    sub_starts, subs = bucket_table(kinds, config.shortest, longest, config.buckets)
    tokens = np.insert(np.asarray(tokens, np.int64), starts[1:], len(words))
    starts = starts + np.arange(len(starts))
    hashes = hash_words(kinds).astype(np.int64)
    sizes = (own >= 0) + np.diff(sub_starts)
    result = np.zeros(len(starts), np.int64)
    np.cumsum(_sizes(tokens, starts, sizes, config.word_ngrams), out=result[1:])
    codes = np.empty(result[-1], np.int64)
    _fill(tokens, starts, own, sub_starts, subs, hashes, config.word_ngrams, config.buckets, len(rows), result, codes)
    return Features(codes, result)


def number_words(texts: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The different words of documents in the order they come, their numbers, and where each document starts."""
    numbers: dict[str, int] = {}
    tokens = np.array([numbers.setdefault(word, len(numbers)) for words in texts for word in words], np.int64)
    return list(numbers), tokens, np.cumsum([0, *map(len, texts)])


@exactly
def _sizes(tokens: np.ndarray, starts: np.ndarray, sizes: np.ndarray, word_ngrams: int) -> np.ndarray:
    result = np.zeros(len(starts) - 1, np.int64)
    for document in range(len(starts) - 1):
        length = starts[document + 1] - starts[document]
        for place in range(starts[document], starts[document + 1]):
            result[document] += sizes[tokens[place]]
        for order in range(2, word_ngrams + 1):
            result[document] += max(length - order + 1, 0)
    return result


@exactly
def _fill(tokens: np.ndarray, starts: np.ndarray, own: np.ndarray, sub_starts: np.ndarray, subs: np.ndarray,
          hashes: np.ndarray, word_ngrams: int, buckets: int, num_words: int, places: np.ndarray,
          codes: np.ndarray) -> None:
    for document in range(len(starts) - 1):
        put, stop = places[document], starts[document + 1]
        for place in range(starts[document], stop):
            word = tokens[place]
            if own[word] >= 0:
                codes[put] = own[word]
                put += 1
            for at in range(sub_starts[word], sub_starts[word + 1]):
                codes[put] = num_words + subs[at]
                put += 1
        for place in range(starts[document], stop):
            state = np.uint64(hashes[tokens[place]])
            for other in range(place + 1, min(stop, place + word_ngrams)):
                state = state * np.uint64(116049371) + np.uint64(hashes[tokens[other]])
                codes[put] = num_words + np.int64(state % np.uint64(buckets))
                put += 1
