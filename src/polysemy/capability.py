"""What a trained model can do, as protocols over plain text and arrays; evaluations ask for these, not for a model."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

GAP = "[MASK]"
"""How a user writes a gap in a text, whatever the tokenizer calls it."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to fill a gap; probabilities are natural and of the whole candidate."""

    text: str
    probability: float
    log_probability: float
    pieces: int = 1


@dataclass(frozen=True, kw_only=True)
class ClozeItem:
    """A text with a gap: `left + candidate + right` is the running text; spaces belong to left and right."""

    left: str
    right: str
    candidates: tuple[str, ...]
    gold: int = 0
    """index of the word that stood there"""
    document: int = 0
    band: int = 0
    """frequency band of the gold word, 0 the most frequent"""
    log_frequency: tuple[float, ...] = ()
    """natural log of each candidate's relative frequency in the training text"""
    pieces: tuple[int, ...] = ()
    """number of pieces of each candidate under the shared tokenizer"""
    primary: bool = True
    """whether all candidates have the same number of pieces"""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How likely a model holds a text: log-probability (natural) and what it was summed over."""

    log_probability: float
    tokens: int
    words: int
    bytes: int
    pseudo: bool = False
    """True when each token was predicted from both sides: such numbers do not compare with a causal model's"""
    unknown: int = 0
    """tokens that stand for any unknown word: they hide what was really there, so no bits per byte follow"""


@runtime_checkable
class Fills(Protocol):
    """Fills gaps written as [MASK]."""

    def fill(self, text: str, top: int = 5) -> list[list[Candidate]]: ...


@runtime_checkable
class Embeds(Protocol):
    """Turns texts into vectors."""

    def embed(self, texts: Sequence[str], *, layer: int | str = -1, pooling: str = "mean",
              pairs: Sequence[str] | None = None) -> Any: ...


@runtime_checkable
class ScoresCloze(Protocol):
    """Scores each candidate of each cloze item: (items, candidates) log-scores, up to a constant a row."""

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray: ...


@runtime_checkable
class ScoresText(Protocol):
    """Log-probability, or pseudo-log-probability, of a text."""

    def score(self, text: str) -> Score: ...


@runtime_checkable
class Orders(Protocol):
    """Puts shuffled sentences in order: returns indices into `sentences`."""

    def order(self, sentences: Sequence[str]) -> list[int]: ...
