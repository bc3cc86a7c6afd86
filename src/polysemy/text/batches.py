"""Training batches: `batches[t]` is a pure function of (corpus, configs, seed, t).

Nothing else has a say: not the number of processes or micro-batches, not what was read before, not the batch size as
far as a row is concerned. Batch t holds the global rows t * batch_size ... (t + 1) * batch_size - 1, which run on from
epoch to epoch; `Batches.at` makes any rows one likes.
"""
from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import TYPE_CHECKING

import numpy as np

from polysemy.errors import InputError
from polysemy.runtime import random_for, seed_for
from polysemy.text.masking import Corruption, PieceText
from polysemy.text.rows import RowPlan, RowText, ranges
from polysemy.text.show import render

if TYPE_CHECKING:
    from polysemy.text.segments import Segments
    from polysemy.text.shards import Shards
    from polysemy.text.tokenizer import Tokenizer

__all__ = ["SHORTEST", "Batch", "Batches", "own_part", "prefetch", "render"]

SHORTEST = 8
"""columns of the shortest row allowed"""
SAMPLE_RUNS, SAMPLE_TOKENS = 1024, 64


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of b x t columns, packed or padded; letters: h hidden tokens, p pairs, s span tokens.

    Flat indices count row * t + column. h, p and s run in row-major order.
    """

    ids: np.ndarray
    """int64 (b, t): the ids shown"""
    positions: np.ndarray
    """int64 (b, t): from 0 in every piece of a row"""
    segments: np.ndarray
    """int64 (b, t): 1 in the second part of a pair, else 0"""
    documents: np.ndarray
    """int64 (b, t): which piece of the row the column belongs to, -1 at padding"""
    visible: np.ndarray
    """bool (b, t): documents >= 0"""
    hidden: np.ndarray
    """bool (b, t): corrupted positions, those shown unchanged included"""
    targets: np.ndarray
    """int64 (h,): the original ids at hidden positions"""
    weights: np.ndarray
    """float32 (h,): weight of each in the masked-LM loss"""
    pair_at: np.ndarray
    """int64 (p,): flat index of each [CLS] with a pair label"""
    pair_labels: np.ndarray
    """int64 (p,): 0 next or in order, 1 random or swapped"""
    span_at: np.ndarray
    """int64 (s,): flat index of each token to predict from its span's boundary"""
    span_left: np.ndarray
    """int64 (s,): flat index of the state before the span"""
    span_right: np.ndarray
    """int64 (s,): flat index of the state after the span"""
    span_offset: np.ndarray
    """int64 (s,): 1 for the first token of the span, at most 20"""
    span_targets: np.ndarray
    """int64 (s,): the original ids at span_at"""
    rows: np.ndarray
    """int64 (b,): global row numbers"""
    streams: np.ndarray
    """int64 (b,): which stream of running text the row goes on with; -1 where rows stand alone"""
    fresh: np.ndarray
    """bool (b,): the row begins its stream, so nothing is carried into it; always so where rows stand alone"""

    @property
    def num_tokens(self) -> int:
        """Columns that are not padding."""
        return int(self.visible.sum())

    def take(self, indices: Sequence[int] | np.ndarray | range) -> Batch:
        """Some rows of this batch in the given order: a micro-batch, or what one process computes."""
        rows = np.asarray(indices, np.int64)
        length = self.ids.shape[1]

        def pick(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """For entries sorted by row: which ones lie in the rows, and how far their flat index moves."""
            bounds = np.searchsorted(flat, np.arange(len(self.ids) + 1) * length)
            chosen, parts = ranges(bounds[rows], bounds[rows + 1])
            return chosen, np.repeat((np.arange(len(rows)) - rows) * length, np.diff(parts))

        hidden, _ = pick(np.flatnonzero(self.hidden))
        pairs, pair_shift = pick(self.pair_at)
        spans, span_shift = pick(self.span_at)
        return Batch(
            **{name: getattr(self, name)[rows]
               for name in ("ids", "positions", "segments", "documents", "visible", "hidden", "rows", "streams",
                            "fresh")},
            targets=self.targets[hidden], weights=self.weights[hidden],
            pair_at=self.pair_at[pairs] + pair_shift, pair_labels=self.pair_labels[pairs],
            **{name: getattr(self, name)[spans] + span_shift for name in ("span_at", "span_left", "span_right")},
            span_offset=self.span_offset[spans], span_targets=self.span_targets[spans],
        )

    def part(self, rows: Sequence[int]) -> Batch:
        """What one process computes of the batch at once (`own_part`)."""
        return own_part(self, rows)


def own_part(batch: Batch, rows: Sequence[int]) -> Batch:
    """What one process computes of a batch; without rows any row at all (it counts nothing), of no stream."""
    if len(rows):
        return batch.take(np.asarray(rows))
    return replace_fields(batch.take([0]), streams=np.full(1, -1, np.int64), fresh=np.ones(1, bool))


class Batches:
    """All batches of a training run, by number: `batches[t]`, in any order, for any t >= 0.

    batch_size counts rows, length columns. The corpus is shown whole, in new rows and another order, in every epoch.
    """

    def __init__(self, shards: Shards, tokenizer: Tokenizer, segments: Segments, corruption: Corruption, *,
                 batch_size: int, length: int, seed: int) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1 row, got {batch_size}")
        if length < SHORTEST:
            raise InputError(f"length must be at least {SHORTEST} columns, got {length}")
        check_vocabulary(shards, tokenizer)
        segments.check_corpus(shards.num_documents)
        self.shards, self.segments, self.corruption = shards, segments, corruption
        self.batch_size, self.length, self.seed = batch_size, length, seed
        self._special_ids = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id,
                             *(tokenizer.marks if corruption.marked else (-1, -1)))
        self._mask_id = tokenizer.mask_id
        self.plan = RowPlan(shards, segments, corruption.fits(length), seed=seed, static=corruption.static)
        self._key = np.uint64(seed_for("corruption", seed))
        self._replacements = _replacements(shards, tokenizer, corruption, seed)

    def __getitem__(self, t: int) -> Batch:
        if t < 0:
            raise IndexError(f"batches are numbered from 0, got {t}")
        return self.at(range(t * self.batch_size, (t + 1) * self.batch_size))

    def at(self, rows: Sequence[int] | np.ndarray | range) -> Batch:
        """The batch of any global rows in the given order; `batches[t].take(...)` of the same rows is equal."""
        wanted = np.asarray(rows, np.int64)
        order = np.argsort(wanted, kind="stable")
        batch = self._make(wanted[order])
        return batch if np.array_equal(order, np.arange(len(order))) else batch.take(np.argsort(order, kind="stable"))

    def rows_per_epoch(self, epoch: int) -> int:
        """Rows in which this epoch shows the whole corpus; epochs differ a little."""
        return self.plan.rows_per_epoch(epoch)

    def epoch_of(self, t: int) -> int:
        """The epoch of the first row of batch t, from 0."""
        return self.plan.epoch_of(t * self.batch_size)[0]

    def num_batches(self, epochs: int) -> int:
        """Batches that it takes to show the whole corpus so many times; the last one may run into the next epoch."""
        return -(-self.plan.first_row(epochs) // self.batch_size)

    @property
    def fill(self) -> float:
        """Part of the columns of epoch 0 that is no padding (marks of spans are not counted)."""
        return self.plan.fill(0)

    def _make(self, rows: np.ndarray) -> Batch:
        from polysemy.text.choosing import replace
        from polysemy.text.layout import Specials, lay_out, piece_keys
        from polysemy.text.spans import span_fields

        corruption = self.corruption
        places, numbers = self.plan.locate(rows)
        text = read_text(self.shards, places, words=corruption.uses_words)
        keys = piece_keys(self._key, numbers if corruption.static else rows, text.row_pieces)
        groups = corruption.choose(text, keys)
        rates = (corruption.mask_rate, corruption.random_rate, corruption.whole_spans)
        shown = replace(text, groups, keys, rates, self._mask_id, self._replacements)
        layout = lay_out(text, shown, groups, Specials(*self._special_ids), self.length)
        hidden = layout.groups > 0
        targets = layout.originals[hidden]
        spans = (np.zeros(0, np.int64),) * 4
        if distance := corruption.boundary_distance:
            boundary_is_mark = corruption.marked and distance == 1
            spans = span_fields(layout.groups, layout.is_text | boundary_is_mark, distance)
        return Batch(
            ids=layout.ids, positions=layout.positions, segments=layout.segments, documents=layout.documents,
            visible=layout.documents >= 0, hidden=hidden, targets=targets, weights=np.ones(len(targets), np.float32),
            pair_at=layout.piece_at[text.labels >= 0], pair_labels=text.labels[text.labels >= 0].astype(np.int64),
            span_at=spans[0], span_left=spans[1], span_right=spans[2], span_offset=spans[3],
            span_targets=layout.originals.reshape(-1)[spans[0]], rows=rows,
            streams=np.full(len(rows), -1, np.int64), fresh=np.ones(len(rows), bool),
        )


def read_text(shards: Shards, places: RowText, *, words: bool) -> PieceText:
    """Read the tokens of some rows; without words every token counts as a word."""
    starts, lengths = borders_at_words(shards, places)
    run_ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    ids, word_starts = np.empty(run_ends[-1], np.int32), np.ones(run_ends[-1], bool)
    for start, size, at in zip(starts.tolist(), lengths.tolist(), run_ends.tolist(), strict=False):
        ids[at : at + size] = shards.ids(start, start + size)
        if words:
            word_starts[at + 1 : at + size] = shards.word_starts(start + 1, start + size)
    return PieceText(ids, word_starts, run_ends, places.piece_runs, places.labels, places.row_pieces)


def borders_at_words(shards: Shards, places: RowText) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of the runs, with the border between adjacent parts of a pair moved to a word's start.

    The border lies inside a sentence where a single sentence was split; left inside a word, its second half would
    betray which part comes second.
    """
    starts, lengths = places.run_starts, places.run_lengths
    first = places.piece_runs[:-1][places.labels >= 0]
    ends = starts + lengths
    touching = [(first[ends[first] == starts[first + 1]], 0), (first[ends[first + 1] == starts[first]], 1)]
    if not any(len(runs) for runs, _ in touching):
        return starts, lengths
    starts, lengths = starts.copy(), lengths.copy()
    for runs, swapped in touching:
        for run in runs.tolist():
            early, late = run + swapped, run + 1 - swapped
            border, begin, end = int(starts[late]), int(starts[early]), int(ends[late])
            if not shards.word_starts(border, border + 1)[0]:
                begins = begin + 1 + np.flatnonzero(shards.word_starts(begin + 1, end))
                if len(begins):
                    move = int(begins[np.argmin(np.abs(begins - border))]) - border
                    starts[late] += move
                    lengths[late] -= move
                    lengths[early] += move
    return starts, lengths


def prefetch(batches: Batches, start: int = 0, depth: int = 2) -> Iterator[Batch]:
    """batches[start], batches[start + 1], ... for ever, made by a thread that keeps `depth` of them ready.

    Close the iterator to end the thread; an error in the thread is raised here.
    """
    if depth < 1:
        raise InputError(f"depth must be at least 1 batch, got {depth}")
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def fill() -> None:
        t = start
        while not stopped.is_set():
            item: Batch | BaseException
            try:
                item = batches[t]
            except BaseException as error:  # handed to the reader
                item = error
            while not stopped.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return
            t += 1

    thread = threading.Thread(target=fill, name="polysemy-batches", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def check_vocabulary(shards: Shards, tokenizer: Tokenizer) -> None:
    """InputError unless these shards were made with this tokenizer and hold something."""
    if shards.vocab_size > tokenizer.vocab_size:
        raise InputError("tokenizer must be the one that made the shards, got one of "
                         f"{tokenizer.vocab_size} pieces for shards of {shards.vocab_size}; prepare the text again")
    if len(tokenizer.ordinary_ids) < 2:
        raise InputError("vocabulary must have at least 2 ordinary pieces, got "
                         f"{len(tokenizer.ordinary_ids)}: nothing to train on")
    if shards.num_tokens < 1:
        raise InputError("corpus must have at least one token, got 0: nothing to train on")


def _replacements(shards: Shards, tokenizer: Tokenizer, corruption: Corruption, seed: int) -> np.ndarray:
    """Ids from which random pieces are drawn evenly: the vocabulary, or a fixed sample of the corpus."""
    ordinary = np.asarray(tokenizer.ordinary_ids, np.int32)
    if not corruption.from_corpus:
        return ordinary
    starts = random_for("replacements", seed).integers(0, shards.num_tokens, SAMPLE_RUNS)
    sample = np.concatenate([shards.ids(int(start), min(int(start) + SAMPLE_TOKENS, shards.num_tokens))
                             for start in np.sort(starts)])
    sample = sample[np.isin(sample, ordinary)]
    return sample if len(sample) else ordinary
