"""Texts as numbers of words, as `Vocabulary.ids` gives them, faster where texts are long or cut at white space."""
from __future__ import annotations

import functools
import itertools

import numpy as np

from polysemy.errors import InputError
from polysemy.text.corpus import text_documents
from polysemy.text.encoded import encode
from polysemy.text.vocabulary import LINE_END, UNKNOWN, Vocabulary

LONG = 1 << 20
"""characters from which on the scanner of corpora pays, which first has to take in the vocabulary"""


class Numbering:
    """Numbers texts by a vocabulary's rule."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.plain = vocabulary.phrases is None and vocabulary.config.tokens == "space"

    @functools.cached_property
    def _numbers(self) -> dict[bytes, int]:
        return {word.encode("utf-8", "replace"): number for number, word in enumerate(self.vocabulary.words)}

    def ids(self, text: str) -> np.ndarray:
        """int32: the numbers of the words of a text, -2 for an unknown one and -1 between lines that have words."""
        if len(text) >= LONG and self.vocabulary.phrases is None:
            return self._scanned(text)
        small = self.vocabulary.config.lowercase
        if not self.plain or (small and not text.isascii()):
            return self.vocabulary.ids(text)
        data = text.encode("utf-8", "replace").replace(b"\0", b" ")
        rows = [row for line in (data.lower() if small else data).split(b"\n") if (row := line.split())]
        parts = [self._row(row) for row in rows]
        for at in range(len(parts) - 1, 0, -1):
            parts.insert(at, np.array([LINE_END], np.int32))
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int32), *parts])

    def _row(self, words: list[bytes]) -> np.ndarray:
        return np.fromiter(map(self._numbers.get, words, itertools.repeat(UNKNOWN)), np.int32, len(words))

    def _scanned(self, text: str) -> np.ndarray:
        rule = self.vocabulary.config.replace(keep_unknown=True)
        try:
            found = encode(text_documents([text]), rule, vocabulary=self.vocabulary, threads=1).tokens
        except InputError:  # nothing known in it
            return self.vocabulary.ids(text)
        return np.asarray(found[: len(found) - int(len(found) > 0 and found[-1] == LINE_END)])
