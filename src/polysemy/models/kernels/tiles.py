"""Micro-kernels on rows of float32, written in LLVM's vector instructions and unrolled over the sizes given.

Models of word vectors spend their time on a few dot products between a few context rows and a few output rows, and on
adding them to each other. Compiled loops over such short rows leave most of the processor idle. Here a tile of `rows` x
`outputs` sums is held in registers while both sides are read once, and so is the update (Ji et al. 2016, HogBatch, do
this with matrix products; the tile needs no call and no copies).

Sizes (`rows`, `outputs`, `width`) must be literals or variables that the loop closes over, see `compiling.kernel`;
`width` is a multiple of 16 and rows are made by `rows.aligned`. Everything else is an address (int64): of a row, of a
table of row addresses (int64 array), or of float32 numbers. Score buffers need room for 16 floats more than the tile
has. No bounds are checked. An array that a loop makes must be given to `keep` after the last use of its address.

Results do not depend on threads or addresses; sums are taken in another order than NumPy takes them, so they agree
with it to float32 rounding. Rows given twice are treated as the docstring of each says.
"""
from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors

from polysemy.machine_code import intrinsic
from polysemy.models.kernels import vectors
from polysemy.models.kernels.vectors import Vectors
from polysemy.runtime import cpu_flags

WORD = ir.IntType(64)


def _vector_floats() -> int:
    flags = cpu_flags()
    return 16 if "avx512f" in flags else 8 if "avx" in flags or "avx2" in flags else 4


FLOATS = _vector_floats()
"""floats in a vector of this processor"""
TILE_ROWS = 4 if FLOATS == 16 or platform.machine() in ("aarch64", "arm64") else 2
"""rows of the largest tile that, with 6 outputs, fits this processor's registers"""


def _instruction(emit: Callable[..., None], sizes: int, signature: Any) -> Any:
    """What an intrinsic returns: its type, and what writes the code; the first `sizes` arguments are known sizes."""
    def code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        emit(Vectors(builder, FLOATS), *arguments[sizes:])
        return context.get_dummy_value()
    return signature, code


def _known(*sizes: Any) -> list[int]:
    if not all(isinstance(size, types.IntegerLiteral) for size in sizes):
        raise errors.RequireLiteralValue("sizes of a tile must be known when it is compiled")
    return [size.literal_value for size in sizes]


@intrinsic(prefer_literal=True)
def dots(typingctx: Any, rows: Any, outputs: Any, width: Any, x: Any, o: Any, s: Any) -> Any:
    """s[i * outputs + k] = x_i . o_k, for tables x of `rows` and o of `outputs` row addresses."""
    n, m, size = _known(rows, outputs, width)

    def emit(v: Vectors, x: Any, o: Any, s: Any) -> None:
        xs, os = v.addresses(x, n), v.addresses(o, m)
        sums = [v.zero] * (n * m)
        for at in range(0, size, FLOATS):
            values = [v.load(row, at) for row in xs]
            for k in range(m):
                output = v.load(os[k], at)
                for i in range(n):
                    sums[i * m + k] = v.multiply_add(values[i], output, sums[i * m + k])
        for start in range(0, n * m, FLOATS):
            v.store(v.totals(sums[start : start + FLOATS]), s, start)

    return _instruction(emit, 3, types.void(rows, outputs, width, types.int64, types.int64, types.int64))


@intrinsic(prefer_literal=True)
def update(typingctx: Any, rows: Any, outputs: Any, width: Any, x: Any, o: Any, g: Any) -> Any:
    """x_i += sum_k g[i * outputs + k] o_k and o_k += sum_i g[i * outputs + k] x_i, both from the rows as they were.

    An output given twice takes both updates, the second from what the first left; a row given twice among x takes both.
    """
    n, m, size = _known(rows, outputs, width)

    def emit(v: Vectors, x: Any, o: Any, g: Any) -> None:
        xs, os = v.addresses(x, n), v.addresses(o, m)
        weights = [v.splat_from(g, j) for j in range(n * m)]
        for at in range(0, size, FLOATS):
            values = [v.load(row, at) for row in xs]
            changes: list[Any] = [None] * n
            for k in range(m):
                output = new = v.load(os[k], at)
                for i in range(n):
                    weight = weights[i * m + k]
                    changes[i] = v.multiply_add(weight, output, changes[i])
                    new = v.multiply_add(weight, values[i], new)
                v.store(new, os[k], at)
            for i in range(n):
                v.store(v.add(v.load(xs[i], at), changes[i]), xs[i], at)

    return _instruction(emit, 3, types.void(rows, outputs, width, types.int64, types.int64, types.int64))


