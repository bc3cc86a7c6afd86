"""Copies of bfloat16 rows into the orders that `tile` reads, and rows of float32 back into bfloat16.

A word is two bfloat16 numbers that stand side by side, in 32 bits.  The orders:

by row    (token, e) bfloat16
turned    (e / 2 words, token): a product contracts over e
paired    (token / 2, e words): the numbers of two tokens side by side; a product contracts over tokens
"""
from __future__ import annotations

import numpy as np

from polysemy.machine_code import prefetch
from polysemy.nn.kernels.launch import apart, routine
from polysemy.nn.kernels.numbers import U, narrow, widen
from polysemy.nn.kernels.tile import LANES, transpose16

AHEAD = 12
"""rows asked for before they are copied: one head of a row is too short for the processor to see the pattern"""


@routine
def fill(row):
    """Zeros."""
    for c in range(row.shape[0]):
        row[c] = 0


@routine
def _copy(line, shift, copy):
    """One row plus bias."""
    for c in range(copy.shape[0]):
        copy[c] = narrow(widen(line[c]) + widen(shift[c]), copy[c])


@routine
def _rotate(line, shift, copy, cosine, sine):
    """One row plus bias, each pair (c, c + e/2) turned by its angle."""
    half = copy.shape[0] // 2
    for c in range(half):
        a, b = widen(line[c]) + widen(shift[c]), widen(line[half + c]) + widen(shift[half + c])
        copy[c] = narrow(a * cosine[c] - b * sine[c], copy[c])
        copy[half + c] = narrow(a * sine[c] + b * cosine[c], copy[c])


@routine
def _rotate_neighbors(line, shift, copy, cosine, sine):
    """One row plus bias, each pair (2 c, 2 c + 1) turned by its angle."""
    for c in range(copy.shape[0] // 2):
        a, b = widen(line[2 * c]) + widen(shift[2 * c]), widen(line[2 * c + 1]) + widen(shift[2 * c + 1])
        copy[2 * c] = narrow(a * cosine[c] - b * sine[c], copy[c])
        copy[2 * c + 1] = narrow(a * sine[c] + b * cosine[c], copy[c])


@routine
def by_row(source, first, count, at, bias, turns, target, padded):
    """`count` rows of one head (columns from `at`) plus bias, rotated where there are turns; zeros up to `padded` rows.

    `turns` is (cosines, sines, place of each token, whether neighbors make a pair); without cosines nothing turns.
    """
    apart()
    cosine, sine, places, neighbors = turns
    e = target.shape[1]
    shift = bias[at:at + e]
    ahead, stride = source.ctypes.data + 2 * ((first + AHEAD) * source.shape[1] + at), 2 * source.shape[1]
    for i in range(count):
        for line in range(0, 2 * e, 64):
            prefetch(ahead + i * stride + line)
        row = source[first + i, at:at + e]
        if cosine.shape[0] == 0:
            _copy(row, shift, target[i])
        elif neighbors:
            _rotate_neighbors(row, shift, target[i], cosine[places[first + i]], sine[places[first + i]])
        else:
            _rotate(row, shift, target[i], cosine[places[first + i]], sine[places[first + i]])
    for i in range(count, padded):
        fill(target[i])


@routine
def turn_back(rows, count, first, turns):
    """Gradients of rotated numbers to those of the numbers before, in place."""
    apart()
    cosine, sine, places, neighbors = turns
    if cosine.shape[0] == 0:
        return
    half = rows.shape[1] // 2
    for i in range(count):
        row, cos, sin = rows[i], cosine[places[first + i]], sine[places[first + i]]
        for c in range(half):
            lower, upper = (2 * c, 2 * c + 1) if neighbors else (c, half + c)
            a, b = row[lower], row[upper]
            row[lower], row[upper] = a * cos[c] + b * sin[c], b * cos[c] - a * sin[c]


@routine
def paired(source, target, count):
    """From rows (an even number) to pairs of rows."""
    apart()
    for i in range(count // 2):
        lower, upper, pair = source[2 * i], source[2 * i + 1], target[i]
        for c in range(source.shape[1]):
            pair[c] = U(lower[c]) | (U(upper[c]) << U(16))


@routine
def turned(source, target, count):
    """From rows (a multiple of LANES) to columns of words."""
    apart()
    words, stride = source.shape[1] // 2, target.shape[1]
    start, end = source.ctypes.data, target.ctypes.data
    for i in range(0, count, LANES):
        for c in range(0, words, LANES):
            transpose16(start + 4 * (i * words + c), words, end + 4 * (c * stride + i), stride)


@routine
def rounded(row, target, count):
    """`count` float32 as bfloat16."""
    for j in range(count):
        target[j] = narrow(row[j], target[j])


@routine
def pair_of(lower, upper, target, count):
    """Two rows of float32 as one of words."""
    for j in range(count):
        target[j] = U(narrow(lower[j], np.uint16(0))) | (U(narrow(upper[j], np.uint16(0))) << U(16))


@routine
def _add(row, total):
    for c in range(row.shape[0]):
        total[c] += row[c]


@routine
def write(source, count, target, first, at, total):
    """Rows of float32 into a head's columns as bfloat16; their sum is added to `total`."""
    apart()
    e = source.shape[1]
    sums = total[at:at + e]
    for i in range(count):
        rounded(source[i], target[first + i, at:at + e], e)
        _add(source[i], sums)
