"""Self-attention inside pieces of a flat list of tokens: forward and backward, in bfloat16 with float32 sums.

A piece is a document, or what a row holds of it: its queries look at its keys and at nothing else, so padding and other
documents cost nothing.  Each (piece, head) is one job; jobs are dealt to threads in stretches of equal work.  A job
copies its queries, keys and values into its thread's scratch in the orders that `tile` reads, and works on ROWS queries
at a time: scores of a whole row are there at once, so the softmax is the ordinary one.  Nothing of size (queries x
keys) is stored; the backward computes the weights again from the scores and each row's log-sum-exp.

Words: two neighboring bfloat16 numbers in 32 bits.  `by row` is (token, e) in bfloat16, `turned` (e / 2 words, token),
`paired` (token / 2, e words): the numbers of two tokens side by side.
"""
from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.dropout import kept
from polysemy.nn.kernels.launch import kernel, pointer, real, routine, run
from polysemy.nn.kernels.numbers import F, U, exp, larger, log, narrow, prefetch, widen
from polysemy.nn.kernels.tile import LANES, ROWS, WIDTH, make_tile, transpose16
from polysemy.nn.pieces import Pieces

BLOCK = 48
"""queries whose weights the backward holds at once: a multiple of ROWS and of 2"""
AHEAD = 12
"""rows asked for before they are copied: one head of a row is too short for the processor to see the pattern"""
PIECE = 5
"""columns of a table of pieces: first query, queries, first key, keys, column of the first key in its row"""

_tile1, _tile2, _tile3, _tile4 = (make_tile(width) for width in range(1, WIDTH + 1))


@routine
def _product(a, a_row, a_step, b, b_step, steps, c, c_row, columns, add):
    """ROWS rows of C, `columns` (a multiple of LANES) wide; addresses are bytes, strides 4-byte numbers."""
    j = 0
    while columns - j >= 4 * LANES:
        _tile4(a, a_row, a_step, b + 4 * j, b_step, steps, c + 4 * j, c_row, add)
        j += 4 * LANES
    rest = columns - j
    if rest == 3 * LANES:
        _tile3(a, a_row, a_step, b + 4 * j, b_step, steps, c + 4 * j, c_row, add)
    elif rest == 2 * LANES:
        _tile2(a, a_row, a_step, b + 4 * j, b_step, steps, c + 4 * j, c_row, add)
    elif rest == LANES:
        _tile1(a, a_row, a_step, b + 4 * j, b_step, steps, c + 4 * j, c_row, add)


# --- copies into scratch


@routine
def _fill(row):
    for c in range(row.shape[0]):
        row[c] = 0


@routine
def _by_row(source, first, count, at, bias, target, padded):
    """`count` rows of one head (columns from `at`), plus bias, and zeros up to `padded` rows."""
    e = target.shape[1]
    shift = bias[at:at + e]
    ahead, stride = source.ctypes.data + 2 * ((first + AHEAD) * source.shape[1] + at), 2 * source.shape[1]
    for i in range(count):
        for line64 in range(0, 2 * e, 64):
            prefetch(ahead + i * stride + line64)
        line, copy = source[first + i, at:at + e], target[i]
        for c in range(e):
            copy[c] = narrow(widen(line[c]) + widen(shift[c]), copy[c])
    for i in range(count, padded):
        _fill(target[i])


@routine
def _turned_rows(source, first, count, at, bias, target, padded, turns, places):
    """`_by_row` with rotary positions: each pair of numbers turned by the angle of its token's place."""
    cosine, sine, interleaved = turns
    e, half = target.shape[1], target.shape[1] // 2
    shift = bias[at:at + e]
    ahead, stride = source.ctypes.data + 2 * ((first + AHEAD) * source.shape[1] + at), 2 * source.shape[1]
    for i in range(count):
        for line64 in range(0, 2 * e, 64):
            prefetch(ahead + i * stride + line64)
        line, copy, cos, sin = source[first + i, at:at + e], target[i], cosine[places[first + i]], sine[places[first + i]]
        if interleaved:
            for c in range(half):
                a, b = widen(line[2 * c]) + widen(shift[2 * c]), widen(line[2 * c + 1]) + widen(shift[2 * c + 1])
                copy[2 * c], copy[2 * c + 1] = (narrow(a * cos[c] - b * sin[c], line[0]),
                                                narrow(a * sin[c] + b * cos[c], line[0]))
        else:
            for c in range(half):
                a, b = widen(line[c]) + widen(shift[c]), widen(line[half + c]) + widen(shift[half + c])
                copy[c], copy[half + c] = (narrow(a * cos[c] - b * sin[c], line[0]),
                                           narrow(a * sin[c] + b * cos[c], line[0]))
    for i in range(count, padded):
        _fill(target[i])


