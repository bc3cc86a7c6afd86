"""GloVe's learning step: AdaGrad on one count at a time, as the original's program does it.

For a count X of words i and j with error d = w_i . c_j + b_i + b_j - log X and weight f = min(1, (X / x_max)^alpha):
g = clip(f d c_j, +-100) eta for w_i and g = clip(f d w_i, +-100) eta for c_j, both from the vectors as they were;
w -= g / sqrt(G), then G += g^2 (G begins at 1, the rate eta is inside it). Biases take f d without eta or clipping.
The cost of a count is f d^2 / 2.

A row of the fast tables is `vector, bias, 0... | sums of squares, sum of the bias, 0...`, both halves padded alike to
whole cache lines, so that a count needs two places in memory. The plain tables hold the same numbers in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from polysemy.models.glove.counting_kernels import SIDE
from polysemy.models.kernels.compiling import exactly, kernel
from polysemy.models.kernels.tiles import FLOATS, intrinsic, prefetch
from polysemy.models.kernels.vectors import Vectors

CLIP = 100.0
AHEAD = 4
"""counts between asking for rows and using them"""


@exactly
def plain_pass(order, larger, smaller, logs, weights, words, contexts, size, rate):  # pragma: no cover - compiled
    """Learn from the counts in this order, the second half of the order's range with the two words exchanged.

    words, contexts: float64 (words, 2, size + 1), [:, 0] vector and bias, [:, 1] their sums of squares. Returns cost.
    """
    cost, count = 0.0, len(logs)
    for q in order:
        pair = q if q < count else q - count
        i, j = (larger[pair], smaller[pair]) if q < count else (smaller[pair], larger[pair])
        w, c = words[i], contexts[j]
        error = w[0, size] + c[0, size] - logs[pair]
        for k in range(size):
            error += w[0, k] * c[0, k]
        weighted = weights[pair] * error
        cost += 0.5 * weighted * error
        for k in range(size):
            for_w = min(max(weighted * c[0, k], -CLIP), CLIP) * rate
            for_c = min(max(weighted * w[0, k], -CLIP), CLIP) * rate
            w[0, k] -= for_w / np.sqrt(w[1, k])
            c[0, k] -= for_c / np.sqrt(c[1, k])
            w[1, k] += for_w * for_w
            c[1, k] += for_c * for_c
        for row in (w, c):
            row[0, size] -= weighted / np.sqrt(row[1, size])
            row[1, size] += weighted * weighted
    return cost


@kernel
def fast_pass(size: int, width: int):
    """The loop for vectors of `size` floats in rows of two halves of `width` floats.

    (parts, places, logs, weights, words, contexts, rate) -> cost: parts are int64 (parts, 5) of word block, context
    block, first count, end, and whether the places are exchanged (a word with itself is then passed over).
    """
    row_bytes = 8 * width
    bias, squares, both = size, width + size, 2 * width

    def run(parts, places, logs, weights, words, contexts, rate):
        cost = 0.0
        for part in range(len(parts)):
            word_base, context_base = parts[part, 0] * SIDE, parts[part, 1] * SIDE
            start, stop, exchanged = parts[part, 2], parts[part, 3], parts[part, 4]
            word_address = words.ctypes.data + word_base * row_bytes
            context_address = contexts.ctypes.data + context_base * row_bytes
            for q in range(start, stop):
                if q + AHEAD < stop:
                    prefetch(both, word_address + np.int64(places[q + AHEAD, exchanged]) * row_bytes)
                    prefetch(both, context_address + np.int64(places[q + AHEAD, 1 - exchanged]) * row_bytes)
                i, j = np.int64(places[q, exchanged]), np.int64(places[q, 1 - exchanged])
                if exchanged and i == j and word_base == context_base:
                    continue
                w, c = words[word_base + i], contexts[context_base + j]
                w_bias, c_bias, w_squares, c_squares = w[bias], c[bias], w[squares], c[squares]
                w_at, c_at = word_address + i * row_bytes, context_address + j * row_bytes
                error = dot(width, w_at, c_at) - w_bias * c_bias + w_bias + c_bias - logs[q]
                weighted = weights[q] * error
                cost += 0.5 * weighted * error
                step(width, w_at, c_at, weighted, rate)
                w[bias], w[squares] = w_bias - weighted / np.sqrt(w_squares), w_squares + weighted * weighted
                c[bias], c[squares] = c_bias - weighted / np.sqrt(c_squares), c_squares + weighted * weighted
        return cost

    return run


@intrinsic(prefer_literal=True)
def dot(typingctx: Any, width: Any, a: Any, b: Any) -> Any:
    """The dot product of `width` floats at two addresses, float32."""

    def code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(builder, FLOATS)
        total = v.zero
        for at in range(0, width.literal_value, FLOATS):
            total = v.multiply_add(v.load(arguments[1], at), v.load(arguments[2], at), total)
        return builder.extract_element(v.totals([total]), ir.IntType(32)(0))

    return types.float32(width, types.int64, types.int64), code


@intrinsic(prefer_literal=True)
def step(typingctx: Any, width: Any, w: Any, c: Any, weighted: Any, rate: Any) -> Any:
    """One AdaGrad step of two rows of `width` floats and their sums of squares, which follow them."""

    def code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, half = Vectors(builder, FLOATS), width.literal_value
        _, w, c, weighted, rate = arguments
        error, rate = v.splat(weighted), v.splat(rate)
        for at in range(0, half, FLOATS):
            old_w, old_c = v.load(w, at), v.load(c, at)
            for row, old, other in ((w, old_w, old_c), (c, old_c, old_w)):
                gradient = v.multiply(_clipped(v, v.multiply(error, other)), rate)
                sums = v.load(row, half + at)
                v.store(builder.fsub(old, _over_root(v, gradient, sums)), row, at)
                v.store(v.multiply_add(gradient, gradient, sums), row, half + at)
        return context.get_dummy_value()

    return types.void(width, types.int64, types.int64, types.float32, types.float32), code


def _clipped(v: Vectors, value: Any) -> Any:
    for name, limit in (("minnum", CLIP), ("maxnum", -CLIP)):
        value = _call(v, name, value, v.constant(limit))
    return value


def _over_root(v: Vectors, value: Any, squares: Any) -> Any:
    """value / sqrt(squares), by the processor's estimate of 1 / sqrt and one step of Newton's where it has one."""
    builder: Any = v.builder
    return builder.fdiv(value, _call(v, "sqrt", squares, flags=("fast",)), flags=("fast",))


def _call(v: Vectors, name: str, *arguments: Any, flags: tuple[str, ...] = ()) -> Any:
    kind, builder = ir.FunctionType(v.type, [v.type] * len(arguments)), v.builder
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{v.floats}f32")
    return builder.call(function, arguments, fastmath=flags)


