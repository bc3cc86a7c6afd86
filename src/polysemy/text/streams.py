"""Rows for language models: the running text with one mark before each document, and the next token at every place.

`Chunks` are rows of neighboring tokens in a keyed order, each read by itself (GPT).  `Streams` cut the text into as
many long streams as a batch has rows: row b of batch t + 1 goes on where row b of batch t stopped, so that a model may
carry its state (LSTM, Transformer-XL).  Both give `batches[t]` as a pure function of (corpus, seed, t).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.runtime import seed_for
from polysemy.text.batches import SHORTEST, Batch, check_vocabulary

if TYPE_CHECKING:
    from polysemy.text.shards import Shards
    from polysemy.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Chunks(Config):
    """Rows of neighboring tokens, in another order and cut at other places in every epoch.

    A document that ends inside a row is a document of the row: models do not look from one into another.
    """

    pair_names = None


@dataclass(frozen=True, kw_only=True)
class Streams(Config):
    """As many contiguous streams as a batch has rows, read from their beginnings to their ends in every epoch.

    The text keeps its order; each epoch begins at another place, so that the cuts fall differently.
    """

    pair_names = None


class MarkedText:
    """A corpus as one ring of tokens with a mark before each document; places are numbered from 0 to `size`."""

    def __init__(self, shards: Shards, mark: int) -> None:
        self.shards, self.mark = shards, mark
        starts = np.asarray(shards.document_starts)[:-1].astype(np.int64)
        self.marks = starts + np.arange(len(starts))
        """int64: the place of each document's mark"""
        self.size = shards.num_tokens + len(starts)

    def read(self, start: int, count: int) -> np.ndarray:
        """int64 (count,): the tokens from a place on; after the last comes the first."""
        parts = []
        while count > 0:
            start %= self.size
            taken = min(count, self.size - start)
            parts.append(self._straight(start, start + taken))
            start, count = start + taken, count - taken
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _straight(self, start: int, stop: int) -> np.ndarray:
        before, inside = np.searchsorted(self.marks, [start, stop])
        tokens = self.shards.ids(int(start - before), int(stop - inside))
        result = np.empty(stop - start, np.int64)
        places = self.marks[before:inside] - start
        is_token = np.ones(len(result), bool)
        is_token[places] = False
        result[places] = self.mark
        result[is_token] = tokens
        return result


class LanguageBatches:
    """All batches of a language model's run, by number: `batches[t]`, in any order, for any t >= 0.

    Every place has a target, the token after it.  The same interface as `Batches`.
    """

    def __init__(self, shards: Shards, tokenizer: Tokenizer, segments: Chunks | Streams, *, batch_size: int,
                 length: int, seed: int) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1 row, got {batch_size}")
        if length < SHORTEST:
            raise InputError(f"length must be at least {SHORTEST} columns, got {length}")
        check_vocabulary(shards, tokenizer)
        self.text = MarkedText(shards, tokenizer.sep_id)
        self.batch_size, self.length, self.seed = batch_size, length, seed
        self.streams = isinstance(segments, Streams)
        if self.text.size < 2:
            raise InputError(f"corpus must have at least 2 tokens, got {shards.num_tokens}: nothing to predict")
        self.stream_size = self.text.size // batch_size
        """places from the beginning of one stream to that of the next"""
        steps = max(1, self.stream_size // length)
        self.rows = steps * batch_size if self.streams else max(1, self.text.size // length)

    def __getitem__(self, t: int) -> Batch:
        if t < 0:
            raise IndexError(f"batches are numbered from 0, got {t}")
        return self.at(range(t * self.batch_size, (t + 1) * self.batch_size))

    def at(self, rows: Sequence[int] | np.ndarray | range) -> Batch:
        """The batch of any global rows in the given order."""
        numbers = np.asarray(rows, np.int64)
        epochs, inside = np.divmod(numbers, self.rows)
        starts = np.array([self._offset(int(epoch)) for epoch in epochs], np.int64)
        if self.streams:
            step, stream = np.divmod(inside, self.batch_size)
            starts += stream * self.stream_size + step * self.length
        else:
            step, stream = np.zeros_like(inside), np.full_like(inside, -1)
            starts += self._order(epochs, inside) * self.length
        text = np.stack([self.text.read(int(start), self.length + 1) for start in starts])
        return _batch(text, self.text.mark, numbers, stream, step == 0)

    def rows_per_epoch(self, epoch: int) -> int:
        """Rows in which an epoch shows the corpus once, but for a rest that would not fill a row."""
        return self.rows

    def epoch_of(self, t: int) -> int:
        """The epoch of the first row of batch t, from 0."""
        return t * self.batch_size // self.rows

    def num_batches(self, epochs: int) -> int:
        """Batches that it takes to show the whole corpus so many times."""
        return -(-epochs * self.rows // self.batch_size)

    @property
    def fill(self) -> float:
        """Part of the columns that is no padding."""
        return 1.0

    def _offset(self, epoch: int) -> int:
        return seed_for("language offset", self.seed, epoch) % self.text.size if epoch else 0

    def _order(self, epochs: np.ndarray, inside: np.ndarray) -> np.ndarray:
        from polysemy.text.keyed import shuffled

        order = np.empty_like(inside)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            key = np.uint64(seed_for("language rows", self.seed, int(epoch)))
            order[chosen] = shuffled(inside[chosen], self.rows, key)
        return order


def _batch(text: np.ndarray, mark: int, rows: np.ndarray, streams: np.ndarray, fresh: np.ndarray) -> Batch:
    """Rows (b, t + 1) of tokens as inputs (b, t) and the token after each."""
    ids = np.ascontiguousarray(text[:, :-1])
    begins = ids == mark
    begins[:, 0] = True
    documents = np.cumsum(begins, 1) - 1
    columns = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    positions = columns - np.maximum.accumulate(np.where(begins, columns, 0), 1)
    none = np.zeros(0, np.int64)
    return Batch(
        ids=ids, positions=positions, segments=np.zeros_like(ids), documents=documents,
        visible=np.ones(ids.shape, bool), hidden=np.ones(ids.shape, bool),
        targets=np.ascontiguousarray(text[:, 1:]).reshape(-1), weights=np.ones(ids.size, np.float32),
        pair_at=none, pair_labels=none, span_at=none, span_left=none, span_right=none, span_offset=none,
        span_targets=none, rows=rows, streams=streams, fresh=fresh)
