"""The Huffman tree of hierarchical softmax (Morin and Bengio 2005): frequent words have short paths.

Words are leaves; each of the words - 1 inner nodes has a vector. The path of a word goes from the root to the leaf and
its code says at each node which way: 0 or 1. P(word | h) is the product over its path of sigmoid(h . node) where the
code is on the positive side and 1 - sigmoid(h . node) where it is not, so the probabilities of all words sum to 1.

word2vec.c and fastText build it in two ways, which are kept so that their files mean the same here: the positive side
is 0 for word2vec and 1 for fastText (loss.cc), and of a leaf and a joined node with the same count word2vec takes the
leaf first, fastText the node.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysemy.errors import InputError


@dataclass(frozen=True)
class Tree:
    """The paths of all words, one after the other.

    starts: int64 (words + 1,), the path of word w is nodes[starts[w] : starts[w + 1]], root first; nodes: int32, the
    inner nodes by number, the root being words - 2; codes: int8, 0 or 1.
    """

    starts: np.ndarray
    nodes: np.ndarray
    codes: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """int64 (words,): the bits of each word's code."""
        return np.diff(self.starts)


def huffman(counts: np.ndarray) -> Tree:
    """word2vec's tree of these counts, which must be in falling order: code 0 is the positive side."""
    counts = np.asarray(counts, np.int64)
    if len(counts) < 2:
        raise InputError(
            f"vocabulary must hold at least 2 words for hierarchical softmax, got {len(counts)}; add text")
    assert (np.diff(counts) <= 0).all(), "counts must fall"
    return _tree(counts, leaf_first=True)


def fasttext_tree(counts: np.ndarray) -> Tree:
    """fastText's tree of words or labels in the order of its file (falling counts): code 1 is the positive side."""
    if len(counts) < 2:
        raise InputError(f"there must be at least 2 words or labels for hierarchical softmax, got {len(counts)}")
    return _tree(np.asarray(counts), leaf_first=False)


def _tree(counts: np.ndarray, *, leaf_first: bool) -> Tree:
    parent, bit = _join(counts.tolist(), leaf_first)
    return _paths(np.array(parent), np.array(bit, np.int8), len(counts))


def _join(counts: list[int], leaf_first: bool) -> tuple[list[int], list[int]]:
    """Parent and side of every leaf and inner node, in linear time by two queues; inner node n is at place words + n.

    Words wait in one queue from the rarest on, joined nodes in the other in the order they were made, which is that of
    their numbers; the smaller of the two heads is taken twice for each new node, the second one on the 1 side.
    """
    words = len(counts)
    weight = counts + [0] * (words - 1)
    parent, bit = [0] * (2 * words - 1), [0] * (2 * words - 1)
    leaf, node = words - 1, words
    for new in range(words, 2 * words - 1):
        for side in (0, 1):
            if leaf >= 0 and (node >= new or weight[leaf] < weight[node] + leaf_first):
                taken, leaf = leaf, leaf - 1
            else:
                taken, node = node, node + 1
            weight[new] += weight[taken]
            parent[taken], bit[taken] = new, side
    return parent, bit


def _paths(parent: np.ndarray, bit: np.ndarray, words: int) -> Tree:
    """Follow all words to the root at once, level by level."""
    root = 2 * words - 2
    depth = np.zeros(2 * words - 1, np.int64)
    for node in range(root - 1, -1, -1):
        depth[node] = depth[parent[node]] + 1
    starts = np.concatenate([[0], np.cumsum(depth[:words])])
    nodes, codes = np.zeros(starts[-1], np.int32), np.zeros(starts[-1], np.int8)
    here, at = np.arange(words), starts[1:] - 1
    while len(here):
        codes[at] = bit[here]
        here = parent[here]
        nodes[at] = here - words
        going = here != root
        here, at = here[going], at[going] - 1
    return Tree(starts, nodes, codes)
