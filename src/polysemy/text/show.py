"""One training row as a table to read: what the model sees, what it must find, and why."""
from __future__ import annotations

import itertools
import shutil
import textwrap
import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from polysemy.errors import InputError

if TYPE_CHECKING:
    from polysemy.text.batches import Batch
    from polysemy.text.tokenizer import Tokenizer

NARROWEST = 40
"""a table narrower than this many columns cannot be read"""


def render(batch: Batch, tokenizer: Tokenizer, row: int, *, pair_names: tuple[str, str] | None = None,
           both: bool = False, columns: int | None = None) -> str:
    """Row `row` of the batch as plain text of at most `columns` characters a line (the terminal's, or COLUMNS).

    Each line of the table holds one property and wraps with the others: column number in the row, position, pieces as
    shown, the original where hidden, and why: `mask`, `random` or `kept`. Segment, document (the packed piece) and
    span stand there when the row has more than one. pair_names: what pair labels 0 and 1 mean (see
    `Segments.pair_names`); both: of running text the token before is to be predicted too. Chinese characters count two
    columns wide, as terminals show them.
    """
    if not 0 <= row < len(batch.ids):
        raise InputError(f"row must be in 0..{len(batch.ids) - 1}, got {row}")
    one = batch.take([row])
    if one.hidden.all():
        return _running(one, tokenizer, both, max(NARROWEST, columns or shutil.get_terminal_size().columns))
    width = max(NARROWEST, columns or shutil.get_terminal_size().columns)
    size = int(one.visible.sum())
    originals = one.ids[0].copy()
    originals[one.hidden[0]] = one.targets
    shown, original = (_printable(readable(tokenizer, ids[:size].tolist())) for ids in (one.ids[0], originals))
    why = _reasons(one, originals, tokenizer.mask_id)[:size]
    lines = {
        "column": [str(column) for column in range(size)],
        "position": one.positions[0, :size].astype(str).tolist(),
        "shown": shown,
        "original": [piece if reason else "" for piece, reason in zip(original, why, strict=True)],
        "why": why,
        "segment": one.segments[0, :size].astype(str).tolist() if one.segments.any() else [],
        "document": one.documents[0, :size].astype(str).tolist() if one.documents.max(initial=0) > 0 else [],
        "span": _span_cells(one, size),
    }
    if lines["position"] == lines["column"]:
        del lines["column"]
    heading = _heading(one, why, pair_names or ("B follows A", "B does not follow A"))
    table = _table({name: cells for name, cells in lines.items() if cells}, width)
    return "\n".join([*_wrapped(heading, width), *table, *_wrapped(_span_notes(one), width)])


def _running(one: Batch, tokenizer: Tokenizer, both: bool, width: int) -> str:
    """A row of running text: each token and the one after it (and before it), which is to be predicted."""
    shown, after = (_printable(readable(tokenizer, ids.tolist())) for ids in (one.ids[0], one.targets))
    count, size = int(one.documents.max()) + 1, len(shown)
    stream = int(one.streams[0])
    goes_on = "" if stream < 0 else f", stream {stream}, {'from its beginning' if one.fresh[0] else 'which goes on'}"
    heading = (f"global row {one.rows[0]}: {size} tokens of {count} document{'s' * (count > 1)}{goes_on}; "
               + ("the tokens before and after each are" if both else "the token after each is") + " to be predicted")
    lines = {"position": one.positions[0].astype(str).tolist(),
             "previous": ["", *shown[:-1]] if both else [], "token": shown, "next": after,
             "document": one.documents[0].astype(str).tolist() if count > 1 else []}
    table = _table({name: cells for name, cells in lines.items() if cells}, width)
    return "\n".join([*_wrapped([heading], width), *table])


def readable(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """Names of pieces for people, of whatever stands for a tokenizer."""
    return tokenizer.readable(ids) if hasattr(tokenizer, "readable") else tokenizer.pieces(ids)


def display_width(text: str) -> int:
    """Columns that a terminal gives the text: 2 for wide characters, 0 for marks on the one before."""
    return sum(0 if unicodedata.category(ch) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(ch) in "WF")
               for ch in text)


def _printable(pieces: list[str]) -> list[str]:
    return ["".join(ch if ch.isprintable() and not ch.isspace() else f"\\u{ord(ch):04x}" for ch in piece) or "''"
            for piece in pieces]


def _reasons(one: Batch, originals: np.ndarray, mask_id: int) -> list[str]:
    kinds = np.where(one.ids[0] == mask_id, "mask", np.where(one.ids[0] == originals, "kept", "random"))
    return np.where(one.hidden[0], kinds, "").tolist()


def _heading(one: Batch, why: list[str], pair_names: tuple[str, str]) -> list[str]:
    size, length, count = len(why), one.ids.shape[1], int(one.documents.max(initial=-1)) + 1
    kinds = ", ".join(f"{why.count(kind)} {kind}" for kind in ("mask", "random", "kept") if kind in why)
    hidden = f"{len(one.targets)} hidden ({kinds})" if kinds else "nothing hidden"
    pieces = "1 piece" if count == 1 else f"{count} pieces"
    lines = [f"global row {one.rows[0]}: {length} columns, {size} filled by {pieces} of text, {hidden}"]
    for flat, label in zip(one.pair_at.tolist(), one.pair_labels.tolist(), strict=True):
        where = "pair" if count == 1 else f"document {one.documents[0, flat]}"
        lines.append(f"{where}: label {label}, {pair_names[label]} (A is segment 0, B segment 1)")
    return lines


def _spans(one: Batch) -> list[tuple[int, int, int, int]]:
    """(first column, last column, left boundary, right boundary) of each span that has a boundary objective."""
    bounds = np.append(np.flatnonzero(one.span_offset == 1), len(one.span_at))
    at, left, right = one.span_at, one.span_left, one.span_right
    return [(int(at[first]), int(at[stop - 1]), int(left[first]), int(right[first]))
            for first, stop in itertools.pairwise(bounds)]


def _span_cells(one: Batch, size: int) -> list[str]:
    cells = [""] * size
    for number, (first, last, left, right) in enumerate(_spans(one), 1):
        for column in range(first, last + 1):
            cells[column] = str(number)
        cells[left] += "<"
        cells[right] += ">"
    return cells if one.span_at.size else []


def _span_notes(one: Batch) -> list[str]:
    spans = _spans(one)
    if not spans:
        return []
    left_out = int(one.hidden.sum()) - len(one.span_at)
    notes = [f"{len(spans)} {'span' if len(spans) == 1 else 'spans'} to predict from the states marked < and >"]
    if left_out:
        notes[0] += f"; {left_out} hidden tokens have no such state on both sides or lie too far in their span"
    return notes


def _wrapped(lines: list[str], width: int) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="  ")]


def _table(lines: dict[str, list[str]], width: int) -> list[str]:
    """Lines of cells side by side, parted into blocks that fit the width; a block leaves out its empty lines."""
    label = max(map(len, lines)) + 2
    widths = [max(map(display_width, cells)) for cells in zip(*lines.values(), strict=True)]
    text: list[str] = []
    start = 0
    while start < len(widths):
        stop, used = start, label
        while stop < len(widths) and (stop == start or used + widths[stop] <= width):
            used += widths[stop] + 1
            stop += 1
        text.append("")
        for name, cells in lines.items():
            if any(cells[start:stop]):
                padded = (cells[at] + " " * (widths[at] - display_width(cells[at])) for at in range(start, stop))
                text.append((name.ljust(label) + " ".join(padded)).rstrip())
        start = stop
    return [*text, ""]
