"""All steps of projected LSTM layers in one run: bfloat16 on a processor that multiplies it.

As in `recurrent.py`, each thread takes its rows through all steps.  Several layers of one size run side by side:
n = k b rows, b of each layer.  A row begins anew where `fresh` is not 0.
"""
from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import kernel, pointer, routine, run
from polysemy.nn.kernels.numbers import narrow
from polysemy.nn.kernels.recurrent import _backward_row, _forward_row
from polysemy.nn.kernels.tile import LANES, ROWS, product
from polysemy.runtime import cpu_flags

SECOND_CACHE = 1 << 20
"""bytes of a layer's matrices beyond which torch's products of all rows at once are faster"""


@routine
def _stored(line, out):
    for j in range(out.shape[0]):
        out[j] = narrow(line[j], out[j])


@routine
def _copied(x, out):
    for j in range(out.shape[0]):
        out[j] = x[j]


@routine
def _added(x, line, out):
    """out = x + line in bfloat16, of a bfloat16 gradient and what comes from the step after."""
    for j in range(out.shape[0]):
        out[j] = narrow(x[j] + line[j], out[j])


@kernel
def _forward_steps(arguments, part, parts):
    a = carray(pointer(arguments), (14,), np.int64)
    t, n, b, d, p = a[0], a[1], a[2], a[3], a[4]
    inputs, gates = carray(pointer(a[7]), (t, n, 4 * d), np.uint16), carray(pointer(a[8]), (t, n, 4 * d), np.uint16)
    cells, shown = carray(pointer(a[9]), (t, n, d), np.float32), carray(pointer(a[10]), (t, n, d), np.uint16)
    befores, outputs = carray(pointer(a[11]), (t, n, p), np.uint16), carray(pointer(a[12]), (t, n, p), np.uint16)
    fresh = carray(pointer(a[13]), (t, n), np.uint8)
    line, short, nothing = np.empty((ROWS, 4 * d), np.float32), np.empty((ROWS, p), np.float32), np.zeros(d, np.float32)
    first, last = n * part // parts, n * (part + 1) // parts
    for place in range(t):
        start = first
        while start < last:
            layer = start // b
            stop = min(start + ROWS, last, (layer + 1) * b)
            for r in range(start, stop):
                if place == 0 or fresh[place, r]:
                    befores[place, r] = 0
                else:
                    _copied(outputs[place - 1, r], befores[place, r])
            product(a[11] + 2 * p * (place * n + start), p // 2, 1, a[5] + 8 * d * p * layer, 4 * d, p // 2,
                    line.ctypes.data, 4 * d, 4 * d, 0)
            for r in range(start, stop):
                before = nothing if place == 0 or fresh[place, r] else cells[place - 1, r]
                _forward_row(inputs[place, r], line[r - start], before, gates[place, r], cells[place, r],
                             shown[place, r])
            product(a[10] + 2 * d * (place * n + start), d // 2, 1, a[6] + 2 * d * p * layer, p, d // 2,
                    short.ctypes.data, p, p, 0)
            for r in range(start, stop):
                _stored(short[r - start], outputs[place, r])
            start = stop


