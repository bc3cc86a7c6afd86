"""Continuous bag of words on staged words, fast: the mean of all rows around a place predicts its word.

As in the original h is the mean of the rows of all context words together, so a word with more subwords weighs more,
and the error is added whole to each of the rows. See `staging`.
"""

from __future__ import annotations

import numpy as np

from polysemy.models.fasttext.staging import read_stretch, stage_words, unstage_words
from polysemy.models.kernels.compiling import kernel
from polysemy.models.kernels.drawing import draw_negatives
from polysemy.models.kernels.sentences import draw_reach
from polysemy.models.kernels.tiles import add_to_rows, axpy, clear, dots, errors_of, learn, prefetch

AHEAD = 2
SAMPLED = 63


@kernel
def cbow_negative(negatives: int, width: int):
    """The loop with negative sampling; arguments and results are those of `skipgram.skipgram_negative`."""
    columns = negatives + 1

    def run(tokens, at, until, stop, kept_below, starts, rows, table, inputs, outputs, window, rate, stretch, stage,
            state):
        words, ends, slots, kinds, slot_of, learned, before, addresses = stage
        drawn = np.empty((len(words), negatives), np.int32)
        x = np.empty(2 * window + 1, np.int64)
        share = np.empty(2 * window + 1, np.float32)
        o = np.empty(columns, np.int64)
        s = np.empty(columns + 16, np.float32)
        labels, rates = np.zeros(columns + 16, np.float32), np.zeros(columns + 16, np.float32)
        labels[0], rates[0] = 1, rate
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
            state = draw_negatives(state, table, drawn, length)
            begin = 0
            for sentence in range(sentences):
                end = ends[sentence]
                for i in range(begin, end):
                    if i + AHEAD < length:
                        prefetch(width, first_output + words[i + AHEAD] * row)
                        for k in range(negatives):
                            prefetch(width, first_output + drawn[i + AHEAD, k] * row)
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
                    o[0] = first_output + words[i] * row
                    for k in range(negatives):
                        o[k + 1] = first_output + drawn[i, k] * row
                        rates[k + 1] = np.float32(0) if drawn[i, k] == words[i] else rate
                    clear(width, h)
                    clear(width, e)
                    for j in range(contexts):
                        axpy(width, h, share[j] / total, x[j])
                    dots(1, columns, width, one_at, o_at, s_at)
                    if (i & SAMPLED) == 0:
                        loss += np.log(1 + np.exp(-s[0]))
                        for k in range(1, columns):
                            loss += np.log(1 + np.exp(s[k]))
                        measured += 1
                    errors_of(1, columns, s_at, l_at, r_at)
                    learn(columns, width, h, e, o_at, s_at)
                    add_to_rows(width, x_at, contexts, e)
                begin = end
            unstage_words(width, count, kinds, slot_of, starts, rows, first_input, learned_at, before_at, addresses)
        return at, read, loss, measured, state

    return run
