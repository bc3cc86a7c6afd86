"""The loops of fastText in slow Python, from the papers and the original's sources: what compiled ones must equal."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MASK = (1 << 64) - 1


class Draws:
    """xorshift64 (13, 7, 17) on Python numbers."""

    def __init__(self, state: int) -> None:
        self.state = state

    def next(self) -> int:
        self.state ^= (self.state << 13) & MASK
        self.state ^= self.state >> 7
        self.state ^= (self.state << 17) & MASK
        return self.state

    def below(self, window: int) -> int:
        return 1 + (((self.next() >> 32) * window & MASK) >> 32)

    def word(self, table: np.ndarray) -> int:
        word = (self.next() >> 32) * len(table) >> 32
        share, other = divmod(int(table[word]), 2**32)
        return word if self.state % 2**32 < share else other


def sentences(tokens: np.ndarray, kept_below: np.ndarray, draws: Draws) -> Iterator[list[int]]:
    """Each sentence without the words that are dropped at random."""
    sentence: list[int] = []
    for word in tokens.tolist():
        if word == -1:
            yield sentence
            sentence = []
        elif word >= 0 and (draws.next() >> 40) < kept_below[word]:
            sentence.append(word)
    if sentence:
        yield sentence


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def neighbors(sentence: list[int], i: int, reach: int) -> list[int]:
    return [j for j in range(max(0, i - reach), min(len(sentence), i + reach + 1)) if j != i]


def step(outputs: np.ndarray, target: int, h: np.ndarray, choices: list[tuple[int, float]], rate: float) -> np.ndarray:
    """Change output rows one after the other; returns the error for the input."""
    e = np.zeros_like(h)
    for row, label in choices:
        error = rate * (label - sigmoid(outputs[row] @ h))
        e += error * outputs[row]
        outputs[row] += error * h
    return e


def path_of(tree, word: int) -> list[tuple[int, float]]:
    places = range(tree.starts[word], tree.starts[word + 1])
    return [(int(tree.nodes[at]), float(tree.codes[at])) for at in places]


def plain(tokens, kept_below, rows_of, mode, loss, negatives, table, tree, inputs, outputs, window, rate,
          state) -> None:
    """The original's updates in float64, in place; rows_of: the rows of each word."""
    draws = Draws(state)
    for sentence in sentences(tokens, kept_below, draws):
        for i, word in enumerate(sentence):
            near = neighbors(sentence, i, draws.below(window))
            pairs = [(rows_of[word], sentence[j]) for j in near] if mode == "skipgram" else (
                [([row for j in near for row in rows_of[sentence[j]]], word)] if near else [])
            for bag, target in pairs:
                h = np.mean([inputs[row] for row in bag], axis=0)
                if loss == "softmax":
                    scores = outputs @ h
                    p = np.exp(scores - scores.max())
                    error = rate * (np.eye(len(outputs))[target] - p / p.sum())
                    e = error @ outputs
                    outputs += np.outer(error, h)
                else:
                    choices = path_of(tree, target) if loss == "hierarchical" else [(target, 1.0)]
                    if loss == "negative":
                        while len(choices) <= negatives:
                            if (other := draws.word(table)) != target:
                                choices.append((other, 0.0))
                    e = step(outputs, target, h, choices, rate)
                for row in bag:
                    inputs[row] += e


def fast(tokens, kept_below, rows_of, mode, loss, negatives, table, tree, inputs, outputs, window, rate, state, stretch,
         tile) -> None:
    """What the staged loops do, in float64, in place; tile: rows of the largest tile."""
    draws = Draws(state)
    source = sentences(tokens, kept_below, draws)
    while True:
        part: list[list[int]] = []
        while sum(map(len, part)) < stretch and (sentence := next(source, None)) is not None:
            part.append(sentence)
        if not part:
            return
        words = [word for sentence in part for word in sentence]
        stage = {word: np.mean([inputs[row] for row in rows_of[word]], axis=0) for word in words}
        before = {word: value.copy() for word, value in stage.items()}
        drawn = [[draws.word(table) for _ in range(negatives)] for _ in words] if loss == "negative" else None
        place = 0
        for sentence in part:
            for i, word in enumerate(sentence):
                near = [sentence[j] for j in neighbors(sentence, i, draws.below(window))]
                choices = path_of(tree, word) if loss == "hierarchical" else [
                    (word, 1.0), *((other, 0.0) for other in drawn[place] if other != word)]
                place += 1
                learn = _skipgram if mode == "skipgram" else _bag
                learn(stage, near, choices, outputs, rate, tile, loss, rows_of)
        for word, value in stage.items():
            for row in rows_of[word]:
                inputs[row] += value - before[word]


def _groups(choices, loss):
    if loss == "negative":
        return [choices]
    whole = len(choices) // 4 * 4
    return [choices[k : k + 4] for k in range(0, whole, 4)] + [[choice] for choice in choices[whole:]]


def _skipgram(stage, near, choices, outputs, rate, tile, loss, rows_of) -> None:
    largest = tile if loss == "negative" else 2
    for group in _groups(choices, loss):
        left = list(near)
        while left:
            size = largest if len(left) >= largest else 2 if len(left) >= 2 else 1
            taken, left = left[:size], left[size:]
            h = np.array([stage[word] for word in taken])
            o = np.array([outputs[row] for row, _ in group])
            errors = rate * (np.array([label for _, label in group]) - sigmoid(h @ o.T))
            changes = np.zeros_like(h)
            for (row, _), error in zip(group, errors.T, strict=True):  # a row given twice: from what the first left
                changes += np.outer(error, outputs[row])
                outputs[row] += error @ h
            for word, change in zip(taken, changes, strict=True):
                stage[word] += change


def _bag(stage, near, choices, outputs, rate, tile, loss, rows_of) -> None:
    if not near:
        return
    shares = np.array([len(rows_of[word]) for word in near], float)
    h = (shares / shares.sum()) @ np.array([stage[word] for word in near])
    e = np.zeros_like(h)
    for group in _groups(choices, loss):
        scores = [outputs[row] @ h for row, _ in group]
        for (row, label), score in zip(group, scores, strict=True):
            error = rate * (label - sigmoid(score))
            e += error * outputs[row]
            outputs[row] += error * h
    for word in near:
        stage[word] += e
