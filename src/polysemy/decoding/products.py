"""A matrix times one vector, a share of its rows at a time: float32, bfloat16 or int8 weights, float32 results.

int8 rows are multiplied as whole numbers where the processor has AVX-512: the vector is then rounded to 16 bits, which
loses far less than the weights did.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from polysemy.nn.kernels.launch import apart, intrinsic, routine
from polysemy.nn.kernels.numbers import F, larger, nearest
from polysemy.runtime import cpu_flags

WORD = ir.IntType(64)
NARROW = 16_384
"""bytes of a block of four rows up to which later ones are asked for (measured: 1.2 to 1.9 times as fast)"""
MOST, LONGEST = 32_767, 8192
"""largest int16; columns up to which LONGEST / 16 products of 127 and MOST stay within 32 bits"""


def multiplies_integers(*columns: int) -> bool:
    """Whether rows of so many int8 numbers are multiplied as whole numbers here (AVX-512)."""
    return "avx512bw" in cpu_flags() and all(n % 32 == 0 and n <= LONGEST for n in columns)


@intrinsic
def _weight(typingctx: Any, x: Any) -> Any:
    """A stored weight (float32, uint16 as bfloat16, int8) as float32."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, word = signature.args[0], ir.IntType(32)
        if kind == types.float32:
            return values[0]
        if kind == types.int8:
            return builder.sitofp(values[0], ir.FloatType())
        return builder.bitcast(builder.shl(builder.zext(values[0], word), word(16)), ir.FloatType())
    return types.float32(x), code


@intrinsic
def _four_integers(typingctx: Any, row: Any, step: Any, x: Any, count: Any) -> Any:
    """Four rows of int8, `step` bytes apart, times int16 x; `count` columns, a multiple of 32 and at most LONGEST."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if not multiplies_integers():  # compiled all the same, never called
            return context.make_tuple(builder, signature.return_type, [ir.Constant(ir.FloatType(), 0.0)] * 4)
        bytes_, shorts, sums = (ir.VectorType(ir.IntType(bits), n) for bits, n in ((8, 32), (16, 32), (32, 16)))
        floats = ir.VectorType(ir.FloatType(), 16)
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(sums, [shorts, shorts]), "llvm.x86.avx512.pmaddw.d.512")
        add_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.FloatType(), [ir.FloatType(), floats]), "llvm.vector.reduce.fadd.v16f32")

        def load(address: Any, type_: Any) -> Any:
            value = builder.load(builder.inttoptr(address, type_.as_pointer()))
            value.align = 1
            return value

        rows = [builder.add(values[0], builder.mul(values[1], WORD(i))) for i in range(4)]
        slots = [cgutils.alloca_once_value(builder, ir.Constant(sums, [0] * 16)) for _ in rows]
        for slot in slots:
            builder.store(ir.Constant(sums, [0] * 16), slot)
        with cgutils.for_range(builder, builder.lshr(values[3], WORD(5))) as loop:
            at = builder.shl(loop.index, WORD(5))
            x = load(builder.add(values[2], builder.shl(at, WORD(1))), shorts)
            for row, slot in zip(rows, slots, strict=True):
                weights = builder.sext(load(builder.add(row, at), bytes_), shorts)
                builder.store(builder.add(builder.load(slot), builder.call(multiply_add, [weights, x])), slot)
        zero = ir.Constant(ir.FloatType(), -0.0)
        totals = [builder.call(add_up, [zero, builder.sitofp(builder.load(slot), floats)], fastmath=("reassoc",))
                  for slot in slots]
        return context.make_tuple(builder, signature.return_type, totals)
    return types.UniTuple(types.float32, 4)(types.int64, types.int64, types.int64, types.int64), code


@intrinsic
def _fetch(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at an address, into the second cache; any address will do."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic("llvm.prefetch", [place], ir.FunctionType(
            ir.VoidType(), [place, word, word, word]))
        builder.call(function, [builder.inttoptr(values[0], place), word(0), word(2), word(1)])
        return context.get_dummy_value()
    return types.void(types.int64), code


@intrinsic
def _address(typingctx: Any, array: Any) -> Any:
    """Where the numbers of an array are."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.ptrtoint(data, WORD)
    return types.int64(array), code


@routine
def _four(a, b, c, d, x):
    """Four rows times x."""
    p, q, r, s = F(0), F(0), F(0), F(0)
    for i in range(x.shape[0]):
        number = x[i]
        p += _weight(a[i]) * number
        q += _weight(b[i]) * number
        r += _weight(c[i]) * number
        s += _weight(d[i]) * number
    return p, q, r, s


@routine
def dot(a, x):
    total = F(0)
    for i in range(x.shape[0]):
        total += _weight(a[i]) * x[i]
    return total


@routine
def _ask_for(block, size):
    """Ask for the block after the next, where rows are too short for the processor to see that they go on."""
    if size <= NARROW:
        for at in range(block + 2 * size, block + 3 * size, 64):
            _fetch(at)


@routine
def _float_rows(matrix, x, first, last, out):
    r, row = first, matrix.shape[1] * matrix.itemsize
    while r + 4 <= last:
        _ask_for(_address(matrix) + r * row, 4 * row)
        p, q, s, t = _four(matrix[r], matrix[r + 1], matrix[r + 2], matrix[r + 3], x)
        out[r - first], out[r - first + 1], out[r - first + 2], out[r - first + 3] = p, q, s, t
        r += 4
    while r < last:
        out[r - first] = dot(matrix[r], x)
        r += 1


@routine
def _integer_rows(address, x, factor, columns, first, last, out):
    """int8 rows times int16 x, by instructions that multiply and add 32 of them at once."""
    r = first
    while r + 4 <= last:
        _ask_for(address + r * columns, 4 * columns)
        p, q, s, t = _four_integers(address + r * columns, columns, x, columns)
        out[r - first], out[r - first + 1], out[r - first + 2] = p * factor, q * factor, s * factor
        out[r - first + 3] = t * factor
        r += 4
    while r < last:
        p, q, s, t = _four_integers(address + r * columns, 0, x, columns)
        out[r - first] = p * factor
        r += 1


@routine
def times(matrix, scales, bias, vector, first, last, out):
    """out[r - first] = scales[r] * (matrix[r] x) + bias[r] for rows first..last; empty scales are 1, empty biases 0.

    `vector` is (x, x as int16, what one of those is worth, 0 where they are not used).
    """
    apart()
    x, whole, factor = vector
    if factor != F(0):
        _integer_rows(_address(matrix), _address(whole), factor, matrix.shape[1], first, last, out)
    else:
        _float_rows(matrix, x, first, last, out)
    if scales.shape[0]:
        for i in range(last - first):
            out[i] *= scales[first + i]
    if bias.shape[0]:
        for i in range(last - first):
            out[i] += bias[first + i]


@routine
def given(x, whole, integers):
    """x as `times` takes it; with `integers` also rounded to 16 bits, so fine that sums of int8 products fit 32."""
    if not integers:
        return x, whole, F(0)
    largest = F(1e-30)
    for i in range(x.shape[0]):
        largest = larger(largest, abs(x[i]))
    scale = F(MOST) / largest
    for i in range(x.shape[0]):
        whole[i] = np.int16(nearest(x[i] * scale))
    return x, whole, largest / F(MOST)
