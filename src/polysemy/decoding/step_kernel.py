"""One token through a whole Transformer as a single compiled function: batch 1, float32 sums, keys and values kept.

Each of `parts` threads owns a share of the heads and of the rows of every matrix; what all need (the state and its
norms) each computes for itself.  The threads meet four times a layer, by counting up one number in memory: going back
to Python or to OpenMP would cost more than the arithmetic of a small model.

Weights are float32, bfloat16 (the upper half of it) or int8 with one scale for each output row.
"""
from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils

from polysemy.nn.kernels.activation import KINDS, _gelu, _gelu_tanh, _quick_gelu, _relu
from polysemy.nn.kernels.launch import Kernel, apart, intrinsic, kernel, pointer, real, routine
from polysemy.nn.kernels.launch import run as launch
from polysemy.nn.kernels.numbers import F, exp, larger, nearest, root
from polysemy.runtime import cpu_flags

FORMATS: dict[str, Any] = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}
ACTIVATIONS = KINDS
META = ("hidden_size", "heads", "inner_size", "layers", "vocab_size", "capacity", "place", "token", "norm_first",
        "activation", "rotary", "factor", "norm_eps", "embedding_eps", "token_scale", "table", "positions", "segment",
        "embedding_norm_weight", "embedding_norm_bias", "final_norm_weight", "final_norm_bias", "head", "head_scales",
        "head_bias", "cosine", "sine", "keys", "values", "logits", "context", "outer", "inner", "meeting", "table_of_layers",
        "integers")
"""64-bit words that describe a model and one step: sizes, bits of float64, addresses (0: there is none)"""
LAYER = ("qkv", "qkv_scales", "qkv_bias", "output", "output_scales", "output_bias", "norm_weight", "norm_bias", "up",
         "up_scales", "up_bias", "down", "down_scales", "down_bias", "last_norm_weight", "last_norm_bias")
"""addresses of one layer"""
WORDS, LAYER_WORDS = len(META), len(LAYER)
SPINS, PATIENCE = 4000, 1 << 21
"""how often a waiting thread looks before it lets others run between looks, and how often until it gives up"""
WORD = ir.IntType(64)
MOST, LONGEST = 32_767, 8192
"""largest int16; columns up to which LONGEST / 16 products of 127 and MOST stay within 32 bits"""


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
def _address(typingctx: Any, array: Any) -> Any:
    """Where the numbers of an array are."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.ptrtoint(data, WORD)
    return types.int64(array), code


@intrinsic
def _count_up(typingctx: Any, address: Any) -> Any:
    """Add 1 to the 64-bit number at an address, seen by all threads, after all that was written before."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = builder.inttoptr(values[0], WORD.as_pointer())
        return builder.atomic_rmw("add", place, WORD(1), "seq_cst")
    return types.int64(types.int64), code


@intrinsic
def _look(typingctx: Any, address: Any) -> Any:
    """The 64-bit number at an address as other threads left it."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(values[0], WORD.as_pointer()), "seq_cst", 8)
    return types.int64(types.int64), code


@intrinsic
def _let_others(typingctx: Any) -> Any:
    """Give the core to another thread that wants it."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield")
        builder.call(function, [])
        return context.get_dummy_value()
    return types.void(), code


@routine
def _meet(meeting, turn, parts):
    """Wait until every part has come here `turn` times; a part that waited too long tells all to give up."""
    apart()
    if parts == 1:
        return
    _count_up(meeting)
    looks = 0
    while _look(meeting) < turn * parts:
        looks += 1
        if looks > SPINS:
            _let_others()
            if looks > PATIENCE or _look(meeting + 64) != 0:
                _count_up(meeting + 64)
                return


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
def _one(a, x):
    total = F(0)
    for i in range(x.shape[0]):
        total += _weight(a[i]) * x[i]
    return total


@routine
def _float_rows(matrix, x, first, last, out):
    r = first
    while r + 4 <= last:
        p, q, s, t = _four(matrix[r], matrix[r + 1], matrix[r + 2], matrix[r + 3], x)
        out[r - first], out[r - first + 1], out[r - first + 2], out[r - first + 3] = p, q, s, t
        r += 4
    while r < last:
        out[r - first] = _one(matrix[r], x)
        r += 1


@routine
def _integer_rows(address, x, factor, columns, first, last, out):
    """int8 rows times int16 x, by instructions that multiply and add 32 of them at once."""
    r = first
    while r + 4 <= last:
        p, q, s, t = _four_integers(address + r * columns, columns, x, columns)
        out[r - first], out[r - first + 1], out[r - first + 2] = p * factor, q * factor, s * factor
        out[r - first + 3] = t * factor
        r += 4
    while r < last:
        p, q, s, t = _four_integers(address + r * columns, 0, x, columns)
        out[r - first] = p * factor
        r += 1


