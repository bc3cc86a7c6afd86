"""Scores one token after another on the tree as it lies on disk: nothing to prepare, for texts of any length.

The state of a scorer is, for k = 1 .. order - 1, the node of the last k words (-1: none) and how many words there are.
"""
from __future__ import annotations

import numpy as np

from polysemy.machine_code import compiled
from polysemy.models.ngram.stream import BOUNDARY
from polysemy.models.ngram.trie import Trie


@compiled
def find_child(words, first, node, word):
    """The node of `node` with one more word, -1 when it has none."""
    low = first[node]
    end = first[node + 1]
    high = min(end, low + word + 1)  # the children are different words in order, so not more than `word` come before it
    while low < high:
        middle = low + (high - low) // 2
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < end and words[low] == word else -1


@compiled
def step(words, probabilities, backoffs, first, missing, absolute, nodes, length, word, found):
    """Score `word` after a state; returns (log10, words of history matched, words there are now).

    nodes  (order - 1,) the state, changed in place; `found` is room of the same size
    """
    log = np.float64(probabilities[word])
    matched = 0
    for k in range(length):
        if nodes[k] < 0:
            break
        child = find_child(words, first, nodes[k], word)
        if child < 0:
            break
        log = np.float64(probabilities[child])
        matched = k + 1
        if matched < len(found):
            found[matched] = child
    if absolute:
        if matched < length:
            log = np.float64(backoffs[nodes[length - 1]]) if nodes[length - 1] >= 0 else missing
    else:
        for k in range(matched, length):
            log += np.float64(backoffs[nodes[k]]) if nodes[k] >= 0 else missing
    if len(nodes) == 0:
        return log, matched, 0
    nodes[0] = word
    if word == BOUNDARY:
        nodes[1:] = -1
        return log, matched, 1
    for k in range(1, len(nodes)):
        nodes[k] = found[k] if k <= matched else -1
    return log, matched, min(length + 1, len(nodes))


@compiled
def advance(words, probabilities, backoffs, first, missing, absolute, nodes, length, ids, logs, orders):
    """Score ids in turn; writes log10 and the order of the n-gram that was used. Returns the words there are now."""
    found = np.full(len(nodes), -1, np.int32)
    for i in range(len(ids)):
        log, matched, length = step(words, probabilities, backoffs, first, missing, absolute, nodes, length, ids[i],
                                    found)
        logs[i] = log
        orders[i] = matched + 1
    return length


@compiled
def score_windows(words, probabilities, backoffs, first, missing, absolute, start, length, candidates, right, logs):
    """For each candidate, log10 of it and of the words on its right, after one state that is left as it was."""
    nodes, found = start.copy(), np.full(len(start), -1, np.int32)
    for i in range(len(candidates)):
        nodes[:] = start
        log, _, now = step(words, probabilities, backoffs, first, missing, absolute, nodes, length, candidates[i],
                           found)
        logs[i] = log
        for j in range(len(right)):
            log, _, now = step(words, probabilities, backoffs, first, missing, absolute, nodes, now, right[j], found)
            logs[i] += log


class Scorer:
    """A place in a text: what stands before decides how likely the next words are.

    after_boundary  begin as at the start of a sentence; else without any history
    """

    def __init__(self, trie: Trie, *, after_boundary: bool = True) -> None:
        self.arrays = (trie.words, trie.probabilities, trie.backoffs, trie.first, trie.missing, trie.absolute)
        self.nodes = np.full(trie.order - 1, -1, np.int32)
        self.length = 0
        if after_boundary and trie.order > 1:
            self.nodes[0], self.length = BOUNDARY, 1

    def advance(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read ids; returns (log10 float64, order of the n-gram used int64) of each, and stands behind them."""
        ids = np.asarray(ids, np.int32)
        logs, orders = np.empty(len(ids)), np.empty(len(ids), np.int64)
        self.length = advance(*self.arrays, self.nodes, self.length, ids, logs, orders)
        return logs, orders

    def windows(self, candidates: np.ndarray, right: np.ndarray) -> np.ndarray:
        """float64: log10 of each candidate here together with the ids that follow it; the place does not move."""
        logs = np.empty(len(candidates))
        candidates, right = np.asarray(candidates, np.int32), np.asarray(right, np.int32)
        score_windows(*self.arrays, self.nodes, self.length, candidates, right, logs)
        return logs
