"""x + dropout(y + bias), norm(x), and the norm of that sum, each in one pass, forward and backward.

Numbers are read and written in their own format and worked on in float32, row by row in a thread's scratch.
"""
from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.dropout import kept
from polysemy.nn.kernels.launch import family, pointer, real, routine, run
from polysemy.nn.kernels.numbers import F, U, narrow, root, widen


@routine
def _plus(line, y, bias):
    """line += y + bias."""
    for j in range(line.shape[0]):
        line[j] += widen(y[j]) + widen(bias[j])


@routine
def _plus_thinned(line, y, bias, key, threshold, scale):
    """line += dropout(y + bias)."""
    for j in range(line.shape[0]):
        line[j] += (widen(y[j]) + widen(bias[j])) * scale if kept(key, j, threshold) else F(0)


@routine
def _read(line, x):
    for j in range(line.shape[0]):
        line[j] = widen(x[j])


@routine
def _write(line, out):
    for j in range(line.shape[0]):
        out[j] = narrow(line[j], out[j])


@routine
def _moments(line):
    """(mean, variance) of a row."""
    total = F(0)
    for j in range(line.shape[0]):
        total += line[j]
    mean = total / F(line.shape[0])
    total = F(0)
    for j in range(line.shape[0]):
        total += (line[j] - mean) * (line[j] - mean)
    return mean, total / F(line.shape[0])


@routine
def _scaled(line, mean, rstd, weight, shift, out):
    for j in range(line.shape[0]):
        out[j] = narrow((line[j] - mean) * rstd * widen(weight[j]) + widen(shift[j]), out[j])


@routine
def _forward_rows(x, y, bias, weight, shift, total, out, statistics, keys, choice, first, last):
    """`choice` is (y is there, dropout threshold, its scale, epsilon)."""
    has_y, threshold, scale, epsilon = choice
    line = np.empty(out.shape[1], np.float32)
    for r in range(first, last):
        _read(line, x[r])
        if has_y:
            if threshold > 0:
                _plus_thinned(line, y[r], bias, keys[r], threshold, scale)
            else:
                _plus(line, y[r], bias)
            _write(line, total[r])
        mean, variance = _moments(line)
        rstd = F(1) / root(variance + epsilon)
        statistics[r, 0], statistics[r, 1] = mean, rstd
        _scaled(line, mean, rstd, weight, shift, out[r])


