"""Self-attention inside pieces (`attention_pieces`), forward, in bfloat16 with float32 sums.

A job copies its queries, keys and values into its thread's scratch in the orders that `tile` reads (see `arrange`), and
works on ROWS queries at a time: scores of a whole row are there at once, so the softmax is the ordinary one.  Nothing
of size (queries x keys) is stored, only each row's log-sum-exp.
"""
from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.arrange import by_row, paired, rounded, turned
from polysemy.nn.kernels.attention_pieces import (
    ARGUMENTS,
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
from polysemy.nn.kernels.launch import kernel, pointer, routine, run
from polysemy.nn.kernels.numbers import F, log
from polysemy.nn.kernels.tile import LANES, ROWS, product
from polysemy.nn.kernels.token_rows import softmax_row


def attention_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
    """Context (n, d) and each row's log-sum-exp (n, h).

    q (n, d) and k, v (m, d) may be columns of wider matrices; bias (3d,) is added to them; all bfloat16.
    """
    out, sums = q.new_empty(q.shape), torch.empty(len(q), choice.num_heads)
    if len(choice.pieces.table):
        run(_forward, *arguments_of(q, k, v, bias.contiguous(), choice, out, sums))
    return out, sums


@routine
def _thin(row, width, key, column, threshold):
    """Dropout of one row, not yet scaled."""
    for j in range(width):
        row[j] = row[j] if kept(key, column + j, threshold) else F(0)


@routine
def _forward_job(inputs, piece, head, queries, keys, values, turned_keys, paired_values, scores, weights, context):
    first, count, first_key, num_keys = piece[0], piece[1], piece[2], piece[3]
    e, stride, padded = queries.shape[1], turned_keys.shape[1], up(num_keys, LANES)
    at = head * e
    by_row(inputs.q, first, count, at, inputs.bias[0], inputs.query_turns, queries, up(count, ROWS))
    by_row(inputs.k, first_key, num_keys, at, inputs.bias[1], inputs.key_turns, keys, padded)
    still = inputs.key_turns[0][:0], inputs.key_turns[1], inputs.key_turns[2], False
    by_row(inputs.v, first_key, num_keys, at, inputs.bias[2], still, values, padded)
    turned(keys, turned_keys, padded)
    paired(values, paired_values, padded)
    for i in range(0, count, ROWS):
        present = min(ROWS, count - i)
        start, stop = stretch(inputs, piece, i, present)
        width = stop - start
        product(queries.ctypes.data + 2 * i * e, e // 2, 1, turned_keys.ctypes.data + 4 * start, stride, e // 2,
                scores.ctypes.data, stride, width, 0)
        for r in range(present):
            row = first + i + r
            low, high = seen(inputs, piece, i + r)
            largest, total = softmax_row(scores[r], low - start, high - start, width, inputs.factor)
            inputs.sums[row, head] = largest + log(total)
            if inputs.threshold > 0:
                _thin(scores[r], width, key_of(inputs, row, head), piece[4] + start, inputs.threshold)
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
    inputs, heads = inputs_of(a, 3), a[3]
    most_queries, most_keys = sizes(inputs.pieces)
    e = a[2] // heads
    queries, keys, values = (np.empty((most_queries, e), np.uint16), np.empty((most_keys, e), np.uint16),
                             np.empty((most_keys, e), np.uint16))
    turned_keys, paired_values = np.empty((e // 2, most_keys), np.uint32), np.empty((most_keys // 2, e), np.uint32)
    scores, context = np.empty((ROWS, most_keys), np.float32), np.empty((ROWS, e), np.float32)
    weights = np.zeros((ROWS, most_keys), np.uint16)
    for job in range(first_job(inputs, heads, part, parts), first_job(inputs, heads, part + 1, parts)):
        _forward_job(inputs, inputs.pieces[job // heads], job % heads, queries, keys, values, turned_keys,
                     paired_values, scores, weights, context)