@kernel
def _backward_steps(arguments, part, parts):
    a = carray(pointer(arguments), (13,), np.int64)
    t, n, b, d, p = a[0], a[1], a[2], a[3], a[4]
    gates, cells = carray(pointer(a[7]), (t, n, 4 * d), np.uint16), carray(pointer(a[8]), (t, n, d), np.float32)
    dy, doutputs = carray(pointer(a[9]), (t, n, p), np.float32), carray(pointer(a[10]), (t, n, p), np.uint16)
    dgates, fresh = carray(pointer(a[11]), (t, n, 4 * d), np.uint16), carray(pointer(a[12]), (t, n), np.uint8)
    line, short, slopes = np.empty((ROWS, d), np.float32), np.empty((ROWS, p), np.float32), np.empty(d, np.float32)
    nothing = np.zeros(d, np.float32)
    first, last = n * part // parts, n * (part + 1) // parts
    dh, dc = np.zeros((last - first, p), np.float32), np.zeros((last - first, d), np.float32)
    for place in range(t - 1, -1, -1):
        start = first
        while start < last:
            layer = start // b
            stop = min(start + ROWS, last, (layer + 1) * b)
            for r in range(start, stop):
                _added(dy[place, r], dh[r - first], doutputs[place, r])
            product(a[10] + 2 * p * (place * n + start), p // 2, 1, a[6] + 2 * d * p * layer, d, p // 2,
                    line.ctypes.data, d, d, 0)
            for r in range(start, stop):
                before = nothing if place == 0 or fresh[place, r] else cells[place - 1, r]
                _backward_row(gates[place, r], cells[place, r], before, line[r - start], nothing, dc[r - first],
                              dgates[place, r], slopes)
            product(a[11] + 8 * d * (place * n + start), 2 * d, 1, a[5] + 8 * d * p * layer, p, 2 * d,
                    short.ctypes.data, p, p, 0)
            for r in range(start, stop):
                if fresh[place, r]:
                    dh[r - first] = 0
                    dc[r - first] = 0
                else:
                    _copied(short[r - start], dh[r - first])
            start = stop


def steps_fit(recurrent: Tensor, projection: Tensor) -> bool:
    """Whether all steps can be one run: bfloat16 matrices that stay in the cache, of widths that fill vectors."""
    p, d = projection.shape
    return (recurrent.dtype == torch.bfloat16 and "avx512_bf16" in cpu_flags() and p % LANES == 0 and d % LANES == 0
            and 10 * d * p <= SECOND_CACHE)


def forward_steps(inputs: Tensor, recurrent: Tensor, projection: Tensor, fresh: Tensor | None
                  ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gates (t, k, b, 4d), cells (t, k, b, d) in float32, what they show, states before each step, outputs.

    Inputs (t, k, b, 4d), recurrent (k, 4d, p), projection (k, p, d), `fresh` (t, k b), all contiguous.
    """
    (t, k, b, _), (_, p, d) = inputs.shape, projection.shape
    gates, cells = torch.empty_like(inputs), torch.empty(t, k, b, d)
    shown, befores = _roomy(inputs, t, k, b, d), _roomy(inputs, t, k, b, p)
    outputs = inputs.new_empty(t, k, b, p)
    run(_forward_steps, t, k * b, b, d, p, _pairs(recurrent.transpose(1, 2)), _pairs(projection.transpose(1, 2)),
        inputs, gates, cells, shown, befores, outputs, _marks(fresh, t, k * b))
    return gates, cells, shown, befores, outputs


def backward_steps(gates: Tensor, cells: Tensor, recurrent: Tensor, projection: Tensor, fresh: Tensor | None,
                   dy: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the inputs, and of the outputs as seen by all that reads them; `dy` is float32 (t, k, b, p)."""
    (t, k, b, _), (_, p, d) = gates.shape, projection.shape
    dgates, doutputs = _roomy(gates, t, k, b, 4 * d), _roomy(gates, t, k, b, p)
    run(_backward_steps, t, k * b, b, d, p, _pairs(recurrent), _pairs(projection), gates, cells, dy, doutputs, dgates,
        _marks(fresh, t, k * b))
    return dgates, doutputs


def _pairs(weight: Tensor) -> Tensor:
    """(k, m / 2, n) words of (k, m, n) bfloat16, two neighbors along the sum m in each, for `tile.product`."""
    k, m, n = weight.shape
    return weight.reshape(k, m // 2, 2, n).transpose(2, 3).contiguous().view(torch.int32)[..., 0]


def _marks(fresh: Tensor | None, t: int, n: int) -> Tensor:
    return torch.zeros(t, n, dtype=torch.uint8) if fresh is None else fresh.to(torch.uint8).contiguous()


def _roomy(like: Tensor, *shape: int) -> Tensor:
    """An empty tensor with so much memory behind it that a tile may read on."""
    count = int(np.prod(shape))
    return like.new_empty(count + ROWS * shape[-1])[:count].view(shape)
