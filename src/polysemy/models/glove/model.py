"""A trained GloVe: word vectors W + W~ under gensim's names, and cloze scores from both matrices and biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from polysemy.artifact import map_tensors, read_folder
from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.models.glove.config import GloveConfig
from polysemy.models.vector_cloze import candidates_of, contexts_of, dot_scores, with_unknown
from polysemy.models.word_vectors import WordVectors
from polysemy.text.vocabulary import Vocabulary

TENSORS = ("input", "output", "input_bias", "output_bias", "totals")


class GloveModel(WordVectors):
    """Vectors W + W~ (as the original writes them), with the two matrices, their biases and the counts' sums."""

    def __init__(self, config: GloveConfig, vocabulary: Vocabulary, tensors: Mapping[str, np.ndarray]) -> None:
        shapes = {name: (len(vocabulary), config.size) if name in ("input", "output") else (len(vocabulary),)
                  for name in TENSORS}
        for name, shape in shapes.items():
            if name not in tensors or tensors[name].shape != shape:
                got = tensors[name].shape if name in tensors else "nothing"
                raise InputError(f"{name} must be a tensor of shape {shape}, got {got}; files do not belong together")
        self.config, self.vocabulary = config, vocabulary
        self.inputs, self.outputs, self.input_bias, self.output_bias, self.totals = (tensors[n] for n in TENSORS)
        super().__init__(vocabulary.words, self.inputs + self.outputs, vocabulary.counts)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open a run folder; the two matrices stay on disk and are mapped, their sum is in memory."""
        run = read_folder(folder)
        config = GloveConfig.from_dict(run.config["config"])
        return cls(config, Vocabulary.load(run.path), map_tensors(run.file("model.safetensors")))

    def log_counts(self, words: Sequence[int], others: Sequence[int]) -> np.ndarray:
        """float64 (words, others): log X as the model has it, w_i . c_j + b_i + b_j, for numbers of words."""
        rows, columns = np.asarray(words, np.int64), np.asarray(others, np.int64)
        products = self.inputs[rows].astype(np.float64) @ self.outputs[columns].astype(np.float64).T
        return products + self.input_bias[rows][:, None] + self.output_bias[columns]

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates): sum over the context of log P(c | w) = w . c + b_w + b_c - log X_w.

        The context is `window` known words to each side; X_w is the sum of all counts of w. An unknown candidate scores
        one less than the worst known one of its item.
        """
        contexts = contexts_of(items, self.vocabulary, self.config.window)
        candidates = candidates_of(items, self.vocabulary)
        alone = self.input_bias - np.log(np.maximum(self.totals, 1e-6))
        scores = dot_scores(contexts, candidates, self.outputs, self.inputs, mean=False)
        scores += (contexts >= 0).sum(1)[:, None] * alone[candidates].astype(np.float64)
        scores += np.where(contexts >= 0, self.output_bias[contexts], 0).sum(1, dtype=np.float64)[:, None]
        return with_unknown(scores, candidates)
