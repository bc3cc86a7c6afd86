"""Word vectors to look up, compare and search, under the names that users of gensim's KeyedVectors know.

The vectors may be memory-mapped: nothing here copies them; only their lengths are kept. Cosines are float32; equal
scores stand in the order of the vocabulary. Where this differs from gensim: an unknown word is an InputError that
names a near spelling (gensim: KeyError, and `doesnt_match` drops it silently), and a zero vector has cosine 0.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.models.vector_search import add_scores, best, cosines, mul_scores, normalized, norms_of
from polysemy.text.words import is_han

Wanted = str | np.ndarray
"""What a search starts from: a word or a vector of one's own."""
SUGGEST_AMONG = 20_000
"""Near spellings are looked for among so many of the most frequent words."""


class WordVectors:
    """A vocabulary and its vectors, row i for word i.

    words: different, in the order of falling frequency where that is known (it decides ties and what `restrict_vocab`
    keeps). vectors: float32 (words, size), in memory or memory-mapped. counts: int64 (words,), or None when unknown.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray, counts: np.ndarray | None = None) -> None:
        if vectors.ndim != 2 or len(vectors) != len(words):
            raise InputError(f"vectors must be one row a word, got shape {vectors.shape} for {len(words)} words")
        self.index_to_key: list[str] = words if isinstance(words, list) else list(words)
        self.key_to_index: dict[str, int] = dict(zip(self.index_to_key, range(len(words)), strict=True))
        if len(self.key_to_index) != len(words):
            raise InputError(f"words must differ, got {_first_repeated(words)!r} twice")
        self.vectors: np.ndarray = vectors if vectors.dtype == np.float32 else vectors.astype(np.float32)
        self.counts = counts

    # -- looking up

    @property
    def vector_size(self) -> int:
        """Numbers a vector."""
        return int(self.vectors.shape[1])

    @functools.cached_property
    def norms(self) -> np.ndarray:
        """float32 (words,): the vectors' lengths, made on first use; 1 for a zero vector."""
        return norms_of(self.vectors)

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, word: object) -> bool:
        return word in self.key_to_index

    def __getitem__(self, word: str | Sequence[str]) -> np.ndarray:
        """The vector of a word, or a matrix for a list of words."""
        if isinstance(word, str):
            return self.get_vector(word)
        return np.stack([self.get_vector(w) for w in word]) if len(word) else np.zeros((0, self.vector_size), "f4")

    def missing(self, word: str) -> np.ndarray | None:
        """The vector of a word outside the vocabulary, None when there is none; models with subwords override it."""
        return None

    def find_vector(self, word: str) -> np.ndarray | None:
        """The vector of a word, by `missing` when the vocabulary lacks it; None when both do."""
        index = self.key_to_index.get(word)
        return self.missing(word) if index is None else np.asarray(self.vectors[index])

    def get_vector(self, word: str, norm: bool = False) -> np.ndarray:
        """float32 (size,): the vector of a word, scaled to length 1 with `norm`; an unknown word is an InputError."""
        vector = self.find_vector(word)
        if vector is None:
            raise InputError(f"word must be in the vocabulary, got {word!r}{self._suggestion(word)}")
        return normalized(vector) if norm else vector

    # -- comparing

    def similarity(self, first: str, second: str) -> float:
        """Cosine of two words' vectors."""
        return float(self.get_vector(first, norm=True) @ self.get_vector(second, norm=True))

    def n_similarity(self, first: Sequence[str], second: Sequence[str]) -> float:
        """Cosine of the mean vectors of two groups of words."""
        return float(normalized(self[first].mean(0)) @ normalized(self[second].mean(0)))

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word that is farthest, by cosine, from the mean of the words' normalized vectors."""
        if not words:
            raise InputError("words must be at least one, got none")
        units = normalized(self[words])
        return words[int(np.argmin(units @ normalized(units.mean(0))))]

    # -- searching

    def most_similar(
        self,
        positive: Wanted | Sequence[Wanted] = (),
        negative: Wanted | Sequence[Wanted] = (),
        topn: int = 10,
        restrict_vocab: int | None = None,
    ) -> list[tuple[str, float]]:
        """The words nearest to the sum of the normalized positive minus the negative vectors (3CosAdd), with cosines.

        Given words are left out of the answer. restrict_vocab: only among so many of the most frequent words.
        """
        plus, minus, excluded = self._wanted(positive, negative)
        query = normalized(plus).sum(0) - normalized(minus).sum(0)
        return self._ranked(self._cosines(query[None], restrict_vocab)[0], topn, excluded)

    def most_similar_cosmul(
        self,
        positive: Wanted | Sequence[Wanted] = (),
        negative: Wanted | Sequence[Wanted] = (),
        topn: int = 10,
        restrict_vocab: int | None = None,
    ) -> list[tuple[str, float]]:
        """As `most_similar`, by 3CosMul: products of (1 + cosine) / 2 instead of sums of cosines."""
        plus, minus, excluded = self._wanted(positive, negative)
        scores = mul_scores(self._cosines(plus, restrict_vocab), self._cosines(minus, restrict_vocab))
        return self._ranked(scores, topn, excluded)

    def similar_by_vector(
        self, vector: np.ndarray, topn: int = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]]:
        """The words nearest to a vector, by cosine."""
        return self.most_similar([vector], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_word(self, word: str, topn: int = 10, restrict_vocab: int | None = None) -> list[tuple[str, float]]:
        """The words nearest to a word, by cosine, without itself."""
        return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

    def analogy(
        self, a: str, b: str, c: str, method: str = "add", topn: int = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]]:
        """`a` is to `b` as `c` is to ...: words near b - a + c with scores, by 3CosAdd ("add") or 3CosMul ("mul").

        "add" scores by the sum of three cosines, as word2vec's compute-accuracy does; the order is `most_similar`'s.
        """
        if method not in ("add", "mul"):
            raise InputError(f"method must be add or mul, got {method!r}")
        plus, minus, excluded = self._wanted([b, c], [a])
        combine = add_scores if method == "add" else mul_scores
        scores = combine(self._cosines(plus, restrict_vocab), self._cosines(minus, restrict_vocab))
        return self._ranked(scores, topn, excluded)

    # -- texts

    def embed(
        self, texts: Sequence[str], *, layer: int | str = -1, pooling: str = "mean", pairs: Sequence[str] | None = None
    ) -> np.ndarray:
        """float32 (texts, size): the mean of the unit vectors of each text's known words; zeros where there are none.

        Words are cut by the model's vocabulary where it has one, else by our word rule in small letters. Nothing warns
        of texts without a known word: they are the rows of zeros, `~vectors.any(1)`; the command line counts them.
        """
        if pooling != "mean" or pairs is not None:
            raise InputError(f"pooling must be mean, without pairs, for word vectors, got {pooling!r}")
        from polysemy.text.vocabulary import WordConfig, split_words

        vocabulary = getattr(self, "vocabulary", None)
        split = (lambda line: split_words(line, WordConfig())) if vocabulary is None else vocabulary.split
        result = np.zeros((len(texts), self.vector_size), np.float32)
        for row, text in zip(result, texts, strict=True):
            words = [word for line in text.split("\n") for word in split(line)]
            found = [vector for word in words if (vector := self.find_vector(word)) is not None]
            if found:
                row[:] = normalized(np.stack(found)).mean(0)
        return result

    # -- judging (the harness with intervals and coverage is polysemy.evaluation.words)

    def evaluate_word_pairs(
        self, pairs: str | Path, restrict_vocab: int | None = 300_000, case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[tuple[float, float], tuple[float, float], float]:
        """((Pearson, p), (Spearman, p), percent of pairs left out) on a file of word, word, number lines."""
        from polysemy.models.vector_questions import correlations, read_pairs, similarities

        found, known = similarities(
            self, read_pairs(Path(pairs)), restrict_vocab=restrict_vocab, fold=case_insensitive
        )
        kept = np.ones(len(known), bool) if dummy4unknown else known
        pearson, spearman = correlations(np.where(known, found[:, 0], 0.0)[kept], found[kept, 1])
        return pearson, spearman, 100.0 * float((~known).mean())

    def evaluate_word_analogies(
        self, analogies: str | Path, restrict_vocab: int | None = 300_000, case_insensitive: bool = True,
        dummy4unknown: bool = False, method: str = "add",
    ) -> tuple[float, list[dict[str, Any]]]:
        """(accuracy, sections) on a file like questions-words.txt; a section lists its correct and incorrect questions.

        Questions with an unknown word are left out, or count as wrong with `dummy4unknown`. The last section sums all.
        """
        from polysemy.models.vector_questions import answer, read_analogies

        sections = read_analogies(Path(analogies))
        limit = {"restrict_vocab": restrict_vocab, "fold": case_insensitive}
        outcomes = answer(self, [q for _, questions in sections for q in questions], method=method, **limit)
        result, place = [], 0
        for name, questions in sections:
            pairs = list(zip(questions, outcomes[place : place + len(questions)].tolist(), strict=True))
            place += len(questions)
            wrong = (0, -1) if dummy4unknown else (0,)
            result.append({
                "section": name,
                "correct": [q for q, outcome in pairs if outcome == 1],
                "incorrect": [q for q, outcome in pairs if outcome in wrong],
            })
        total = {key: [q for section in result for q in section[key]] for key in ("correct", "incorrect")}
        result.append({"section": "Total accuracy", **total})
        return len(total["correct"]) / max(1, len(total["correct"]) + len(total["incorrect"])), result

    # -- files

    @classmethod
    def load_word2vec_format(
        cls, path: str | Path, binary: bool = False, limit: int | None = None, unicode_errors: str = "strict",
        no_header: bool = False,
    ) -> WordVectors:
        """The vectors of a file of word2vec, GloVe (`no_header`) or fastText (.vec); see `vector_files`."""
        from polysemy.models.vector_files import read_vectors

        name = "word2vec-binary" if binary else "glove" if no_header else "word2vec"
        return read_vectors(path, format=name, limit=limit, errors=unicode_errors)

    def save_word2vec_format(self, path: str | Path, binary: bool = False, write_header: bool = True) -> None:
        """Write a file that word2vec, gensim, fastText or (without a header) GloVe reads; see `vector_files`."""
        from polysemy.models.vector_files import write_vectors

        write_vectors(path, self, format="word2vec-binary" if binary else "word2vec" if write_header else "glove")

    # -- inside

    def _wanted(self, positive: Any, negative: Any) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """The positive and negative vectors as two matrices, and the indices of the given words."""
        groups = [[group] if _is_one(group) else list(group) for group in (positive, negative)]
        if not any(groups):
            raise InputError("words to search from must be at least one, got none")
        excluded = [self.key_to_index[w] for group in groups for w in group if isinstance(w, str) and w in self]
        plus, minus = (
            np.stack([self._vector(w) for w in group]) if group else np.zeros((0, self.vector_size), np.float32)
            for group in groups
        )
        return plus, minus, excluded

    def _vector(self, wanted: Wanted) -> np.ndarray:
        if isinstance(wanted, str):
            return self.get_vector(wanted)
        vector = np.asarray(wanted, np.float32)
        if vector.shape != (self.vector_size,):
            raise InputError(f"vector must have {self.vector_size} numbers, got shape {vector.shape}")
        return vector

    def _cosines(self, queries: np.ndarray, restrict_vocab: int | None) -> np.ndarray:
        return cosines(self.vectors[:restrict_vocab], self.norms[:restrict_vocab], queries)

    def _ranked(self, scores: np.ndarray, topn: int, excluded: list[int]) -> list[tuple[str, float]]:
        if topn < 1:
            raise InputError(f"topn must be at least 1, got {topn}")
        found = best(scores, topn, [index for index in excluded if index < len(scores)])
        return [(self.index_to_key[index], float(scores[index])) for index in found]

    def _suggestion(self, word: str) -> str:
        for other in (word.lower(), word.capitalize(), word.upper()):
            if other in self:
                return f"; did you mean {other!r}?"
        if len(word) > 1 and all(is_han(ch) and ch in self for ch in word):
            return "; its Chinese words are single characters, train with --unit word to have longer ones"
        near = [w for w in self.index_to_key[:SUGGEST_AMONG] if w[:1] == word[:1] and abs(len(w) - len(word)) <= 2]
        close = difflib.get_close_matches(word, near, 1, 0.7)
        return f"; did you mean {close[0]!r}?" if close else ""


def _is_one(group: Any) -> bool:
    return isinstance(group, str) or (isinstance(group, np.ndarray) and group.ndim == 1)


def _first_repeated(words: Sequence[str]) -> str:
    seen: set[str] = set()
    return next(word for word in words if word in seen or seen.add(word))
