"""Which positions are hidden, and what stands there instead: one small config a method.

Every method hides an exact number of tokens of each piece, at least one, never a special token, and shows in place of
a hidden token the mask (mask_rate), a random piece (random_rate) or the token itself (the rest); the loss is the same
in all three cases. Random choices are keyed by the piece, so a row is corrupted alike in whatever batch it stands.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from polysemy.config import Config
from polysemy.errors import InputError


class PieceText(NamedTuple):
    """The text of the pieces of some rows, without special tokens, one run after the other."""

    ids: np.ndarray
    """int32 (n,)"""
    word_starts: np.ndarray
    """bool (n,): the token begins a word; True at the start of every run"""
    run_ends: np.ndarray
    """int64 (runs + 1,): run r is ids[run_ends[r]:run_ends[r + 1]]"""
    piece_runs: np.ndarray
    """int64 (pieces + 1,)"""
    labels: np.ndarray
    """int8 (pieces,): -1 where the piece is no pair"""
    row_pieces: np.ndarray
    """int64 (rows + 1,)"""

    def sizes(self) -> np.ndarray:
        """Text tokens of each piece."""
        return np.diff(self.run_ends[self.piece_runs])


@dataclass(frozen=True, kw_only=True)
class Corruption(Config):
    """Base of the corruption configs."""

    rate: float = 0.15
    """part of the tokens that is hidden"""
    mask_rate: float = 0.8
    """part of the hidden tokens shown as the mask"""
    random_rate: float = 0.1
    """part of the hidden tokens shown as a random piece; the rest is shown as it is"""
    static: bool = False
    """hide the same tokens of a row in every epoch"""

    whole_spans: ClassVar[bool] = False
    """one draw of mask, random or kept for all tokens of a group"""
    from_corpus: ClassVar[bool] = False
    """random pieces are drawn by their frequency in the corpus, not evenly from the vocabulary"""
    marked: ClassVar[bool] = False
    """spans stand between marks"""
    uses_words: ClassVar[bool] = True
    """word starts are needed"""

    def check(self) -> None:
        if not 0 < self.rate < 1:
            raise InputError(f"corruption.rate must be above 0 and below 1, got {self.rate}")
        for name in ("mask_rate", "random_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"corruption.{name} must be in 0..1, got {getattr(self, name)}")
        if self.mask_rate + self.random_rate > 1 + 1e-9:
            raise InputError("corruption.mask_rate + corruption.random_rate must be at most 1, "
                             f"got {self.mask_rate + self.random_rate:.4g}")

    def budgets(self, texts: np.ndarray, specials: np.ndarray) -> np.ndarray:
        """Tokens to hide in pieces of `texts` text tokens and `specials` special ones: max(1, round(rate * all))."""
        return np.clip(np.floor(self.rate * (texts + specials) + 0.5).astype(np.int64), 1, texts)

    def marker_columns(self, texts: np.ndarray) -> np.ndarray:
        """Columns kept free for marks in pieces of so many text tokens."""
        return np.zeros_like(texts)

    @property
    def boundary_distance(self) -> int:
        """Columns from a span's end to its boundary state; 0 where the span boundary objective has nothing to do."""
        return 0

    def fits(self, length: int) -> np.ndarray:
        """int64 (length + 1,): how many text tokens go into 0..length columns beside their marks."""
        texts = np.arange(length + 1)
        return np.searchsorted(texts + self.marker_columns(texts), texts, "right") - 1

    def choose(self, text: PieceText, keys: np.ndarray) -> np.ndarray:
        """int32 (n,): 0 where the token stays, else the number (from 1, in its piece) of the group hidden together.

        keys: uint64, one a piece.
        """
        raise NotImplementedError

    def _budgets_of(self, text: PieceText) -> np.ndarray:
        return self.budgets(text.sizes(), np.diff(text.piece_runs) + 1)


@dataclass(frozen=True, kw_only=True)
class Tokens(Corruption):
    """BERT: single tokens, evenly (Devlin et al. 2019). Where we differ: no special token is ever a random piece."""

    uses_words: ClassVar[bool] = False

    def choose(self, text: PieceText, keys: np.ndarray) -> np.ndarray:
        from polysemy.text.choosing import choose_tokens

        return choose_tokens(text, self._budgets_of(text), keys)


@dataclass(frozen=True, kw_only=True)
class WholeWords(Corruption):
    """Whole words, in random order until the count is reached; a word that would exceed it is passed over.

    So a piece of long words may stay below the count; a piece in which no word fits has one word hidden all the same.
    Words are those of the shards: Chinese by character or by segmenter.
    """

    def choose(self, text: PieceText, keys: np.ndarray) -> np.ndarray:
        from polysemy.text.choosing import choose_words

        return choose_words(text, self._budgets_of(text), keys, np.ones(1))


