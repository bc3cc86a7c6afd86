"""Optimizer updates over many tensors in one run: every number is read once and written once.

Tensors are cut into chunks of CHUNK numbers.  Sums are kept for each chunk and added up by the caller in order, so that
they do not depend on the number of threads.
"""
from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import kernel, pointer, real, routine, run
from polysemy.nn.kernels.numbers import F, narrow, root, widen

CHUNK = 1 << 14


class Table:
    """Where the numbers of all tensors are: `tensors` holds rows of addresses, `chunks` (tensor, first, last)."""

    def __init__(self, sizes: list[int]) -> None:
        pieces = [(i, first, min(first + CHUNK, size)) for i, size in enumerate(sizes) for first in range(0, size, CHUNK)]
        self.chunks = torch.tensor(pieces, dtype=torch.int64).reshape(-1, 3)
        self.sums = torch.zeros(len(pieces), 2, dtype=torch.float64)
        self.owner = self.chunks[:, 0].numpy()
        self.num_tensors = len(sizes)

    def by_tensor(self, column: int) -> np.ndarray:
        """The chunk sums of one column added up for each tensor, float64."""
        return np.bincount(self.owner, self.sums[:, column].numpy(), minlength=self.num_tensors)


# Rows of the address table: gradient, bytes of its numbers, master, first moment, second moment, working copy (0: none),
# bits of (decay, trust) as two float64
COLUMNS = 8


@routine
def _squares(g, first, last):
    total = F(0)
    for i in range(first, last):
        x = widen(g[i])
        total += x * x
    return np.float64(total)


