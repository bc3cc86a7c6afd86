"""word2vec as the textbook and word2vec.c have it: pair by pair, one thread, the same bits for the same seed.

The orientation is word2vec.c's: in skip-gram each context word's input vector is the hidden vector h that predicts the
word in the middle; in CBOW h is the mean of the context's input vectors. One step is

    g = (label - sigmoid(u . h)) rate;   error += g u;   u += g h        for each output row u, one after the other,

then the error is added to each input vector that made h (whole, also for CBOW, as word2vec.c does it). Every pair draws
its own negatives; one that equals the target is skipped, not drawn again. Sigmoids are computed, so that nothing is cut
off at +-6. These loops are what the fast ones are judged by; they reach a tenth of their speed.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from polysemy.models.kernels.compiling import exactly, inlined
from polysemy.models.kernels.drawing import below, drawn_word, xorshift
from polysemy.models.kernels.sentences import LONGEST, read_sentence
from polysemy.models.word2vec.exact_softmax import learn_softmax

NEGATIVE, HIERARCHICAL, SOFTMAX = 0, 1, 2


class Targets(NamedTuple):
    """What a word is told apart from: the loss, and its table of negatives or its tree (`huffman.Tree`)."""

    loss: int
    negatives: int
    table: np.ndarray  # uint64, `drawing.alias_table`
    starts: np.ndarray  # int64
    nodes: np.ndarray  # int32
    codes: np.ndarray  # int8


@inlined
def sigmoid(x):
    """float32."""
    return np.float32(1) / (np.float32(1) + np.exp(-x))


@inlined
def clear(vector):
    """Make it 0."""
    for j in range(len(vector)):
        vector[j] = 0


@inlined
def add(vector, matrix, row):
    """vector += a row."""
    for j in range(len(vector)):
        vector[j] += matrix[row, j]


@exactly
def learn_row(hidden, error, outputs, row, label, rate):
    """One output row against one hidden vector: the row learns, its part of the error is added up."""
    score = np.float32(0)
    for j in range(len(hidden)):
        score += hidden[j] * outputs[row, j]
    g = (np.float32(label) - sigmoid(score)) * np.float32(rate)
    for j in range(len(hidden)):
        error[j] += g * outputs[row, j]
        outputs[row, j] += g * hidden[j]


@exactly
def learn_negative(hidden, error, target, negatives, outputs, rate):
    """The target with label 1, then each negative with label 0 unless it is the target."""
    clear(error)
    learn_row(hidden, error, outputs, target, 1, rate)
    for k in range(len(negatives)):
        if negatives[k] != target:
            learn_row(hidden, error, outputs, negatives[k], 0, rate)


@exactly
def learn_path(hidden, error, begin, end, nodes, codes, outputs, rate):
    """Each node of a path, nodes[begin:end] with root first, with label 1 - code."""
    clear(error)
    for n in range(begin, end):
        learn_row(hidden, error, outputs, nodes[n], 1 - codes[n], rate)


@exactly
def learn(hidden, error, target, targets, outputs, buffer, drawn, rate, state):
    """One step of whichever loss; returns the random state."""
    if targets.loss == NEGATIVE:
        for k in range(len(drawn)):
            state = xorshift(state)
            drawn[k] = drawn_word(state, targets.table)
        learn_negative(hidden, error, target, drawn, outputs, rate)
    elif targets.loss == HIERARCHICAL:
        learn_path(hidden, error, targets.starts[target], targets.starts[target + 1], targets.nodes, targets.codes,
                   outputs, rate)
    else:
        learn_softmax(hidden, error, target, outputs, buffer, rate)
    return state


@exactly
def plain(tokens, at, until, stop, kept_below, targets, inputs, outputs, least, window, rate, state, cbow):
    """Learn from the sentences that begin before `until`; arguments and results as in `skipgram_negative`.

    `targets` stands for its table, rows need no padding.
    """
    sentence, drawn = np.empty(LONGEST, np.int32), np.empty(targets.negatives, np.int32)
    hidden, error = np.empty(inputs.shape[1], np.float32), np.empty(inputs.shape[1], np.float32)
    buffer = np.empty(len(outputs), np.float32)
    words = 0
    while at < until:
        at, length, read, state = read_sentence(tokens, at, stop, kept_below, state, sentence)
        words += read
        for i in range(length):
            state = xorshift(state)
            reach = least + below(state, window - least + 1)
            low, high = max(0, i - reach), min(length, i + reach + 1)
            if high - low < 2:
                continue
            if cbow:
                clear(hidden)
                for j in range(low, high):
                    if j != i:
                        add(hidden, inputs, sentence[j])
                for d in range(len(hidden)):
                    hidden[d] /= np.float32(high - low - 1)
                state = learn(hidden, error, sentence[i], targets, outputs, buffer, drawn, rate, state)
            for j in range(low, high):
                if j != i:
                    if not cbow:
                        clear(hidden)
                        add(hidden, inputs, sentence[j])
                        state = learn(hidden, error, sentence[i], targets, outputs, buffer, drawn, rate, state)
                    for d in range(len(error)):
                        inputs[sentence[j], d] += error[d]
    return at, words, state
