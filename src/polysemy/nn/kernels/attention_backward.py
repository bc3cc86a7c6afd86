"""The gradients of `attention_forward`: the weights are made again from the scores and each row's log-sum-exp.

A job works on BLOCK queries at a time and adds up what they give to the keys and values; nothing of size
(queries x keys) is stored here either.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.arrange import by_row, fill, pair_of, paired, rounded, turn_back, turned, write
from polysemy.nn.kernels.attention_pieces import (
    ARGUMENTS,
    BLOCK,
    Choice,
    arguments_of,
    first_job,
    inputs_of,
    key_of,
    seen,
    sizes,
    stretch,
    up,
)
from polysemy.nn.kernels.dropout import kept
from polysemy.nn.kernels.launch import apart, kernel, pointer, routine, run
from polysemy.nn.kernels.numbers import F, exp
from polysemy.nn.kernels.tile import LANES, ROWS, product


def attention_backward(dout: Tensor, sums: Tensor, inputs: tuple[Tensor, Tensor, Tensor], bias: Tensor, choice: Choice,
                       found: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Fills `found`, dq, dk and dv (columns of wider matrices, too); gives the gradient of the bias (3, d) in float32.

    dout (n, d) contiguous; the rest as in `attention_forward`.
    """
    parts, d = torch.get_num_threads(), dout.shape[1]
    bias4, bias_sums = torch.cat([bias, bias.new_zeros(d)]), torch.zeros(parts, 3, d)
    dq, dk, dv = found
    if len(choice.pieces.table):
        run(_backward, *arguments_of(*inputs, bias4, choice, dout, sums), dq, dq.stride(0), dk, dk.stride(0), dv,
            bias_sums, parts=parts)
    return bias_sums.sum(0)


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
    at, rows, padded = head * s.queries.shape[1], up(count, ROWS), up(num_keys, LANES)
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
        s.stretches[t // ROWS] = stretch(inputs, piece, i + t, min(ROWS, present - t))
    first_key, end = s.stretches[0, 0] // ROWS * ROWS, up(s.stretches[(present - 1) // ROWS, 1], ROWS)
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
                low, high = seen(inputs, piece, i + t + r)
                _gradient(s.scores[r], s.slopes[r], s.dropped[r], low - start, high - start, width, inputs.factor,
                          inputs.sums[row, head], key_of(inputs, row, head), piece[4] + start, inputs.threshold,
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
    e, stride, rows = s.queries.shape[1], s.turned_keys.shape[1], up(present, ROWS)
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
        high = min(high, up(num_keys, ROWS))
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
    inputs, own = inputs_of(a, 4), a[ARGUMENTS:]
    dq, dk, dv = (carray(pointer(own[0]), (n, own[1]), np.uint16), carray(pointer(own[2]), (m, own[3]), np.uint16),
                  carray(pointer(own[4]), (m, own[3]), np.uint16))
    bias_sums = carray(pointer(own[5]), (parts, 3, d), np.float32)[part]
    most_queries, most_keys = sizes(inputs.pieces)
    s = _scratch(most_queries, most_keys, d // heads)
    for job in range(first_job(inputs, heads, part, parts), first_job(inputs, heads, part + 1, parts)):
        _backward_job(inputs, s, inputs.pieces[job // heads], job % heads, dq, dk, dv, bias_sums)


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
