"""The numbers of an LSTM's step between two products, forward and backward, in one pass each."""
from __future__ import annotations

import numpy as np
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import family, inlined, pointer, routine, run
from polysemy.nn.kernels.numbers import F, exp, narrow, widen


@inlined
def _sigmoid(x):
    return F(1) / (F(1) + exp(-x))


@inlined
def _tanh(x):
    return F(2) / (F(1) + exp(F(-2) * x)) - F(1)


# Each loop writes one array, or LLVM does not vectorize it.


@routine
def _opened(inputs, product, out):
    for j in range(out.shape[0]):
        out[j] = narrow(_sigmoid(widen(inputs[j]) + widen(product[j])), out[j])


@routine
def _candidates(inputs, product, out):
    for j in range(out.shape[0]):
        out[j] = narrow(_tanh(widen(inputs[j]) + widen(product[j])), out[j])


@routine
def _cells(gates, before, d, out):
    let_in, keep, candidate = gates[:d], gates[d:2 * d], gates[2 * d:3 * d]
    for j in range(out.shape[0]):
        out[j] = widen(keep[j]) * before[j] + widen(let_in[j]) * widen(candidate[j])


@routine
def _shown(show, cells, out):
    for j in range(out.shape[0]):
        out[j] = narrow(widen(show[j]) * _tanh(cells[j]), out[j])


@routine
def _forward_row(inputs, product, before, gates, cells, states):
    d = before.shape[0]
    _opened(inputs[:2 * d], product[:2 * d], gates[:2 * d])
    _candidates(inputs[2 * d:3 * d], product[2 * d:3 * d], gates[2 * d:3 * d])
    _opened(inputs[3 * d:], product[3 * d:], gates[3 * d:])
    _cells(gates, before, d, cells)
    _shown(gates[3 * d:], cells, states)


@family
def _forward(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (8,), np.int64)
        b, d = a[0], a[1]
        inputs, product = carray(pointer(a[2]), (b, 4 * d), number), carray(pointer(a[3]), (b, 4 * d), number)
        before, gates = carray(pointer(a[4]), (b, d), np.float32), carray(pointer(a[5]), (b, 4 * d), number)
        cells, states = carray(pointer(a[6]), (b, d), np.float32), carray(pointer(a[7]), (b, d), number)
        for r in range(b * part // parts, b * (part + 1) // parts):
            _forward_row(inputs[r], product[r], before[r], gates[r], cells[r], states[r])
    return share


@routine
def _slopes(cells, line):
    for j in range(line.shape[0]):
        line[j] = _tanh(cells[j])


@routine
def _cell_gradients(show, line, dy, dh, dc):
    for j in range(dc.shape[0]):
        dc[j] += (widen(dy[j]) + widen(dh[j])) * widen(show[j]) * (F(1) - line[j] * line[j])


@routine
def _show_gradients(show, line, dy, dh, out):
    for j in range(out.shape[0]):
        s = widen(show[j])
        out[j] = narrow((widen(dy[j]) + widen(dh[j])) * line[j] * s * (F(1) - s), out[j])


@routine
def _gate_gradients(gate, other, dc, out):
    for j in range(out.shape[0]):
        s = widen(gate[j])
        out[j] = narrow(dc[j] * widen(other[j]) * s * (F(1) - s), out[j])


@routine
def _candidate_gradients(candidate, let_in, dc, out):
    for j in range(out.shape[0]):
        x = widen(candidate[j])
        out[j] = narrow(dc[j] * widen(let_in[j]) * (F(1) - x * x), out[j])


@routine
def _pass_on(keep, dc):
    for j in range(dc.shape[0]):
        dc[j] *= widen(keep[j])


@routine
def _backward_row(gates, cells, before, dy, dh, dc, dgates, line):
    d = before.shape[0]
    let_in, keep, candidate, show = gates[:d], gates[d:2 * d], gates[2 * d:3 * d], gates[3 * d:]
    _slopes(cells, line)
    _cell_gradients(show, line, dy, dh, dc)
    _show_gradients(show, line, dy, dh, dgates[3 * d:])
    _gate_gradients(let_in, candidate, dc, dgates[:d])
    _gate_gradients(keep, before, dc, dgates[d:2 * d])
    _candidate_gradients(candidate, let_in, dc, dgates[2 * d:3 * d])
    _pass_on(keep, dc)


@family
def _backward(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (9,), np.int64)
        b, d = a[0], a[1]
        gates, cells = carray(pointer(a[2]), (b, 4 * d), number), carray(pointer(a[3]), (b, d), np.float32)
        before, dy = carray(pointer(a[4]), (b, d), np.float32), carray(pointer(a[5]), (b, d), number)
        dh, dc = carray(pointer(a[6]), (b, d), number), carray(pointer(a[7]), (b, d), np.float32)
        dgates, line = carray(pointer(a[8]), (b, 4 * d), number), np.empty(d, np.float32)
        for r in range(b * part // parts, b * (part + 1) // parts):
            _backward_row(gates[r], cells[r], before[r], dy[r], dh[r], dc[r], dgates[r], line)
    return share


def lstm_forward(inputs: Tensor, product: Tensor, before: Tensor, gates: Tensor, cells: Tensor, states: Tensor) -> None:
    """Gates, cells (float32) and states of one step from inputs + product (b, 4d) and the cells before; all contiguous.

    Gates are input, forget, candidate, output, kept as they are after sigmoid and tanh.
    """
    run(_forward(inputs.dtype), *before.shape, inputs, product, before, gates, cells, states)


def lstm_backward(gates: Tensor, cells: Tensor, before: Tensor, dy: Tensor, dh: Tensor, dc: Tensor,
                  dgates: Tensor) -> None:
    """Gradients of inputs + product in `dgates`; `dc` (float32) becomes that of the cells before.

    `dy` is the gradient of the states shown, `dh` that of the same states as read by the next step.
    """
    run(_backward(gates.dtype), *before.shape, gates, cells, before, dy, dh, dc, dgates)
