"""How a reader sets a text, or two, between its special tokens; many rows are laid out at once by that form.

The form is read off one row that the reader itself makes of two placeholders, so it holds for [CLS] a [SEP] b [SEP],
for RoBERTa's two separators, for a mark before the text and for no special token at all.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from polysemy.text.rows import ranges

FIRST, SECOND = -7, -9
"""ids that no vocabulary has: where they come out is where the texts stand"""


class Parts(NamedTuple):
    """One part of each row: the ids flat[starts[i] : starts[i] + lengths[i]]."""

    flat: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


class Laid(NamedTuple):
    """Rows one after the other."""

    ids: np.ndarray
    """int32: row i has ids[splits[i] : splits[i + 1]]"""
    segments: np.ndarray
    """uint8, like ids"""
    splits: np.ndarray
    """int64 (n + 1,)"""
    columns: list[np.ndarray]
    """for each part of the form: the column in which it begins, int64 (n,)"""


@dataclass(frozen=True)
class RowForm:
    """Special ids before, between and after the texts, with the segment of each column."""

    specials: tuple[np.ndarray, ...]
    """int64 arrays: one more than there are texts"""
    segments: tuple[np.ndarray, ...]
    """int64 arrays, like specials"""
    text_segments: tuple[int, ...]
    """the segment of each text"""

    @property
    def size(self) -> int:
        """Special tokens of a row."""
        return sum(map(len, self.specials))

    @classmethod
    def of(cls, reader: Any, pair: bool) -> RowForm:
        """The form of a reader's rows of one text, or of two.

        A reader from left to right that takes no pairs gets its mark between the texts as well (GPT's delimiter,
        Radford et al. 2018, section 3.3).
        """
        marks = [FIRST, SECOND] if pair else [FIRST]
        if pair and not getattr(reader, "two_sided", True):
            single = cls.of(reader, False)
            delimiter = single.specials[0][-1:]
            parts = (single.specials[0], delimiter, single.specials[1])
            return cls(parts, tuple(np.zeros(len(part), np.int64) for part in parts), (0, 0))
        row = reader.row(*(np.array([mark], np.int64) for mark in marks))
        ids, segments = np.asarray(row.ids, np.int64), np.asarray(row.segments, np.int64)
        places = [int(np.flatnonzero(ids == mark)[0]) for mark in marks]
        cuts = [(0, places[0]), *((a + 1, b) for a, b in zip(places, [*places[1:], len(ids)], strict=True))]
        return cls(tuple(ids[a:b] for a, b in cuts), tuple(segments[a:b] for a, b in cuts),
                   tuple(int(segments[place]) for place in places))

    def lay_out(self, parts: Sequence[Parts]) -> Laid:
        """The rows of these texts."""
        assert len(parts) == len(self.text_segments), "a form has as many texts as it was made for"
        lengths = np.sum([part.lengths for part in parts], axis=0, dtype=np.int64) + self.size
        splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        ids, segments = np.empty(splits[-1], np.int32), np.zeros(splits[-1], np.uint8)
        at, columns = splits[:-1].copy(), []
        for number, special in enumerate(self.specials):
            for shift, (value, segment) in enumerate(zip(special, self.segments[number], strict=True)):
                ids[at + shift], segments[at + shift] = value, segment
            at = at + len(special)
            if number < len(parts):
                part = parts[number]
                columns.append(at - splits[:-1])
                into, _ = ranges(at, at + part.lengths)
                ids[into] = part.flat[ranges(part.starts, part.starts + part.lengths)[0]]
                segments[into] = self.text_segments[number]
                at = at + part.lengths
        return Laid(ids, segments, splits, columns)


def cut_pairs(first: np.ndarray, second: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (int64) of two parts that fit into `room`: the longer one loses its last token until they do.

    As BERT's `_truncate_seq_pair` (of two equally long parts the second loses first), without its loop.
    """
    half = room // 2
    most = room - half
    a = np.where(first <= most, first, np.where(second <= half, room - second, most))
    b = np.where(first <= most, room - first, np.where(second <= half, second, half))
    fits = first + second <= room
    return np.where(fits, first, a), np.where(fits, second, b)


def cut_pair(a: int, b: int, room: int) -> tuple[int, int]:
    """`cut_pairs` of one pair."""
    if a + b <= room:
        return a, b
    half = room // 2
    if a <= half:
        return a, room - a
    return (room - b, b) if b <= half else (room - half, half)
