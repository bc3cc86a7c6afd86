"""The gradient of a table whose rows were looked up: the rows' gradients added up in float32, in order."""
from __future__ import annotations

import numpy as np
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import family, pointer, routine, run
from polysemy.nn.kernels.numbers import F, narrow, widen


@routine
def _add(line, row):
    for j in range(line.shape[0]):
        line[j] += widen(row[j])


@routine
def _write(line, row):
    for j in range(line.shape[0]):
        row[j] = narrow(line[j], row[j])
        line[j] = F(0)


@routine
def _empty(row):
    for j in range(row.shape[0]):
        row[j] = 0


@routine
def _places(ids, num_rows, part, parts):
    """(starts, places): the places where row part + i * parts stands are places[starts[i]:starts[i + 1]], in order."""
    mine = (num_rows - part + parts - 1) // parts
    starts = np.zeros(mine + 2, np.int64)
    for id_ in ids:
        if id_ % parts == part:
            starts[id_ // parts + 2] += 1
    for i in range(2, mine + 2):
        starts[i] += starts[i - 1]
    places = np.empty(starts[mine + 1], np.int64)
    for i in range(ids.shape[0]):
        if ids[i] % parts == part:
            row = ids[i] // parts + 1
            places[starts[row]] = i
            starts[row] += 1
    return starts, places


@family
def _sums(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (6,), np.int64)
        n, num_rows, d = a[0], a[1], a[2]
        dout, ids = carray(pointer(a[3]), (n, d), number), carray(pointer(a[4]), (n,), np.int64)
        table = carray(pointer(a[5]), (num_rows, d), number)
        starts, places = _places(ids, num_rows, part, parts)
        line = np.zeros(d, np.float32)
        for i in range((num_rows - part + parts - 1) // parts):
            if starts[i] == starts[i + 1]:
                _empty(table[part + i * parts])
                continue
            for place in places[starts[i]:starts[i + 1]]:
                _add(line, dout[place])
            _write(line, table[part + i * parts])
    return share


def table_gradient(dout: Tensor, ids: Tensor, num_rows: int) -> Tensor:
    """dout (n, d) contiguous, ids (n,) int64 in 0 .. num_rows - 1 -> (num_rows, d); bits do not depend on threads."""
    table = dout.new_empty(num_rows, dout.shape[1])
    run(_sums(dout.dtype), *dout.shape[:1], num_rows, dout.shape[1], dout, ids, table)
    return table
