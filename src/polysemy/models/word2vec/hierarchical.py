"""Hierarchical softmax, fast: the path of the word in the middle is shared by all context words of its window.

A path is taken in pieces of four nodes; the last piece is filled up with a row that nothing changes. The errors of a
whole path are computed from the rows as they were. Scores outside -6..6 are learned from as all others (word2vec.c and
gensim skip them, because their table of sigmoids ends there).
"""
from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import inlined, kernel
from polysemy.models.kernels.rows import FLOATS
from polysemy.models.kernels.sentences import LONGEST, draw_reach, read_sentence, rows_around
from polysemy.models.kernels.tiles import (
    TILE_ROWS,
    add_to_rows,
    clear,
    dots,
    errors_of,
    keep,
    learn,
    prefetch,
    sum_rows,
    update,
)

AHEAD = 2
"""places between asking for rows and using them"""
NEAR_ROOT = 5
"""so many nodes of each path are always in the cache"""
PIECE = 4
"""nodes of a path taken at once"""


@inlined
def lay_out(word, starts, nodes, codes, first, row, idle, rate, o, labels, rates):
    """Write a word's path into the tables of a tile; returns the number of pieces."""
    begin, end = starts[word], starts[word + 1]
    pieces = (end - begin + PIECE - 1) // PIECE
    for n in range(end - begin):
        o[n] = first + nodes[begin + n] * row
        labels[n] = np.float32(1 - codes[begin + n])
        rates[n] = rate
    for n in range(end - begin, pieces * PIECE):
        o[n] = idle
        rates[n] = 0
    return pieces


@kernel
def skipgram_hierarchical(width: int):
    """The loop for rows of `width` floats.

    As `skipgram_negative`, but for the table: (tokens, at, until, stop, kept_below, starts, nodes, codes, longest,
    inputs, outputs, least, window, rate, state), where `outputs` are the nodes and `longest` is the longest path.
    """
    full, piece, one, two = TILE_ROWS, PIECE, 1, 2

    def run(tokens, at, until, stop, kept_below, starts, nodes, codes, longest, inputs, outputs, least, window, rate,
            state):
        sentence = np.empty(LONGEST, np.int32)
        x, o = np.empty(2 * window + 1, np.int64), np.empty(longest + PIECE, np.int64)
        room = np.zeros(width + FLOATS, np.float32)
        idle = (room.ctypes.data + 63) // 64 * 64
        labels, rates = np.zeros(longest + 32, np.float32), np.zeros(longest + 32, np.float32)
        tile = full * PIECE
        s = np.empty((longest // PIECE + 2) * tile + 16, np.float32)
        first_input, first_output, row = inputs.ctypes.data, outputs.ctypes.data, np.int64(width * 4)
        words = 0
        while at < until:
            at, length, read, state = read_sentence(tokens, at, stop, kept_below, state, sentence)
            words += read
            for i in range(length):
                if i + AHEAD < length:
                    coming = sentence[i + AHEAD]
                    for n in range(starts[coming] + NEAR_ROOT, starts[coming + 1]):
                        prefetch(width, first_output + nodes[n] * row)
                    if i + AHEAD + window < length:
                        prefetch(width, first_input + sentence[i + AHEAD + window] * row)
                reach, state = draw_reach(state, least, window)
                count = rows_around(sentence, i, 0, length, reach, first_input, row, x)
                pieces = lay_out(sentence[i], starts, nodes, codes, first_output, row, idle, rate, o, labels, rates)
                x_at, o_at, s_at = x.ctypes.data, o.ctypes.data, s.ctypes.data
                l_at, r_at = labels.ctypes.data, rates.ctypes.data
                while count >= full:
                    for p in range(pieces):
                        dots(full, piece, width, x_at, o_at + p * 8 * piece, s_at + p * 4 * tile)
                        errors_of(full, piece, s_at + p * 4 * tile, l_at + p * 4 * piece, r_at + p * 4 * piece)
                    for p in range(pieces):
                        update(full, piece, width, x_at, o_at + p * 8 * piece, s_at + p * 4 * tile)
                    x_at += 8 * full
                    count -= full
                if count >= two:
                    for p in range(pieces):
                        dots(two, piece, width, x_at, o_at + p * 8 * piece, s_at + p * 4 * tile)
                        errors_of(two, piece, s_at + p * 4 * tile, l_at + p * 4 * piece, r_at + p * 4 * piece)
                    for p in range(pieces):
                        update(two, piece, width, x_at, o_at + p * 8 * piece, s_at + p * 4 * tile)
                    x_at += 16
                    count -= two
                if count:
                    for p in range(pieces):
                        dots(one, piece, width, x_at, o_at + p * 8 * piece, s_at + p * 4 * tile)
                        errors_of(one, piece, s_at + p * 4 * tile, l_at + p * 4 * piece, r_at + p * 4 * piece)
                    for p in range(pieces):
                        update(one, piece, width, x_at, o_at + p * 8 * piece, s_at + p * 4 * tile)
        keep(x)
        keep(o)
        keep(s)
        keep(labels)
        keep(rates)
        keep(room)
        return at, words, state

    return run


@kernel
def cbow_hierarchical(width: int):
    """The loop for rows of `width` floats; arguments and results as in `skipgram_hierarchical`, steps as in `cbow`."""
    piece, one = PIECE, 1

    def run(tokens, at, until, stop, kept_below, starts, nodes, codes, longest, inputs, outputs, least, window, rate,
            state):
        sentence = np.empty(LONGEST, np.int32)
        x, o, h = np.empty(2 * window + 1, np.int64), np.empty(longest + PIECE, np.int64), np.empty(1, np.int64)
        room = np.zeros(3 * width + FLOATS, np.float32)
        h[0] = (room.ctypes.data + 63) // 64 * 64
        e_at, idle = h[0] + width * 4, h[0] + width * 8
        labels, rates = np.zeros(longest + 32, np.float32), np.zeros(longest + 32, np.float32)
        s = np.empty(PIECE + 16, np.float32)
        first_input, first_output, row = inputs.ctypes.data, outputs.ctypes.data, np.int64(width * 4)
        x_at, o_at, s_at, l_at, r_at = (x.ctypes.data, o.ctypes.data, s.ctypes.data, labels.ctypes.data,
                                        rates.ctypes.data)
        words = 0
        while at < until:
            at, length, read, state = read_sentence(tokens, at, stop, kept_below, state, sentence)
            words += read
            for i in range(length):
                if i + AHEAD < length:
                    coming = sentence[i + AHEAD]
                    for n in range(starts[coming] + NEAR_ROOT, starts[coming + 1]):
                        prefetch(width, first_output + nodes[n] * row)
                    if i + AHEAD + window < length:
                        prefetch(width, first_input + sentence[i + AHEAD + window] * row)
                reach, state = draw_reach(state, least, window)
                count = rows_around(sentence, i, 0, length, reach, first_input, row, x)
                if not count:
                    continue
                pieces = lay_out(sentence[i], starts, nodes, codes, first_output, row, idle, rate, o, labels, rates)
                sum_rows(width, h[0], x_at, count, np.float32(1) / np.float32(count))
                clear(width, e_at)
                for p in range(pieces):
                    dots(one, piece, width, h.ctypes.data, o_at + p * 8 * piece, s_at)
                    errors_of(one, piece, s_at, l_at + p * 4 * piece, r_at + p * 4 * piece)
                    learn(piece, width, h[0], e_at, o_at + p * 8 * piece, s_at)
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
