"""Self-attention inside pieces of a flat list of tokens: forward and backward, in bfloat16 with float32 sums.

A piece is a document, or what a row holds of it: its queries look at its keys and at nothing else, so padding and other
documents cost nothing.  Each (piece, head) is one job; jobs are dealt to threads in stretches of equal work.  A job
copies its queries, keys and values into its thread's scratch in the orders that `tile` reads (see `arrange`), and works
on ROWS queries at a time: scores of a whole row are there at once, so the softmax is the ordinary one.  Nothing of size
(queries x keys) is stored; the backward computes the weights again from the scores and each row's log-sum-exp.

A query may be kept to the keys near it (`Pieces.behind`, `Pieces.ahead`: causal, local).  Queries ascend, so ROWS of
them see one stretch of keys; what lies outside of it is never computed, and inside it the mask is exact.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.arrange import by_row, fill, pair_of, paired, rounded, turn_back, turned, write
from polysemy.nn.kernels.dropout import kept
from polysemy.nn.kernels.launch import apart, kernel, pointer, real, routine, run
from polysemy.nn.kernels.numbers import F, U, exp, log
from polysemy.nn.kernels.tile import LANES, ROWS, product
from polysemy.nn.kernels.token_rows import softmax_row
from polysemy.nn.pieces import Pieces

BLOCK = 48
"""queries whose weights the backward holds at once: a multiple of ROWS and of 2"""
PIECE = 5
"""columns of the table of pieces"""
ARGUMENTS = 28


class Inputs(NamedTuple):
    """What both directions read; arrays but for the last five."""

    q: Any
    k: Any
    v: Any
    bias: Any
    """(3, d), and in the backward a row of zeros"""
    pieces: Any
    out: Any
    """(n, d): the context, or its gradient"""
    sums: Any
    """(n, heads): log-sum-exp of each row of scores"""
    drop_keys: Any
    query_turns: Any
    key_turns: Any
    """rotary positions, see `arrange.by_row`"""
    tokens: Any
    """(n,): which token each query is; empty when query i is token i"""
    behind: Any
    ahead: Any
    """how many tokens back and on a query sees"""
    factor: Any
    threshold: Any
    scale: Any
    """of what dropout keeps"""


@routine
def _inputs(a, num_biases):
    n, m, d, heads = a[0], a[1], a[2], a[3]
    half = d // heads // 2
    cosine, sine = carray(pointer(a[18]), (a[20], half), np.float32), carray(pointer(a[19]), (a[20], half), np.float32)
    return Inputs(
        carray(pointer(a[4]), (n, a[5]), np.uint16), carray(pointer(a[6]), (m, a[7]), np.uint16),
        carray(pointer(a[8]), (m, a[7]), np.uint16), carray(pointer(a[9]), (num_biases, d), np.uint16),
        carray(pointer(a[10]), (a[11], PIECE), np.int64), carray(pointer(a[12]), (n, d), np.uint16),
        carray(pointer(a[13]), (n, heads), np.float32), carray(pointer(a[14]), (n,), np.uint32),
        (cosine, sine, carray(pointer(a[21]), (n,), np.int64), a[23] != 0),
        (cosine, sine, carray(pointer(a[22]), (m,), np.int64), a[23] != 0),
        carray(pointer(a[24]), (a[25],), np.int64), a[26], a[27],
        F(real(a[15])), U(a[16]), F(real(a[17])))


# --- one row: `width` columns, of which those from `low` to `high` are seen


@routine
def _thin(row, width, key, column, threshold):
    """Dropout of one row, not yet scaled."""
    for j in range(width):
        row[j] = row[j] if kept(key, column + j, threshold) else F(0)


@routine
def _gradient(scores, changes, dropped, low, high, width, factor, logsum, key, column, threshold, scale):
    """Scores to weights and, in place, gradients of weights to those of scores; `dropped` gets what met the values."""
    apart()
    mean = F(0)
    for j in range(width):
        weight = exp(scores[j] * factor - logsum) if low <= j < high else F(0)
        kept_weight, change = weight, changes[j]
        if threshold > 0:
            stays = kept(key, column + j, threshold)
            kept_weight, change = weight * scale if stays else F(0), change * scale if stays else F(0)
        scores[j], changes[j], dropped[j] = weight, change, kept_weight
        mean += weight * change
    for j in range(width):
        changes[j] = scores[j] * (changes[j] - mean) * factor


@routine
def _key(inputs, row, head):
    """What the dropout of a row's weights is keyed by."""
    return U(inputs.drop_keys[row]) ^ U(head << 16) if inputs.threshold > 0 else U(0)


