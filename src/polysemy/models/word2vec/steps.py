"""Choose the loop that a config asks for and give it what does not change from block to block."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.models.huffman import Tree, huffman
from polysemy.models.kernels.drawing import alias_table
from polysemy.models.kernels.rows import aligned, drawn
from polysemy.models.kernels.sentences import thresholds
from polysemy.models.word2vec.cbow import cbow_negative
from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word2vec.exact_softmax import MOST_WORDS
from polysemy.models.word2vec.hierarchical import cbow_hierarchical, skipgram_hierarchical
from polysemy.models.word2vec.plain import HIERARCHICAL, NEGATIVE, SOFTMAX, Targets, plain
from polysemy.models.word2vec.skipgram import skipgram_negative
from polysemy.models.word2vec.subsampling import keep_probabilities
from polysemy.runtime import random_for

Step = Callable[[np.ndarray, int, int, int, float, int], tuple[int, int, int]]
"""(tokens, at, until, stop, rate, random state) -> (next place, words read, random state)"""


@dataclass(frozen=True)
class Matrices:
    """What is learned, padded and aligned: `inputs` a row a word; `outputs` a row a word, or a node with a tree."""

    inputs: np.ndarray
    outputs: np.ndarray
    tree: Tree | None
    table: np.ndarray | None


def begin(config: Word2VecConfig, counts: np.ndarray, seed: int) -> Matrices:
    """Input vectors drawn from U(-1, 1) initial_range / size, output vectors 0."""
    if config.loss == "softmax" and len(counts) > MOST_WORDS:
        raise InputError(f"loss must be negative or hierarchical for more than {MOST_WORDS:,} words, got softmax for "
                         f"{len(counts):,}; or raise min_count")
    tree = huffman(counts) if config.loss == "hierarchical" else None
    table = alias_table(counts, config.negative_power) if config.loss == "negative" else None
    inputs = drawn(len(counts), config.size, random_for(seed, "word2vec", "begin"))
    inputs *= np.float32(2 * config.initial_range)
    return Matrices(inputs, aligned(len(counts) - (tree is not None), config.size), tree, table)


def step_for(config: Word2VecConfig, counts: np.ndarray, matrices: Matrices) -> Step:
    """The loop, compiled here when it was not yet."""
    kept_below = thresholds(keep_probabilities(counts, config.subsample, config.subsample_formula))
    loop, material, rest = _loop(config, matrices)
    least = 1 if config.dynamic_window else config.window

    def step(tokens: np.ndarray, at: int, until: int, stop: int, rate: float, state: int) -> tuple[int, int, int]:
        return loop(tokens, at, until, stop, kept_below, *material, matrices.inputs, matrices.outputs, least,
                    config.window, np.float32(rate), np.uint64(state), *rest)

    nothing = np.zeros(0, np.int32)
    nothing.flags.writeable = False  # as the text that `train` gives: Numba compiles for each kind
    step(nothing, 0, 0, 0, 0.0, 1)
    return step


def _loop(config: Word2VecConfig, matrices: Matrices) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """(the loop, its arguments before the matrices, its arguments at the end)."""
    tree, width, cbow = matrices.tree, matrices.inputs.shape[1], config.mode == "cbow"
    if config.algorithm == "plain" or config.loss == "softmax":
        loss = {"negative": NEGATIVE, "hierarchical": HIERARCHICAL, "softmax": SOFTMAX}[config.loss]
        none = np.zeros(1, np.int32)
        parts = (tree.starts, tree.nodes, tree.codes) if tree else (none.astype(np.int64), none, none.astype(np.int8))
        table = none.astype(np.uint64) if matrices.table is None else matrices.table
        return plain, (Targets(loss, config.negatives, table, *parts),), (cbow,)
    if tree:
        loop = cbow_hierarchical if cbow else skipgram_hierarchical
        return loop(width), (tree.starts, tree.nodes, tree.codes, int(tree.lengths.max())), ()
    return (cbow_negative if cbow else skipgram_negative)(config.negatives, width), (matrices.table,), ()
