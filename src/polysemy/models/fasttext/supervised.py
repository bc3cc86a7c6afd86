"""The classifier's updates: a document is the mean h of its rows, a linear layer on h gives its label.

One loop serves both algorithms: alone on one thread it makes the original's updates in the original's order, with its
rate, which falls after each 100 words; on several threads all write to the same matrices without locks, as there.
Where we differ from the original: sigmoid and logarithm are computed, not looked up in tables of 512 places.
"""

from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import compiled, kernel
from polysemy.models.kernels.drawing import xorshift
from polysemy.models.kernels.tiles import add_to_rows, clear, prefetch, sum_rows

SOFTMAX, OVA, HIERARCHICAL = 0, 1, 2
KINDS = {"softmax": SOFTMAX, "ova": OVA, "hierarchical": HIERARCHICAL}
UPDATE_WORDS = 100
"""words between changes of the learning rate"""


SCRATCH_ROWS = 2


@compiled
def softmax_step(outputs, h, e, target, rate, scores):
    """outputs[l] += rate (1[l = target] - p_l) h and e += the same with outputs' old rows; returns -log p_target."""
    num_labels, width = outputs.shape
    most = np.float32(-np.inf)
    for label in range(num_labels):
        score = np.float32(0)
        for j in range(width):
            score += outputs[label, j] * h[j]
        scores[label] = score
        most = max(most, score)
    total = np.float32(0)
    for label in range(num_labels):
        scores[label] = np.exp(scores[label] - most)
        total += scores[label]
    for label in range(num_labels):
        error = rate * (np.float32(label == target) - scores[label] / total)
        for j in range(width):
            old = outputs[label, j]
            e[j] += error * old
            outputs[label, j] = old + error * h[j]
    return -np.log(max(scores[target] / total, np.float32(1e-30)))


@compiled
def logistic_step(row, h, e, positive, rate):
    """row += rate (positive - sigmoid(row . h)) h and e += the same with the old row; returns the loss."""
    score = np.float32(0)
    for j in range(len(h)):
        score += row[j] * h[j]
    likely = np.float32(1) / (np.float32(1) + np.exp(-score))
    error = rate * (np.float32(positive) - likely)
    for j in range(len(h)):
        old = row[j]
        e[j] += error * old
        row[j] = old + error * h[j]
    return -np.log(max(likely if positive else np.float32(1) - likely, np.float32(1e-30)))


@kernel
def learn_labels(width: int):
    """The loop for rows of `width` floats.

    (order, rows, starts, labels, label_starts, words, first, last, inputs, outputs, paths, nodes, codes, kind, rate,
    slope, scratch, state) -> (sum of losses, documents learned from, words read, random state): the documents
    order[first:last], one after the other. The rate of a document is rate - slope * (words read so far, in steps of
    more than 100). words[d]: how many words document d counts for. scratch: two aligned rows.
    """
    def run(order, rows, starts, labels, label_starts, words, first, last, inputs, outputs, paths, nodes, codes, kind,
            rate, slope, scratch, state):
        longest = 1
        for document in order[first:last]:
            longest = max(longest, starts[document + 1] - starts[document])
        x = np.empty(longest, np.int64)
        scores = np.empty(len(outputs), np.float32)
        h, e = scratch[0], scratch[1]
        x_at, h_at, e_at, base = x.ctypes.data, h.ctypes.data, e.ctypes.data, inputs.ctypes.data
        row = np.int64(width * 4)
        loss, learned, read, pending = 0.0, 0, 0, 0
        now = np.float32(rate)
        for document in order[first:last]:
            begin, count = starts[document], starts[document + 1] - starts[document]
            choices = label_starts[document + 1] - label_starts[document]
            pending += words[document]
            if count and choices:
                for i in range(count):
                    x[i] = base + rows[begin + i] * row
                for i in range(count):
                    prefetch(width, x[i])
                sum_rows(width, h_at, x_at, count, np.float32(1) / np.float32(count))
                clear(width, e_at)
                chosen = label_starts[document]
                if choices > 1 and kind != OVA:
                    state = xorshift(state)
                    chosen += np.int64((state >> np.uint64(32)) % np.uint64(choices))
                target = labels[chosen]
                if kind == SOFTMAX:
                    loss += softmax_step(outputs, h, e, target, now, scores)
                elif kind == OVA:
                    for label in range(len(outputs)):
                        positive = False
                        for at in range(label_starts[document], label_starts[document + 1]):
                            positive |= labels[at] == label
                        loss += logistic_step(outputs[label], h, e, positive, now)
                else:
                    for at in range(paths[target], paths[target + 1]):
                        loss += logistic_step(outputs[nodes[at]], h, e, codes[at] == 1, now)
                for j in range(width):
                    e[j] /= count
                add_to_rows(width, x_at, count, e_at)
                learned += 1
            if pending > UPDATE_WORDS:
                read += pending
                pending = 0
                now = np.float32(max(rate - slope * read, 0.0))
        return loss, learned, read + pending, state

    return run
