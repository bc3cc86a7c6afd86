"""A made-up language in which a word's meaning can be read off its neighbors, and a body that reads them."""
from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from polysemy.models.word_vectors import WordVectors
from polysemy.runtime import random_for
from polysemy.text.words import word_spans

RIVER = ["water", "fish", "boat", "reed", "mud", "deep", "flood", "swim"]
MONEY = ["coin", "loan", "cash", "debt", "fee", "gold", "rich", "pay"]
FILLER = ["the", "of", "to", "in", "is", "on", "by", "at", "it", "as", "or", "an", "be", "we"]


class Text(NamedTuple):
    text: str
    number: int


def sentences(word: str, topic: Sequence[str], count: int, key: str) -> list[str]:
    """Sentences with the word among words of its topic and words of every sentence."""
    random = random_for(0, "world", word, key)
    found = []
    for _ in range(count):
        near = [*random.choice(topic, 6), *random.choice(FILLER, 2)]
        random.shuffle(near)
        found.append(" ".join([*near[:4], word, *near[4:]]) + ".")
    return found


def words() -> list[str]:
    return [*FILLER, *RIVER, *MONEY, "bank", "shore", "vault"]


def vectors() -> WordVectors:
    """A static vector each, drawn at random, with counts."""
    known = words()
    counts = np.array([1000] * len(FILLER) + [20] * (len(known) - len(FILLER)), np.int64)
    return WordVectors(known, random_for(0, "vectors").standard_normal((len(known), 64)).astype(np.float32), counts)


class Reader:
    """Layer 0 is the word's own vector; layer 1 the mean of all words of the row: what `use_vectors` asks of a model.
    """

    two_sided = True
    length = 64

    def __init__(self) -> None:
        self.table = {word: i for i, word in enumerate(words())}
        self.vectors = vectors().vectors
        self.config = SimpleNamespace(recipe="made-up", model=SimpleNamespace(num_layers=1))

    def encode(self, texts: Sequence[str]) -> list[SimpleNamespace]:
        found = []
        for text in texts:
            spans = word_spans(text)
            ids = np.array([self.table.get(text[a:b].lower(), self.table["bank"]) for a, b in spans], np.int64)
            starts, ends = np.array(spans, np.int64).reshape(-1, 2).T
            found.append(SimpleNamespace(ids=ids, starts=starts, ends=ends))
        return found

    def specials(self, pair: bool) -> int:
        return 0

    def row(self, ids: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(ids=ids, segments=np.zeros_like(ids))

    def run(self, rows: Sequence[SimpleNamespace], hidden_states: bool):
        import torch

        for i, row in enumerate(rows):
            own = torch.from_numpy(self.vectors[row.ids])[None]
            yield np.array([i]), SimpleNamespace(layers=[own, own.mean(1, keepdim=True).expand_as(own)])
