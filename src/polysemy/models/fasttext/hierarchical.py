"""Hierarchical softmax on staged words, fast: the nodes of a word's path are taken four at a time.

For skip-gram the path of the word in the middle is shared by all its neighbors, which are tiles of rows; for the
continuous bag of words there is one row, the mean. Codes are fastText's: 1 is the positive side (see `huffman`).
"""

from __future__ import annotations

import numpy as np

from polysemy.models.fasttext.staging import read_stretch, stage_words, unstage_words
from polysemy.models.kernels.compiling import inlined, kernel
from polysemy.models.kernels.sentences import draw_reach, rows_around
from polysemy.models.kernels.tiles import add_to_rows, axpy, clear, dots, errors_of, learn, prefetch, update

NODES = 4
PREFETCHED = 5
"""nodes near the root are always in the cache"""
SAMPLED = 63


@inlined
def path_loss(scores, labels, count):
    """Minus the log-probability of going these ways at `count` nodes."""
    loss = 0.0
    for k in range(count):
        loss += np.log(1 + np.exp(-scores[k] if labels[k] > 0 else scores[k]))
    return loss


@kernel
def skipgram_hierarchical(width: int):
    """The loop for rows of `width` floats.

    (tokens, at, until, stop, kept_below, starts, rows, paths, nodes, codes, inputs, outputs, window, rate, stretch,
    stage, state) -> as `skipgram.skipgram_negative`.
    """
    def run(tokens, at, until, stop, kept_below, starts, rows, paths, nodes, codes, inputs, outputs, window, rate,
            stretch, stage, state):
        words, ends, slots, kinds, slot_of, learned, before, addresses = stage
        x = np.empty(2 * window + 1, np.int64)
        o = np.empty(NODES, np.int64)
        s = np.empty(2 * NODES + 16, np.float32)
        labels, rates = np.zeros(NODES + 16, np.float32), np.full(NODES + 16, rate, np.float32)
        first_input, first_output, row = inputs.ctypes.data, outputs.ctypes.data, np.int64(width * 4)
        learned_at, before_at = learned.ctypes.data, before.ctypes.data
        o_at, s_at, l_at, r_at = o.ctypes.data, s.ctypes.data, labels.ctypes.data, rates.ctypes.data
        read, loss, measured = 0, 0.0, 0
        while at < until:
            at, length, sentences, seen, state = read_stretch(
                tokens, at, until, stop, kept_below, state, words, ends, stretch)
            read += seen
            count = stage_words(width, words, length, slots, kinds, slot_of, starts, rows, first_input, learned_at,
                                before_at, addresses)
            begin = 0
            for sentence in range(sentences):
                end = ends[sentence]
                for i in range(begin, end):
                    if i + 1 < length:
                        for node in range(paths[words[i + 1]] + PREFETCHED, paths[words[i + 1] + 1]):
                            prefetch(width, first_output + nodes[node] * row)
                    reach, state = draw_reach(state, 1, window)
                    contexts = rows_around(slots, i, begin, end, reach, learned_at, row, x)
                    sampled = contexts > 0 and (i & SAMPLED) == 0
                    measured += sampled
                    node, last = paths[words[i]], paths[words[i] + 1]
                    while node < last:
                        taken = NODES if last - node >= NODES else 1
                        for k in range(taken):
                            o[k] = first_output + nodes[node + k] * row
                            labels[k] = codes[node + k]
                        if sampled:
                            dots(1, NODES, width, x.ctypes.data, o_at, s_at)
                            loss += path_loss(s, labels, taken)
                        x_at, left = x.ctypes.data, contexts
                        if taken == NODES:
                            while left >= 2:
                                dots(2, NODES, width, x_at, o_at, s_at)
                                errors_of(2, NODES, s_at, l_at, r_at)
                                update(2, NODES, width, x_at, o_at, s_at)
                                x_at += 16
                                left -= 2
                            if left:
                                dots(1, NODES, width, x_at, o_at, s_at)
                                errors_of(1, NODES, s_at, l_at, r_at)
                                update(1, NODES, width, x_at, o_at, s_at)
                        else:
                            while left >= 2:
                                dots(2, 1, width, x_at, o_at, s_at)
                                errors_of(2, 1, s_at, l_at, r_at)
                                update(2, 1, width, x_at, o_at, s_at)
                                x_at += 16
                                left -= 2
                            if left:
                                dots(1, 1, width, x_at, o_at, s_at)
                                errors_of(1, 1, s_at, l_at, r_at)
                                update(1, 1, width, x_at, o_at, s_at)
                        node += taken
                begin = end
            unstage_words(width, count, kinds, slot_of, starts, rows, first_input, learned_at, before_at, addresses)
        return at, read, loss, measured, state

    return run


