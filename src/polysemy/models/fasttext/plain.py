"""The original's updates for word vectors, one by one on one thread: what the fast loops are held against.

For each pair (skip-gram) or place (bag of words): h = mean of the rows, then for the target and each drawn word, one
after the other, error = rate (label - sigmoid(u . h)), e += error u, u += error h; at the end e is added to each row,
undivided. A draw that is the target itself is drawn again. Every float operation happens as written, so the same seed
gives the same bits. Where we differ from the original: the sigmoid is computed, not looked up in a table of 512
places, and random numbers are our own.
"""

from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import exactly
from polysemy.models.kernels.drawing import drawn_word, xorshift
from polysemy.models.kernels.sentences import LONGEST, read_sentence

NEGATIVE, HIERARCHICAL, SOFTMAX = 0, 1, 2
KINDS = {"negative": NEGATIVE, "hierarchical": HIERARCHICAL, "softmax": SOFTMAX}
MOST_DRAWS = 100
"""draws for one negative; a vocabulary of one word has none"""


@exactly
def logistic(row, h, e, positive, rate):
    """row += rate (positive - sigmoid(row . h)) h and e += the same with the old row; returns the loss."""
    score = np.float32(0)
    for j in range(len(h)):
        score += row[j] * h[j]
    likely = np.float32(1) / (np.float32(1) + np.exp(-score))
    error = rate * (np.float32(positive) - likely)
    for j in range(len(h)):
        e[j] += error * row[j]
        row[j] += error * h[j]
    return -np.log(max(likely if positive else np.float32(1) - likely, np.float32(1e-30)))


@exactly
def full_softmax(outputs, h, e, target, rate, scores):
    """One step of the softmax over all rows of outputs; returns -log p_target."""
    size = len(h)
    for k in range(len(outputs)):
        scores[k] = 0
        for j in range(size):
            scores[k] += outputs[k, j] * h[j]
    most = scores.max()
    total = np.float32(0)
    for k in range(len(outputs)):
        scores[k] = np.exp(scores[k] - most)
        total += scores[k]
    for k in range(len(outputs)):
        error = rate * (np.float32(k == target) - scores[k] / total)
        for j in range(size):
            e[j] += error * outputs[k, j]
            outputs[k, j] += error * h[j]
    return -np.log(max(scores[target] / total, np.float32(1e-30)))


@exactly
def learn_target(bag, count, target, inputs, outputs, kind, negatives, table, paths, nodes, codes, rate, work, scores,
                 state):
    """One update: the mean of `count` rows of inputs, listed in bag, predicts the target. Returns (loss, state)."""
    h, e = work[0], work[1]
    size = len(h)
    h[:] = 0
    e[:] = 0
    for i in range(count):
        for j in range(size):
            h[j] += inputs[bag[i], j]
    for j in range(size):
        h[j] *= np.float32(1) / np.float32(count)
    loss = 0.0
    if kind == NEGATIVE:
        loss += logistic(outputs[target], h, e, True, rate)
        for _ in range(negatives):
            other = target
            draws = 0
            while other == target and draws < MOST_DRAWS:
                state = xorshift(state)
                other = drawn_word(state, table)
                draws += 1
            if other != target:
                loss += logistic(outputs[other], h, e, False, rate)
    elif kind == HIERARCHICAL:
        for at in range(paths[target], paths[target + 1]):
            loss += logistic(outputs[nodes[at]], h, e, codes[at] == 1, rate)
    else:
        loss += full_softmax(outputs, h, e, target, rate, scores)
    for i in range(count):
        for j in range(size):
            inputs[bag[i], j] += e[j]
    return loss, state


@exactly
def learn_plain(tokens, at, until, stop, kept_below, starts, rows, skipgram, kind, negatives, table, paths, nodes,
                codes, inputs, outputs, window, rate, longest, state):
    """Learn from the sentences that begin in at..until: (next place, words read, sum of losses, updates, state).

    longest: most rows of a word. The other arguments are those of the fast loops.
    """
    sentence = np.empty(LONGEST, np.int32)
    bag = np.empty(longest * 2 * window, np.int32)
    work = np.zeros((2, inputs.shape[1]), np.float32)
    scores = np.empty(len(outputs) if kind == SOFTMAX else 1, np.float32)
    read, loss, updates = 0, 0.0, 0
    while at < until:
        at, length, seen, state = read_sentence(tokens, at, stop, kept_below, state, sentence)
        read += seen
        for i in range(length):
            state = xorshift(state)
            reach = 1 + np.int64(((state >> np.uint64(32)) * np.uint64(window)) >> np.uint64(32))
            count = 0
            for j in range(max(0, i - reach), min(length, i + reach + 1)):
                if j == i:
                    continue
                word = sentence[i] if skipgram else sentence[j]
                if skipgram:
                    count = 0
                for place in range(starts[word], starts[word + 1]):
                    bag[count] = rows[place]
                    count += 1
                if skipgram:
                    found, state = learn_target(bag, count, sentence[j], inputs, outputs, kind, negatives, table, paths,
                                                nodes, codes, rate, work, scores, state)
                    loss += found
                    updates += 1
            if not skipgram and count:
                found, state = learn_target(bag, count, sentence[i], inputs, outputs, kind, negatives, table, paths,
                                            nodes, codes, rate, work, scores, state)
                loss += found
                updates += 1
    return at, read, loss, updates, state
