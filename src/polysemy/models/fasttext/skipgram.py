"""Skip-gram on staged words, fast: tiles of context words by one draw of negatives, as in word2vec's fast loop.

The original lets the word in the middle predict each neighbor; here, as in word2vec.c, each neighbor predicts the word
in the middle: over a text these are the same pairs. One draw of negatives serves all pairs of a place; a negative that
is the word itself counts for nothing (the original draws again). See `staging` for the subwords.
"""

from __future__ import annotations

import numpy as np

from polysemy.models.fasttext.staging import read_stretch, stage_words, unstage_words
from polysemy.models.kernels.compiling import kernel
from polysemy.models.kernels.drawing import draw_negatives
from polysemy.models.kernels.sentences import draw_reach, rows_around
from polysemy.models.kernels.tiles import TILE_ROWS, dots, errors_of, prefetch, update

AHEAD = 2
"""places between asking for rows and using them"""
SAMPLED = 63
"""the loss is measured at every 64th place, on one pair"""


@kernel
def skipgram_negative(negatives: int, width: int):
    """The loop with negative sampling for so many negatives and rows of `width` floats.

    (tokens, at, until, stop, kept_below, starts, rows, table, inputs, outputs, window, rate, stretch, stage, state) ->
    (next place, words read, sum of losses, pairs measured, random state): sentences that begin before `until` are
    learned from, none reaches beyond `stop`.
    """
    full, columns = TILE_ROWS, negatives + 1

    def run(tokens, at, until, stop, kept_below, starts, rows, table, inputs, outputs, window, rate, stretch, stage,
            state):
        words, ends, slots, kinds, slot_of, learned, before, addresses = stage
        drawn = np.empty((len(words), negatives), np.int32)
        x = np.empty(2 * window + full, np.int64)
        o = np.empty(columns, np.int64)
        s = np.empty(full * columns + 16, np.float32)
        labels, rates = np.zeros(columns + 16, np.float32), np.zeros(columns + 16, np.float32)
        labels[0], rates[0] = 1, rate
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
                    contexts = rows_around(slots, i, begin, end, reach, learned_at, row, x)
                    o[0] = first_output + words[i] * row
                    for k in range(negatives):
                        o[k + 1] = first_output + drawn[i, k] * row
                        rates[k + 1] = np.float32(0) if drawn[i, k] == words[i] else rate
                    x_at = x.ctypes.data
                    if contexts and (i & SAMPLED) == 0:
                        dots(1, columns, width, x_at, o_at, s_at)
                        loss += np.log(1 + np.exp(-s[0]))
                        for k in range(1, columns):
                            loss += np.log(1 + np.exp(s[k]))
                        measured += 1
                    while contexts >= full:
                        dots(full, columns, width, x_at, o_at, s_at)
                        errors_of(full, columns, s_at, l_at, r_at)
                        update(full, columns, width, x_at, o_at, s_at)
                        x_at += 8 * full
                        contexts -= full
                    if contexts >= 2:
                        dots(2, columns, width, x_at, o_at, s_at)
                        errors_of(2, columns, s_at, l_at, r_at)
                        update(2, columns, width, x_at, o_at, s_at)
                        x_at += 16
                        contexts -= 2
                    if contexts:
                        dots(1, columns, width, x_at, o_at, s_at)
                        errors_of(1, columns, s_at, l_at, r_at)
                        update(1, columns, width, x_at, o_at, s_at)
                begin = end
            unstage_words(width, count, kinds, slot_of, starts, rows, first_input, learned_at, before_at, addresses)
        return at, read, loss, measured, state

    return run
