"""What stands in a row before corruption: which sentences make a piece, and the label of a pair.

A *piece* is one model input, `[CLS] run [SEP]` or `[CLS] run [SEP] run [SEP]`; a *run* is a contiguous range of token
offsets. Pieces are packed into rows by `polysemy.text.rows`. Every config here is data only: the cutting itself is in
`polysemy.text.cutting`.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polysemy.config import Config
from polysemy.errors import InputError

if TYPE_CHECKING:
    from polysemy.text.rows import Sections


class Cut(NamedTuple):
    """Pieces as ranges of token offsets, in the order in which they were cut."""

    run_starts: np.ndarray
    """int64 (r,): first token of each run"""
    run_lengths: np.ndarray
    """int32 (r,): tokens of each run, at least 1"""
    piece_runs: np.ndarray
    """int64 (p+1,): piece i has the runs [piece_runs[i], piece_runs[i+1])"""
    labels: np.ndarray
    """int8 (p,): the pair label, -1 where the piece is no pair"""


@dataclass(frozen=True, kw_only=True)
class Segments(Config):
    """Base of the segment configs."""

    @property
    def pair_names(self) -> tuple[str, str] | None:
        """What pair labels 0 and 1 mean, in words; None where pieces are no pairs."""
        return None

    def cut(self, sections: Sections, order: np.ndarray, fits: np.ndarray, key: int) -> Cut:
        """The pieces of some sections. order: int64 section numbers; key: 64-bit key of every random choice.

        fits: int64 (length + 1,), fits[w] is how many text tokens go into w columns (fewer where a corruption
        inserts markers).
        """
        raise NotImplementedError

    def check_corpus(self, num_documents: int) -> None:
        """Raise InputError where such pieces cannot be made from that many documents."""


@dataclass(frozen=True, kw_only=True)
class FullSentences(Segments):
    """RoBERTa: contiguous sentences until the row is full, with a [SEP] at each document border.

    Liu et al. 2019, section 4.2: FULL-SENTENCES, or DOC-SENTENCES with cross_documents=False. Where ending a row
    before a sentence would leave more than empty_rate of it empty, we cut the sentence and go on with its rest in the
    next row (1.0 keeps every sentence whole, as in the paper, and wastes half a sentence a row).
    """

    cross_documents: bool = True
    """let a row go on with the next document"""
    empty_rate: float = 0.03
    """part of a row that may stay empty rather than cut a sentence"""

    def check(self) -> None:
        if not 0 <= self.empty_rate <= 1:
            raise InputError(f"segments.empty_rate must be in 0..1, got {self.empty_rate}")

    def cut(self, sections: Sections, order: np.ndarray, fits: np.ndarray, key: int) -> Cut:
        from polysemy.text.cutting import cut_stretches

        return Cut(*cut_stretches(sections, order, fits, self.cross_documents, int(self.empty_rate * (len(fits) - 1))))


@dataclass(frozen=True, kw_only=True)
class Stretch(Segments):
    """SpanBERT: one stretch of whole sentences of one document, `[CLS] x [SEP]` (Joshi et al. 2020, section 3).

    A sentence is cut only when it is longer than a row. At 128 columns this leaves about a tenth of the rows empty
    where documents are long; a smaller empty_rate cuts sentences instead (0.03 is FullSentences without crossing).
    """

    empty_rate: float = 1.0
    """part of a row that may stay empty rather than cut a sentence"""

    def check(self) -> None:
        if not 0 <= self.empty_rate <= 1:
            raise InputError(f"segments.empty_rate must be in 0..1, got {self.empty_rate}")

    def cut(self, sections: Sections, order: np.ndarray, fits: np.ndarray, key: int) -> Cut:
        return FullSentences(cross_documents=False, empty_rate=self.empty_rate).cut(sections, order, fits, key)


@dataclass(frozen=True, kw_only=True)
class NextSentence(Segments):
    """BERT: `[CLS] A [SEP] B [SEP]`, B follows A (label 0) or comes from another document (label 1), half and half.

    As in Google's create_pretraining_data.py: a chunk of sentences up to a target length is parted at a random
    sentence; a chunk of one sentence always gets a random B; sentences of the chunk that a random B displaced are put
    back; a pair that is too long loses tokens at the front or back of its longer side.
    Where we differ: B is never from the same document (Google gives up after ten tries); the target is drawn for each
    chunk instead of once a document, as a document may be a whole book; a sentence longer than a row is taken as
    several of half a row, so that its middle is not lost.
    """

    short_rate: float = 0.1
    """part of the chunks whose target length is uniform in 2..longest instead of the longest"""

    def check(self) -> None:
        _check_short_rate(self.short_rate)

    @property
    def pair_names(self) -> tuple[str, str]:
        return "B is the text that follows A", "B comes from another document"

    def cut(self, sections: Sections, order: np.ndarray, fits: np.ndarray, key: int) -> Cut:
        from polysemy.text.cutting import cut_pairs

        return Cut(*cut_pairs(sections, order, int(fits[-4]), self.short_rate, np.uint64(key), True))

    def check_corpus(self, num_documents: int) -> None:
        if num_documents < 2:
            raise InputError(
                f"corpus must have at least 2 documents for next-sentence pairs, got {num_documents}; choose another "
                "document rule (--document) or --set segments=sentenceorder"
            )


@dataclass(frozen=True, kw_only=True)
class SentenceOrder(Segments):
    """ALBERT: A and B are adjacent, in order (label 0) or swapped (label 1), half and half (Lan et al. 2020, 3.1).

    Chunks and truncation as in NextSentence. Where we differ: a chunk of one sentence is split inside the sentence, at
    a word start, or dropped when it has one token; Google's script labels it 1 with a B from a random document, which
    is another question.
    """

    short_rate: float = 0.1
    """part of the chunks whose target length is uniform in 2..longest instead of the longest"""

    def check(self) -> None:
        _check_short_rate(self.short_rate)

    @property
    def pair_names(self) -> tuple[str, str]:
        return "A and B stand in their order", "A and B are swapped"

    def cut(self, sections: Sections, order: np.ndarray, fits: np.ndarray, key: int) -> Cut:
        from polysemy.text.cutting import cut_pairs

        return Cut(*cut_pairs(sections, order, int(fits[-4]), self.short_rate, np.uint64(key), False))


def _check_short_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise InputError(f"segments.short_rate must be in 0..1, got {rate}")