@routine
def _turn_back(rows, count, first, turns, places):
    """Rows of gradients of turned numbers to those of the numbers before, in place."""
    cosine, sine, interleaved = turns
    half = rows.shape[1] // 2
    for i in range(count):
        row, cos, sin = rows[i], cosine[places[first + i]], sine[places[first + i]]
        for c in range(half):
            lower, upper = (2 * c, 2 * c + 1) if interleaved else (c, half + c)
            a, b = row[lower], row[upper]
            row[lower], row[upper] = a * cos[c] + b * sin[c], b * cos[c] - a * sin[c]


@routine
def _asked(source, first, count, at, bias, target, padded, turns, places):
    """Queries or keys by row."""
    if turns[0].shape[0]:
        _turned_rows(source, first, count, at, bias, target, padded, turns, places)
    else:
        _by_row(source, first, count, at, bias, target, padded)


@routine
def _paired(source, target, count):
    """target[i, c] = source[2 i, c], source[2 i + 1, c]."""
    for i in range(count // 2):
        lower, upper, pair = source[2 * i], source[2 * i + 1], target[i]
        for c in range(source.shape[1]):
            pair[c] = U(lower[c]) | (U(upper[c]) << U(16))


@routine
def _turned(source, target, count):
    """target[c, i] = words c of source[i], for `count` rows (a multiple of LANES)."""
    words, stride = source.shape[1] // 2, target.shape[1]
    start, end = source.ctypes.data, target.ctypes.data
    for i in range(0, count, LANES):
        for c in range(0, words, LANES):
            transpose16(start + 4 * (i * words + c), words, end + 4 * (c * stride + i), stride)


# --- one row of weights


@routine
def _largest(scores, keys, padded, factor):
    largest = F(-3e38)
    for j in range(padded):
        largest = larger(largest, scores[j] * factor if j < keys else F(-3e38))
    return largest


@routine
def _softmax(scores, keys, padded, factor):
    """factor * scores to exp(. - largest), 0 past the keys; (largest, sum)."""
    largest = _largest(scores, keys, padded, factor)
    total = F(0)
    for j in range(padded):
        x = exp(scores[j] * factor - largest) if j < keys else F(0)
        scores[j] = x
        total += x
    return largest, total


@routine
def _thin(row, padded, key, column, threshold):
    """Dropout of one row, not yet scaled."""
    for j in range(padded):
        row[j] = row[j] if kept(key, column + j, threshold) else F(0)


@routine
def _round(row, target, padded):
    for j in range(padded):
        target[j] = narrow(row[j], target[j])


@routine
def _plus(row, total):
    for j in range(row.shape[0]):
        total[j] += row[j]


@routine
def _gradient(scores, changes, dropped, keys, padded, factor, logsum, key, column, threshold, scale):
    """Scores to weights and, in place, gradients of weights to those of scores; `dropped` gets what met the values."""
    mean = F(0)
    for j in range(padded):
        weight = exp(scores[j] * factor - logsum) if j < keys else F(0)
        kept_weight, change = weight, changes[j]
        if threshold > 0:
            stays = kept(key, column + j, threshold)
            kept_weight, change = weight * scale if stays else F(0), change * scale if stays else F(0)
        scores[j], changes[j], dropped[j] = weight, change, kept_weight
        mean += weight * change
    for j in range(padded):
        changes[j] = scores[j] * (changes[j] - mean) * factor


@routine
def _pair(lower, upper, target, padded):
    """Two rows of float32 as one of words."""
    for j in range(padded):
        target[j] = U(narrow(lower[j], np.uint16(0))) | (U(narrow(upper[j], np.uint16(0))) << U(16))


# --- who does what


@routine
def _first_job(pieces, heads, part, parts):
    """Where a part begins: jobs are (piece, head) in order, and cost queries x keys plus their copies."""
    total = 0
    for p in range(pieces.shape[0]):
        total += heads * (pieces[p, 1] + 24) * (pieces[p, 3] + 24)
    wanted, done = total * part // parts, 0
    for p in range(pieces.shape[0]):
        work = (pieces[p, 1] + 24) * (pieces[p, 3] + 24)
        if done + heads * work > wanted:
            return p * heads + (wanted - done + work - 1) // work
        done += heads * work
    return pieces.shape[0] * heads


@routine
def _up(count, step):
    return (count + step - 1) // step * step


@routine
def _sizes(pieces):
    """Rows of scratch for the queries and for the keys of the largest piece, with room for whole tiles."""
    return _up(pieces[:, 1].max(), BLOCK), _up(pieces[:, 3].max(), BLOCK)


@routine
def _forward_job(q, k, v, bias, out, sums, piece, head, factor, threshold, scale, drop_keys, turns, places, rows, words,
                 numbers):
    queries, keys, values, rounded = rows
    turned, paired = words
    scores, context, inverse = numbers
    first, count, first_key, num_keys, column = piece[0], piece[1], piece[2], piece[3], piece[4]
    e, stride, padded = queries.shape[1], turned.shape[1], _up(num_keys, LANES)
    at = head * e
    _asked(q, first, count, at, bias[0], queries, _up(count, ROWS), turns, places[0])
    _asked(k, first_key, num_keys, at, bias[1], keys, padded, turns, places[1])
    _by_row(v, first_key, num_keys, at, bias[2], values, padded)
    _turned(keys, turned, padded)
    _paired(values, paired, padded)
    for i in range(0, count, ROWS):
        _product(queries.ctypes.data + 2 * i * e, e // 2, 1, turned.ctypes.data, stride, e // 2, scores.ctypes.data,
                 stride, padded, 0)
        present = min(ROWS, count - i)
        for r in range(present):
            largest, total = _softmax(scores[r], num_keys, padded, factor)
            sums[first + i + r, head] = largest + log(total)
            inverse[r] = scale / total
            if threshold > 0:
                _thin(scores[r], padded, U(drop_keys[first + i + r]) ^ U(head << 16), column, threshold)
            _round(scores[r], rounded[r], padded)
        _product(rounded.ctypes.data, stride // 2, 1, paired.ctypes.data, e, padded // 2, context.ctypes.data, e, e, 0)
        for r in range(present):
            line, found = out[first + i + r, at:at + e], context[r]
            for c in range(e):
                line[c] = narrow(found[c] * inverse[r], line[c])


@kernel
def _forward(arguments, part, parts):
    a = carray(pointer(arguments), (24,), np.int64)
    n, m, d, heads = a[0], a[1], a[2], a[3]
    q = carray(pointer(a[4]), (n, a[5]), np.uint16)
    k = carray(pointer(a[6]), (m, a[7]), np.uint16)
    v = carray(pointer(a[8]), (m, a[7]), np.uint16)
    bias = carray(pointer(a[9]), (3, d), np.uint16)
    pieces = carray(pointer(a[10]), (a[11], PIECE), np.int64)
    out, sums = carray(pointer(a[12]), (n, d), np.uint16), carray(pointer(a[13]), (n, heads), np.float32)
    threshold, scale, factor = U(a[14]), F(real(a[15])), F(real(a[16]))
    drop_keys = carray(pointer(a[17]), (n,), np.uint32)
    most_queries, most_keys = _sizes(pieces)
    e = d // heads
    turns = (carray(pointer(a[18]), (a[23], e // 2), np.float32), carray(pointer(a[19]), (a[23], e // 2), np.float32),
             a[22] != 0)
    places = carray(pointer(a[20]), (n,), np.int64), carray(pointer(a[21]), (m,), np.int64)
    rows = (np.empty((most_queries, e), np.uint16), np.empty((most_keys, e), np.uint16),
            np.empty((most_keys, e), np.uint16), np.zeros((ROWS, most_keys), np.uint16))
    words = np.empty((e // 2, most_keys), np.uint32), np.empty((most_keys // 2, e), np.uint32)
    numbers = (np.empty((ROWS, most_keys), np.float32), np.empty((ROWS, e), np.float32), np.empty(ROWS, np.float32))
    for job in range(_first_job(pieces, heads, part, parts), _first_job(pieces, heads, part + 1, parts)):
        _forward_job(q, k, v, bias, out, sums, pieces[job // heads], job % heads, factor, threshold, scale, drop_keys,
                     turns, places, rows, words, numbers)


@routine
def _write(source, count, target, first, at, bias_sum):
    """Rows of float32 as bfloat16, and their sum over rows added to `bias_sum`."""
    e = source.shape[1]
    total = bias_sum[at:at + e]
    for i in range(count):
        _round(source[i], target[first + i, at:at + e], e)
        _plus(source[i], total)


@routine
def _backward_block(piece, head, i, present, factor, threshold, scale, drop_keys, sums, rows, words, numbers):
    """Weights and gradients of scores of up to BLOCK queries: by row for dq, paired for dk and dv."""
    queries, changes, rounded = rows[0], rows[3], rows[4]
    turned_keys, turned_values = words[0], words[1]
    weights2, changes2 = words[5], words[6]
    scores, grads, dropped = numbers[0], numbers[1], numbers[2]
    e, stride, num_keys = queries.shape[1], turned_keys.shape[1], piece[3]
    padded = _up(num_keys, LANES)
    for t in range(0, _up(present, ROWS), ROWS):
        at = 2 * (i + t) * e
        _product(queries.ctypes.data + at, e // 2, 1, turned_keys.ctypes.data, stride, e // 2, scores.ctypes.data,
                 stride, padded, 0)
        _product(changes.ctypes.data + at, e // 2, 1, turned_values.ctypes.data, stride, e // 2, grads.ctypes.data,
                 stride, padded, 0)
        for r in range(ROWS):
            if t + r < present:
                row = piece[0] + i + t + r
                _gradient(scores[r], grads[r], dropped[r], num_keys, padded, factor, sums[row, head],
                          U(drop_keys[row * (threshold > 0)]) ^ U(head << 16), piece[4], threshold, scale)
            else:
                _fill(grads[r])
                _fill(dropped[r])
            _round(grads[r], rounded[t + r], padded)
        for r in range(0, ROWS, 2):
            _pair(dropped[r], dropped[r + 1], weights2[(t + r) // 2], padded)
            _pair(grads[r], grads[r + 1], changes2[(t + r) // 2], padded)


@routine
def _backward_job(q, k, v, bias, dout, sums, dq, dk, dv, bias_sums, piece, head, factor, threshold, scale, drop_keys,
                  turns, places, rows, words, numbers):
    queries, keys, values, changes, rounded = rows
    turned_keys, turned_values, paired_keys, paired_queries, paired_changes, weights2, changes2 = words
    dqueries, dkeys, dvalues = numbers[3], numbers[4], numbers[5]
    first, count, first_key, num_keys = piece[0], piece[1], piece[2], piece[3]
    e, stride, padded = queries.shape[1], turned_keys.shape[1], _up(num_keys, LANES)
    at, all_rows = head * e, _up(count, ROWS)
    _asked(q, first, count, at, bias[0], queries, all_rows, turns, places[0])
    _asked(k, first_key, num_keys, at, bias[1], keys, padded, turns, places[1])
    _by_row(v, first_key, num_keys, at, bias[2], values, padded)
    _by_row(dout, first, count, at, bias[3], changes, all_rows)
    _turned(keys, turned_keys, padded)
    _turned(values, turned_values, padded)
    _paired(keys, paired_keys, padded)
    _paired(queries, paired_queries, all_rows)
    _paired(changes, paired_changes, all_rows)
    if count == 0:
        for j in range(num_keys):
            _fill(dkeys[j])
            _fill(dvalues[j])
    for i in range(0, count, BLOCK):
        present = min(BLOCK, count - i)
        _backward_block(piece, head, i, present, factor, threshold, scale, drop_keys, sums, rows, words, numbers)
        tiles = _up(present, ROWS)
        for t in range(0, tiles, ROWS):
            _product(rounded.ctypes.data + 2 * t * stride, stride // 2, 1, paired_keys.ctypes.data, e, padded // 2,
                     dqueries.ctypes.data, e, e, 0)
            if turns[0].shape[0]:
                _turn_back(dqueries, min(ROWS, present - t), first + i + t, turns, places[0])
            _write(dqueries, min(ROWS, present - t), dq, first + i + t, at, bias_sums[0])
        for j in range(0, num_keys, ROWS):
            _product(weights2.ctypes.data + 4 * j, 1, stride, paired_changes.ctypes.data + 2 * i * e, e, tiles // 2,
                     dvalues.ctypes.data + 4 * j * e, e, e, i)
            _product(changes2.ctypes.data + 4 * j, 1, stride, paired_queries.ctypes.data + 2 * i * e, e, tiles // 2,
                     dkeys.ctypes.data + 4 * j * e, e, e, i)
    if turns[0].shape[0]:
        _turn_back(dkeys, num_keys, first_key, turns, places[1])
    _write(dkeys, num_keys, dk, first_key, at, bias_sums[1])
    _write(dvalues, num_keys, dv, first_key, at, bias_sums[2])


@kernel
def _backward(arguments, part, parts):
    a = carray(pointer(arguments), (30,), np.int64)
    n, m, d, heads = a[0], a[1], a[2], a[3]
    q = carray(pointer(a[4]), (n, a[5]), np.uint16)
    k = carray(pointer(a[6]), (m, a[7]), np.uint16)
    v = carray(pointer(a[8]), (m, a[7]), np.uint16)
    bias = carray(pointer(a[9]), (4, d), np.uint16)
    turns = (carray(pointer(a[18]), (a[23], d // heads // 2), np.float32),
             carray(pointer(a[19]), (a[23], d // heads // 2), np.float32), a[22] != 0)
    places = carray(pointer(a[20]), (n,), np.int64), carray(pointer(a[21]), (m,), np.int64)
    pieces = carray(pointer(a[10]), (a[11], PIECE), np.int64)
    dout, sums = carray(pointer(a[12]), (n, d), np.uint16), carray(pointer(a[13]), (n, heads), np.float32)
    threshold, scale, factor = U(a[14]), F(real(a[15])), F(real(a[16]))
    drop_keys = carray(pointer(a[17]), (n,), np.uint32)
    dq = carray(pointer(a[24]), (n, a[25]), np.uint16)
    dk = carray(pointer(a[26]), (m, a[27]), np.uint16)
    dv = carray(pointer(a[28]), (m, a[27]), np.uint16)
    bias_sums = carray(pointer(a[29]), (parts, 3, d), np.float32)[part]
    most_queries, most_keys = _sizes(pieces)
    e = d // heads
    rows = (np.empty((most_queries, e), np.uint16), np.empty((most_keys, e), np.uint16),
            np.empty((most_keys, e), np.uint16), np.empty((most_queries, e), np.uint16),
            np.empty((BLOCK, most_keys), np.uint16))
    words = (np.empty((e // 2, most_keys), np.uint32), np.empty((e // 2, most_keys), np.uint32),
             np.empty((most_keys // 2, e), np.uint32), np.empty((most_queries // 2, e), np.uint32),
             np.empty((most_queries // 2, e), np.uint32), np.zeros((BLOCK // 2, most_keys), np.uint32),
             np.zeros((BLOCK // 2, most_keys), np.uint32))
    numbers = (np.empty((ROWS, most_keys), np.float32), np.empty((ROWS, most_keys), np.float32),
               np.empty((ROWS, most_keys), np.float32), np.empty((ROWS, e), np.float32),
               np.empty((most_keys, e), np.float32), np.empty((most_keys, e), np.float32))
    for job in range(_first_job(pieces, heads, part, parts), _first_job(pieces, heads, part + 1, parts)):
        _backward_job(q, k, v, bias, dout, sums, dq, dk, dv, bias_sums, pieces[job // heads], job % heads, factor,
                      threshold, scale, drop_keys, turns, places, rows, words, numbers)


def attention_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, pieces: Pieces, num_heads: int, factor: float,
                      dropped: tuple[Tensor | None, int, float]) -> tuple[Tensor, Tensor]:
    """Context (n, d) and each row's log-sum-exp (n, h).

    q (n, d) and k, v (m, d) may be columns of wider matrices; bias (3d,) is added to them; all bfloat16.  `dropped` is
    (a key for each query, threshold, scale).
    """
    n, d = q.shape
    out, sums = q.new_empty(n, d), torch.empty(n, num_heads)
    if len(pieces.table):
        run(_forward, *_arguments(q, k, v, bias.contiguous(), pieces, num_heads, factor, dropped, out, sums))
    return out, sums


def attention_backward(dout: Tensor, sums: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, pieces: Pieces,
                       num_heads: int, factor: float, dropped: tuple[Tensor | None, int, float],
                       found: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Fills `found`, dq, dk and dv (columns of wider matrices, too); gives the gradient of the bias (3, d) in float32.

    dout (n, d) contiguous; the rest as in `attention_forward`.
    """
    parts, d = torch.get_num_threads(), q.shape[1]
    bias4, bias_sums = torch.cat([bias, bias.new_zeros(d)]), torch.zeros(parts, 3, d)
    dq, dk, dv = found
    if len(pieces.table):
        run(_backward, *_arguments(q, k, v, bias4, pieces, num_heads, factor, dropped, dout, sums), dq, dq.stride(0),
            dk, dk.stride(0), dv, bias_sums, parts=parts)
    return bias_sums.sum(0)


def _arguments(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, pieces: Pieces, num_heads: int, factor: float,
               dropped: tuple[Tensor | None, int, float], out: Tensor, sums: Tensor) -> tuple[Tensor | int | float, ...]:
    keys, threshold, scale = dropped
    turns = pieces.turns
    turning = (0, 0, 0, 0, 0, 0) if turns is None else (
        turns.cosine, turns.sine, turns.queries.contiguous(), turns.keys.contiguous(), int(turns.interleaved),
        len(turns.cosine))
    return (*q.shape[:1], len(k), q.shape[1], num_heads, q, q.stride(0), k, k.stride(0), v, bias, pieces.table,
            len(pieces.table), out, sums, threshold, scale, factor, sums if keys is None else keys, *turning)
