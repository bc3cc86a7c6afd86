"""Optimizer updates over many tensors in one run: every number is read once and written once.

Tensors are cut into chunks of CHUNK numbers.  Sums are kept for each chunk and added up by the caller in order, so that
they do not depend on the number of threads.
"""
from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import family, pointer, real, routine, run
from polysemy.nn.kernels.numbers import F, narrow, root, widen

CHUNK = 1 << 14
BLOCK = 1 << 10
"""numbers of a chunk that stay in the first cache from one loop over them to the next"""
COLUMNS = 9
"""addresses of gradient, master, first and second moment and working copy (the master itself where there is none), then
four float64 for each tensor: decay, rate, 1 / bias correction 1, root of 1 / correction 2 (tensors may have begun to
learn at different steps)"""


class Table:
    """Where the numbers of all tensors are: `words` (tensor, COLUMNS), `chunks` (tensor, first number, last)."""

    def __init__(self, sizes: list[int]) -> None:
        pieces = [(i, first, min(first + CHUNK, size)) for i, size in enumerate(sizes)
                  for first in range(0, size, CHUNK)]
        self.chunks = torch.tensor(pieces, dtype=torch.int64).reshape(-1, 3)
        self.sums = torch.zeros(len(pieces), 2, dtype=torch.float64)
        self.words = torch.zeros(len(sizes), COLUMNS, dtype=torch.int64)

    def address(self, tensors: list[list[Tensor]]) -> None:
        """Take the addresses of [gradients, masters, first moments, second moments, working copies]."""
        for column, group in enumerate(tensors):
            self.words[:, column] = torch.tensor([tensor.data_ptr() for tensor in group])

    def set_factors(self, column: int, values: np.ndarray) -> None:
        """Column 0 to 3 of the float64 for each tensor."""
        self.words.numpy().view(np.float64)[:, 5 + column] = values

    def totals(self, column: int) -> np.ndarray:
        """The chunk sums of one column added up for each tensor, float64."""
        return np.bincount(self.chunks[:, 0].numpy(), self.sums[:, column].numpy(), minlength=len(self.words))

    def arguments(self) -> tuple[Tensor | int, ...]:
        """What all kernels here take first."""
        return self.words, len(self.words), self.chunks, len(self.chunks), self.sums


