"""What the two directions of attention share: the pieces of a flat list of tokens, who sees what, who does what.

A piece is a document, or what a row holds of it: its queries look at its keys and at nothing else, so padding and other
documents cost nothing.  Each (piece, head) is one job; jobs are dealt to threads in stretches of equal work.

A query may be kept to the keys near it (`Pieces.behind`, `Pieces.ahead`: causal, local).  Queries ascend, so ROWS of
them see one stretch of keys; what lies outside of it is never computed, and inside it the mask is exact.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import pointer, real, routine
from polysemy.nn.kernels.numbers import F, U
from polysemy.nn.kernels.tile import LANES
from polysemy.nn.pieces import Pieces

BLOCK = 48
"""queries whose weights the backward holds at once: a multiple of ROWS and of 2"""
PIECE = 5
"""columns of the table of pieces"""
ARGUMENTS = 28


class Choice(NamedTuple):
    """How to attend: the pieces, heads, factor of scores, and dropout's key for each query, threshold and scale."""

    pieces: Pieces
    num_heads: int
    factor: float
    keys: Tensor | None
    threshold: int
    scale: float


def arguments_of(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, choice: Choice, out: Tensor,
               sums: Tensor) -> tuple[Tensor | int | float, ...]:
    """What `inputs_of` reads; addresses that nothing is read from are those of `sums`."""
    pieces = choice.pieces
    turns, table = pieces.turns, pieces.table
    turning = (sums, sums, 0, sums, sums, 0) if turns is None else (
        turns.cosine, turns.sine, len(turns.cosine), turns.queries, turns.keys, int(turns.interleaved))
    return (len(q), len(k), q.shape[1], choice.num_heads, q, q.stride(0), k, k.stride(0), v, bias, table, len(table),
            out, sums, sums if choice.keys is None else choice.keys, choice.factor, choice.threshold, choice.scale,
            *turning, *((sums, 0) if pieces.at is None else (pieces.at, len(pieces.at))), pieces.behind, pieces.ahead)


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
def inputs_of(a, num_biases):
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


@routine
def key_of(inputs, row, head):
    """What the dropout of a row's weights is keyed by."""
    return U(inputs.drop_keys[row]) ^ U(head << 16) if inputs.threshold > 0 else U(0)


# --- which keys


@routine
def seen(inputs, piece, query):
    """The keys [low, high) of its piece that a query of a piece sees."""
    row = piece[0] + query
    place = (inputs.tokens[row] if inputs.tokens.shape[0] > 0 else row) - piece[2]
    return max(0, place - inputs.behind), min(piece[3], place + inputs.ahead + 1)


@routine
def stretch(inputs, piece, query, count):
    """The stretch of keys in whole LANES that `count` queries from `query` on see."""
    low, _ = seen(inputs, piece, query)
    _, high = seen(inputs, piece, query + count - 1)
    return low // LANES * LANES, up(high, LANES)


# --- who does what


@routine
def _work(inputs, piece):
    """What a job costs: queries x keys plus their copies."""
    return (piece[1] + 24) * (min(piece[3], inputs.behind + inputs.ahead + 1) + 24)


@routine
def first_job(inputs, heads, part, parts):
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
def up(count, step):
    return (count + step - 1) // step * step


@routine
def sizes(pieces):
    """Rows of scratch for the queries and for the keys of the largest piece, with room for whole tiles."""
    return up(pieces[:, 1].max(), BLOCK), up(pieces[:, 3].max(), BLOCK)
