"""A trained n-gram model in use: scores texts and words, fills gaps, continues texts."""
from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polysemy.artifact import read_folder
from polysemy.capability import Candidate, ClozeItem, Score
from polysemy.errors import InputError
from polysemy.models.ngram.config import NgramConfig
from polysemy.models.ngram.stream import BOUNDARY, FIRST_WORD, OFFSET, UNKNOWN_ID
from polysemy.runtime import random_for
from polysemy.text.vocabulary import LINE_END, UNKNOWN, Vocabulary
from polysemy.text.words import is_han, word_bounds

if TYPE_CHECKING:
    from polysemy.models.ngram.hashing import HashedTrie
    from polysemy.models.ngram.numbering import Numbering
    from polysemy.models.ngram.scoring import Scorer
    from polysemy.models.ngram.trie import Trie

LN10 = float(np.log(10.0))
END, UNKNOWN_WORD = "</s>", "<unk>"
HASH_FROM = 100_000
HASH_SHARE = 8
"""The hash table for batches is made when so many tokens were asked for, and a token for every 8 n-grams: searching the
tree for these has cost as much as the table will."""


class WordScore(NamedTuple):
    """One word of a text as KenLM's full_scores tells it."""

    word: str
    log10: float
    order: int
    """words of the n-gram that gave the probability, 1 for the word alone"""
    unknown: bool = False


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Perplexity of a text, each sentence's `</s>` counted as a word."""

    with_unknown: float
    """unknown words counted with the probability of <unk>"""
    without_unknown: float
    """unknown words left out, `</s>` counted"""
    tokens: int
    unknown: int


