"""Packing pieces into rows: best fit, longest first, in time proportional to the number of pieces.

Importing this file imports Numba; import it inside functions.
"""
from __future__ import annotations

import numpy as np

from polysemy.text.keyed import compiled


@compiled
def pack(widths: np.ndarray, length: int):
    """Put pieces of some widths (1..length) into as few rows of `length` columns as best fit decreasing finds.

    Returns pieces, int64 (p,), and bounds, int64 (rows + 1,): row r holds pieces[bounds[r]:bounds[r + 1]]. Rows are
    numbered in the order in which they were opened; equal widths keep their order.
    """
    order = longest_first(widths, length)
    row_of = np.empty(len(widths), np.int64)
    newest = np.full(length + 1, -1, np.int64)  # by free columns, the newest row with that many
    before = np.empty(len(widths), np.int64)  # the row that was newest before this one
    free = np.empty(len(widths), np.int64)
    rows = 0
    for piece in order:
        width = widths[piece]
        space = width
        while space <= length and newest[space] < 0:
            space += 1
        if space <= length:
            row = newest[space]
            newest[space] = before[row]
        else:
            row, space = rows, length
            rows += 1
        row_of[piece] = row
        free[row] = space - width
        if free[row] > 0:
            before[row] = newest[free[row]]
            newest[free[row]] = row
    bounds = np.zeros(rows + 1, np.int64)
    for piece in order:
        bounds[row_of[piece] + 1] += 1
    bounds = np.cumsum(bounds)
    at, pieces = bounds[:-1].copy(), np.empty(len(widths), np.int64)
    for piece in order:
        pieces[at[row_of[piece]]] = piece
        at[row_of[piece]] += 1
    return pieces, bounds


@compiled
def longest_first(widths: np.ndarray, length: int) -> np.ndarray:
    """Indices by decreasing width, stable: a counting sort."""
    place = np.zeros(length + 2, np.int64)
    for width in widths:
        place[length - width + 1] += 1
    place = np.cumsum(place)
    order = np.empty(len(widths), np.int64)
    for i in range(len(widths)):
        slot = length - widths[i]
        order[place[slot]] = i
        place[slot] += 1
    return order
