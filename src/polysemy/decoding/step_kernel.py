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
from numba import carray

from polysemy.decoding.products import dot, given, times
from polysemy.nn.kernels.activation import KINDS, _gelu, _gelu_tanh, _quick_gelu, _relu
from polysemy.nn.kernels.launch import Kernel, apart, kernel, pointer, real, routine
from polysemy.nn.kernels.launch import run as launch
from polysemy.nn.kernels.meeting import meet
from polysemy.nn.kernels.numbers import F, exp, larger, root
from polysemy.nn.kernels.token_rows import turn_pairs

ACTIVATIONS = KINDS
FORMATS: dict[str, Any] = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}
META = ("hidden_size", "heads", "inner_size", "layers", "vocab_size", "capacity", "place", "token", "norm_first",
        "activation", "rotary", "factor", "norm_eps", "embedding_eps", "token_scale", "table", "positions", "segment",
        "embedding_norm_weight", "embedding_norm_bias", "final_norm_weight", "final_norm_bias", "head", "head_scales",
        "head_bias", "cosine", "sine", "keys", "values", "logits", "context", "outer", "inner", "meeting",
        "table_of_layers", "integers")
"""64-bit words that describe a model and one step: sizes, bits of float64, addresses (0: there is none)"""
LAYER = ("qkv", "qkv_scales", "qkv_bias", "output", "output_scales", "output_bias", "norm_weight", "norm_bias", "up",
         "up_scales", "up_bias", "down", "down_scales", "down_bias", "last_norm_weight", "last_norm_bias")
"""addresses of one layer"""
WORDS, LAYER_WORDS = len(META), len(LAYER)


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
def _attend(query, keys, values, factor, scores, out):
    """softmax(factor query keys) values; scores is scratch for one number a key."""
    apart()
    count, largest = keys.shape[0], F(-3e38)
    for j in range(count):
        scores[j] = dot(keys[j], query) * factor
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
def _heads(m, layer, index, vector, scratch, number, part, parts):
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
        times(packed, scales, bias, vector, head * e, (head + 1) * e, query)
        times(packed, scales, bias, vector, d + head * e, d + (head + 1) * e, keys[place])
        times(packed, scales, bias, vector, 2 * d + head * e, 2 * d + (head + 1) * e, values[place])
        if m[10]:
            turn_pairs(query, cosine, sine, m[10])
            turn_pairs(keys[place], cosine, sine, m[10])
        _attend(query, keys, values, F(real(m[11])), scratch[1], context[head * e:(head + 1) * e])


@routine
def _my_rows(matrix, scales, bias, vector, out, part, parts):
    """This part's share of a matrix times x, in its place of the shared result; returns where that is."""
    rows = matrix.shape[0]
    first, last = rows * part // parts, rows * (part + 1) // parts
    times(matrix, scales, bias, vector, first, last, out[first:last])
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
    _heads(m, layer, index, given(h, whole, m[35]), scratch, number, part, parts)
    meet(meeting, turn + 1, parts)
    _my_rows(_matrix(layer[3], d, d, number), _floats(layer[4], d), _floats(layer[5], d),
             given(context, whole, m[35]), outer, part, parts)
    meet(meeting, turn + 2, parts)
    _add(x, outer)
    if m[8]:
        _norm(x, _floats(layer[14], d), _floats(layer[15], d), eps, h)
    else:
        _norm(x, _floats(layer[6], d), _floats(layer[7], d), eps, h)
        x[:] = h
    first, last = _my_rows(_matrix(layer[8], f, d, number), _floats(layer[9], f), _floats(layer[10], f),
                           given(h, whole, m[35]), inner, part, parts)
    _activate(inner[first:last], scratch[2], m[9])
    meet(meeting, turn + 3, parts)
    _my_rows(_matrix(layer[11], d, f, number), _floats(layer[12], d), _floats(layer[13], d),
             given(inner, whole, m[35]), outer, part, parts)
    meet(meeting, turn + 4, parts)
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
             given(x, scratch[3], m[35]), _floats(m[29], m[4]), part, parts)


@functools.cache
def _step(weights: str) -> Kernel:
    number = FORMATS[weights]

    def share(arguments, part, parts):
        words = carray(pointer(carray(pointer(arguments), (1,), np.int64)[0]), (WORDS,), np.int64)
        _token(words, number, part, parts)
    return kernel(share)


def run_step(weights: str, meta: torch.Tensor, meeting: torch.Tensor, parts: int) -> bool:
    """Do the step that `meta` describes on so many threads; False when they could not all run at once."""
    meeting.zero_()
    launch(_step(weights), meta, parts=parts)
    return not int(meeting[8])