# --- which keys


@routine
def _seen(inputs, piece, query):
    """The keys [low, high) of its piece that a query of a piece sees."""
    row = piece[0] + query
    place = (inputs.tokens[row] if inputs.tokens.shape[0] > 0 else row) - piece[2]
    return max(0, place - inputs.behind), min(piece[3], place + inputs.ahead + 1)


@routine
def _stretch(inputs, piece, query, count):
    """The stretch of keys in whole LANES that `count` queries from `query` on see."""
    low, _ = _seen(inputs, piece, query)
    _, high = _seen(inputs, piece, query + count - 1)
    return low // LANES * LANES, _up(high, LANES)


# --- who does what


@routine
def _work(inputs, piece):
    """What a job costs: queries x keys plus their copies."""
    return (piece[1] + 24) * (min(piece[3], inputs.behind + inputs.ahead + 1) + 24)


@routine
def _first_job(inputs, heads, part, parts):
    """Where a part begins: jobs are (piece, head) in order."""
    pieces, total = inputs.pieces, 0
    for p in range(pieces.shape[0]):
        total += heads * _work(inputs, pieces[p])
    wanted, done = total * part // parts, 0
    for p in range(pieces.shape[0]):
        work = _work(inputs, pieces[p])
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


# --- forward


@routine
def _forward_job(inputs, piece, head, queries, keys, values, turned_keys, paired_values, scores, weights, context):
    first, count, first_key, num_keys = piece[0], piece[1], piece[2], piece[3]
    e, stride, padded = queries.shape[1], turned_keys.shape[1], _up(num_keys, LANES)
    at = head * e
    by_row(inputs.q, first, count, at, inputs.bias[0], inputs.query_turns, queries, _up(count, ROWS))
    by_row(inputs.k, first_key, num_keys, at, inputs.bias[1], inputs.key_turns, keys, padded)
    still = inputs.key_turns[0][:0], inputs.key_turns[1], inputs.key_turns[2], False
    by_row(inputs.v, first_key, num_keys, at, inputs.bias[2], still, values, padded)
    turned(keys, turned_keys, padded)
    paired(values, paired_values, padded)
    for i in range(0, count, ROWS):
        present = min(ROWS, count - i)
        start, stop = _stretch(inputs, piece, i, present)
        width = stop - start
        product(queries.ctypes.data + 2 * i * e, e // 2, 1, turned_keys.ctypes.data + 4 * start, stride, e // 2,
                scores.ctypes.data, stride, width, 0)
        for r in range(present):
            row = first + i + r
            low, high = _seen(inputs, piece, i + r)
            largest, total = softmax_row(scores[r], low - start, high - start, width, inputs.factor)
            inputs.sums[row, head] = largest + log(total)
            if inputs.threshold > 0:
                _thin(scores[r], width, _key(inputs, row, head), piece[4] + start, inputs.threshold)
            rounded(scores[r], weights[r], width)
            scores[r, 0] = inputs.scale / total  # read again below
        product(weights.ctypes.data, stride // 2, 1, paired_values.ctypes.data + 2 * start * e, e, width // 2,
                context.ctypes.data, e, e, 0)
        for r in range(present):
            for c in range(e):
                context[r, c] *= scores[r, 0]
            rounded(context[r], inputs.out[first + i + r, at:at + e], e)