class NgramModel:
    """Texts are cut by the vocabulary's rule; each line is a sentence. Nothing here is random but `generate`.

    Arrays of ids given to or taken from a method hold numbers of the vocabulary, -2 for an unknown word, -1 for the end
    of a sentence; distributions hold `<unk>`, `</s>`, then the words of the vocabulary.
    """

    def __init__(self, trie: Trie, vocabulary: Vocabulary, config: NgramConfig | None = None) -> None:
        if trie.size != len(vocabulary) + OFFSET:
            raise InputError(f"vocabulary must have the model's {trie.size - OFFSET:,} words, got {len(vocabulary):,}")
        self.trie, self.vocabulary = trie, vocabulary
        self.config = config or NgramConfig(order=trie.order)
        self._asked = 0

    @classmethod
    def load(cls, folder: str | Path) -> NgramModel:
        """The model of a run folder, checked before it is believed; its n-grams stay on disk until asked for."""
        from polysemy.models.ngram.fitting import MODEL_FILE
        from polysemy.models.ngram.trie import Trie

        opened = read_folder(folder)
        config = NgramConfig.from_dict(opened.config.get("config", {}))
        return cls(Trie.load(opened.file(MODEL_FILE)), Vocabulary.load(opened.path), config)

    def save(self, folder: str | Path) -> None:
        """Write the model's files into an existing folder, all but config.json."""
        from polysemy.models.ngram.fitting import MODEL_FILE

        self.trie.save(Path(folder) / MODEL_FILE)
        self.vocabulary.save(folder)

    @property
    def order(self) -> int:
        return self.trie.order

    # how likely a text is

    def score(self, text: str) -> Score:
        """Log-probability (natural) of a text, the end of each line included as a token."""
        ids = self._sentences(text)
        logs = self._logs(ids)
        return Score(log_probability=float(logs.sum(dtype=np.float64)) * LN10, tokens=len(logs),
                     words=len(word_bounds(text)[0]), bytes=len(text.encode("utf-8", "replace")))

    def score_words(self, text: str) -> list[WordScore]:
        """Each word with its log10 and the order of the n-gram that gave it, `</s>` at the end of each line."""
        ids = self._sentences(text)
        logs, orders = self._scorer().advance(ids)
        rows = [words for words in map(self.vocabulary.split, text.split("\n")) if words] or [[]]
        words = [word for row in rows for word in (*row, END)]
        return [WordScore(word, log, order, unknown) for word, log, order, unknown in
                zip(words, logs.tolist(), orders.tolist(), (ids == UNKNOWN_ID).tolist(), strict=True)]

    def score_batch(self, rows: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
        """float64 (rows,): natural log-probability of each row of ids as one sentence, `</s>` included."""
        if not len(rows):
            return np.zeros(0)
        ids = np.concatenate([part for row in rows for part in (np.asarray(row, np.int32), [LINE_END])])
        ends = np.cumsum([len(row) + 1 for row in rows])
        logs = self.score_tokens(ids, threads).astype(np.float64)
        return np.add.reduceat(logs, np.concatenate([[0], ends[:-1]])) * LN10

    def score_tokens(self, ids: np.ndarray, threads: int = 1) -> np.ndarray:
        """float (n,): log10 of each token of a long row as in EncodedText, which begins a sentence.

        When much was asked for, a hash table is made and kept (`hashed`); not so where smoothing does not back off
        plainly (add_k, stupid_backoff).
        """
        return self._logs(self._checked(ids), threads)

    @functools.cached_property
    def hashed(self) -> HashedTrie:
        """The hash table for large batches, 40 bytes an n-gram in memory."""
        from polysemy.models.ngram.hashing import HashedTrie

        return HashedTrie(self.trie)

    def perplexity(self, texts: str | Iterable[str], threads: int = 1) -> Perplexity:
        """Perplexity over texts, or one text, by lines."""
        texts = [texts] if isinstance(texts, str) else texts
        ids = np.concatenate([np.zeros(0, np.int32), *(self._sentences(text) for text in texts)]) - OFFSET
        return self.perplexity_of(ids, threads)

    def perplexity_of(self, ids: np.ndarray, threads: int = 1) -> Perplexity:
        """Perplexity of a long row of ids as in EncodedText."""
        if not len(ids):
            raise InputError("text must hold words, got none")
        logs = self.score_tokens(ids, threads).astype(np.float64)
        known = np.asarray(ids) != UNKNOWN
        return Perplexity(with_unknown=_perplexity(logs), without_unknown=_perplexity(logs[known]), tokens=len(logs),
                          unknown=int((~known).sum()))

    # what comes next

    def next_word_distribution(self, ids: np.ndarray | Sequence[int], *, from_start: bool = True) -> np.ndarray:
        """float32 (2 + words,): probability of `<unk>`, `</s>` and every word after these ids.

        from_start  the ids begin a sentence; else nothing is known before them
        """
        scorer = self._scorer(from_start)
        scorer.advance(self._checked(ids))
        logs = self._next(scorer)
        logs *= np.float32(LN10)
        return np.exp(logs, out=logs)

    def next_words(self, text: str, top: int = 5) -> list[Candidate]:
        """The likeliest next words after the last line of a text, `</s>` among them."""
        if top < 1:
            raise InputError(f"top must be at least 1, got {top}")
        logs = self._after(text)
        logs[UNKNOWN_ID] = -np.inf
        best = np.argsort(-logs, kind="stable")[:top].tolist()
        return [Candidate(text=self._name(i), probability=float(10.0 ** logs[i]), log_probability=float(logs[i]) * LN10)
                for i in best if i != UNKNOWN_ID]

    def generate(self, prompt: str = "", words: int = 50, seed: int = 0, temperature: float = 1.0) -> str:
        """The prompt with words drawn one after the other, until `</s>` is drawn or there are `words` new ones.

        temperature  below 1 likelier words come more often than they should; 0 takes the likeliest each time

        `<unk>` is never drawn. The same prompt, seed and settings give the same text.
        """
        from polysemy.models.ngram.next_word import sample

        if words < 0 or not 0 <= temperature < float("inf"):
            raise InputError(f"words and temperature must be at least 0, got {words} and {temperature}")
        scorer, drawn = self._scorer(), []
        scorer.advance(self._last_line(prompt))
        for step in range(words):
            logs = self._next(scorer)
            logs[UNKNOWN_ID] = -np.inf
            word = sample(logs, random_for(seed, "generate", step), temperature)
            if word == BOUNDARY or not np.isfinite(logs[word]):
                break
            scorer.advance(np.array([word]))
            drawn.append(self._name(word))
        return join_words(prompt, drawn)

    # gaps

    def fill(self, text: str, top: int = 5) -> list[list[Candidate]]:
        """The likeliest words for each [MASK] of a text, given what stands on both sides."""
        from polysemy.models.ngram.gaps import fill

        return fill(self, text, top)

    def cloze_scores(self, items: Sequence[ClozeItem], *, left_only: bool = False) -> np.ndarray:
        """(items, candidates) float64: natural log-probability of the window with each candidate in place."""
        from polysemy.models.ngram.gaps import cloze_scores

        return cloze_scores(self, items, left_only=left_only)

    # inside

    def _logs(self, ids: np.ndarray, threads: int = 1) -> np.ndarray:
        """log10 of each of a row of model ids that begins a sentence, by the table when it is there or worth making."""
        self._asked += len(ids)
        plain = not self.trie.absolute and not self.trie.missing
        much = self._asked >= max(HASH_FROM, len(self.trie.words) // HASH_SHARE)
        if plain and (much or "hashed" in self.__dict__):
            return self.hashed.scores(ids, threads)
        return self._scorer().advance(ids)[0]

    def _scorer(self, from_start: bool = True) -> Scorer:
        from polysemy.models.ngram.scoring import Scorer

        return Scorer(self.trie, after_boundary=from_start)

    def _next(self, scorer: Scorer) -> np.ndarray:
        from polysemy.models.ngram.next_word import next_log10

        return next_log10(self.trie, scorer)

    def _after(self, text: str) -> np.ndarray:
        scorer = self._scorer()
        scorer.advance(self._last_line(text))
        return self._next(scorer)

    def _sentences(self, text: str) -> np.ndarray:
        """Model ids of a text, a boundary after each line; a text without words is one empty sentence."""
        return np.append(self._numbering.ids(text) + np.int32(OFFSET), np.int32(BOUNDARY))

    @functools.cached_property
    def _numbering(self) -> Numbering:
        from polysemy.models.ngram.numbering import Numbering

        return Numbering(self.vocabulary)

    def _last_line(self, text: str) -> np.ndarray:
        return (self.vocabulary.ids(text.rsplit("\n", 1)[-1]) + OFFSET).astype(np.int32)

    def _checked(self, ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """Model ids of ids of the vocabulary: what lies outside would be looked up beyond the arrays."""
        ids = np.asarray(ids)
        if ids.size and (not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 1):
            raise InputError(f"ids must be a row of whole numbers, got {ids.dtype} with {ids.ndim} dimensions")
        if ids.size and not UNKNOWN <= int(ids.min()) <= int(ids.max()) < len(self.vocabulary):
            raise InputError(f"ids must be -2 (unknown), -1 (line end) or 0..{len(self.vocabulary) - 1}, got "
                             f"{int(ids.min())}..{int(ids.max())}")
        return ids.astype(np.int32) + np.int32(OFFSET)

    def _name(self, word: int) -> str:
        return (UNKNOWN_WORD, END)[word] if word < FIRST_WORD else self.vocabulary.words[word - FIRST_WORD]


def join_words(prompt: str, words: Iterable[str]) -> str:
    """The prompt and words after it, with spaces except between Chinese characters and at the start of a line."""
    text = prompt
    for word in words:
        last = text[-1:]
        tight = not last or last.isspace() or (is_han(last) and is_han(word[0]))
        text += word if tight else f" {word}"
    return text


def _perplexity(logs: np.ndarray) -> float:
    return float(np.power(10.0, -logs.mean())) if len(logs) else float("nan")
