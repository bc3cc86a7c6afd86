"""A matrix times one vector, a share of its rows at a time: float32, bfloat16 or int8 weights, float32 results.

One row after the other, as they lie in memory: that is how the processor fetches ahead (four rows at a time, or asking
for later ones, was up to 1.8 times as slow).  int8 rows are multiplied as whole numbers where the processor has
AVX-512: the vector is then rounded to 16 bits, which loses far less than the weights did.
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
def _integers(typingctx: Any, row: Any, x: Any, count: Any) -> Any:
    """A row of int8 times int16 x, both by address; `count` columns, a multiple of 32 and at most LONGEST."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if not multiplies_integers():  # compiled all the same, never called
            return ir.Constant(ir.FloatType(), 0.0)
        bytes_, shorts, sums = (ir.VectorType(ir.IntType(bits), n) for bits, n in ((8, 32), (16, 32), (32, 16)))
        floats, zeros = ir.VectorType(ir.FloatType(), 16), ir.Constant(sums, [0] * 16)
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(sums, [shorts, shorts]), "llvm.x86.avx512.pmaddw.d.512")
        add_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.FloatType(), [ir.FloatType(), floats]), "llvm.vector.reduce.fadd.v16f32")

        def load(address: Any, type_: Any) -> Any:
            value = builder.load(builder.inttoptr(address, type_.as_pointer()))
            value.align = 1
            return value

        def add(at: Any, slot: Any) -> None:
            numbers = load(builder.add(values[1], builder.shl(at, WORD(1))), shorts)
            weights = builder.sext(load(builder.add(values[0], at), bytes_), shorts)
            builder.store(builder.add(builder.load(slot), builder.call(multiply_add, [weights, numbers])), slot)

        slots = [cgutils.alloca_once_value(builder, zeros) for _ in range(4)]  # so that no sum waits for the one before
        for slot in slots:
            builder.store(zeros, slot)
        with cgutils.for_range(builder, builder.lshr(values[2], WORD(7))) as loop:
            start = builder.shl(loop.index, WORD(7))
            for number, slot in enumerate(slots):
                add(builder.add(start, WORD(32 * number)), slot)
        rest = builder.and_(values[2], WORD(-128))
        with cgutils.for_range(builder, builder.lshr(builder.sub(values[2], rest), WORD(5))) as loop:
            add(builder.add(rest, builder.shl(loop.index, WORD(5))), slots[0])
        total = zeros
        for slot in slots:
            total = builder.add(total, builder.load(slot))
        return builder.call(add_up, [ir.Constant(ir.FloatType(), -0.0), builder.sitofp(total, floats)],
                            fastmath=("reassoc",))
    return types.float32(types.int64, types.int64, types.int64), code


@intrinsic
def _address(typingctx: Any, array: Any) -> Any:
    """Where the numbers of an array are."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.ptrtoint(data, WORD)
    return types.int64(array), code


@routine
def dot(a, x):
    total = F(0)
    for i in range(x.shape[0]):
        total += _weight(a[i]) * x[i]
    return total


@routine
def _float_rows(matrix, x, first, last, out):
    for r in range(first, last):
        out[r - first] = dot(matrix[r], x)


@routine
def _integer_rows(address, x, factor, columns, first, last, out):
    """int8 rows times int16 x, by instructions that multiply and add 32 of them at once."""
    for r in range(first, last):
        out[r - first] = _integers(address + r * columns, x, columns) * factor


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