@kernel
def cbow_hierarchical(width: int):
    """The loop for rows of `width` floats; arguments and results are those of `skipgram_hierarchical`."""
    def run(tokens, at, until, stop, kept_below, starts, rows, paths, nodes, codes, inputs, outputs, window, rate,
            stretch, stage, state):
        words, ends, slots, kinds, slot_of, learned, before, addresses = stage
        x = np.empty(2 * window + 1, np.int64)
        share = np.empty(2 * window + 1, np.float32)
        o = np.empty(NODES, np.int64)
        s = np.empty(NODES + 16, np.float32)
        labels, rates = np.zeros(NODES + 16, np.float32), np.full(NODES + 16, rate, np.float32)
        hidden = np.zeros((2, width), np.float32)
        one = np.empty(1, np.int64)
        one[0] = hidden.ctypes.data
        first_input, first_output, row = inputs.ctypes.data, outputs.ctypes.data, np.int64(width * 4)
        learned_at, before_at = learned.ctypes.data, before.ctypes.data
        h, e = hidden.ctypes.data, hidden.ctypes.data + row
        one_at, x_at, o_at, s_at = one.ctypes.data, x.ctypes.data, o.ctypes.data, s.ctypes.data
        l_at, r_at = labels.ctypes.data, rates.ctypes.data
        read, loss, measured = 0, 0.0, 0
        while at < until:
            at, length, sentences, seen, state = read_stretch(
                tokens, at, until, stop, kept_below, state, words, ends, stretch)
            read += seen
            count = stage_words(width, words, length, slots, kinds, slot_of, starts, rows, first_input, learned_at,
                                before_at, addresses)
            begin = 0
            for sentence in range(sentences):
                end = ends[sentence]
                for i in range(begin, end):
                    if i + 1 < length:
                        for node in range(paths[words[i + 1]] + PREFETCHED, paths[words[i + 1] + 1]):
                            prefetch(width, first_output + nodes[node] * row)
                    reach, state = draw_reach(state, 1, window)
                    contexts, total = 0, np.float32(0)
                    for j in range(max(begin, i - reach), min(end, i + reach + 1)):
                        if j != i:
                            x[contexts] = learned_at + slots[j] * row
                            share[contexts] = np.float32(starts[words[j] + 1] - starts[words[j]])
                            total += share[contexts]
                            contexts += 1
                    if contexts == 0:
                        continue
                    clear(width, h)
                    clear(width, e)
                    for j in range(contexts):
                        axpy(width, h, share[j] / total, x[j])
                    sampled = (i & SAMPLED) == 0
                    measured += sampled
                    node, last = paths[words[i]], paths[words[i] + 1]
                    while node < last:
                        taken = NODES if last - node >= NODES else 1
                        for k in range(taken):
                            o[k] = first_output + nodes[node + k] * row
                            labels[k] = codes[node + k]
                        if taken == NODES:
                            dots(1, NODES, width, one_at, o_at, s_at)
                            if sampled:
                                loss += path_loss(s, labels, taken)
                            errors_of(1, NODES, s_at, l_at, r_at)
                            learn(NODES, width, h, e, o_at, s_at)
                        else:
                            dots(1, 1, width, one_at, o_at, s_at)
                            if sampled:
                                loss += path_loss(s, labels, taken)
                            errors_of(1, 1, s_at, l_at, r_at)
                            learn(1, width, h, e, o_at, s_at)
                        node += taken
                    add_to_rows(width, x_at, contexts, e)
                begin = end
            unstage_words(width, count, kinds, slot_of, starts, rows, first_input, learned_at, before_at, addresses)
        return at, read, loss, measured, state

    return run
