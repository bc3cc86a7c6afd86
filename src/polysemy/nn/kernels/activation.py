"""activation(x + bias), forward and backward, in one pass each."""
from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import family, inlined, pointer, routine, run
from polysemy.nn.kernels.numbers import F, exp, narrow, widen

KINDS = {"gelu": 0, "gelu_tanh": 1, "quick_gelu": 2, "relu": 3}


@inlined
def _normal(x):
    """(share of the normal distribution below x, its density at x): Abramowitz and Stegun 7.1.26, within 1e-7."""
    z = abs(x)
    bell = exp(F(-0.5) * z * z)
    t = F(1) / (F(1) + F(0.23164189) * z)  # 0.3275911 / root 2
    tail = F(0.5) * bell * t * (F(0.254829592) + t * (F(-0.284496736) + t * (
        F(1.421413741) + t * (F(-1.453152027) + t * F(1.061405429)))))
    return (F(1) - tail if x > F(0) else tail), F(0.3989422804) * bell


@inlined
def _sigmoid(x):
    return F(1) / (F(1) + exp(-x))


@routine
def _gelu(x, bias, out):
    for j in range(x.shape[0]):
        u = widen(x[j]) + widen(bias[j])
        below, _ = _normal(u)
        out[j] = narrow(u * below, out[j])


@routine
def _gelu_tanh(x, bias, out):
    for j in range(x.shape[0]):
        u = widen(x[j]) + widen(bias[j])
        out[j] = narrow(u * _sigmoid(F(1.5957691216) * (u + F(0.044715) * u * u * u)), out[j])


@routine
def _quick_gelu(x, bias, out):
    for j in range(x.shape[0]):
        u = widen(x[j]) + widen(bias[j])
        out[j] = narrow(u * _sigmoid(F(1.702) * u), out[j])


@routine
def _relu(x, bias, out):
    for j in range(x.shape[0]):
        u = widen(x[j]) + widen(bias[j])
        out[j] = narrow(F(0) if u < F(0) else u, out[j])


@routine
def _forward_rows(x, bias, out, kind, first, last):
    for r in range(first, last):
        if kind == 0:
            _gelu(x[r], bias, out[r])
        elif kind == 1:
            _gelu_tanh(x[r], bias, out[r])
        elif kind == 2:
            _quick_gelu(x[r], bias, out[r])
        else:
            _relu(x[r], bias, out[r])


@routine
def _gelu_back(dout, x, bias, line):
    for j in range(x.shape[0]):
        u = widen(x[j]) + widen(bias[j])
        below, density = _normal(u)
        line[j] = widen(dout[j]) * (below + u * density)


@routine
def _gelu_tanh_back(dout, x, bias, line):
    for j in range(x.shape[0]):
        u = widen(x[j]) + widen(bias[j])
        s = _sigmoid(F(1.5957691216) * (u + F(0.044715) * u * u * u))
        slope = F(1.5957691216) * (F(1) + F(0.134145) * u * u)
        line[j] = widen(dout[j]) * (s + u * s * (F(1) - s) * slope)


@routine
def _quick_gelu_back(dout, x, bias, line):
    for j in range(x.shape[0]):
        u = widen(x[j]) + widen(bias[j])
        s = _sigmoid(F(1.702) * u)
        line[j] = widen(dout[j]) * (s + F(1.702) * u * s * (F(1) - s))


@routine
def _relu_back(dout, x, bias, line):
    for j in range(x.shape[0]):
        line[j] = widen(dout[j]) if widen(x[j]) + widen(bias[j]) > F(0) else F(0)


@routine
def _close(line, dx, total):
    for j in range(line.shape[0]):
        dx[j] = narrow(line[j], dx[j])
    for j in range(line.shape[0]):
        total[j] += line[j]


@routine
def _backward_rows(dout, x, bias, dx, total, kind, first, last):
    line = np.empty(x.shape[1], np.float32)
    for r in range(first, last):
        if kind == 0:
            _gelu_back(dout[r], x[r], bias, line)
        elif kind == 1:
            _gelu_tanh_back(dout[r], x[r], bias, line)
        elif kind == 2:
            _quick_gelu_back(dout[r], x[r], bias, line)
        else:
            _relu_back(dout[r], x[r], bias, line)
        _close(line, dx[r], total)


@family
def _forward(number, kind):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (5,), np.int64)
        n, d = a[0], a[1]
        x, bias, out = (carray(pointer(a[2]), (n, d), number), carray(pointer(a[3]), (d,), number),
                        carray(pointer(a[4]), (n, d), number))
        _forward_rows(x, bias, out, kind, n * part // parts, n * (part + 1) // parts)
    return share


@family
def _backward(number, kind):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (7,), np.int64)
        n, d = a[0], a[1]
        dout, x, bias = (carray(pointer(a[2]), (n, d), number), carray(pointer(a[3]), (n, d), number),
                         carray(pointer(a[4]), (d,), number))
        dx, total = carray(pointer(a[5]), (n, d), number), carray(pointer(a[6]), (parts, d), np.float32)[part]
        _backward_rows(dout, x, bias, dx, total, kind, n * part // parts, n * (part + 1) // parts)
    return share


def activation_forward(x: Tensor, bias: Tensor, kind: str) -> Tensor:
    """x (n, d) contiguous, bias (d,)."""
    out = torch.empty_like(x)
    run(_forward(x.dtype, KINDS[kind]), *x.shape, x, bias, out)
    return out


def activation_backward(dout: Tensor, x: Tensor, bias: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """(gradient of x, gradient of the bias (d,) in float32)."""
    dx = torch.empty_like(x)
    parts = torch.get_num_threads()
    total = torch.zeros(parts, x.shape[1])
    run(_backward(x.dtype, KINDS[kind]), *x.shape, dout, x, bias, dx, total, parts=parts)
    return dx, total.sum(0)
