"""Scalars for kernels, written so that LLVM turns loops over them into vector instructions.

bfloat16 is the upper half of a float32; an array of it is an array of uint16 here.  Every constant is typed, for one
Python float in an expression makes the whole loop float64.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from polysemy.machine_code import intrinsic
from polysemy.nn.kernels.launch import inlined
from polysemy.runtime import cpu_flags

F = np.float32
U = np.uint32


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash("bfloat")


@intrinsic
def widen(typingctx: Any, x: Any) -> Any:
    """A stored number (uint16 is bfloat16, or float32) as float32."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if signature.args[0] == types.float32:
            return values[0]
        word = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.zext(values[0], word), word(16)), ir.FloatType())
    return types.float32(x), code


@intrinsic
def narrow(typingctx: Any, x: Any, like: Any) -> Any:
    """A float32 as the kind of number that `like` is; rounds to the nearest even bfloat16, NaN stays NaN."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if signature.args[1] == types.float32:
            return values[0]
        if "avx512_bf16" in cpu_flags():
            return builder.bitcast(builder.fptrunc(values[0], _BFloat()), ir.IntType(16))  # one instruction
        word = ir.IntType(32)
        bits = builder.bitcast(values[0], word)
        odd = builder.and_(builder.lshr(bits, word(16)), word(1))
        rounded = builder.add(bits, builder.add(odd, word(0x7FFF)))
        quiet = builder.or_(bits, word(0x400000))
        number = builder.fcmp_ordered("ord", values[0], values[0])
        return builder.trunc(builder.lshr(builder.select(number, rounded, quiet), word(16)), ir.IntType(16))
    return like(types.float32, like), code


def _bits(source: Any, target: Any, type_: Any) -> Any:
    @intrinsic
    def cast(typingctx: Any, x: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.bitcast(values[0], type_)
        return target(source), code
    return cast


bits_of = _bits(types.float32, types.int32, ir.IntType(32))
float_of = _bits(types.int32, types.float32, ir.FloatType())


@intrinsic
def larger(typingctx: Any, x: Any, y: Any) -> Any:
    """The larger of two float32, NaN if either is; unlike a comparison it lets LLVM vectorize a maximum."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        type_ = ir.FloatType()
        function = builder.module.declare_intrinsic("llvm.maximum", [type_], ir.FunctionType(type_, [type_, type_]))
        return builder.call(function, values)
    return types.float32(types.float32, types.float32), code


@intrinsic
def nearest(typingctx: Any, x: Any) -> Any:
    """Round a float32 to the nearest whole number."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function = builder.module.declare_intrinsic("llvm.rint", [ir.FloatType()])
        return builder.call(function, values)
    return types.float32(types.float32), code


@intrinsic
def root(typingctx: Any, x: Any) -> Any:
    """Square root of a float32."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function = builder.module.declare_intrinsic("llvm.sqrt", [ir.FloatType()])
        return builder.call(function, values)
    return types.float32(types.float32), code


@inlined
def exp(x):
    """e**x for x <= 88, within 2 units in the last place; 0 (never a denormal) below -87."""
    x = F(-87.3) if x < F(-87.3) else x  # so written, NaN stays NaN
    x = F(88.3) if x > F(88.3) else x
    n = nearest(x * F(1.4426950408889634))
    r = x - n * F(0.693359375) - n * F(-2.12194440e-4)  # ln 2 in two parts (Cody and Waite)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * r * r + r + F(1)
    return p * float_of(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


@inlined
def log(x):
    """Natural logarithm of a positive float32, within 4e-7 of the true value or its last place."""
    bits = bits_of(x)
    n = F((bits >> np.int32(23)) - np.int32(127))
    m = float_of((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000))  # 1 <= m < 2
    if m > F(1.4142135):
        m *= F(0.5)
        n += F(1)
    z = (m - F(1)) / (m + F(1))  # log m = 2 (z + z**3/3 + ...), |z| < 0.172
    w = z * z
    p = F(2) * z * (F(1) + w * (F(0.33333333) + w * (F(0.2) + w * (F(0.14285714) + w * F(0.11111111)))))
    return n * F(0.6931471805599453) + p


@inlined
def mix(h):
    """Spread every bit of a 32-bit number over all of it (the finalizer of MurmurHash3)."""
    h = U(h ^ (h >> U(16)))
    h = U(h * U(0x85EBCA6B))
    h = U(h ^ (h >> U(13)))
    h = U(h * U(0xC2B2AE35))
    return U(h ^ (h >> U(16)))
