"""Which text stands in global row g: a pure function of (corpus, seed, g) with random access.

Rows are numbered through all epochs. An epoch uses one of a few *plans*. A plan is a keyed permutation of the
documents, taken in blocks of about BLOCK_TOKENS tokens; each block is cut into pieces and packed into rows on its own,
so only a few blocks are ever in memory. An epoch reads its plan's blocks in turn and the rows of a block in an order
keyed by the epoch. BERT made ten versions of its data (dupe_factor 10); with NUM_PLANS = 10 finding a late epoch costs
counting the rows of ten plans, never of all epochs before it. No token id is read for any of this.
"""
from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polysemy.errors import InputError
from polysemy.runtime import seed_for

if TYPE_CHECKING:
    from polysemy.text.segments import Cut, Segments
    from polysemy.text.shards import Shards

NUM_PLANS = 10
BLOCK_TOKENS = 1 << 23
SECTION_TOKENS = 1 << 16
CACHE_BYTES = 1 << 27


class Sections(NamedTuple):
    """Documents, with long ones parted at sentence ends so that no book fills a stretch of batches."""

    sentences: np.ndarray
    """int64 (sections + 1,): section i has the sentences [sentences[i], sentences[i+1])"""
    sentence_starts: np.ndarray
    """int64: first token of each sentence, as in the shards"""
    document_sentences: np.ndarray
    """int64: first sentence of each document, as in the shards"""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The rows of one block of one plan."""

    cut: Cut
    pieces: np.ndarray
    """int64 (p,): piece numbers, row by row"""
    bounds: np.ndarray
    """int64 (rows + 1,): row r has pieces[bounds[r]:bounds[r + 1]]"""

    @property
    def num_rows(self) -> int:
        return len(self.bounds) - 1

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in (*self.cut, self.pieces, self.bounds))


class RowText(NamedTuple):
    """Where the text of some rows lies; the rows' pieces one after the other."""

    run_starts: np.ndarray
    run_lengths: np.ndarray
    piece_runs: np.ndarray
    labels: np.ndarray
    row_pieces: np.ndarray
    """int64 (rows + 1,): row r has the pieces [row_pieces[r], row_pieces[r + 1])"""