@kernel
def _norms(arguments, part, parts):
    a = carray(pointer(arguments), (5,), np.int64)
    tensors = carray(pointer(a[0]), (a[1], COLUMNS), np.int64)
    chunks = carray(pointer(a[2]), (a[3], 3), np.int64)
    sums = carray(pointer(a[4]), (a[3], 2), np.float64)
    for c in range(a[3] * part // parts, a[3] * (part + 1) // parts):
        row, first, last = tensors[chunks[c, 0]], chunks[c, 1], chunks[c, 2]
        if row[1] == 2:
            sums[c, 0] = _squares(carray(pointer(row[0]), (last,), np.uint16), first, last)
        else:
            sums[c, 0] = _squares(carray(pointer(row[0]), (last,), np.float32), first, last)


@routine
def _adamw(g, p, m, v, work, first, last, scale, beta1, beta2, rate, decay, epsilon, root2):
    """rate is learning rate / bias correction 1, decay is 1 - learning rate * decay, root2 1 / root of correction 2."""
    for i in range(first, last):
        x = widen(g[i]) * scale
        m[i] += (x - m[i]) * (F(1) - beta1)
        v[i] = beta2 * v[i] + (F(1) - beta2) * x * x
        p[i] = p[i] * decay - rate * m[i] / (root(v[i]) * root2 + epsilon)
        work[i] = narrow(p[i], work[i])


@kernel
def _adamw_chunks(arguments, part, parts):
    a = carray(pointer(arguments), (10,), np.int64)
    tensors = carray(pointer(a[0]), (a[1], COLUMNS), np.int64)
    chunks = carray(pointer(a[2]), (a[3], 3), np.int64)
    scale, beta1, beta2, rate = F(real(a[4])), F(real(a[5])), F(real(a[6])), F(real(a[7]))
    epsilon, root2 = F(real(a[8])), F(real(a[9]))
    for c in range(a[3] * part // parts, a[3] * (part + 1) // parts):
        row, first, last = tensors[chunks[c, 0]], chunks[c, 1], chunks[c, 2]
        decay = F(real(row[6]))
        p = carray(pointer(row[2]), (last,), np.float32)
        m = carray(pointer(row[3]), (last,), np.float32)
        v = carray(pointer(row[4]), (last,), np.float32)
        if row[1] == 2:
            _adamw(carray(pointer(row[0]), (last,), np.uint16), p, m, v, carray(pointer(row[5]), (last,), np.uint16),
                   first, last, scale, beta1, beta2, rate, decay, epsilon, root2)
        else:  # the master is what works
            _adamw(carray(pointer(row[0]), (last,), np.float32), p, m, v, p,
                   first, last, scale, beta1, beta2, rate, decay, epsilon, root2)


@routine
def _lamb_moments(g, p, m, v, first, last, scale, beta1, beta2, correct1, root2, epsilon, decay):
    """Moments, and the squares of master and direction."""
    masters, directions = F(0), F(0)
    for i in range(first, last):
        x = widen(g[i]) * scale
        m[i] += (x - m[i]) * (F(1) - beta1)
        v[i] = beta2 * v[i] + (F(1) - beta2) * x * x
        direction = m[i] * correct1 / (root(v[i]) * root2 + epsilon) + decay * p[i]
        masters += p[i] * p[i]
        directions += direction * direction
    return np.float64(masters), np.float64(directions)


@kernel
def _lamb_first(arguments, part, parts):
    a = carray(pointer(arguments), (11,), np.int64)
    tensors = carray(pointer(a[0]), (a[1], COLUMNS), np.int64)
    chunks = carray(pointer(a[2]), (a[3], 3), np.int64)
    sums = carray(pointer(a[4]), (a[3], 2), np.float64)
    scale, beta1, beta2, correct1 = F(real(a[5])), F(real(a[6])), F(real(a[7])), F(real(a[8]))
    epsilon, root2 = F(real(a[9])), F(real(a[10]))
    for c in range(a[3] * part // parts, a[3] * (part + 1) // parts):
        row, first, last = tensors[chunks[c, 0]], chunks[c, 1], chunks[c, 2]
        p = carray(pointer(row[2]), (last,), np.float32)
        m = carray(pointer(row[3]), (last,), np.float32)
        v = carray(pointer(row[4]), (last,), np.float32)
        if row[1] == 2:
            sums[c] = _lamb_moments(carray(pointer(row[0]), (last,), np.uint16), p, m, v, first, last, scale, beta1,
                                    beta2, correct1, root2, epsilon, F(real(row[6])))
        else:
            sums[c] = _lamb_moments(carray(pointer(row[0]), (last,), np.float32), p, m, v, first, last, scale, beta1,
                                    beta2, correct1, root2, epsilon, F(real(row[6])))


@routine
def _lamb_apply(p, m, v, work, first, last, rate, correct1, root2, epsilon, decay):
    for i in range(first, last):
        direction = m[i] * correct1 / (root(v[i]) * root2 + epsilon) + decay * p[i]
        p[i] -= rate * direction
        work[i] = narrow(p[i], work[i])


@kernel
def _lamb_second(arguments, part, parts):
    a = carray(pointer(arguments), (8,), np.int64)
    tensors = carray(pointer(a[0]), (a[1], COLUMNS), np.int64)
    chunks = carray(pointer(a[2]), (a[3], 3), np.int64)
    rate, correct1, epsilon, root2 = F(real(a[4])), F(real(a[5])), F(real(a[6])), F(real(a[7]))
    for c in range(a[3] * part // parts, a[3] * (part + 1) // parts):
        row, first, last = tensors[chunks[c, 0]], chunks[c, 1], chunks[c, 2]
        p = carray(pointer(row[2]), (last,), np.float32)
        m = carray(pointer(row[3]), (last,), np.float32)
        v = carray(pointer(row[4]), (last,), np.float32)
        step = rate * F(real(row[7]))
        if row[1] == 2:
            _lamb_apply(p, m, v, carray(pointer(row[5]), (last,), np.uint16), first, last, step, correct1, root2,
                        epsilon, F(real(row[6])))
        else:
            _lamb_apply(p, m, v, p, first, last, step, correct1, root2, epsilon, F(real(row[6])))


def square_sums(table: Table, addresses: Tensor) -> None:
    """Column 0 of `table.sums`: the sum of squares of each chunk of the gradients."""
    run(_norms, addresses, len(addresses), table.chunks, len(table.chunks), table.sums)


def adamw(table: Table, addresses: Tensor, scale: float, beta1: float, beta2: float, rate: float, epsilon: float,
          root2: float) -> None:
    """One step of every tensor; column 6 of `addresses` is 1 - learning rate * decay."""
    run(_adamw_chunks, addresses, len(addresses), table.chunks, len(table.chunks), scale, beta1, beta2, rate, epsilon,
        root2)


def lamb_directions(table: Table, addresses: Tensor, scale: float, beta1: float, beta2: float, correct1: float,
                    epsilon: float, root2: float) -> None:
    """New moments; `table.sums` gets the squares of masters and directions.  Column 6 of `addresses` is the decay."""
    run(_lamb_first, addresses, len(addresses), table.chunks, len(table.chunks), table.sums, scale, beta1, beta2,
        correct1, epsilon, root2)


def lamb_apply(table: Table, addresses: Tensor, rate: float, correct1: float, epsilon: float, root2: float) -> None:
    """Move every tensor along its direction by rate * trust (column 7 of `addresses`)."""
    run(_lamb_second, addresses, len(addresses), table.chunks, len(table.chunks), rate, correct1, epsilon, root2)