@routine
def _rows(matrix, scales, bias, given, first, last, out):
    """out[r - first] = scales[r] * (matrix[r] x) + bias[r] for rows first..last; empty scales are 1, empty biases 0.

    `given` is (x, x as int16, what one of those is worth, 0 where they are not used).
    """
    apart()
    x, whole, factor = given
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
def _given(x, whole, integers):
    """x as `_rows` takes it; with `integers` also rounded to 16 bits, so fine that sums of int8 products fit 32."""
    if not integers:
        return x, whole, F(0)
    largest = F(1e-30)
    for i in range(x.shape[0]):
        largest = larger(largest, abs(x[i]))
    scale = F(MOST) / largest
    for i in range(x.shape[0]):
        whole[i] = np.int16(nearest(x[i] * scale))
    return x, whole, largest / F(MOST)


@routine
def _norm(x, weight, shift, epsilon, out):
    d = x.shape[0]
    total = F(0)
    for i in range(d):
        total += x[i]
    mean = total / F(d)
    total = F(0)
    for i in range(d):
        total += (x[i] - mean) * (x[i] - mean)
    rstd = F(1) / root(total / F(d) + epsilon)
    for i in range(d):
        out[i] = (x[i] - mean) * rstd * weight[i] + shift[i]


@routine
def _turn(x, cosine, sine, layout):
    """Each pair of coordinates turned by its angle: (i, i + half) in layout 1, neighbors in layout 2."""
    half = cosine.shape[0]
    for i in range(half):
        first, second = (i, half + i) if layout == 1 else (2 * i, 2 * i + 1)
        a, b = x[first], x[second]
        x[first] = a * cosine[i] - b * sine[i]
        x[second] = a * sine[i] + b * cosine[i]


@routine
def _attend(query, keys, values, factor, scores, out):
    """softmax(factor query keys) values; scores is scratch for one number a key."""
    apart()
    count, largest = keys.shape[0], F(-3e38)
    for j in range(count):
        scores[j] = _one(keys[j], query) * factor
    for j in range(count):
        largest = larger(largest, scores[j])
    total = F(0)
    for j in range(count):
        share = exp(scores[j] - largest)
        scores[j] = share
        total += share
    for i in range(out.shape[0]):
        out[i] = F(0)
    for j in range(count):
        share = scores[j]
        row = values[j]
        for i in range(out.shape[0]):
            out[i] += share * row[i]
    scale = F(1) / total
    for i in range(out.shape[0]):
        out[i] *= scale


@routine
def _activate(x, none, kind):
    if kind == 0:
        _gelu(x, none, x)
    elif kind == 1:
        _gelu_tanh(x, none, x)
    elif kind == 2:
        _quick_gelu(x, none, x)
    else:
        _relu(x, none, x)


@routine
def _add(x, y):
    for i in range(x.shape[0]):
        x[i] += y[i]


@routine
def _floats(address, count):
    """`count` float32 at an address; none where there is no address."""
    return carray(pointer(address), (count if address != 0 else 0,), np.float32)


@routine
def _first_state(m, x, scratch):
    """Token plus position plus segment 0, normed where the model does so."""
    d = x.shape[0]
    row = _floats(m[15] + 4 * d * m[7], d)
    scale = F(real(m[14]))
    for i in range(d):
        x[i] = row[i] * scale
    if m[16]:
        _add(x, _floats(m[16] + 4 * d * m[6], d))
    if m[17]:
        _add(x, _floats(m[17], d))
    if m[18]:
        for i in range(d):
            scratch[i] = x[i]
        _norm(scratch, _floats(m[18], d), _floats(m[19], d), F(real(m[13])), x)


@routine
def _matrix(address, rows, columns, number):
    return carray(pointer(address), (rows, columns), number)