@intrinsic(prefer_literal=True)
def learn(typingctx: Any, outputs: Any, width: Any, h: Any, e: Any, o: Any, g: Any) -> Any:
    """e += sum_k g[k] o_k and o_k += g[k] h: one hidden row h against `outputs` rows, the error gathered in row e."""
    m, size = _known(outputs, width)

    def emit(v: Vectors, h: Any, e: Any, o: Any, g: Any) -> None:
        os = v.addresses(o, m)
        weights = [v.splat_from(g, k) for k in range(m)]
        for at in range(0, size, FLOATS):
            value, error = v.load(h, at), v.load(e, at)
            for k in range(m):
                output = v.load(os[k], at)
                error = v.multiply_add(weights[k], output, error)
                v.store(v.multiply_add(weights[k], value, output), os[k], at)
            v.store(error, e, at)

    return _instruction(emit, 2, types.void(outputs, width, *[types.int64] * 4))


@intrinsic(prefer_literal=True)
def errors_of(typingctx: Any, rows: Any, outputs: Any, s: Any, labels: Any, rates: Any) -> Any:
    """s[i * outputs + k] = (labels[k] - sigmoid(s[i * outputs + k])) rates[k], in place.

    The sigmoid is computed (relative error below 1e-6), not looked up. labels and rates need room for 16 floats.
    """
    n, m = _known(rows, outputs)

    def emit(v: Vectors, s: Any, labels: Any, rates: Any) -> None:
        for start in range(0, n * m, FLOATS):
            columns = [j % m for j in range(start, start + FLOATS)]
            label, rate = v.pick(labels, columns, m), v.pick(rates, columns, m)
            sigmoid = v.sigmoid(v.load(s, start))
            v.store(v.multiply(v.subtract(label, sigmoid), rate), s, start)

    return _instruction(emit, 2, types.void(rows, outputs, types.int64, types.int64, types.int64))


@intrinsic(prefer_literal=True)
def sum_rows(typingctx: Any, width: Any, y: Any, x: Any, count: Any, scale: Any) -> Any:
    """y = scale * the sum of the first `count` rows of the table x (count: int64, any number; scale: float32)."""
    size, = _known(width)

    def emit(v: Vectors, y: Any, x: Any, count: Any, scale: Any) -> None:
        factor = v.splat(scale)
        for first in range(0, size, vectors.MOST_SUMS * FLOATS):
            places = range(first, min(size, first + vectors.MOST_SUMS * FLOATS), FLOATS)
            sums = v.loop_sums(x, count, places)
            for at, total in zip(places, sums, strict=True):
                v.store(v.multiply(total, factor), y, at)

    return _instruction(emit, 1, types.void(width, *[types.int64] * 3, types.float32))


@intrinsic(prefer_literal=True)
def add_to_rows(typingctx: Any, width: Any, x: Any, count: Any, y: Any) -> Any:
    """x_i += y for the first `count` rows of the table x; a row given twice takes it twice."""
    size, = _known(width)

    def emit(v: Vectors, x: Any, count: Any, y: Any) -> None:
        for first in range(0, size, vectors.MOST_SUMS * FLOATS):
            places = range(first, min(size, first + vectors.MOST_SUMS * FLOATS), FLOATS)
            values = [v.load(y, at) for at in places]
            with cgutils.for_range(v.builder, count) as loop:
                row = v.address(x, loop.index)
                for at, value in zip(places, values, strict=True):
                    v.store(v.add(v.load(row, at), value), row, at)

    return _instruction(emit, 1, types.void(width, *[types.int64] * 3))


@intrinsic(prefer_literal=True)
def axpy(typingctx: Any, width: Any, y: Any, a: Any, x: Any) -> Any:
    """y += a x for two rows and a float32 number."""
    size, = _known(width)

    def emit(v: Vectors, y: Any, a: Any, x: Any) -> None:
        factor = v.splat(a)
        for at in range(0, size, FLOATS):
            v.store(v.multiply_add(factor, v.load(x, at), v.load(y, at)), y, at)

    return _instruction(emit, 1, types.void(width, types.int64, types.float32, types.int64))


@intrinsic(prefer_literal=True)
def clear(typingctx: Any, width: Any, y: Any) -> Any:
    """y = 0."""
    size, = _known(width)

    def emit(v: Vectors, y: Any) -> None:
        for at in range(0, size, FLOATS):
            v.store(v.zero, y, at)

    return _instruction(emit, 1, types.void(width, types.int64))


@intrinsic
def keep(typingctx: Any, array: Any) -> Any:
    """Say at the end of a loop that an array made in it was in use by its address: else it is freed before."""
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_dummy_value()

    return types.void(array), code


@intrinsic(prefer_literal=True)
def prefetch(typingctx: Any, width: Any, row: Any) -> Any:
    """Ask for a row's cache lines, needed soon; the address need not be valid."""
    size, = _known(width)

    def emit(v: Vectors, row: Any) -> None:
        for at in range(0, size, 16):
            v.prefetch(row, at)

    return _instruction(emit, 1, types.void(width, types.int64))
