"""Whole texts through all layers of a Transformer in one compiled function, for models in use.

The input is the flat list of embedded tokens of many texts; jobs are stretches of whole texts.  `apart`: each thread
takes the next job and carries it through all layers, without waiting for anybody.  `together`: all threads work on one
job (a single request), each on its share of the heads, of the columns of every matrix and of the rows of what lies
between, and meet nine times a layer.  Sums, norms, softmax and the attention itself are in float32; the matrices are in
the formats of `panels`, activations of a token being rounded with a scale of their own before each product.
"""
from __future__ import annotations

import numpy as np
import torch
from numba import carray

from polysemy.nn.kernels.launch import apart, kernel, pointer, real, routine, run
from polysemy.nn.kernels.meeting import count_up, meet
from polysemy.nn.kernels.numbers import F
from polysemy.nn.kernels.panels import LANES, PANEL, ROWS, plain_product, product
from polysemy.nn.kernels.tile import transpose16
from polysemy.nn.kernels.token_rows import (
    activated,
    finish,
    floats,
    grid,
    norm,
    norm_here,
    plus,
    put,
    round_row,
    scaled,
    softmax_row,
    turn_pairs,
    words_of,
)

META = ("form", "hidden_size", "heads", "inner_size", "layers", "norm_first", "activation", "rotary", "factor",
        "epsilon", "behind", "ahead", "final_weight", "final_shift", "table_of_layers", "cosine", "sine", "states",
        "positions", "pieces", "jobs", "num_jobs", "together", "meeting", "scratch", "scratch_size", "most_tokens",
        "longest", "num_pieces")
"""64-bit words: sizes, bits of float64, addresses (0: there is none)"""
MATRICES = ("qkv", "output", "up", "down")
LAYER = (*(f"{name}_{part}" for name in MATRICES for part in ("words", "scales", "sums", "bias")),
         "norm_weight", "norm_shift", "last_weight", "last_shift")
"""addresses of one layer"""
WORDS, LAYER_WORDS = len(META), len(LAYER)


def scratch_floats(hidden_size: int, inner_size: int, most_tokens: int) -> int:
    """Numbers that a slot of scratch must hold: see `_slot`."""
    rows = most_tokens + LANES
    wide = max(hidden_size, inner_size) + 16
    return rows * (3 * hidden_size + inner_size + 2 * hidden_size + wide + 2) + 6 * LANES


@routine
def _slot(m, number):
    """Addresses in a slot of scratch: qkv, inner, context, normed, rounded, and (scale, shift) of each rounded row."""
    d, f, rows = m[1], m[3], m[26] + LANES
    wide = max(d, f) + 16
    qkv = (m[24] + 4 * number * m[25] + 63) // 64 * 64
    inner = qkv + 4 * rows * 3 * d
    context = inner + 4 * rows * f
    normed = context + 4 * rows * d
    rounded = normed + 4 * rows * d
    return qkv, inner, context, normed, rounded, rounded + 4 * rows * wide


# --- products


