"""The whole distribution of the next word, by one pass over what was seen after each suffix of the history.

A loop that scores every word of the vocabulary asks the same question V times. Here the shortest history gives all
words their probability; each longer one weights them all down by its back-off and overwrites those that it has seen,
which stand side by side in the tree.
"""
from __future__ import annotations

import numpy as np

from polysemy.models.ngram.scoring import Scorer
from polysemy.models.ngram.trie import Trie


def next_log10(trie: Trie, scorer: Scorer) -> np.ndarray:
    """float32 (V,): log10 of every id as the next one at a scorer's place, which does not move."""
    nodes = scorer.nodes[: scorer.length].tolist()
    if trie.absolute and nodes:
        weight = float(trie.backoffs[nodes[-1]]) if nodes[-1] >= 0 else trie.missing
        logs = np.full(trie.size, weight, np.float32)
        _overwrite(trie, nodes[-1], logs)
        return logs
    logs = np.array(trie.probabilities[: trie.size])
    for node in nodes:
        weight = trie.backoffs[node] if node >= 0 else np.float32(trie.missing)
        if weight:
            logs += weight
        _overwrite(trie, node, logs)
    return logs


def _overwrite(trie: Trie, node: int, logs: np.ndarray) -> None:
    if node >= 0:
        low, high = int(trie.first[node]), int(trie.first[node + 1])
        logs[trie.words[low:high]] = trie.probabilities[low:high]


def sample(logs: np.ndarray, random: np.random.Generator, temperature: float) -> int:
    """One id drawn with probability proportional to p ** (1 / temperature); the most likely one at temperature 0."""
    if temperature == 0:
        return int(logs.argmax())
    weights = np.power(10.0, (logs.astype(np.float64) - float(logs.max())) / temperature)
    sums = np.cumsum(weights)
    return int(min(np.searchsorted(sums, random.random() * sums[-1], side="right"), len(logs) - 1))
