"""The model as it lies on disk: all n-grams in one tree read from left to right, in five flat arrays.

Nodes are numbered order by order, within an order as their words sort; so the words that can follow a history stand
side by side in ascending order, and a look-up is a search among them. Memory-mapped, nothing is read before it is
needed. 8 bytes for an n-gram of the highest order, 16 for one of a lower order.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from polysemy.artifact import check_safetensors
from polysemy.errors import InputError
from polysemy.models.ngram.sorting import BLOCK
from polysemy.models.ngram.tensor_file import map_pieces, save_pieces

DTYPES = {"words": "I32", "probabilities": "F32", "backoffs": "F32", "first": "I32", "sizes": "I64", "rule": "F32"}
MAX_NODES = 2**31 - 2


class Trie:
    """All n-grams of a model; every log is to base 10.

    words          (n,) int32, the last word of each node; node i < size is the id i alone
    probabilities  (n,) float32, log-probability of the last word after the others
    backoffs       (m,) float32, for the m nodes below the highest order: log-weight, when as a history it has no child
    first          (m + 1,) int32: the children of node i are first[i] .. first[i + 1] - 1
    sizes          (order,) int64, nodes of each order
    missing        log-weight of a history that has no node
    absolute       weights are the log-probabilities themselves (see `Estimates`)
    """

    def __init__(self, words: np.ndarray, probabilities: np.ndarray, backoffs: np.ndarray, first: np.ndarray,
                 sizes: np.ndarray, *, missing: float = 0.0, absolute: bool = False) -> None:
        self.words, self.probabilities, self.backoffs, self.first = words, probabilities, backoffs, first
        self.sizes = np.asarray(sizes, np.int64)
        self.missing, self.absolute = float(missing), bool(absolute)

    @property
    def order(self) -> int:
        return len(self.sizes)

    @property
    def size(self) -> int:
        """Number of model ids."""
        return int(self.sizes[0])

    def find(self, ids: np.ndarray | list[int]) -> int:
        """The node of an n-gram, -1 when it has none."""
        node = int(ids[0])
        for word in ids[1:]:
            if not 0 <= node < len(self.backoffs):
                return -1
            low, high = int(self.first[node]), int(self.first[node + 1])
            at = low + int(np.searchsorted(self.words[low:high], word))
            if at == high or self.words[at] != word:
                return -1
            node = at
        return node

    def rows(self, order: int) -> np.ndarray:
        """int32 (n, order): the ids of every n-gram of one order, in the order of the nodes."""
        start = int(self.sizes[: order - 1].sum())
        return self.spell(np.arange(start, start + int(self.sizes[order - 1])), order)

    def spell(self, nodes: np.ndarray, order: int) -> np.ndarray:
        """int32 (n, order): the ids of n-grams of one order, given by their nodes."""
        columns = []
        for _ in range(order):
            columns.append(np.asarray(self.words[nodes]))
            nodes = np.searchsorted(self.first, nodes, side="right") - 1
        return np.stack(columns[::-1], axis=1)

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        save_pieces(path, {
            "words": [self.words], "probabilities": [self.probabilities], "backoffs": [self.backoffs],
            "first": [self.first], "sizes": [self.sizes], "rule": [np.array([self.missing, self.absolute], np.float32)],
        })

    @classmethod
    def load(cls, path: Path) -> Trie:
        """Memory-map a file that `save` wrote; one whose arrays do not fit each other raises InputError."""
        found = check_safetensors(path)
        if {name: dtype for name, (dtype, _) in found.items()} != DTYPES:
            names = ", ".join(sorted(found)) or "none"
            raise InputError(f"{path} must hold the arrays of an n-gram model, got {names}")
        arrays = map_pieces(path)
        trie = cls(*(arrays[name] for name in ("words", "probabilities", "backoffs", "first", "sizes")),
                   missing=float(arrays["rule"][0]), absolute=bool(arrays["rule"][1]))
        if problem := trie.problem():
            raise InputError(f"{path} must be an n-gram model, but {problem}; it is damaged or not one")
        return trie

    def problem(self) -> str:
        """What is wrong with the arrays, empty when nothing is: after this no look-up leaves them."""
        if not len(self.sizes) or len(self.sizes) > 6 or (self.sizes < 0).any() or self.size < 2:
            return f"it has {self.sizes.tolist()} n-grams of the orders"
        nodes, inner = int(self.sizes.sum()), int(self.sizes[:-1].sum())
        if not len(self.words) == len(self.probabilities) == nodes or len(self.backoffs) != inner:
            return "its arrays differ in length from its counts"
        ends = (self.size, nodes) if inner else (0, 0)
        if len(self.first) != inner + 1 or (self.first[0], self.first[-1]) != ends:
            return "its lists of children do not cover its n-grams"
        for start in range(0, nodes, BLOCK):
            part = self.words[start : start + BLOCK]
            if part.min() < 0 or part.max() >= self.size:
                return "it names a word beyond its vocabulary"
        for start in range(0, inner, BLOCK):
            if (np.diff(self.first[start : start + BLOCK + 1]) < 0).any():
                return "its lists of children overlap"
        return ""