@routine
def _times(form, layer, which, source, k, out, then, worths, part, parts):
    """out (count, n) = rows (count, k) of `source` times matrix `which` of a layer, plus its bias; this part's columns.

    `then` 1 adds to what is in `out`; 2 and more is 2 + the activation.
    """
    apart()
    steps, (count, n) = words_of(form, k), out.shape
    none = np.zeros(PANEL, np.float32)
    words = layer[4 * which]
    scales, sums = floats(layer[4 * which + 1], n), floats(layer[4 * which + 2], n)
    bias = floats(layer[4 * which + 3], n)
    found = np.empty((ROWS, PANEL), np.float32)
    panels = (n + PANEL - 1) // PANEL
    for panel in range(panels * part // parts, panels * (part + 1) // parts):
        first, last = panel * PANEL, min(n, (panel + 1) * PANEL)
        for i in range(0, count, ROWS):
            rows = min(ROWS, count - i)
            product(form, source + 4 * i * steps, steps, words + 4 * panel * steps * PANEL, steps,
                    found.ctypes.data, PANEL, rows)
            for r in range(rows):
                line = found[r, :last - first]
                finish(line, worths[i + r], scales[first:last], sums[first:last], bias[first:last], form)
                if then == 1:
                    plus(out[i + r, first:last], line)
                elif then > 1:
                    activated(line, none[:last - first], then - 2, out[i + r, first:last])
                else:
                    put(out[i + r, first:last], line)


# --- attention


@routine
def _look(m, qkv, first, count, head, out, s):
    """One head over one text."""
    apart()
    d, e = m[1], m[1] // m[2]
    stride, padded = 3 * d, (count + LANES - 1) // LANES * LANES
    keys, scores, context = s
    begin = qkv + 4 * (first * stride + head * e)
    for i in range(0, padded, LANES):
        for c in range(0, e, LANES):
            transpose16(begin + 4 * (d + i * stride + c), stride, keys.ctypes.data + 4 * (c * padded + i), padded)
    factor = F(real(m[8]))
    for i in range(0, count, ROWS):
        rows = min(ROWS, count - i)
        plain_product(begin + 4 * i * stride, stride, keys.ctypes.data, padded, e, scores.ctypes.data, padded, rows,
                      padded)
        flat = scores.ctypes.data
        for r in range(rows):
            line = floats(flat + 4 * r * padded, padded)
            low, high = max(0, i + r - m[10]), min(count, i + r + m[11] + 1)
            context[r, e] = F(1) / softmax_row(line, low, high, padded, factor)[1]
        plain_product(flat, padded, begin + 8 * d, stride, count, context.ctypes.data, e + 1, rows, e)
        for r in range(rows):
            scaled(context[r], context[r, e], out[first + i + r, head * e:(head + 1) * e])


@routine
def _turned(m, qkv, first_token, count, head):
    """Queries and keys of one head turned by their positions."""
    d, e = m[1], m[1] // m[2]
    half = e // 2
    positions = carray(pointer(m[18]), (first_token + count,), np.int64)
    for i in range(count):
        at = positions[first_token + i]
        cosine, sine = floats(m[15] + 4 * half * at, half), floats(m[16] + 4 * half * at, half)
        for place in (head * e, d + head * e):
            turn_pairs(qkv[i, place:place + e], cosine, sine, m[7])


# --- a layer of one job


@routine
def _norm_rows(m, layer, which, x, out, first, last):
    """out = norm of x for rows first..last, by the first (0) or the second (1) norm of a layer; out may be x."""
    d, epsilon = x.shape[1], F(real(m[9]))
    weight, shift = floats(layer[16 + 2 * which], d), floats(layer[17 + 2 * which], d)
    for i in range(first, last):
        if out.ctypes.data == x.ctypes.data:
            norm_here(x[i], weight, shift, epsilon)
        else:
            norm(x[i], weight, shift, epsilon, out[i])


@routine
def _round_rows(form, x, rounded, worths, first, last):
    """Rows first..last in the format of the product; nothing to do for float32."""
    if form == 0:
        return
    steps = words_of(form, x.shape[1])
    for i in range(first, last):
        round_row(form, x[i], rounded + 4 * i * steps, worths[i])


@routine
def _attend(m, job, pieces, places, s, part, parts):
    """The context of this part's heads over all texts of a job."""
    apart()
    d, heads, (first_piece, last_piece, first_token, count) = m[1], m[2], job
    qkv, context = grid(places[0], count, 3 * d), grid(places[2], count, d)
    for head in range(heads * part // parts, heads * (part + 1) // parts):
        if m[7]:
            _turned(m, qkv, first_token, count, head)
        for p in range(first_piece, last_piece):
            _look(m, places[0], pieces[p, 0] - first_token, pieces[p, 1], head, context, s)


@routine
def _layer(m, layer, turn, job, pieces, x, places, s, part, parts):
    """x (tokens of the job, d) after one layer, in place; every part must reach each `meet`."""
    apart()
    form, d, f, count, norm_first, meeting = m[0], m[1], m[3], job[3], m[5] != 0, m[23]
    qkv_at, inner_at, context_at, normed_at, rounded, worth_at = places
    qkv, inner, context, normed, worths = (grid(qkv_at, count, 3 * d), grid(inner_at, count, f),
                                           grid(context_at, count, d), grid(normed_at, count, d),
                                           grid(worth_at, count, 2))
    first, last, plain = count * part // parts, count * (part + 1) // parts, form == 0
    given = normed if norm_first else x
    if norm_first:
        _norm_rows(m, layer, 0, x, normed, first, last)
    _round_rows(form, given, rounded, worths, first, last)
    meet(meeting, turn + 1, parts)
    _times(form, layer, 0, given.ctypes.data if plain else rounded, d, qkv, 0, worths, part, parts)
    meet(meeting, turn + 2, parts)
    _attend(m, job, pieces, places, s, part, parts)
    meet(meeting, turn + 3, parts)
    _round_rows(form, context, rounded, worths, first, last)
    meet(meeting, turn + 4, parts)
    _times(form, layer, 1, context_at if plain else rounded, d, x, 1, worths, part, parts)
    meet(meeting, turn + 5, parts)
    _norm_rows(m, layer, 1 if norm_first else 0, x, given, first, last)
    _round_rows(form, given, rounded, worths, first, last)
    meet(meeting, turn + 6, parts)
    _times(form, layer, 2, given.ctypes.data if plain else rounded, d, inner, 2 + m[6], worths, part, parts)
    meet(meeting, turn + 7, parts)
    _round_rows(form, inner, rounded, worths, first, last)
    meet(meeting, turn + 8, parts)
    _times(form, layer, 3, inner_at if plain else rounded, f, x, 1, worths, part, parts)
    meet(meeting, turn + 9, parts)
    if not norm_first:
        _norm_rows(m, layer, 1, x, x, first, last)


@routine
def _job(m, number, slot, s, part, parts):
    """All layers of one job; `part` of `parts` work on it."""
    apart()
    d = m[1]
    jobs, pieces = carray(pointer(m[20]), (m[21] + 1,), np.int64), carray(pointer(m[19]), (m[28], 2), np.int64)
    first_piece, last_piece = jobs[number], jobs[number + 1]
    first_token = pieces[first_piece, 0]
    count = pieces[last_piece - 1, 0] + pieces[last_piece - 1, 1] - first_token
    x, layers = grid(m[17] + 4 * d * first_token, count, d), carray(pointer(m[14]), (m[4], LAYER_WORDS), np.int64)
    for index in range(m[4]):
        _layer(m, layers[index], 9 * index, (first_piece, last_piece, first_token, count), pieces, x, _slot(m, slot),
               s, part, parts)
    if m[12]:
        weight, shift, epsilon = floats(m[12], d), floats(m[13], d), F(real(m[9]))
        for i in range(count * part // parts, count * (part + 1) // parts):
            norm_here(x[i], weight, shift, epsilon)


@kernel
def _encode(arguments, part, parts):
    m = carray(pointer(carray(pointer(arguments), (1,), np.int64)[0]), (WORDS,), np.int64)
    e, padded = m[1] // m[2], (m[27] + LANES - 1) // LANES * LANES
    s = (np.empty((e, padded), np.float32), np.empty((ROWS, padded), np.float32), np.empty((ROWS, e + 1), np.float32))
    if m[22]:
        _job(m, 0, 0, s, part, parts)
        return
    number = count_up(m[23])
    while number < m[21]:
        _job(m, number, part, s, 0, 1)
        number = count_up(m[23])


def encode(meta: torch.Tensor, parts: int) -> None:
    """Carry the states that `meta` points at through the layers, in place, on so many threads."""
    run(_encode, meta, parts=parts)
