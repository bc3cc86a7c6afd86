"""How well each candidate fits a gap, by the words around it, from both matrices.

With v the input and u the output vectors, and C the words of the context:

    cbow                      u_w . h, h the mean of v_c          (with a tree: the log-probability of w's path)
    skip-gram, negatives      sum over C of v_w . u_c             each is a PMI of w and c but for a constant
    skip-gram, softmax        sum over C of u_w . v_c             log P(w | c) but for a constant
    skip-gram, tree           sum over C of log P(w | v_c)
"""
from __future__ import annotations

import numpy as np

from polysemy.models.huffman import Tree


def tree_scores(contexts: np.ndarray, candidates: np.ndarray, inputs: np.ndarray, nodes: np.ndarray, tree: Tree,
                *, mean: bool) -> np.ndarray:
    """float64 (items, candidates): log P(candidate | h), h the mean context, or summed over the context's words."""
    scores = np.zeros(candidates.shape)
    for n, (context, words) in enumerate(zip(contexts, np.maximum(candidates, 0), strict=True)):
        hidden = inputs[context[context >= 0]].astype(np.float64)
        if len(hidden):
            hidden = hidden.mean(0, keepdims=True) if mean else hidden
            scores[n] = path_log_probabilities(words, hidden, nodes, tree).sum(1)
    return scores


def path_log_probabilities(words: np.ndarray, hidden: np.ndarray, nodes: np.ndarray, tree: Tree) -> np.ndarray:
    """float64 (words, hidden vectors): log P(word | h) by the tree."""
    lengths = tree.lengths[words]
    ends = np.cumsum(lengths)
    at = np.arange(ends[-1]) + np.repeat(tree.starts[words] - ends + lengths, lengths)
    path, places = np.unique(tree.nodes[at], return_inverse=True)
    dots = (nodes[path].astype(np.float64) @ hidden.T)[places]
    signs = 1 - 2.0 * tree.codes[at]
    return -np.add.reduceat(np.logaddexp(0, -signs[:, None] * dots), ends - lengths, axis=0)


