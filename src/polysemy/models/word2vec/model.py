"""A trained word2vec: word vectors under gensim's names, and cloze scores from both matrices."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from polysemy.artifact import map_tensors, read_folder
from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.models.huffman import huffman
from polysemy.models.vector_cloze import candidates_of, contexts_of, dot_scores, with_unknown
from polysemy.models.word2vec.cloze import tree_scores
from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word_vectors import WordVectors
from polysemy.text.vocabulary import Vocabulary


class Word2VecModel(WordVectors):
    """Vectors of a vocabulary (the input matrix), with the output matrix or the tree's nodes.

    outputs: (words, size), or with loss=hierarchical the inner nodes (words - 1, size). Either may be memory-mapped.
    """

    def __init__(self, config: Word2VecConfig, vocabulary: Vocabulary, inputs: np.ndarray, outputs: np.ndarray) -> None:
        tree = huffman(vocabulary.counts) if config.loss == "hierarchical" else None
        rows = len(vocabulary) - (tree is not None)
        if inputs.shape != (len(vocabulary), config.size) or outputs.shape != (rows, config.size):
            raise InputError(f"matrices must be ({len(vocabulary)}, {config.size}) and ({rows}, {config.size}), got "
                             f"{inputs.shape} and {outputs.shape}; the folder's files do not belong together")
        super().__init__(vocabulary.words, inputs, vocabulary.counts)
        self.config, self.vocabulary, self.outputs, self.tree = config, vocabulary, outputs, tree

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open a run folder; the matrices stay on disk and are mapped."""
        run = read_folder(folder)
        config = Word2VecConfig.from_dict(run.config["config"])
        tensors = map_tensors(run.file("model.safetensors"))
        second = "nodes" if config.loss == "hierarchical" else "output"
        for name in ("input", second):
            if name not in tensors:
                raise InputError(f"model.safetensors must hold {name}, got {', '.join(tensors)} in {folder}")
        return cls(config, Vocabulary.load(run.path), tensors["input"], tensors[second])

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates), see `cloze`; the context is `window` known words to each side.

        An unknown candidate scores one less than the worst known one of its item.
        """
        contexts = contexts_of(items, self.vocabulary, self.config.window)
        candidates = candidates_of(items, self.vocabulary)
        cbow = self.config.mode == "cbow"
        if self.tree is not None:
            scores = tree_scores(contexts, candidates, self.vectors, self.outputs, self.tree, mean=cbow)
        elif cbow or self.config.loss == "softmax":
            scores = dot_scores(contexts, candidates, self.vectors, self.outputs, mean=cbow)
        else:
            scores = dot_scores(contexts, candidates, self.outputs, self.vectors, mean=False)
        return with_unknown(scores, candidates)
