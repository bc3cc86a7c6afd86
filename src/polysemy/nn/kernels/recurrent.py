"""The numbers of an LSTM's step between two products, and all steps of a layer in one run.

Rows of a batch do not know of each other, so each thread takes its rows through all steps and waits for nobody.  The
recurrent matrix is packed once for `tile.product`, and stays in the second cache.
"""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as torch_f
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import family, inlined, kernel, pointer, routine, run
from polysemy.nn.kernels.numbers import F, exp, narrow, widen
from polysemy.nn.kernels.tile import LANES, ROWS, product
from polysemy.runtime import cpu_flags

SECOND_CACHE = 1 << 20
"""bytes of a recurrent matrix beyond which torch's product of all rows at once is faster"""


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


# --- all steps in one run: bfloat16 on a processor that multiplies it


@kernel
def _forward_steps(arguments, part, parts):
    a = carray(pointer(arguments), (9,), np.int64)
    t, b, d, packed = a[0], a[1], a[2], a[3]
    inputs, gates = carray(pointer(a[4]), (t, b, 4 * d), np.uint16), carray(pointer(a[5]), (t, b, 4 * d), np.uint16)
    first = carray(pointer(a[6]), (b, d), np.float32)
    cells, states = carray(pointer(a[7]), (t, b, d), np.float32), carray(pointer(a[8]), (t + 1, b, d), np.uint16)
    line = np.empty((ROWS, 4 * d), np.float32)
    for place in range(t):
        for start in range(b * part // parts, b * (part + 1) // parts, ROWS):
            product(a[8] + 2 * d * (place * b + start), d // 2, 1, packed, 4 * d, d // 2, line.ctypes.data, 4 * d,
                    4 * d, 0)
            for r in range(start, min(start + ROWS, b * (part + 1) // parts)):
                before = first[r] if place == 0 else cells[place - 1, r]
                _forward_row(inputs[place, r], line[r - start], before, gates[place, r], cells[place, r],
                             states[place + 1, r])


@kernel
def _backward_steps(arguments, part, parts):
    a = carray(pointer(arguments), (12,), np.int64)
    t, b, d, packed, width = a[0], a[1], a[2], a[3], a[4]
    gates, cells = carray(pointer(a[5]), (t, b, 4 * d), np.uint16), carray(pointer(a[6]), (t, b, d), np.float32)
    first, dy = carray(pointer(a[7]), (b, d), np.float32), carray(pointer(a[8]), (t, b, d), np.uint16)
    dh, dc = carray(pointer(a[9]), (b, d), np.float32), carray(pointer(a[10]), (b, d), np.float32)
    dgates = carray(pointer(a[11]), (t, b, 4 * d), np.uint16)
    lines, slopes = np.empty((ROWS, width), np.float32), np.empty(d, np.float32)
    for place in range(t - 1, -2, -1):
        for start in range(b * part // parts, b * (part + 1) // parts, ROWS):
            if place < t - 1:
                product(a[11] + 8 * d * ((place + 1) * b + start), 2 * d, 1, packed, width, 2 * d, lines.ctypes.data,
                        width, width, 0)
            for r in range(start, min(start + ROWS, b * (part + 1) // parts)):
                if place < t - 1:
                    _copy(lines[r - start], dh[r])
                if place >= 0:
                    before = first[r] if place == 0 else cells[place - 1, r]
                    _backward_row(gates[place, r], cells[place, r], before, dy[place, r], dh[r], dc[r],
                                  dgates[place, r], slopes)


@routine
def _copy(line, row):
    for j in range(row.shape[0]):
        row[j] = line[j]


def steps_fit(weight: Tensor) -> bool:
    """Whether all steps can be one run: a bfloat16 matrix (4d, d) that stays in the cache, d even and not tiny."""
    d = weight.shape[1]
    return (weight.dtype == torch.bfloat16 and "avx512_bf16" in cpu_flags() and d % 4 == 0 and d >= LANES
            and 8 * d * d <= SECOND_CACHE)


def lstm_steps_forward(inputs: Tensor, weight: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(gates (t, b, 4d), cells (t, b, d) float32, states (t + 1, b, d), the first of them h)."""
    t, b, _ = inputs.shape
    d = weight.shape[1]
    packed = weight.contiguous().view(torch.int32).t().contiguous()  # pairs along the sum side by side
    gates, cells, states = torch.empty_like(inputs), c.new_empty(t, b, d), _roomy(h, (t + 1) * b, d).view(t + 1, b, d)
    states[0] = h
    run(_forward_steps, t, b, d, packed, inputs, gates, c, cells, states)
    return gates, cells, states


def lstm_steps_backward(gates: Tensor, cells: Tensor, first: Tensor, weight: Tensor, dy: Tensor, dh: Tensor,
                        dc: Tensor) -> Tensor:
    """Gradients of the inputs (t, b, 4d); `dh` and `dc` (float32) become those of the state before the first step."""
    t, b, d = cells.shape
    pairs = weight.view(2 * d, 2, d).transpose(1, 2).contiguous().view(torch.int32)[..., 0]
    packed = torch_f.pad(pairs, (0, -d % LANES)).contiguous()
    dgates = _roomy(gates, t * b, 4 * d).view(t, b, 4 * d)
    run(_backward_steps, t, b, d, packed, packed.shape[1], gates, cells, first, dy, dh, dc, dgates)
    return dgates


def _roomy(like: Tensor, rows: int, width: int) -> Tensor:
    """(rows, width) with so much memory behind it that a tile may read on."""
    return like.new_empty(rows + ROWS, width)[:rows]
