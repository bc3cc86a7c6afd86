"""The passes that a block of cloze items needs, each distinct one once."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from polysemy.capability import ClozeItem
from polysemy.text.tokenizer import Encoding

if TYPE_CHECKING:
    from polysemy.models.text_encoder import TextEncoder
    from polysemy.models.text_model import Row, TextModel

NEAR = 24
"""characters of context encoded with each candidate; the whole context is encoded once an item"""


class Passes:
    """A pass shows (context, pieces so far, masks for the rest) and gives the next piece of every candidate on it."""

    def __init__(self, encoder: TextEncoder, items: Sequence[ClozeItem]) -> None:
        self.encoder = encoder
        self.rows: list[Row] = []
        self.places: list[int] = []
        self.wanted: list[list[tuple[int, int, int]]] = []
        """per pass: (item, candidate, next piece)"""
        self.empty: list[tuple[int, int]] = []
        self.count = len(items)
        for number, (before, after, pieces) in enumerate(contexts(encoder, items)):
            self._add(number, before, after, pieces)

    def _add(self, item: int, before: list[np.ndarray], after: list[np.ndarray], pieces: list[np.ndarray]) -> None:
        known: dict[tuple[int, ...] | bytes, int] = {}
        mask = self.encoder.tokenizer.mask_id
        for candidate, ids in enumerate(pieces):
            if not len(ids):
                self.empty.append((item, candidate))
            k = len(ids)
            left, right = fit(before[candidate], after[candidate], self.encoder.length - 2 - k)
            for i in range(k):
                middle = np.concatenate([ids[:i], np.full(k - i, mask)])
                key = np.concatenate([left, [-1], middle, [-1], right]).tobytes()
                if key not in known:
                    known[key] = len(self.rows)
                    self.rows.append(self.encoder.row(np.concatenate([left, middle, right])))
                    self.places.append(1 + len(left) + i)
                    self.wanted.append([])
                self.wanted[known[key]].append((item, candidate, int(ids[i])))

    def scores(self, num_candidates: int) -> np.ndarray:
        """(items, candidates) float64 sums of log-probabilities."""
        result = np.zeros((self.count, num_candidates))
        for group, values in self.encoder.log_probabilities(self.rows, self.places):
            lines, items, candidates, pieces = np.array(
                [(line, *wanted) for line, i in enumerate(group) for wanted in self.wanted[i]]).T
            np.add.at(result, (items, candidates), values.cpu().numpy()[lines, pieces].astype(np.float64))
        for place in self.empty:
            result[place] = -np.inf
        return result


def contexts(encoder: TextModel, items: Sequence[ClozeItem]
             ) -> list[tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]]:
    """Per item, for each candidate: ids left of it, ids right of it, its own ids, as in the text with it in place.

    Only the neighborhood is encoded with each candidate; where a candidate changes how its neighbors are cut, the
    whole text is encoded with it.
    """
    first = encoder.encode([item.left + item.candidates[0] + item.right for item in items])
    near = [(_tail(item.left), _head(item.right)) for item in items]
    texts = [left + candidate + right for item, (left, right) in zip(items, near, strict=True)
             for candidate in item.candidates]
    close = iter(encoder.encode(texts))
    result = []
    for item, whole, (left, _) in zip(items, first, near, strict=True):
        shared = cut(whole, len(item.left), len(item.candidates[0]))
        before, after, pieces = [], [], []
        for candidate in item.candidates:
            a, ids, b = cut(next(close), len(left), len(candidate))
            if not (_ends_with(shared[0], a) and _ends_with(shared[2][::-1], b[::-1])):
                a, ids, b = cut(encoder.encode([item.left + candidate + item.right])[0], len(item.left), len(candidate))
                before.append(a)
                after.append(b)
            else:
                before.append(shared[0])
                after.append(shared[2])
            pieces.append(ids)
        result.append((before, after, pieces))
    return result


def fit(before: np.ndarray, after: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest context that fits: half on each side, and what one side does not need goes to the other."""
    left = min(len(before), max(room // 2, room - len(after)))
    return before[len(before) - left:], after[:room - left]


def cut(encoding: Encoding, start: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids before, inside and after the characters [start, start + length); a piece that touches them is inside.

    A piece without characters of its own (the mark of a space) belongs to what follows it.
    """
    empty = encoding.starts == encoding.ends
    before = np.where(empty, encoding.starts < start, encoding.ends <= start)
    after = encoding.starts >= start + length
    return encoding.ids[before & ~after], encoding.ids[~before & ~after], encoding.ids[after]


def _tail(text: str) -> str:
    """The last characters, from a white space on where there is one."""
    tail = text[-NEAR:]
    space = tail.find(" ")
    return tail if len(text) <= NEAR or space < 0 else tail[space:]


def _head(text: str) -> str:
    head = text[:NEAR]
    space = head.rfind(" ")
    return head if len(text) <= NEAR or space < 0 else head[:space]


def _ends_with(whole: np.ndarray, part: np.ndarray) -> bool:
    return len(part) <= len(whole) and np.array_equal(whole[len(whole) - len(part):], part)
