"""The tree of hierarchical softmax as fastText builds it, so that its files mean the same here.

It differs from word2vec's in two ways: of a leaf and a joined node with the same count the node is taken first, and a
code of 1 is the positive side: P(word | h) is the product over its path of sigmoid(h . node) where the code is 1 and
1 - sigmoid(h . node) where it is 0. Source: loss.cc.
"""

from __future__ import annotations

import numpy as np

from polysemy.errors import InputError
from polysemy.models.word2vec.huffman import Tree


def fasttext_tree(counts: np.ndarray) -> Tree:
    """The paths of all words or labels, in the order of the file (falling counts), root first."""
    leaves = len(counts)
    if leaves < 2:
        raise InputError(f"there must be at least 2 words or labels for hierarchical softmax, got {leaves}")
    weight = [*np.asarray(counts).tolist(), *[10**15] * (leaves - 1)]
    parent, side = [0] * (2 * leaves - 1), [0] * (2 * leaves - 1)
    leaf, node = leaves - 1, leaves
    for new in range(leaves, 2 * leaves - 1):
        weight[new] = 0
        taken = []
        for _ in range(2):
            if leaf >= 0 and (node >= new or weight[leaf] < weight[node]):
                taken.append(leaf)
                leaf -= 1
            else:
                taken.append(node)
                node += 1
        for bit, child in enumerate(taken):
            parent[child], side[child] = new, bit
            weight[new] += weight[child]
    return _paths(parent, side, leaves)


def _paths(parent: list[int], side: list[int], leaves: int) -> Tree:
    root = 2 * leaves - 2
    starts, nodes, codes = [0], [], []
    for leaf in range(leaves):
        path = []
        here = leaf
        while here != root:
            path.append((parent[here] - leaves, side[here]))
            here = parent[here]
        nodes += [number for number, _ in reversed(path)]
        codes += [bit for _, bit in reversed(path)]
        starts.append(len(nodes))
    return Tree(np.array(starts, np.int64), np.array(nodes, np.int32), np.array(codes, np.int8))