@routine
def _share(chunks, part, parts):
    return range(chunks * part // parts, chunks * (part + 1) // parts)


@routine
def _squares(g):
    total = F(0)
    for i in range(g.shape[0]):
        x = widen(g[i])
        total += x * x
    return np.float64(total)


@family
def _norms(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (5,), np.int64)
        words, chunks = carray(pointer(a[0]), (a[1], COLUMNS), np.int64), carray(pointer(a[2]), (a[3], 3), np.int64)
        sums = carray(pointer(a[4]), (a[3], 2), np.float64)
        for c in _share(a[3], part, parts):
            row, first, last = words[chunks[c, 0]], chunks[c, 1], chunks[c, 2]
            sums[c, 0] = _squares(carray(pointer(row[0]), (last,), number)[first:last])
    return share


# Each loop writes one array and starts at 0: LLVM vectorizes neither a loop over more arrays than it is willing to
# check for overlap, nor one whose index might be negative.


@routine
def _move_mean(g, m, scale, beta):
    for i in range(m.shape[0]):
        m[i] += (widen(g[i]) * scale - m[i]) * (F(1) - beta)


@routine
def _move_square(g, v, scale, beta):
    for i in range(v.shape[0]):
        x = widen(g[i]) * scale
        v[i] = beta * v[i] + (F(1) - beta) * x * x


@routine
def _move_master(p, m, v, rate, decay, epsilon, root2):
    for i in range(p.shape[0]):
        p[i] = p[i] * decay - rate * m[i] / (root(v[i]) * root2 + epsilon)


@routine
def _copy(p, work):
    for i in range(p.shape[0]):
        work[i] = narrow(p[i], work[i])


@routine
def _still(x):
    total = F(0)
    for i in range(x.shape[0]):
        total += abs(widen(x[i]))
    return total == F(0)


@routine
def _adamw(g, p, m, v, work, first, last, scale, beta1, beta2, rate, decay, epsilon, root2):
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        mean, square, master = m[start:stop], v[start:stop], p[start:stop]
        if decay == F(1) and _still(g[start:stop]) and _still(mean) and _still(square):
            continue  # rows of a table that no text has had so far: the update would not change a bit
        _move_mean(g[start:stop], mean, scale, beta1)
        _move_square(g[start:stop], square, scale, beta2)
        _move_master(master, mean, square, rate, decay, epsilon, root2)
        _copy(master, work[start:stop])


@family
def _adamw_chunks(number, work_number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (9,), np.int64)
        words, chunks = carray(pointer(a[0]), (a[1], COLUMNS), np.int64), carray(pointer(a[2]), (a[3], 3), np.int64)
        scale, beta1, beta2, epsilon = F(real(a[5])), F(real(a[6])), F(real(a[7])), F(real(a[8]))
        for c in _share(a[3], part, parts):
            row, first, last = words[chunks[c, 0]], chunks[c, 1], chunks[c, 2]
            p, m, v = (carray(pointer(row[1]), (last,), np.float32), carray(pointer(row[2]), (last,), np.float32),
                       carray(pointer(row[3]), (last,), np.float32))
            _adamw(carray(pointer(row[0]), (last,), number), p, m, v, carray(pointer(row[4]), (last,), work_number),
                   first, last, scale, beta1, beta2, F(real(row[6])), F(real(row[5])), epsilon, F(real(row[8])))
    return share


@routine
def _lamb_squares(p, m, v, correct1, epsilon, root2, decay):
    masters, directions = F(0), F(0)
    for i in range(p.shape[0]):
        direction = m[i] * correct1 / (root(v[i]) * root2 + epsilon) + decay * p[i]
        masters += p[i] * p[i]
        directions += direction * direction
    return masters, directions


@routine
def _lamb_moments(g, p, m, v, first, last, scale, beta1, beta2, correct1, epsilon, root2, decay):
    masters, directions = 0.0, 0.0
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        mean, square = m[start:stop], v[start:stop]
        _move_mean(g[start:stop], mean, scale, beta1)
        _move_square(g[start:stop], square, scale, beta2)
        found = _lamb_squares(p[start:stop], mean, square, correct1, epsilon, root2, decay)
        masters += found[0]
        directions += found[1]
    return masters, directions


@family
def _lamb_first(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (9,), np.int64)
        words, chunks = carray(pointer(a[0]), (a[1], COLUMNS), np.int64), carray(pointer(a[2]), (a[3], 3), np.int64)
        sums = carray(pointer(a[4]), (a[3], 2), np.float64)
        scale, beta1, beta2, epsilon = F(real(a[5])), F(real(a[6])), F(real(a[7])), F(real(a[8]))
        for c in _share(a[3], part, parts):
            row, first, last = words[chunks[c, 0]], chunks[c, 1], chunks[c, 2]
            p, m, v = (carray(pointer(row[1]), (last,), np.float32), carray(pointer(row[2]), (last,), np.float32),
                       carray(pointer(row[3]), (last,), np.float32))
            sums[c] = _lamb_moments(carray(pointer(row[0]), (last,), number), p, m, v, first, last, scale, beta1, beta2,
                                    F(real(row[7])), epsilon, F(real(row[8])), F(real(row[5])))
    return share


@routine
def _lamb_master(p, m, v, rate, correct1, epsilon, root2, decay):
    for i in range(p.shape[0]):
        p[i] -= rate * (m[i] * correct1 / (root(v[i]) * root2 + epsilon) + decay * p[i])


@routine
def _lamb(p, m, v, work, first, last, rate, correct1, epsilon, root2, decay):
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        _lamb_master(p[start:stop], m[start:stop], v[start:stop], rate, correct1, epsilon, root2, decay)
        _copy(p[start:stop], work[start:stop])


@family
def _lamb_second(work_number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (6,), np.int64)
        words, chunks = carray(pointer(a[0]), (a[1], COLUMNS), np.int64), carray(pointer(a[2]), (a[3], 3), np.int64)
        epsilon = F(real(a[5]))
        for c in _share(a[3], part, parts):
            row, first, last = words[chunks[c, 0]], chunks[c, 1], chunks[c, 2]
            p, m, v = (carray(pointer(row[1]), (last,), np.float32), carray(pointer(row[2]), (last,), np.float32),
                       carray(pointer(row[3]), (last,), np.float32))
            _lamb(p, m, v, carray(pointer(row[4]), (last,), work_number), first, last, F(real(row[6])), F(real(row[7])),
                  epsilon, F(real(row[8])), F(real(row[5])))
    return share


def square_sums(table: Table, gradient: torch.dtype) -> np.ndarray:
    """The sum of squares of each tensor's gradient, float64."""
    run(_norms(gradient), *table.arguments())
    return table.totals(0)


def adamw(table: Table, gradient: torch.dtype, work: torch.dtype, scale: float, beta1: float, beta2: float,
          epsilon: float) -> None:
    """One step: factor 0 of each tensor is 1 - its learning rate * weight decay, factor 1 its learning rate / bias
    correction 1, factor 3 the root of 1 / correction 2."""
    run(_adamw_chunks(gradient, work), *table.arguments(), scale, beta1, beta2, epsilon)


def lamb_directions(table: Table, gradient: torch.dtype, scale: float, beta1: float, beta2: float,
                    epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """New moments, and sums of squares of each master and direction; factors of each tensor: 0 its weight decay, 2
    1 / bias correction 1, 3 the root of 1 / correction 2."""
    run(_lamb_first(gradient), *table.arguments(), scale, beta1, beta2, epsilon)
    return table.totals(0), table.totals(1)


def lamb_apply(table: Table, work: torch.dtype, epsilon: float) -> None:
    """Move every tensor along its direction by factor 1."""
    run(_lamb_second(work), *table.arguments(), epsilon)
