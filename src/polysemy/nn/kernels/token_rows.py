"""What stands between the products of a compiled Transformer: norms, activations, softmax, rounding, row by row.

Rows are float32.  Where input and output may be one array there is a routine of its own, for LLVM runs a loop one
number at a time when two of its arrays overlap.
"""
from __future__ import annotations

import numpy as np
from numba import carray

from polysemy.nn.kernels.activation import _gelu, _gelu_tanh, _quick_gelu, _relu
from polysemy.nn.kernels.launch import apart, pointer, routine
from polysemy.nn.kernels.numbers import F, exp, larger, nearest, root
from polysemy.nn.kernels.panels import LARGEST


@routine
def floats(address, count):
    return carray(pointer(address), (count if address != 0 else 0,), np.float32)


@routine
def grid(address, rows, columns):
    return carray(pointer(address), (rows, columns), np.float32)


@routine
def words_of(form, count):
    """Words of so many numbers."""
    return count if form == 0 else (count + 1) // 2 if form == 1 else (count + 3) // 4


@routine
def _moments(x, epsilon):
    """(mean, 1 / deviation) of a row."""
    d = x.shape[0]
    total = F(0)
    for i in range(d):
        total += x[i]
    mean = total / F(d)
    total = F(0)
    for i in range(d):
        total += (x[i] - mean) * (x[i] - mean)
    return mean, F(1) / root(total / F(d) + epsilon)


@routine
def norm(x, weight, shift, epsilon, out):
    apart()
    mean, rstd = _moments(x, epsilon)
    for i in range(x.shape[0]):
        out[i] = (x[i] - mean) * rstd * weight[i] + shift[i]


@routine
def norm_here(x, weight, shift, epsilon):
    """In place: with one array LLVM need not ask whether two overlap."""
    apart()
    mean, rstd = _moments(x, epsilon)
    for i in range(x.shape[0]):
        x[i] = (x[i] - mean) * rstd * weight[i] + shift[i]


@routine
def _whole16(x, out):
    """x as int16 up to LARGEST; what one of them is worth."""
    largest = F(1e-30)
    for i in range(x.shape[0]):
        largest = larger(largest, abs(x[i]))
    scale = F(LARGEST) / largest
    for i in range(x.shape[0]):
        out[i] = np.int16(np.int32(nearest(x[i] * scale)))
    return largest / F(LARGEST)


@routine
def _whole8(x, out):
    """x as 0..255 between its least and its largest number; (what one of them is worth, what 0 is worth)."""
    above, below = F(-3e38), F(-3e38)
    for i in range(x.shape[0]):
        above = larger(above, x[i])
        below = larger(below, -x[i])
    width = larger(above + below, F(1e-30))
    scale = F(255) / width
    for i in range(x.shape[0]):
        out[i] = np.uint8(np.int32(nearest((x[i] + below) * scale)))
    return width / F(255), -below


@routine
def round_row(form, x, address, worth):
    """One row into the format of the product, with zeros up to a whole word; `worth` gets (scale, shift)."""
    apart()
    n, steps = x.shape[0], words_of(form, x.shape[0])
    if form == 1:
        line16 = carray(pointer(address), (2 * steps,), np.int16)
        worth[0], worth[1] = _whole16(x, line16[:n]), F(0)
        for i in range(n, 2 * steps):
            line16[i] = 0
    else:
        line8 = carray(pointer(address), (4 * steps,), np.uint8)
        worth[0], worth[1] = _whole8(x, line8[:n])
        for i in range(n, 4 * steps):
            line8[i] = 0


@routine
def activated(x, none, kind, out):
    apart()
    if kind == 0:
        _gelu(x, none, out)
    elif kind == 1:
        _gelu_tanh(x, none, out)
    elif kind == 2:
        _quick_gelu(x, none, out)
    else:
        _relu(x, none, out)


@routine
def turn_pairs(x, cosine, sine, layout):
    """Each pair of coordinates turned by its angle: (i, i + half) in layout 1, neighbors in layout 2."""
    half = cosine.shape[0]
    for i in range(half):
        first, second = (i, half + i) if layout == 1 else (2 * i, 2 * i + 1)
        a, b = x[first], x[second]
        x[first] = a * cosine[i] - b * sine[i]
        x[second] = a * sine[i] + b * cosine[i]


@routine
def finish(line, worth, scales, sums, bias, form):
    """A row of a product as what it stands for."""
    apart()
    n = line.shape[0]
    if form == 0:
        for i in range(n):
            line[i] += bias[i]
    elif form == 1:
        scale = worth[0]
        for i in range(n):
            line[i] = line[i] * (scale * scales[i]) + bias[i]
    else:
        scale, shift = worth[0], worth[1]
        for i in range(n):
            line[i] = line[i] * (scale * scales[i]) + (shift * sums[i] + bias[i])


@routine
def plus(x, line):
    for i in range(x.shape[0]):
        x[i] += line[i]


@routine
def put(x, line):
    for i in range(x.shape[0]):
        x[i] = line[i]


@routine
def softmax_row(scores, low, high, width, factor):
    """factor * scores to exp(. - largest), 0 where nothing is seen; (largest, sum)."""
    apart()
    largest = F(-3e38)
    for j in range(width):
        largest = larger(largest, scores[j] * factor if low <= j < high else F(-3e38))
    total = F(0)
    for j in range(width):
        x = exp(scores[j] * factor - largest) if low <= j < high else F(0)
        scores[j] = x
        total += x
    return largest, total


@routine
def scaled(line, scale, out):
    for i in range(out.shape[0]):
        out[i] = line[i] * scale
