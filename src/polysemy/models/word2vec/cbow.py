"""Continuous bag of words with negative sampling, fast: the mean of the context's input vectors predicts the word.

Each place is one textbook step (its negatives serve one mean vector), so this differs from the plain loop only in the
order of float operations and of random draws. As in word2vec.c the error is added whole to every context vector,
although the derivative of a mean would divide it by their number; gensim's default does the same.
"""
from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import kernel
from polysemy.models.kernels.drawing import draw_negatives
from polysemy.models.kernels.rows import FLOATS
from polysemy.models.kernels.sentences import LONGEST, draw_reach, read_sentence, rows_around
from polysemy.models.kernels.tiles import add_to_rows, clear, dots, errors_of, keep, learn, prefetch, sum_rows

AHEAD = 2
"""places between asking for rows and using them"""


@kernel
def cbow_negative(negatives: int, width: int):
    """The loop for so many negatives and rows of `width` floats; arguments and results as in `skipgram_negative`."""
    columns, one = negatives + 1, 1

    def run(tokens, at, until, stop, kept_below, table, inputs, outputs, least, window, rate, state):
        sentence = np.empty(LONGEST, np.int32)
        drawn = np.empty((LONGEST, negatives), np.int32)
        x, o, h = np.empty(2 * window + 1, np.int64), np.empty(columns, np.int64), np.empty(1, np.int64)
        room = np.zeros(2 * width + FLOATS, np.float32)
        h[0] = (room.ctypes.data + 63) // 64 * 64
        e_at = h[0] + width * 4
        s = np.empty(columns + 16, np.float32)
        labels, rates = np.zeros(columns + 16, np.float32), np.zeros(columns + 16, np.float32)
        labels[0], rates[0] = 1, rate
        first_input, first_output, row = inputs.ctypes.data, outputs.ctypes.data, np.int64(width * 4)
        x_at, o_at, s_at = x.ctypes.data, o.ctypes.data, s.ctypes.data
        words = 0
        while at < until:
            at, length, read, state = read_sentence(tokens, at, stop, kept_below, state, sentence)
            words += read
            state = draw_negatives(state, table, drawn, length)
            for i in range(length):
                if i + AHEAD < length:
                    prefetch(width, first_output + sentence[i + AHEAD] * row)
                    for k in range(negatives):
                        prefetch(width, first_output + drawn[i + AHEAD, k] * row)
                    if i + AHEAD + window < length:
                        prefetch(width, first_input + sentence[i + AHEAD + window] * row)
                reach, state = draw_reach(state, least, window)
                count = rows_around(sentence, i, 0, length, reach, first_input, row, x)
                if not count:
                    continue
                o[0] = first_output + sentence[i] * row
                for k in range(negatives):
                    o[k + 1] = first_output + drawn[i, k] * row
                    rates[k + 1] = np.float32(0) if drawn[i, k] == sentence[i] else rate
                sum_rows(width, h[0], x_at, count, np.float32(1) / np.float32(count))
                dots(one, columns, width, h.ctypes.data, o_at, s_at)
                errors_of(one, columns, s_at, labels.ctypes.data, rates.ctypes.data)
                clear(width, e_at)
                learn(columns, width, h[0], e_at, o_at, s_at)
                add_to_rows(width, x_at, count, e_at)
        keep(x)
        keep(o)
        keep(h)
        keep(s)
        keep(labels)
        keep(rates)
        keep(room)
        return at, words, state

    return run
