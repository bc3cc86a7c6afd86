"""Texts of a task as ids in one flat array, and the few special ids that its rows need."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.text.encoding import Encoding
from polysemy.text.row_form import Parts, RowForm
from polysemy.text.tokenizer import Tokenizer
from polysemy.text.words import is_han

MUCH = 2_000_000
"""characters from which on making the fast encoder, a second, is worth it"""
SAMPLE = 64


class Encoded:
    """Texts as ids in one flat array; equal texts are encoded once."""

    def __init__(self, reader: Any, texts: Sequence[str], blank: int | None = None) -> None:
        """`blank` stands for a text without a single piece."""
        numbers: dict[str, int] = {}
        self.numbers = np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), np.int64, len(texts))
        self.encodings = encode(reader, list(numbers))
        lengths = np.array([len(encoding.ids) for encoding in self.encodings], np.int64)
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        blanks = [np.array([0 if blank is None else blank])]  # after all others
        self.flat = np.concatenate([*(encoding.ids for encoding in self.encodings), *blanks])
        starts = bounds[:-1].copy()
        if blank is not None:
            starts[lengths == 0] = bounds[-1]
            lengths = np.maximum(lengths, 1)
        self.starts, self.lengths = starts[self.numbers], lengths[self.numbers]

    def parts(self, some: slice, lengths: np.ndarray) -> Parts:
        """The first so many ids of some texts."""
        return Parts(self.flat, self.starts[some], lengths)


def encode(reader: Any, texts: Sequence[str]) -> Sequence[Encoding]:
    """What the reader's `encode` gives, ten times faster where there is much text and its tokenizer has a fast twin.

    The twin is held against the library when it is made, and against the reader on the first texts.
    """
    tokenizer = reader.tokenizer
    if not isinstance(tokenizer, Tokenizer) or sum(map(len, texts)) < MUCH:
        return reader.encode(texts)
    from polysemy.text.fast_encoder import encoder_for

    fast = encoder_for(tokenizer)
    if fast is None or not _same(reader.encode(texts[:SAMPLE]), _cut(*fast.encode_many(texts[:SAMPLE]))):
        return reader.encode(texts)
    return _cut(*fast.encode_many(texts))


def _cut(ids: np.ndarray, starts: np.ndarray, ends: np.ndarray, splits: np.ndarray) -> list[Encoding]:
    return [Encoding(ids[a:b], starts[a:b], ends[a:b])
            for a, b in zip(splits[:-1].tolist(), splits[1:].tolist(), strict=True)]


def _same(some: Sequence[Encoding], others: Sequence[Encoding]) -> bool:
    return all(np.array_equal(a, b) for one, other in zip(some, others, strict=True)
               for a, b in zip(one, other, strict=True))


def room_of(length: int, form: RowForm, texts: int) -> int:
    """Columns left for the texts."""
    if length < form.size + texts:
        raise InputError(f"length must be at least {form.size + texts} tokens for {texts} "
                         f"text{'s' * (texts > 1)} and {form.size} special ones, got {length}")
    return length - form.size


def blank_id(reader: Any, form: RowForm) -> int | None:
    """What stands for a text without a piece where no special token keeps its row from being empty."""
    return None if form.size else unknown_id(reader)


def unknown_id(reader: Any) -> int:
    tokenizer = reader.tokenizer
    return tokenizer.unk_id if tokenizer.has("unk") else 0


def pad_id(reader: Any) -> int:
    tokenizer = reader.tokenizer
    return tokenizer.pad_id if tokenizer.has("pad") else 0


def as_running(word: str) -> str:
    """A word as it stands in running text: after a space, unless it begins with a Chinese character."""
    return word if is_han(word[:1] or " ") else f" {word}"
