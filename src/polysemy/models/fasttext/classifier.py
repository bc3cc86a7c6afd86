"""fastText's classifier: which label a document has, from the mean of its words' rows; trains in seconds.

Source: Joulin et al. 2017, Bag of Tricks for Efficient Text Classification.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import map_tensors, read_folder, read_json, save_tensors, write_json
from polysemy.errors import InputError
from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.features import BucketRows, Features, make_features, number_words
from polysemy.models.fasttext.labels import LabeledText
from polysemy.models.huffman import fasttext_tree
from polysemy.text.vocabulary import Vocabulary

LABELS_FILE, TENSORS_FILE = "labels.json", "model.safetensors"
BATCH = 1024
"""documents worked on at a time"""
SHOWN_LABELS = 5
"""unknown labels named in a note"""


class FasttextClassifier:
    """A trained classifier.

    labels: names, without a prefix, in falling order of count; inputs: float32 (words + used buckets, size);
    outputs: float32 (labels, size), inner nodes of the tree with the hierarchical loss; used: int32, the bucket of each
    row behind the words'.
    """

    def __init__(
        self, config: FasttextConfig, vocabulary: Vocabulary, labels: Sequence[str], label_counts: np.ndarray,
        inputs: np.ndarray, outputs: np.ndarray, used: np.ndarray,
    ) -> None:
        self.config = config.resolved()
        self.vocabulary, self.labels, self.label_counts = vocabulary, list(labels), np.asarray(label_counts, np.int64)
        self.inputs, self.outputs, self.used = inputs, outputs, used
        if inputs.shape != (len(vocabulary) + len(used), self.config.size) or outputs.shape != (
            len(self.labels), self.config.size
        ):
            raise InputError(f"matrices must fit {len(vocabulary):,} words, {len(used):,} buckets and {len(labels):,} "
                             f"labels of size {self.config.size}, got {inputs.shape} and {outputs.shape}")

    @classmethod
    def load(cls, folder: str | Path) -> FasttextClassifier:
        """The classifier in a run folder; its rows stay on disk and are mapped."""
        opened = read_folder(folder)
        config = FasttextConfig.from_dict(opened.config["config"])
        tensors = map_tensors(opened.file(TENSORS_FILE), integers=("buckets",))
        facts = read_json(opened.file(LABELS_FILE))
        return cls(config, Vocabulary.load(opened.path), facts["labels"], np.array(facts["counts"]), tensors["input"],
                   tensors["output"], tensors["buckets"])

    def save(self, folder: Path) -> None:
        """Write everything but config.json into an existing folder."""
        self.vocabulary.save(folder)
        write_json(folder / LABELS_FILE, {"labels": self.labels, "counts": self.label_counts.tolist()})
        save_tensors(folder / TENSORS_FILE, {
            "input": np.ascontiguousarray(self.inputs), "output": np.ascontiguousarray(self.outputs),
            "buckets": np.ascontiguousarray(self.used, np.int32),
        })

    # -- using

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """float64 (texts, labels): how likely each label is; rows sum to 1, except with the loss `ova`."""
        parts = [self._batch(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels)))

    def predict(self, text: str, k: int = 1) -> list[tuple[str, float]]:
        """The k likeliest labels with their probabilities, falling."""
        return self.predict_many([text], k)[0]

    def predict_many(self, texts: Sequence[str], k: int = 1) -> list[list[tuple[str, float]]]:
        """`predict` for many texts."""
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        found = self.probabilities(texts)
        order = np.argsort(-found, axis=1, kind="stable")[:, :k]
        return [[(self.labels[label], float(row[label])) for label in best]
                for row, best in zip(found, order.tolist(), strict=True)]

    def embed(self, texts: Sequence[str], *, layer: int | str = -1, pooling: str = "mean",
              pairs: Sequence[str] | None = None) -> np.ndarray:
        """float32 (texts, size): the mean of each text's rows."""
        if pooling != "mean" or pairs is not None:
            raise InputError(f"pooling must be mean, without pairs, for a fastText classifier, got {pooling!r}")
        features = self._features(texts)
        return _means(*self._rows(features), self.inputs, counted=not self.config.pruned)

    def evaluate(self, data: LabeledText, k: int = 1) -> dict[str, Any]:
        """precision and recall of the first k labels, accuracy of the first, F1 over labels (macro), and counts.

        Labels that training never saw can not be found: they lower recall and F1. `unknown_labels` counts them, and
        with any there is a `note` that names them. `examples` is the number of texts.
        """
        if not len(data):
            raise InputError("data must hold at least one text, got none")
        best = [[name for name, _ in row] for row in self.predict_many(data.texts, k)]
        hits = sum(len(set(names) & set(true)) for names, true in zip(best, data.labels, strict=True))
        first = [names[0] for names in best]
        right = [name in true for name, true in zip(first, data.labels, strict=True)]
        scores = {}
        for label in sorted({name for true in data.labels for name in true}):
            wanted = sum(label in true for true in data.labels)
            given = sum(name == label for name in first)
            both = sum(name == label and ok for name, ok in zip(first, right, strict=True))
            scores[label] = 2 * both / max(wanted + given, 1)
        unknown = sorted(set(scores) - set(self.labels))
        return {
            "examples": len(data), "unknown_labels": len(unknown), **_note(unknown, data), "k": k,
            "accuracy": float(np.mean(right)),
            "precision": hits / (len(data) * min(k, len(self.labels))),
            "recall": hits / max(sum(map(len, data.labels)), 1),
            "f1": float(np.mean(list(scores.values()))), "f1_by_label": scores,
        }

    # -- inside

    @functools.cached_property
    def _tree(self) -> Any:
        return fasttext_tree(self.label_counts)

    @functools.cached_property
    def _bucket_rows(self) -> BucketRows:
        return BucketRows(self.used)

    @functools.cached_property
    def _row_numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.vocabulary.words)}

    def _features(self, texts: Sequence[str]) -> Features:
        words, tokens, starts = number_words([self.vocabulary.split(text) for text in texts])
        return make_features(words, tokens, starts, self._row_numbers, self.config)

    def _rows(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """The row of each feature, -1 where its bucket has none."""
        return self._bucket_rows.rows(features.codes, len(self.vocabulary)), features.starts

    def _batch(self, texts: Sequence[str]) -> np.ndarray:
        scores = self.embed(texts).astype(np.float64) @ self.outputs.astype(np.float64).T
        if self.config.loss == "softmax":
            scores = np.exp(scores - scores.max(1, keepdims=True))
            return scores / scores.sum(1, keepdims=True)
        likely = 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
        if self.config.loss == "ova":
            return likely
        tree = self._tree
        steps = np.log(np.maximum(np.where(tree.codes == 1, likely[:, tree.nodes], 1 - likely[:, tree.nodes]), 1e-300))
        return np.exp(np.add.reduceat(steps, tree.starts[:-1], axis=1))


def _note(unknown: Sequence[str], data: LabeledText) -> dict[str, str]:
    """What to say of labels in the data that the classifier does not know; nothing where it knows all."""
    if not unknown:
        return {}
    touched = sum(any(name in unknown for name in names) for names in data.labels)
    named = ", ".join(map(repr, unknown[:SHOWN_LABELS])) + " ..." * (len(unknown) > SHOWN_LABELS)
    return {"note": f"{len(unknown):,} label{'s' * (len(unknown) > 1)} of {touched:,} text{'s' * (touched > 1)} "
                    f"unknown to the classifier, so never found: {named}"}


def _means(rows: np.ndarray, starts: np.ndarray, inputs: np.ndarray, *, counted: bool) -> np.ndarray:
    """The mean row of each document; a missing row counts as zeros, or not at all. Zeros where there is none."""
    result = np.zeros((len(starts) - 1, inputs.shape[1]), np.float32)
    for document, (start, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        own = rows[start:stop]
        known = own[own >= 0]
        number = len(own) if counted else len(known)
        if len(known):
            result[document] = inputs[known].sum(0, dtype=np.float64) / number
    return result
