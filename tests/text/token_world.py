"""Small corpora of ids with a shape that tests can read off, and a tokenizer of nothing but ids."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysemy.errors import InputError
from polysemy.text.batches import Batch
from polysemy.text.shards import Shards

PAD, UNK, CLS, SEP, MASK, OPEN, CLOSE = range(7)
FIRST_WORD, FIRST_TAIL = 7, 4000
"""ids from FIRST_TAIL on go on with the word before them, those below begin one"""


@dataclass(frozen=True)
class IdTokenizer:
    """What batches need of a tokenizer."""

    vocab_size: int = 8000
    has_marks: bool = True
    pad_id: int = PAD
    unk_id: int = UNK
    cls_id: int = CLS
    sep_id: int = SEP
    mask_id: int = MASK

    @property
    def marks(self) -> tuple[int, int]:
        if not self.has_marks:
            raise InputError("tokenizer must have the marks")
        return OPEN, CLOSE

    @property
    def ordinary_ids(self) -> np.ndarray:
        return np.arange(FIRST_WORD, self.vocab_size, dtype=np.int32)

    def pieces(self, ids: list[int]) -> list[str]:
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[S]", "[/S]"]
        return [names[i] if i < FIRST_WORD else f"{'##' if i >= FIRST_TAIL else ''}{i}" for i in ids]


def corpus(documents: int = 40, sentences: int = 30, shortest: int = 3, longest: int = 20, seed: int = 0,
           tails: float = 0.25) -> Shards:
    """Random documents of about so many sentences of shortest..longest tokens; a share of the tokens are word tails."""
    random = np.random.default_rng(seed)
    text = []
    for _ in range(documents):
        document = []
        for _ in range(int(random.integers(1, 2 * sentences))):
            ids = random.integers(FIRST_WORD, FIRST_TAIL, int(random.integers(shortest, longest + 1)))
            tail = random.random(len(ids)) < tails
            tail[0] = False
            document.append(np.where(tail, ids - FIRST_WORD + FIRST_TAIL, ids).tolist())
        text.append(document)
    return from_ids(text)


def from_ids(text: list[list[list[int]]]) -> Shards:
    """Shards whose word starts follow from the ids."""
    starts = [[[token < FIRST_TAIL for token in sentence] for sentence in document] for document in text]
    return Shards.from_documents(text, 8000, starts)


def numbered(documents: int, sentences: int, tokens: int) -> Shards:
    """Documents of equal sentences in which every token has an id of its own: id = FIRST_WORD + its offset."""
    ids = np.arange(documents * sentences * tokens).reshape(documents, sentences, tokens) + FIRST_WORD
    assert ids.max() < 8000
    return Shards.from_documents(ids.tolist(), 8000)


def originals(batch: Batch) -> np.ndarray:
    """The ids before corruption."""
    ids = batch.ids.copy()
    ids[batch.hidden] = batch.targets
    return ids


def pieces_of(batch: Batch) -> list[tuple[int, np.ndarray]]:
    """(row, columns) of every packed piece."""
    return [(row, np.flatnonzero(documents == piece)) for row, documents in enumerate(batch.documents)
            for piece in range(documents.max() + 1)]


def same(first: Batch, second: Batch) -> bool:
    """Are the batches equal, field by field and type by type?"""
    return all(getattr(first, name).dtype == getattr(second, name).dtype
               and np.array_equal(getattr(first, name), getattr(second, name)) for name in Batch.__dataclass_fields__)
