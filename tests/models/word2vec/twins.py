"""The fast loops of word2vec again, in plain Python and float64, with the same draws."""
from __future__ import annotations

import numpy as np
from scipy.special import expit

MASK = 2**64 - 1


class Draws:
    """xorshift."""

    def __init__(self, state: int) -> None:
        self.state = state

    def next(self) -> int:
        state = self.state
        state ^= (state << 13) & MASK
        state ^= state >> 7
        state ^= (state << 17) & MASK
        self.state = state
        return state

    def below(self, count: int) -> int:
        return ((self.next() >> 32) * count) >> 32

    def word(self, table: np.ndarray) -> int:
        """Of an alias table."""
        word = (self.next() >> 32) * len(table) >> 32
        share, other = divmod(int(table[word]), 2**32)
        return word if self.state % 2**32 < share else other


def sentences(tokens, kept_below, draws):
    """Each line's words that are kept; a generator, because windows and negatives are drawn between lines."""
    line = []
    for word in tokens.tolist():
        if word == -1:
            yield line
            line = []
        elif word >= 0 and draws.next() >> 40 < kept_below[word]:
            line.append(word)


def places(tokens, kept_below, draws, least, window, draw_negatives=lambda: None):
    """(word, context words, negatives) of each place, in the order of the fast loops."""
    for line in sentences(tokens, kept_below, draws):
        negatives = [draw_negatives() for _ in line]
        for i, word in enumerate(line):
            reach = least + draws.below(window - least + 1)
            context = line[max(0, i - reach) : i] + line[i + 1 : i + reach + 1]
            yield word, context, negatives[i]


def tiles(context, full):
    """The context in groups of `full`, then at most one of 2 and one of 1."""
    at = 0
    while at < len(context):
        count = next(size for size in (full, 2, 1) if size <= len(context) - at)
        yield context[at : at + count]
        at += count


def update(inputs, outputs, xs, os, g):
    """One output after the other from the inputs as they were; the inputs at the end."""
    x = inputs[xs]
    change = np.zeros_like(x)
    for k, row in enumerate(os):
        change += np.outer(g[:, k], outputs[row])
        outputs[row] += g[:, k] @ x
    np.add.at(inputs, xs, change)


def skipgram(inputs, outputs, walk, goals, rate, full, piece=100):
    """goals(word, negatives) -> (output rows, labels, rates as shares); a tile at a time, updates piece by piece."""
    for word, context, negatives in walk:
        os, labels, shares = goals(word, negatives)
        for xs in tiles(context, full):
            g = (labels - expit(inputs[xs] @ outputs[os].T)) * shares * rate
            for at in range(0, len(os), piece):
                update(inputs, outputs, xs, os[at : at + piece], g[:, at : at + piece])


def cbow(inputs, outputs, walk, goals, rate):
    """One mean vector a place; its error goes whole to each context word."""
    for word, context, negatives in walk:
        if context:
            os, labels, shares = goals(word, negatives)
            h = inputs[context].mean(0)
            g = (labels - expit(outputs[os] @ h)) * shares * rate
            error = np.zeros_like(h)
            for k, row in enumerate(os):
                error += g[k] * outputs[row]
                outputs[row] += g[k] * h
            np.add.at(inputs, context, error)


def negative_goals(word, negatives):
    """The word with label 1, negatives with label 0; one that is the word counts for nothing."""
    os = [word, *negatives]
    return os, np.array([1.0] + [0.0] * len(negatives)), np.array([1.0] + [float(n != word) for n in negatives])


def tree_goals(tree):
    """A word's path with labels 1 - code."""
    def goals(word, negatives):
        some = slice(tree.starts[word], tree.starts[word + 1])
        return tree.nodes[some].tolist(), 1.0 - tree.codes[some], np.ones(len(tree.nodes[some]))

    return goals