@family
def _forward(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (13,), np.int64)
        n, d = a[0], a[1]
        x, y, bias = (carray(pointer(a[2]), (n, d), number), carray(pointer(a[3]), (n, d), number),
                      carray(pointer(a[4]), (d,), number))
        weight_shift, total, out = (carray(pointer(a[5]), (2, d), number), carray(pointer(a[6]), (n, d), number),
                                    carray(pointer(a[7]), (n, d), number))
        statistics, keys = carray(pointer(a[8]), (n, 2), np.float32), carray(pointer(a[9]), (n,), np.uint32)
        choice = a[3] != 0, U(a[10]), F(real(a[11])), F(real(a[12]))
        _forward_rows(x, y, bias, weight_shift[0], weight_shift[1], total, out, statistics, keys, choice,
                      n * part // parts, n * (part + 1) // parts)
    return share


@routine
def _back(dout, total, weight, mean, rstd, line, dweight, dshift):
    """Gradient of the row that was normed, in `line`; those of weight and shift are added up."""
    d = line.shape[0]
    mean1, mean2 = F(0), F(0)
    for j in range(d):
        change, normal = widen(dout[j]), (widen(total[j]) - mean) * rstd
        dweight[j] += change * normal
        dshift[j] += change
        change *= widen(weight[j])
        mean1 += change
        mean2 += change * normal
    mean1 /= F(d)
    mean2 /= F(d)
    for j in range(d):
        normal = (widen(total[j]) - mean) * rstd
        line[j] = (widen(dout[j]) * widen(weight[j]) - mean1 - normal * mean2) * rstd


@routine
def _thinned(line, dy, key, threshold, scale):
    """Gradient of what was dropped, in `line` and in dy."""
    for j in range(line.shape[0]):
        line[j] = line[j] * scale if kept(key, j, threshold) else F(0)
    _write(line, dy)


@routine
def _sum(line, dbias):
    for j in range(line.shape[0]):
        dbias[j] += line[j]


@routine
def _backward_rows(dout, total, weight, statistics, keys, dx, dy, sums, choice, first, last):
    """`choice` is (y is there, dropout threshold, its scale); dy is written where dropout makes it differ from dx."""
    has_y, threshold, scale = choice
    line = np.empty(dx.shape[1], np.float32)
    for r in range(first, last):
        _back(dout[r], total[r], weight, statistics[r, 0], statistics[r, 1], line, sums[0], sums[1])
        _write(line, dx[r])
        if has_y:
            if threshold > 0:
                _thinned(line, dy[r], keys[r], threshold, scale)
            _sum(line, sums[2])


@family
def _backward(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (13,), np.int64)
        n, d = a[0], a[1]
        dout, total, weight = (carray(pointer(a[3]), (n, d), number), carray(pointer(a[4]), (n, d), number),
                               carray(pointer(a[5]), (d,), number))
        statistics, keys = carray(pointer(a[6]), (n, 2), np.float32), carray(pointer(a[9]), (n,), np.uint32)
        dx, dy = carray(pointer(a[7]), (n, d), number), carray(pointer(a[8]), (n, d), number)
        sums = carray(pointer(a[12]), (parts, 3, d), np.float32)[part]
        choice = a[2] != 0, U(a[10]), F(real(a[11]))
        _backward_rows(dout, total, weight, statistics, keys, dx, dy, sums, choice, n * part // parts,
                       n * (part + 1) // parts)
    return share


@family
def _sum_forward(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (9,), np.int64)
        n, d = a[0], a[1]
        x, y, bias = (carray(pointer(a[2]), (n, d), number), carray(pointer(a[3]), (n, d), number),
                      carray(pointer(a[4]), (d,), number))
        out, keys = carray(pointer(a[5]), (n, d), number), carray(pointer(a[6]), (n,), np.uint32)
        threshold, scale = U(a[7]), F(real(a[8]))
        line = np.empty(d, np.float32)
        for r in range(n * part // parts, n * (part + 1) // parts):
            _read(line, x[r])
            if threshold > 0:
                _plus_thinned(line, y[r], bias, keys[r], threshold, scale)
            else:
                _plus(line, y[r], bias)
            _write(line, out[r])
    return share


@family
def _sum_backward(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (8,), np.int64)
        n, d = a[0], a[1]
        dout, dy = carray(pointer(a[2]), (n, d), number), carray(pointer(a[3]), (n, d), number)
        keys, threshold, scale = carray(pointer(a[4]), (n,), np.uint32), U(a[5]), F(real(a[6]))
        dbias, line = carray(pointer(a[7]), (parts, d), np.float32)[part], np.empty(d, np.float32)
        for r in range(n * part // parts, n * (part + 1) // parts):
            _read(line, dout[r])
            if threshold > 0:
                _thinned(line, dy[r], keys[r], threshold, scale)
            _sum(line, dbias)
    return share


def sum_forward(x: Tensor, y: Tensor, bias: Tensor, keys: Tensor | None, threshold: int, scale: float) -> Tensor:
    """x, y (n, d) contiguous, bias (d,)."""
    out = torch.empty_like(x)
    run(_sum_forward(x.dtype), *x.shape, x, y, bias, out, bias if keys is None else keys, threshold, scale)
    return out


def sum_backward(dout: Tensor, keys: Tensor | None, threshold: int, scale: float) -> tuple[Tensor, Tensor]:
    """(gradient of y, which is dout where nothing was dropped, gradient of the bias (d,) in float32)."""
    dy = dout if keys is None else torch.empty_like(dout)
    parts = torch.get_num_threads()
    dbias = torch.zeros(parts, dout.shape[1])
    run(_sum_backward(dout.dtype), *dout.shape, dout, dy, dout if keys is None else keys, threshold, scale, dbias,
        parts=parts)
    return dy, dbias.sum(0)


def norm_forward(x: Tensor, y: Tensor | None, bias: Tensor, weight_shift: Tensor, epsilon: float,
                 keys: Tensor | None, threshold: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """(out, what was normed, its mean and 1 / deviation (n, 2)).

    x, y (n, d) contiguous, bias (d,), weight_shift (2, d).
    """
    n, d = x.shape
    total = x if y is None else torch.empty_like(x)
    out, statistics = torch.empty_like(x), torch.empty(n, 2)
    run(_forward(x.dtype), n, d, x, 0 if y is None else y, bias, weight_shift, total, out, statistics,
        statistics if keys is None else keys, threshold, scale, epsilon)
    return out, total, statistics


def norm_backward(dout: Tensor, total: Tensor, weight: Tensor, statistics: Tensor, keys: Tensor | None, threshold: int,
                  scale: float, has_y: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(dx, dy, gradients of weight, shift and bias (3, d) in float32); dy is dx where nothing was dropped."""
    n, d = dout.shape
    dx = torch.empty_like(dout)
    dy = torch.empty_like(dout) if keys is not None and has_y else dx
    parts = torch.get_num_threads()
    sums = torch.zeros(parts, 3, d)
    run(_backward(dout.dtype), n, d, int(has_y), dout, total, weight, statistics, dx, dy,
        statistics if keys is None else keys, threshold, scale, sums, parts=parts)
    return dx, dy, sums.sum(0)
