"""Skip-gram with negative sampling, fast: the context words of a place share one draw of negatives.

The orientation is word2vec.c's: each context word's input vector v predicts the output vector u of the word in the
middle. Where the textbook draws negatives for each pair, one draw serves all pairs of a place (as in HogBatch, Ji et
al. 2016), so that the work is tiles of up to 4 context rows by 1 + negatives output rows, each taken as one step: all
errors of a tile are computed from the rows as they were. The number of negatives a pair meets is the textbook's.
A negative that is the middle word itself counts for nothing, as in word2vec.c. The sigmoid is computed, not looked up.
"""
from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import kernel
from polysemy.models.kernels.drawing import draw_negatives
from polysemy.models.kernels.sentences import LONGEST, draw_reach, read_sentence, rows_around
from polysemy.models.kernels.tiles import TILE_ROWS, dots, errors_of, keep, prefetch, update

AHEAD = 2
"""places between asking for rows and using them"""


@kernel
def skipgram_negative(negatives: int, width: int):
    """The loop for so many negatives and rows of `width` floats.

    (tokens, at, until, stop, kept_below, table, inputs, outputs, least, window, rate, state) -> (next place, words
    read, random state): sentences that begin before `until` are learned from, none reaches beyond `stop`. The window
    reaches `least` to `window` words to each side, drawn anew at each place.
    """
    full, columns = TILE_ROWS, negatives + 1

    def run(tokens, at, until, stop, kept_below, table, inputs, outputs, least, window, rate, state):
        sentence = np.empty(LONGEST, np.int32)
        drawn = np.empty((LONGEST, negatives), np.int32)
        x = np.empty(2 * window + full, np.int64)
        o = np.empty(columns, np.int64)
        s = np.empty(full * columns + 16, np.float32)
        labels, rates = np.zeros(columns + 16, np.float32), np.zeros(columns + 16, np.float32)
        labels[0], rates[0] = 1, rate
        first_input, first_output, row = inputs.ctypes.data, outputs.ctypes.data, np.int64(width * 4)
        o_at, s_at, l_at, r_at = o.ctypes.data, s.ctypes.data, labels.ctypes.data, rates.ctypes.data
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
                o[0] = first_output + sentence[i] * row
                for k in range(negatives):
                    o[k + 1] = first_output + drawn[i, k] * row
                    rates[k + 1] = np.float32(0) if drawn[i, k] == sentence[i] else rate
                x_at = x.ctypes.data
                while count >= full:
                    dots(full, columns, width, x_at, o_at, s_at)
                    errors_of(full, columns, s_at, l_at, r_at)
                    update(full, columns, width, x_at, o_at, s_at)
                    x_at += 8 * full
                    count -= full
                if count >= 2:
                    dots(2, columns, width, x_at, o_at, s_at)
                    errors_of(2, columns, s_at, l_at, r_at)
                    update(2, columns, width, x_at, o_at, s_at)
                    x_at += 16
                    count -= 2
                if count:
                    dots(1, columns, width, x_at, o_at, s_at)
                    errors_of(1, columns, s_at, l_at, r_at)
                    update(1, columns, width, x_at, o_at, s_at)
        keep(x)
        keep(o)
        keep(s)
        keep(labels)
        keep(rates)
        return at, words, state

    return run