@routine
def _heads(m, layer, index, given, scratch, number, part, parts):
    """Queries, keys and values of this part's heads, and what they see, into the shared context."""
    apart()
    d, heads, place = m[0], m[1], m[6]
    e = d // heads
    packed, scales, bias = _matrix(layer[0], 3 * d, d, number), _floats(layer[1], 3 * d), _floats(layer[2], 3 * d)
    context, query = _floats(m[30], d), scratch[0]
    cosine, sine = _floats(m[25] + 2 * e * place, e // 2), _floats(m[26] + 2 * e * place, e // 2)
    for head in range(heads * part // parts, heads * (part + 1) // parts):
        start = 4 * e * m[5] * (index * heads + head)
        keys = carray(pointer(m[27] + start), (place + 1, e), np.float32)
        values = carray(pointer(m[28] + start), (place + 1, e), np.float32)
        _rows(packed, scales, bias, given, head * e, (head + 1) * e, query)
        _rows(packed, scales, bias, given, d + head * e, d + (head + 1) * e, keys[place])
        _rows(packed, scales, bias, given, 2 * d + head * e, 2 * d + (head + 1) * e, values[place])
        if m[10]:
            _turn(query, cosine, sine, m[10])
            _turn(keys[place], cosine, sine, m[10])
        _attend(query, keys, values, F(real(m[11])), scratch[1], context[head * e:(head + 1) * e])


@routine
def _my_rows(matrix, scales, bias, given, out, part, parts):
    """This part's share of a matrix times x, in its place of the shared result; returns where that is."""
    rows = matrix.shape[0]
    first, last = rows * part // parts, rows * (part + 1) // parts
    _rows(matrix, scales, bias, given, first, last, out[first:last])
    return first, last


@routine
def _layer(m, layer, index, x, h, scratch, number, part, parts):
    """x after one layer; h is scratch."""
    apart()
    d, f, meeting = m[0], m[2], m[33]
    eps, turn = F(real(m[12])), 4 * index
    context, outer, inner, whole = _floats(m[30], d), _floats(m[31], d), _floats(m[32], f), scratch[3]
    if m[8]:
        _norm(x, _floats(layer[6], d), _floats(layer[7], d), eps, h)
    else:
        h[:] = x
    _heads(m, layer, index, _given(h, whole, m[35]), scratch, number, part, parts)
    _meet(meeting, turn + 1, parts)
    _my_rows(_matrix(layer[3], d, d, number), _floats(layer[4], d), _floats(layer[5], d),
             _given(context, whole, m[35]), outer, part, parts)
    _meet(meeting, turn + 2, parts)
    _add(x, outer)
    if m[8]:
        _norm(x, _floats(layer[14], d), _floats(layer[15], d), eps, h)
    else:
        _norm(x, _floats(layer[6], d), _floats(layer[7], d), eps, h)
        x[:] = h
    first, last = _my_rows(_matrix(layer[8], f, d, number), _floats(layer[9], f), _floats(layer[10], f),
                           _given(h, whole, m[35]), inner, part, parts)
    _activate(inner[first:last], scratch[2], m[9])
    _meet(meeting, turn + 3, parts)
    _my_rows(_matrix(layer[11], d, f, number), _floats(layer[12], d), _floats(layer[13], d),
             _given(inner, whole, m[35]), outer, part, parts)
    _meet(meeting, turn + 4, parts)
    _add(x, outer)
    if not m[8]:
        _norm(x, _floats(layer[14], d), _floats(layer[15], d), eps, h)
        x[:] = h


@routine
def _token(m, number, part, parts):
    """All layers, then this part's share of the logits."""
    d, layers = m[0], carray(pointer(m[34]), (m[3], LAYER_WORDS), np.int64)
    x, h = np.empty(d, np.float32), np.empty(d, np.float32)
    scratch = (np.empty(d // m[1], np.float32), np.empty(m[6] + 1, np.float32), np.zeros(m[2], np.float32),
               np.empty(max(d, m[2]), np.int16))
    _first_state(m, x, h)
    for index in range(m[3]):
        _layer(m, layers[index], index, x, h, scratch, number, part, parts)
    if m[20]:
        _norm(x, _floats(m[20], d), _floats(m[21], d), F(real(m[12])), h)
        x[:] = h
    _my_rows(_matrix(m[22], m[4], d, number), _floats(m[23], m[4]), _floats(m[24], m[4]),
             _given(x, scratch[3], m[35]), _floats(m[29], m[4]), part, parts)


@functools.cache
def _step(weights: str) -> Kernel:
    number = FORMATS[weights]

    def share(arguments, part, parts):
        words = carray(pointer(carray(pointer(arguments), (1,), np.int64)[0]), (WORDS,), np.int64)
        _token(words, number, part, parts)
    return kernel(share)


def multiplies_integers(*columns: int) -> bool:
    """Whether rows of so many int8 numbers are multiplied as whole numbers here (AVX-512)."""
    return "avx512bw" in cpu_flags() and all(n % 32 == 0 and n <= LONGEST for n in columns)


def run_step(weights: str, meta: torch.Tensor, meeting: torch.Tensor, parts: int) -> bool:
    """Do the step that `meta` describes on so many threads; False when they could not all run at once."""
    meeting.zero_()
    launch(_step(weights), meta, parts=parts)
    return not int(meeting[8])