@kernel
def _forward(arguments, part, parts):
    a = carray(pointer(arguments), (ARGUMENTS,), np.int64)
    inputs, heads = _inputs(a, 3), a[3]
    most_queries, most_keys = _sizes(inputs.pieces)
    e = a[2] // heads
    queries, keys, values = (np.empty((most_queries, e), np.uint16), np.empty((most_keys, e), np.uint16),
                             np.empty((most_keys, e), np.uint16))
    turned_keys, paired_values = np.empty((e // 2, most_keys), np.uint32), np.empty((most_keys // 2, e), np.uint32)
    scores, context = np.empty((ROWS, most_keys), np.float32), np.empty((ROWS, e), np.float32)
    weights = np.zeros((ROWS, most_keys), np.uint16)
    for job in range(_first_job(inputs, heads, part, parts), _first_job(inputs, heads, part + 1, parts)):
        _forward_job(inputs, inputs.pieces[job // heads], job % heads, queries, keys, values, turned_keys,
                     paired_values, scores, weights, context)


# --- backward


class Scratch(NamedTuple):
    """What one thread works in; the orders are those of `arrange`."""

    queries: Any
    keys: Any
    values: Any
    changes: Any
    """gradients of the context"""
    turned_keys: Any
    turned_values: Any
    paired_queries: Any
    paired_keys: Any
    paired_changes: Any
    scores: Any
    slopes: Any
    """gradients of the weights, then of the scores"""
    dropped: Any
    """weights after dropout"""
    slopes_by_row: Any
    stretches: Any
    """keys that each ROWS queries of the block see"""
    paired_slopes: Any
    paired_weights: Any
    dqueries: Any
    dkeys: Any
    dvalues: Any


@routine
def _scratch(most_queries, most_keys, e):
    return Scratch(
        np.empty((most_queries, e), np.uint16), np.empty((most_keys, e), np.uint16),
        np.empty((most_keys, e), np.uint16), np.empty((most_queries, e), np.uint16),
        np.empty((e // 2, most_keys), np.uint32), np.empty((e // 2, most_keys), np.uint32),
        np.empty((most_queries // 2, e), np.uint32), np.empty((most_keys // 2, e), np.uint32),
        np.empty((most_queries // 2, e), np.uint32), np.empty((ROWS, most_keys), np.float32),
        np.empty((ROWS, most_keys), np.float32), np.empty((ROWS, most_keys), np.float32),
        np.empty((BLOCK, most_keys), np.uint16), np.empty((BLOCK // ROWS, 2), np.int64),
        np.zeros((BLOCK // 2, most_keys), np.uint32),
        np.zeros((BLOCK // 2, most_keys), np.uint32), np.empty((ROWS, e), np.float32),
        np.empty((most_keys, e), np.float32), np.empty((most_keys, e), np.float32))


@routine
def _collect(inputs, s, piece, head):
    """Everything a job reads, in all the orders it needs."""
    apart()
    first, count, first_key, num_keys = piece[0], piece[1], piece[2], piece[3]
    at, rows, padded = head * s.queries.shape[1], _up(count, ROWS), _up(num_keys, LANES)
    still = inputs.key_turns[0][:0], inputs.key_turns[1], inputs.key_turns[2], False
    by_row(inputs.q, first, count, at, inputs.bias[0], inputs.query_turns, s.queries, rows)
    by_row(inputs.k, first_key, num_keys, at, inputs.bias[1], inputs.key_turns, s.keys, padded)
    by_row(inputs.v, first_key, num_keys, at, inputs.bias[2], still, s.values, padded)
    by_row(inputs.out, first, count, at, inputs.bias[3], still, s.changes, rows)
    turned(s.keys, s.turned_keys, padded)
    turned(s.values, s.turned_values, padded)
    paired(s.queries, s.paired_queries, rows)
    paired(s.keys, s.paired_keys, padded)
    paired(s.changes, s.paired_changes, rows)


@routine
def _block(inputs, s, piece, head, i, present):
    """Weights and gradients of scores of `present` queries from query i on; (first key, end) in whole ROWS."""
    apart()
    e, stride = s.queries.shape[1], s.turned_keys.shape[1]
    for t in range(0, present, ROWS):
        s.stretches[t // ROWS] = _stretch(inputs, piece, i + t, min(ROWS, present - t))
    first_key, end = s.stretches[0, 0] // ROWS * ROWS, _up(s.stretches[(present - 1) // ROWS, 1], ROWS)
    for t in range(0, present, ROWS):
        start, stop = s.stretches[t // ROWS]
        at, width = 2 * (i + t) * e, stop - start
        product(s.queries.ctypes.data + at, e // 2, 1, s.turned_keys.ctypes.data + 4 * start, stride, e // 2,
                s.scores.ctypes.data, stride, width, 0)
        product(s.changes.ctypes.data + at, e // 2, 1, s.turned_values.ctypes.data + 4 * start, stride, e // 2,
                s.slopes.ctypes.data, stride, width, 0)
        for r in range(ROWS):
            if t + r < present:
                row = piece[0] + i + t + r
                low, high = _seen(inputs, piece, i + t + r)
                _gradient(s.scores[r], s.slopes[r], s.dropped[r], low - start, high - start, width, inputs.factor,
                          inputs.sums[row, head], _key(inputs, row, head), piece[4] + start, inputs.threshold,
                          inputs.scale)
            else:
                fill(s.slopes[r, :width])
                fill(s.dropped[r, :width])
            rounded(s.slopes[r], s.slopes_by_row[t + r], width)
        for r in range(0, ROWS, 2):
            pair = (t + r) // 2
            pair_of(s.dropped[r], s.dropped[r + 1], s.paired_weights[pair, start:], width)
            pair_of(s.slopes[r], s.slopes[r + 1], s.paired_slopes[pair, start:], width)
            for pairs in (s.paired_weights, s.paired_slopes):
                fill(pairs[pair, first_key:start])
                fill(pairs[pair, stop:end])
    return first_key, end


@routine
def _empty(s, first, last):
    """No gradient, so far, for the keys and values from `first` to `last`."""
    for j in range(first, last):
        fill(s.dkeys[j])
        fill(s.dvalues[j])


@routine
def _to_keys(s, i, present, first_key, end, filled):
    """Add what a block gives to the keys and values [first_key, end); those from `filled` on hold nothing yet."""
    apart()
    e, stride, rows = s.queries.shape[1], s.turned_keys.shape[1], _up(present, ROWS)
    first, last = 0, 0
    for j in range(first_key, end, ROWS):
        while s.stretches[first // ROWS, 1] <= j:
            first += ROWS
        while last < rows and s.stretches[last // ROWS, 0] < j + ROWS:
            last += ROWS
        if first < last:
            pairs, place, add = (last - first) // 2, 4 * (first // 2 * stride + j), int(j < filled)
            product(s.paired_weights.ctypes.data + place, 1, stride, s.paired_changes.ctypes.data + 2 * (i + first) * e,
                    e, pairs, s.dvalues.ctypes.data + 4 * j * e, e, e, add)
            product(s.paired_slopes.ctypes.data + place, 1, stride, s.paired_queries.ctypes.data + 2 * (i + first) * e,
                    e, pairs, s.dkeys.ctypes.data + 4 * j * e, e, e, add)
        elif j >= filled:
            _empty(s, j, j + ROWS)


@routine
def _backward_job(inputs, s, piece, head, dq, dk, dv, bias_sums):
    _collect(inputs, s, piece, head)
    first, count, first_key, num_keys = piece[0], piece[1], piece[2], piece[3]
    e, stride = s.queries.shape[1], s.turned_keys.shape[1]
    at, filled = head * e, 0
    for i in range(0, count, BLOCK):
        present = min(BLOCK, count - i)
        low, high = _block(inputs, s, piece, head, i, present)
        for t in range(0, present, ROWS):
            here, start = min(ROWS, present - t), s.stretches[t // ROWS, 0]
            product(s.slopes_by_row.ctypes.data + 2 * t * stride, stride // 2, 1,
                    s.paired_keys.ctypes.data + 2 * start * e, e, (s.stretches[t // ROWS, 1] - start) // 2,
                    s.dqueries.ctypes.data, e, e, 0)
            turn_back(s.dqueries, here, first + i + t, inputs.query_turns)
            write(s.dqueries, here, dq, first + i + t, at, bias_sums[0])
        high = min(high, _up(num_keys, ROWS))
        _empty(s, filled, low)
        _to_keys(s, i, present, low, high, filled)
        filled = max(filled, high)
    _empty(s, filled, num_keys)
    turn_back(s.dkeys, num_keys, first_key, inputs.key_turns)
    write(s.dkeys, num_keys, dk, first_key, at, bias_sums[1])
    write(s.dvalues, num_keys, dv, first_key, at, bias_sums[2])


@kernel
def _backward(arguments, part, parts):
    a = carray(pointer(arguments), (ARGUMENTS + 6,), np.int64)
    n, m, d, heads = a[0], a[1], a[2], a[3]
    inputs, own = _inputs(a, 4), a[ARGUMENTS:]
    dq, dk, dv = (carray(pointer(own[0]), (n, own[1]), np.uint16), carray(pointer(own[2]), (m, own[3]), np.uint16),
                  carray(pointer(own[4]), (m, own[3]), np.uint16))
    bias_sums = carray(pointer(own[5]), (parts, 3, d), np.float32)[part]
    most_queries, most_keys = _sizes(inputs.pieces)
    s = _scratch(most_queries, most_keys, d // heads)
    for job in range(_first_job(inputs, heads, part, parts), _first_job(inputs, heads, part + 1, parts)):
        _backward_job(inputs, s, inputs.pieces[job // heads], job % heads, dq, dk, dv, bias_sums)


# --- from torch


class Choice(NamedTuple):
    """How to attend: the pieces, heads, factor of scores, and dropout's key for each query, threshold and scale."""

    pieces: Pieces
    num_heads: int
    factor: float
    keys: Tensor | None
    threshold: int
    scale: float


def attention_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
    """Context (n, d) and each row's log-sum-exp (n, h).

    q (n, d) and k, v (m, d) may be columns of wider matrices; bias (3d,) is added to them; all bfloat16.
    """
    out, sums = q.new_empty(q.shape), torch.empty(len(q), choice.num_heads)
    if len(choice.pieces.table):
        run(_forward, *_arguments(q, k, v, bias.contiguous(), choice, out, sums))
    return out, sums


def attention_backward(dout: Tensor, sums: Tensor, inputs: tuple[Tensor, Tensor, Tensor], bias: Tensor, choice: Choice,
                       found: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Fills `found`, dq, dk and dv (columns of wider matrices, too); gives the gradient of the bias (3, d) in float32.

    dout (n, d) contiguous; the rest as in `attention_forward`.
    """
    parts, d = torch.get_num_threads(), dout.shape[1]
    bias4, bias_sums = torch.cat([bias, bias.new_zeros(d)]), torch.zeros(parts, 3, d)
    dq, dk, dv = found
    if len(choice.pieces.table):
        run(_backward, *_arguments(*inputs, bias4, choice, dout, sums), dq, dq.stride(0), dk, dk.stride(0), dv,
            bias_sums, parts=parts)
    return bias_sums.sum(0)


def _arguments(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, choice: Choice, out: Tensor,
               sums: Tensor) -> tuple[Tensor | int | float, ...]:
    """What `_inputs` reads; addresses that nothing is read from are those of `sums`."""
    pieces = choice.pieces
    turns, table = pieces.turns, pieces.table
    turning = (sums, sums, 0, sums, sums, 0) if turns is None else (
        turns.cosine, turns.sine, len(turns.cosine), turns.queries, turns.keys, int(turns.interleaved))
    return (len(q), len(k), q.shape[1], choice.num_heads, q, q.stride(0), k, k.stride(0), v, bias, table, len(table),
            out, sums, sums if choice.keys is None else choice.keys, choice.factor, choice.threshold, choice.scale,
            *turning, *((sums, 0) if pieces.at is None else (pieces.at, len(pieces.at))), pieces.behind, pieces.ahead)
