"""Dropout whose mask is computed from keys, forward and backward, and never stored."""
from __future__ import annotations

import numpy as np
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import family, inlined, pointer, real, routine, run
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


@family
def _dropout(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (7,), np.int64)
        n, d = a[0], a[1]
        x, y = carray(pointer(a[2]), (n, d), number), carray(pointer(a[3]), (n, d), number)
        keys, threshold, scale = carray(pointer(a[4]), (n,), np.uint32), U(a[5]), F(real(a[6]))
        _rows(x, y, keys, threshold, scale, n * part // parts, n * (part + 1) // parts)
    return share


def dropout_rows(x: Tensor, out: Tensor, keys: Tensor, threshold: int, scale: float) -> None:
    """x (n, d) contiguous, keys (n,) int32: out = x * scale where kept, 0 elsewhere."""
    run(_dropout(x.dtype), *x.shape, x, out, keys, threshold, scale)
