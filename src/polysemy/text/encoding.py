"""What encoding gives, ids with the character span of each piece, and the array work on many texts at once."""
from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from polysemy.errors import InputError
from polysemy.text.tokenizer_parts import SPACE_MARK

Flat = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""ids int32, starts int32, ends int32 (all texts one after the other), row_splits int64 (len(texts) + 1)"""


class Encoding(NamedTuple):
    """The pieces of one text: ids, and the character span of each (int32 arrays of one length)."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def check_texts(texts: Sequence[str], limit: int) -> None:
    """InputError unless all are strings of at most `limit` characters."""
    for kind in set(map(type, texts)):
        if not issubclass(kind, str):
            raise InputError(f"text must be a string, got {kind.__name__}")
    longest = max(map(len, texts), default=0)
    if longest > limit:
        raise InputError(f"text must have at most {limit:,} characters, got {longest:,}; cut it into documents")


def slices(texts: Sequence[str], characters: int) -> Iterable[Sequence[str]]:
    """The texts in stretches of about so many characters."""
    start = size = 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= characters:
            yield texts[start:number + 1]
            start, size = number + 1, 0
    if start < len(texts):
        yield texts[start:]


def trim_spans(texts: Sequence[str], starts: np.ndarray, ends: np.ndarray, splits: np.ndarray, with_mark: bool
               ) -> tuple[np.ndarray, np.ndarray]:
    """Spans, changed in place, without the white space at their edges; one of white space alone is empty at its end.

    `with_mark`: U+2581 and control characters are white space too, as in tokenizers that mark spaces.
    """
    spaces = space_table(with_mark)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    firsts = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    base = np.repeat(firsts[:-1], np.diff(splits))
    for edges, shift, step in ((starts, 0, 1), (ends, -1, -1)):
        while True:
            inside = np.flatnonzero(starts < ends)
            inside = inside[spaces[codes[base[inside] + edges[inside] + shift]]]
            if not len(inside):
                break
            edges[inside] += step
    return starts, ends


@functools.cache
def space_table(with_mark: bool) -> np.ndarray:
    """True at every code point that is Unicode white space; `with_mark` adds U+2581 and the control characters."""
    table = np.zeros(0x110000, bool)
    table[[code for code in range(0x3001) if chr(code).isspace() and not 0x1C <= code <= 0x1F]] = True
    if with_mark:
        table[[*range(0x20), *range(0x7F, 0xA0), ord(SPACE_MARK)]] = True
    return table


def joined(parts_of: Sequence[Flat]) -> Flat:
    """Several results of encode_many as one."""
    if len(parts_of) == 1:
        return parts_of[0]
    if not parts_of:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(1, np.int64)
    ids, starts, ends = (np.concatenate([part[column] for part in parts_of]) for column in range(3))
    lengths = np.concatenate([np.diff(part[3]) for part in parts_of])
    return ids, starts, ends, np.concatenate([[0], np.cumsum(lengths)])