@dataclass(frozen=True, kw_only=True)
class NGrams(Corruption):
    """ALBERT: runs of 1 to `longest` whole words, n with probability in proportion to 1/n (Lan et al. 2020, 4.1).

    An n-gram that would exceed the count, run over the end of the text or meet a hidden word backs off to a shorter
    one.
    """

    longest: int = 3
    """most words hidden together"""

    def check(self) -> None:
        super().check()
        if not 1 <= self.longest <= 100:
            raise InputError(f"corruption.longest must be in 1..100, got {self.longest}")

    def choose(self, text: PieceText, keys: np.ndarray) -> np.ndarray:
        from polysemy.text.choosing import choose_words

        chances = 1 / np.arange(1, self.longest + 1)
        return choose_words(text, self._budgets_of(text), keys, np.cumsum(chances / chances.sum()))


@dataclass(frozen=True, kw_only=True)
class Spans(Corruption):
    """SpanBERT: spans of whole words, length geometric and clipped, mean 3.8 words (Joshi et al. 2020, section 3.1).

    An anchor is drawn among the tokens and moved to its word's start; one that is already hidden is drawn again; spans
    that overlap or touch are merged; mask, random or kept is one draw for a whole span, and random pieces are drawn by
    their frequency in the corpus. At most ceil(rate * text tokens) are hidden. Where we differ: the last span ends
    before a word that would exceed the count, while the released code cuts that word.
    """

    p: float = 0.2
    """chance that a span ends after each of its words"""
    longest: int = 10
    """most words of a drawn span"""

    whole_spans: ClassVar[bool] = True
    from_corpus: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        if not 0 < self.p < 1:
            raise InputError(f"corruption.p must be above 0 and below 1, got {self.p}")
        if not 1 <= self.longest <= 1000:
            raise InputError(f"corruption.longest must be in 1..1000, got {self.longest}")

    @property
    def boundary_distance(self) -> int:
        return 1

    @cached_property
    def length_chances(self) -> np.ndarray:
        """float64 (longest,): the chance of a drawn span of 1, 2, ... words."""
        chances = self.p * (1 - self.p) ** np.arange(self.longest)
        return chances / chances.sum()

    @cached_property
    def mean_length(self) -> float:
        """Words of a drawn span on average."""
        return float(self.length_chances @ np.arange(1, self.longest + 1))

    def budgets(self, texts: np.ndarray, specials: np.ndarray) -> np.ndarray:
        return np.clip(np.ceil(self.rate * texts - 1e-9).astype(np.int64), 1, texts)

    def choose(self, text: PieceText, keys: np.ndarray) -> np.ndarray:
        from polysemy.text.spans import choose_spans

        cumulative, most = np.cumsum(self.length_chances), self.most_spans(text.sizes())
        return choose_spans(text, self._budgets_of(text), keys, cumulative, most)

    def most_spans(self, texts: np.ndarray) -> np.ndarray:
        """Spans allowed in pieces of so many text tokens."""
        return texts


@dataclass(frozen=True, kw_only=True)
class MarkedSpans(Spans):
    """Our variant of Spans: `[S]` stands before and `[/S]` after each hidden span, and their states replace the states
    of the neighboring tokens in the span boundary objective.

    Marks are never hidden, have ordinary positions and count toward the length. A piece keeps room for two spans more
    than the mean needs, and the last span allowed takes all that is left to hide (one full piece in forty needs
    this at 128 columns). Controls: marks without the objective is this config with heads=masked_lm; the objective with
    the states outside the marks is boundary=external; no marks is Spans. Compare at equal text tokens. The number of
    masks already tells a span's length, so the marks reveal nothing that plain masks hide.
    """

    boundary: Literal["markers", "external"] = "markers"
    """states from which a span's tokens are predicted: the marks, or the tokens outside them"""

    marked: ClassVar[bool] = True

    @property
    def boundary_distance(self) -> int:
        return 1 if self.boundary == "markers" else 2

    def most_spans(self, texts: np.ndarray) -> np.ndarray:
        budgets = self.budgets(texts, np.zeros_like(texts))
        return np.minimum(budgets, np.ceil(budgets / self.mean_length).astype(np.int64) + 2)

    def marker_columns(self, texts: np.ndarray) -> np.ndarray:
        return np.where(texts > 0, 2 * self.most_spans(np.maximum(texts, 1)), 0)
