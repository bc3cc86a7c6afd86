"""Readers for tests of task rows: pieces of three letters or one Chinese character, rows as BERT, RoBERTa or GPT."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polysemy.text.encoding import Encoding

CLS, SEP, UNK, PAD = 1, 2, 3, 0


class Row(NamedTuple):
    ids: np.ndarray
    segments: np.ndarray


class Pieces:
    """What rows need of a tokenizer."""

    unk_id, pad_id = UNK, PAD

    def has(self, role: str) -> bool:
        return role in ("unk", "pad")


class Reader:
    """`form` is bert, roberta, gpt (a mark, no pairs) or bare (no special token)."""

    def __init__(self, length: int = 32, form: str = "bert") -> None:
        self.length, self.form, self.tokenizer = length, form, Pieces()
        self.two_sided = form != "gpt"
        self._ids: dict[str, int] = {}

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        found = [(self._ids.setdefault(match.group(), 10 + len(self._ids)), *match.span())
                 for match in re.finditer(r"[一-鿿]|[^\W一-鿿]{1,3}|[^\w\s]", text) if match.group() != "#"]
        return Encoding(*np.array(found, np.int32).reshape(-1, 3).T)

    def row(self, first: np.ndarray, second: np.ndarray | None = None) -> Row:
        if self.form == "gpt":
            assert second is None, "pairs belong to encoders"
            return Row(np.concatenate([[CLS], first]).astype(np.int64), np.zeros(len(first) + 1, np.int64))
        if self.form == "bare":
            ids = np.concatenate([first] if second is None else [first, second]).astype(np.int64)
            return Row(ids, np.zeros(len(ids), np.int64))
        parts = [[CLS], first, [SEP]]
        if second is not None:
            parts += [[SEP], second, [SEP]] if self.form == "roberta" else [second, [SEP]]
        ids = np.concatenate(parts).astype(np.int64)
        segments = np.zeros(len(ids), np.int64)
        if self.form == "bert":
            segments[len(first) + 2:] = 1
        return Row(ids, segments)

    def specials(self, pair: bool) -> int:
        return {"gpt": 1, "bare": 0, "bert": 2 + pair, "roberta": 2 + 2 * pair}[self.form]


@dataclass
class Classify:
    labels: tuple[str, ...] = ("a", "b")
    pair: bool = False


@dataclass
class Regress:
    low: float | None = None
    high: float | None = None
    pair: bool = False


@dataclass
class Tag:
    labels: tuple[str, ...] = ("A", "B")


@dataclass
class Span:
    stride: int = 8
    question: int = 64