class RowPlan:
    """Rows of `length` columns for every epoch. fits: see `Segments.cut`. One plan only when static.

    Blocks are made when asked for and kept while CACHE_BYTES allows. Safe to use from several threads.
    """

    def __init__(self, shards: Shards, segments: Segments, fits: np.ndarray, *, seed: int, static: bool) -> None:
        self.segments, self.fits, self.seed = segments, fits, seed
        self.length = len(fits) - 1
        self.num_plans = 1 if static else NUM_PLANS
        self.sections = part_documents(shards)
        self.num_sections = len(self.sections.sentences) - 1
        mean_tokens = max(1, shards.num_tokens // max(1, self.num_sections))
        self.block_size = max(1, round(BLOCK_TOKENS / mean_tokens))
        self.num_blocks = -(-self.num_sections // self.block_size)
        self._blocks: OrderedDict[tuple[int, int], Block] = OrderedDict()
        self._starts: dict[int, np.ndarray] = {}
        self._columns: dict[int, int] = {}
        self._lock = threading.RLock()
        if not self.rows_per_epoch(0):
            raise InputError(
                f"corpus must have text for at least one row, got {shards.num_tokens} tokens: nothing to train on"
            )

    def rows_per_epoch(self, epoch: int) -> int:
        """Rows in which the epoch shows the whole corpus once."""
        return int(self._block_starts(epoch % self.num_plans)[-1])

    def fill(self, epoch: int) -> float:
        """Part of the epoch's columns that hold text or its special tokens; markers of spans are not counted."""
        rows = self.rows_per_epoch(epoch)
        return self._columns[epoch % self.num_plans] / (rows * self.length)

    def epoch_of(self, row: int) -> tuple[int, int]:
        """The epoch of a global row, and that epoch's first global row."""
        if row < 0:
            raise IndexError(f"rows are numbered from 0, got {row}")
        start = 0
        for epoch in range(self.num_plans):
            count = self.rows_per_epoch(epoch)
            if row < start + count:
                return epoch, start
            start += count
        cycles, rest = divmod(row, start)
        epoch, first = self.epoch_of(rest)
        return cycles * self.num_plans + epoch, cycles * start + first

    def first_row(self, epoch: int) -> int:
        """The first global row of an epoch, which is the number of rows of all epochs before it."""
        cycles, rest = divmod(epoch, self.num_plans)
        whole = sum(map(self.rows_per_epoch, range(self.num_plans))) if cycles else 0
        return cycles * whole + sum(map(self.rows_per_epoch, range(rest)))

    def locate(self, rows: np.ndarray) -> tuple[RowText, np.ndarray]:
        """The text of global rows (ascending), and for each its number in the plan, the same in every epoch."""
        parts, numbers, done = [], [], 0
        while done < len(rows):
            epoch, first = self.epoch_of(int(rows[done]))
            starts = self._block_starts(epoch % self.num_plans)
            number = int(np.searchsorted(starts, rows[done] - first, "right")) - 1
            stop = int(np.searchsorted(rows, first + starts[number + 1], "left"))
            block = self.block(epoch % self.num_plans, number)
            inside = rows[done:stop] - first - starts[number]
            inside = _shuffled(inside, block.num_rows, seed_for("row order", self.seed, epoch, number))
            parts.append(_rows_of(block, inside))
            numbers.append(inside + starts[number])
            done = stop
        return (parts[0], numbers[0]) if len(parts) == 1 else (_joined(parts), np.concatenate(numbers))

    def block(self, plan: int, number: int) -> Block:
        """One block of a plan, made now or kept from before."""
        with self._lock:
            block = self._blocks.get((plan, number))
            if block is None:
                block = self._make_block(plan, number)
                self._blocks[plan, number] = block
                used = sum(kept.num_bytes for kept in self._blocks.values())
                while used > CACHE_BYTES and len(self._blocks) > 2:
                    used -= self._blocks.popitem(last=False)[1].num_bytes
            self._blocks.move_to_end((plan, number))
            return block

    def _make_block(self, plan: int, number: int) -> Block:
        from polysemy.text.packing import pack

        places = np.arange(number * self.block_size, min((number + 1) * self.block_size, self.num_sections))
        order = _shuffled(places, self.num_sections, seed_for("documents", self.seed, plan))
        cut = self.segments.cut(self.sections, order, self.fits, seed_for("segments", self.seed, plan))
        pieces, bounds = pack(self.piece_widths(cut), self.length)
        return Block(cut=cut, pieces=pieces, bounds=bounds)

    def piece_widths(self, cut: Cut) -> np.ndarray:
        """Columns that each piece may need: text, markers, [CLS] and a [SEP] after each run."""
        text, runs = _piece_sizes(cut)
        return self._columns_for[text] + runs + 1

    @cached_property
    def _columns_for(self) -> np.ndarray:
        return np.searchsorted(self.fits, np.arange(self.fits[-1] + 1), "left")

    def _block_starts(self, plan: int) -> np.ndarray:
        with self._lock:
            if plan not in self._starts:
                starts, columns = np.zeros(self.num_blocks + 1, np.int64), 0
                for number in range(self.num_blocks):
                    block = self.block(plan, number)
                    starts[number + 1] = starts[number] + block.num_rows
                    columns += sum(int(size.sum()) for size in _piece_sizes(block.cut)) + len(block.pieces)
                self._starts[plan], self._columns[plan] = starts, columns
            return self._starts[plan]


def part_documents(shards: Shards) -> Sections:
    """The sections of a corpus."""
    sentence_starts, document_sentences = _plain(shards.sentence_starts), _plain(shards.document_sentences)
    starts = _plain(shards.document_starts)
    cuts = [document_sentences]
    for document in np.flatnonzero(np.diff(starts) > SECTION_TOKENS):
        wanted = np.arange(starts[document] + SECTION_TOKENS, starts[document + 1], SECTION_TOKENS)
        cuts.append(np.searchsorted(sentence_starts, wanted, "right") - 1)
    sentences = np.unique(np.concatenate(cuts)) if len(cuts) > 1 else document_sentences
    return Sections(_plain(sentences), sentence_starts, document_sentences)


def _plain(array: np.ndarray) -> np.ndarray:
    """A read-only int64 view, the same type for memory maps and arrays, so that kernels are compiled once."""
    view = np.asarray(array).view(np.ndarray).astype(np.int64, copy=False)[:]
    view.flags.writeable = False
    return view


def _shuffled(indices: np.ndarray, size: int, key: int) -> np.ndarray:
    from polysemy.text.keyed import shuffled

    return shuffled(indices, size, np.uint64(key))


def _piece_sizes(cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """Text tokens and runs of each piece."""
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(cut.run_lengths, dtype=np.int64)])
    return np.diff(ends[cut.piece_runs]), np.diff(cut.piece_runs)


def _rows_of(block: Block, rows: np.ndarray) -> RowText:
    chosen, row_pieces = ranges(block.bounds[rows], block.bounds[rows + 1])
    pieces = block.pieces[chosen]
    runs, piece_runs = ranges(block.cut.piece_runs[pieces], block.cut.piece_runs[pieces + 1])
    return RowText(block.cut.run_starts[runs], block.cut.run_lengths[runs], piece_runs, block.cut.labels[pieces],
                   row_pieces)


def ranges(starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of several ranges one after the other, and the bounds of each range in that list."""
    sizes = stops - starts
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], sizes), bounds


def _joined(parts: list[RowText]) -> RowText:
    def bounds(name: str) -> np.ndarray:
        arrays = [getattr(part, name) for part in parts]
        offsets = np.cumsum([0] + [array[-1] for array in arrays[:-1]])
        moved = [array[1:] + offset for array, offset in zip(arrays, offsets, strict=True)]
        return np.concatenate([arrays[0][:1], *moved])

    run_starts, run_lengths, labels = (np.concatenate([getattr(part, name) for part in parts])
                                       for name in ("run_starts", "run_lengths", "labels"))
    return RowText(run_starts, run_lengths, bounds("piece_runs"), labels, bounds("row_pieces"))
