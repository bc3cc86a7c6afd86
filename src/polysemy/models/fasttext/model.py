"""A trained fastText: word vectors with subwords, or the classifier; read from a run folder."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import map_tensors, read_folder
from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.models.fasttext.classifier import FasttextClassifier
from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.features import BucketRows
from polysemy.models.fasttext.subword_table import bucket_table, compose, join_rows
from polysemy.models.fasttext.subwords import subword_buckets, subwords
from polysemy.models.huffman import fasttext_tree
from polysemy.models.word_vectors import WordVectors
from polysemy.text.vocabulary import Vocabulary

TENSORS_FILE = "model.safetensors"
BELOW = 1.0
"""a candidate without a vector scores this much below the row's least"""


def load(folder: str | Path) -> FasttextModel | FasttextClassifier:
    """The vectors or the classifier in a run folder, by its task."""
    task = FasttextConfig.from_dict(read_folder(folder, verify=False).config["config"]).task
    return FasttextModel.load(folder) if task == "vectors" else FasttextClassifier.load(folder)


class FasttextModel(WordVectors):
    """Word vectors of fastText: the mean of a word's rows, also for words outside the vocabulary.

    inputs: float32 (words + used buckets, size), the words' rows first; outputs: float32 (words, size), or the inner
    nodes of the tree with the hierarchical loss; used: int32, the bucket of each row behind the words'. A bucket
    without a row counts as zeros (with `config.pruned` it is left out of the mean). A word without any n-gram is the
    zero vector in the original; here it has no vector.
    """

    def __init__(
        self, config: FasttextConfig, vocabulary: Vocabulary, inputs: np.ndarray, outputs: np.ndarray, used: np.ndarray
    ) -> None:
        self.config, self.vocabulary = config.resolved(), vocabulary
        self.inputs, self.outputs, self.used = inputs, outputs, used
        size = self.config.size
        if inputs.shape != (len(vocabulary) + len(used), size) or outputs.shape != (len(vocabulary), size):
            raise InputError(f"matrices must fit {len(vocabulary):,} words and {len(used):,} buckets of size {size}, "
                             f"got {inputs.shape} and {outputs.shape}")
        super().__init__(vocabulary.words, self._composed(), vocabulary.counts)

    @classmethod
    def load(cls, folder: str | Path) -> FasttextModel:
        """The vectors in a run folder; the rows stay on disk and are mapped, the means of words are made."""
        opened = read_folder(folder)
        config = FasttextConfig.from_dict(opened.config["config"])
        tensors = map_tensors(opened.file(TENSORS_FILE), integers=("buckets",))
        return cls(config, Vocabulary.load(opened.path), tensors["input"], tensors["output"], tensors["buckets"])

    # -- words

    def missing(self, word: str) -> np.ndarray | None:
        """The mean of the rows of the word's n-grams; None when training knew none of them."""
        rows = self._rows(word)
        known = rows[rows >= 0]
        if not len(known):
            return None
        total = np.asarray(self.inputs[known]).sum(0, dtype=np.float64)
        return (total / (len(known) if self.config.pruned else len(rows))).astype(np.float32)

    def subword_vectors(self, word: str) -> list[tuple[str, np.ndarray]]:
        """The n-grams of a word with their vectors (zeros where training had none), in the original's order."""
        rows = self._rows(word)
        zero = np.zeros(self.vector_size, np.float32)
        names = subwords(word, self.config.shortest, self.config.longest or 0)
        return [(name, np.asarray(self.inputs[row]) if row >= 0 else zero)
                for name, row in zip(names, rows.tolist(), strict=True)]

    def sentence_vector(self, text: str) -> np.ndarray:
        """float32 (size,): the mean of the unit vectors of a text's words, unknown ones by subwords; zeros for none."""
        total, count = np.zeros(self.vector_size), 0
        for word in (word for line in text.split("\n") for word in self.vocabulary.split(line)):
            vector = self.find_vector(word)
            if vector is not None and (norm := float(np.linalg.norm(vector))):
                total += vector / norm
                count += 1
        return (total / max(count, 1)).astype(np.float32)

    def embed(self, texts: Sequence[str], *, layer: int | str = -1, pooling: str = "mean",
              pairs: Sequence[str] | None = None) -> np.ndarray:
        """float32 (texts, size): the sentence vector of each text; zeros, without a warning, where no word has one."""
        if pooling != "mean" or pairs is not None:
            raise InputError(f"pooling must be mean and pairs none for word vectors, got {pooling!r}")
        return np.stack([self.sentence_vector(text) for text in texts]) if len(texts) else np.zeros(
            (0, self.vector_size), np.float32)

    # -- cloze

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates): how well each candidate's vectors fit the window around the gap.

        cbow: h . u with h the mean of all rows of the context (with the hierarchical loss the path's log-probability);
        skipgram: the sum over context words c of v . u_c, v the candidate's composed vector, so an unknown candidate is
        scored through its subwords. What has no vector scores 1 below the least of its row.
        """
        width = max((len(item.candidates) for item in items), default=0)
        scores = np.full((len(items), width), np.nan)
        for row, item in zip(scores, items, strict=True):
            context = self._context(item)
            if self.config.mode == "cbow":
                row[:] = self._from_bag(context, item.candidates)
            else:
                row[:] = self._from_word(context, item.candidates)
            low = np.nanmin(row) if not np.isnan(row).all() else 0.0
            row[np.isnan(row)] = low - BELOW
        return scores

    # -- inside

    def _rows(self, word: str) -> np.ndarray:
        """int64: the row of each n-gram of a word, -1 where its bucket has none."""
        config = self.config
        buckets = subword_buckets(word, config.shortest, config.longest or 0, config.buckets)
        found = self._bucket_rows.find(np.array(buckets, np.int64))
        return np.where(found >= 0, found + len(self.vocabulary), -1)

    def _composed(self) -> np.ndarray:
        config, words = self.config, self.vocabulary.words
        starts, buckets = bucket_table(words, config.shortest, config.longest or 0, config.buckets)
        self._table = table = join_rows(starts, self._bucket_rows.find(buckets), self.used)
        vectors = np.empty((len(words), config.size), np.float32)
        compose(table.starts, table.rows, np.ascontiguousarray(self.inputs), vectors)
        if not config.pruned:  # n-grams without a row count as zeros
            vectors *= (np.diff(table.starts) / (np.diff(starts) + 1)).astype(np.float32)[:, None]
        return vectors

    def _context(self, item: ClozeItem) -> list[str]:
        """Up to `window` words on each side of the gap."""
        window = self.config.window
        return self.vocabulary.split(item.left)[-window:] + self.vocabulary.split(item.right)[:window]

    def _from_bag(self, context: list[str], candidates: Sequence[str]) -> np.ndarray:
        total, count = np.zeros(self.vector_size), 0
        for word in context:
            number = self.vocabulary.find(word)
            if number >= 0:
                size = int(self._table.starts[number + 1] - self._table.starts[number])
                total += self.vectors[number].astype(np.float64) * size
                count += size
        hidden = total / max(count, 1)
        return np.array([self._log_score(hidden, self._number(word)) for word in candidates])

    def _from_word(self, context: list[str], candidates: Sequence[str]) -> np.ndarray:
        known = [number for number in map(self.vocabulary.find, context) if number >= 0]
        scores = []
        for text in candidates:
            words = self.vocabulary.split(text)
            vector = self.find_vector(words[0]) if len(words) == 1 else None
            scores.append(np.nan if vector is None else sum(
                (self._log_score(vector.astype(np.float64), number) for number in known), 0.0))
        return np.array(scores)

    def _number(self, text: str) -> int:
        words = self.vocabulary.split(text)
        return self.vocabulary.find(words[0]) if len(words) == 1 else -1

    def _log_score(self, hidden: np.ndarray, number: int) -> float:
        """u . h of a word, or with the hierarchical loss its log-probability; NaN for none."""
        if number < 0:
            return np.nan
        if self.config.loss != "hierarchical":
            return float(self.outputs[number] @ hidden)
        tree = self._tree
        path = slice(tree.starts[number], tree.starts[number + 1])
        signs = np.where(tree.codes[path] == 1, 1.0, -1.0)
        return float(-np.logaddexp(0, -signs * (self.outputs[tree.nodes[path]] @ hidden)).sum())

    @functools.cached_property
    def _bucket_rows(self) -> BucketRows:
        return BucketRows(self.used)

    @functools.cached_property
    def _tree(self) -> Any:
        return fasttext_tree(self.vocabulary.counts)
