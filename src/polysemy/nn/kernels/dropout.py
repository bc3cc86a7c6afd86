"""Dropout whose mask is computed from keys, forward and backward, and never stored."""
from __future__ import annotations

import numpy as np
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import inlined, kernel, pointer, real, routine, run
from polysemy.nn.kernels.numbers import F, U, mix, narrow, widen


@inlined
def kept(key, column, threshold):
    """Whether the number at `column` of the row with this key stays (see `nn/dropout.py`)."""
    return (mix(U(key ^ U(column))) >> U(8)) >= threshold


@routine
def _rows(x, y, keys, threshold, scale, first, last):
    for r in range(first, last):
        key = keys[r]
        for j in range(x.shape[1]):
            y[r, j] = narrow(widen(x[r, j]) * scale if kept(key, j, threshold) else F(0), y[r, j])


@kernel
def _dropout(arguments, part, parts):
    a = carray(pointer(arguments), (8,), np.int64)
    n, d = a[3], a[4]
    keys = carray(pointer(a[2]), (n,), np.uint32)
    threshold, scale = U(a[5]), F(real(a[6]))
    first, last = n * part // parts, n * (part + 1) // parts
    if a[7] == 2:
        _rows(carray(pointer(a[0]), (n, d), np.uint16), carray(pointer(a[1]), (n, d), np.uint16), keys, threshold,
              scale, first, last)
    else:
        _rows(carray(pointer(a[0]), (n, d), np.float32), carray(pointer(a[1]), (n, d), np.float32), keys, threshold,
              scale, first, last)


def dropout_rows(x: Tensor, out: Tensor, keys: Tensor, threshold: int, scale: float) -> None:
    """x (n, d) contiguous, keys (n,) int32: out = x * scale where kept, 0 elsewhere."""
    run(_dropout, x, out, keys, x.shape[0], x.shape[1], threshold, scale, x.element_size())
