"""The compiled loop that lays pieces out in rows: special tokens, positions, segments, marks.

Importing this file imports Numba; import it inside functions.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from polysemy.text.keyed import bits, compiled
from polysemy.text.masking import PieceText


class Specials(NamedTuple):
    """Ids of the special tokens; the marks are -1 where spans are not marked."""

    cls: int
    sep: int
    pad: int
    opening: int
    closing: int


class Layout(NamedTuple):
    """Rows of columns; arrays are (b, t) but for the last."""

    ids: np.ndarray
    originals: np.ndarray
    """int64: the token before corruption; the id shown where the column is no text"""
    positions: np.ndarray
    segments: np.ndarray
    documents: np.ndarray
    groups: np.ndarray
    """int32: the number of the group hidden together, 0 elsewhere"""
    is_text: np.ndarray
    piece_at: np.ndarray
    """int64 (pieces,): flat index of each piece's [CLS]"""


def lay_out(text: PieceText, shown: np.ndarray, groups: np.ndarray, specials: Specials, length: int) -> Layout:
    """`[CLS] run [SEP] run [SEP]` one piece after the other in each row, the rest padding."""
    shape = (len(text.row_pieces) - 1, length)
    padding = np.full(shape, specials.pad, np.int64)
    layout = Layout(
        ids=padding, originals=padding.copy(), positions=np.zeros(shape, np.int64), segments=np.zeros(shape, np.int64),
        documents=np.full(shape, -1, np.int64), groups=np.zeros(shape, np.int32), is_text=np.zeros(shape, np.bool_),
        piece_at=np.empty(len(text.labels), np.int64),
    )
    fill_rows(text, shown, groups, specials, layout)
    return layout


@compiled
def fill_rows(text: PieceText, shown: np.ndarray, groups: np.ndarray, specials: Specials, layout: Layout) -> None:
    """Write the pieces into rows of padding."""
    length = layout.ids.shape[1]
    for row in range(len(text.row_pieces) - 1):
        column = 0
        for piece in range(text.row_pieces[row], text.row_pieces[row + 1]):
            begin, first_run = column, text.piece_runs[piece]
            layout.piece_at[piece] = row * length + column
            column = put(layout, row, column, specials.cls, 0)
            for run in range(first_run, text.piece_runs[piece + 1]):
                segment = run - first_run if text.labels[piece] >= 0 else 0
                first, last = text.run_ends[run], text.run_ends[run + 1] - 1
                for at in range(first, last + 1):
                    group = groups[at]
                    marked = specials.opening >= 0 and group > 0
                    if marked and (at == first or groups[at - 1] != group):
                        column = put(layout, row, column, specials.opening, segment)
                    layout.groups[row, column], layout.is_text[row, column] = group, True
                    column = put(layout, row, column, shown[at], segment)
                    layout.originals[row, column - 1] = text.ids[at]
                    if marked and (at == last or groups[at + 1] != group):
                        column = put(layout, row, column, specials.closing, segment)
                column = put(layout, row, column, specials.sep, segment)
            for at in range(begin, column):
                layout.documents[row, at], layout.positions[row, at] = piece - text.row_pieces[row], at - begin


@compiled
def put(layout: Layout, row: int, column: int, token: int, segment: int) -> int:
    """Write one token; returns the next column."""
    layout.ids[row, column], layout.originals[row, column], layout.segments[row, column] = token, token, segment
    return column + 1


@compiled
def piece_keys(key: np.uint64, rows: np.ndarray, row_pieces: np.ndarray) -> np.ndarray:
    """A key for every piece: it depends on the row's number and the piece's place in the row."""
    keys = np.empty(row_pieces[-1], np.uint64)
    for i in range(len(rows)):
        row_key = bits(key, rows[i])
        for piece in range(row_pieces[i], row_pieces[i + 1]):
            keys[piece] = bits(row_key, piece - row_pieces[i])
    return keys
