"""Settings of an n-gram model."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.text.vocabulary import WordConfig, check_min_count

MAX_ORDER = 6


def default_words() -> WordConfig:
    """Words as the static vectors have them, in small letters, all kept."""
    return WordConfig(min_count=1, keep_unknown=True)


@dataclass(frozen=True, kw_only=True)
class NgramConfig(Config):
    """An n-gram model, whole: what it counts and how it smooths.

    Words are written in small letters unless `words.lowercase=false`: cloze asks which word stood there, and counts are
    too few to be split by capitals. Text that is cut into tokens already is read as it is with `words.tokens=space`
    and `words.lowercase=false`, as KenLM reads it.
    """

    order: int = 5
    """longest n-gram, 1 to 6 words"""
    smoothing: Literal["kneser_ney", "maximum_likelihood", "add_k", "stupid_backoff"] = "kneser_ney"
    """kneser_ney is the one to use; the others show what it is good for"""
    k: float = 0.1
    """with add_k: how much is added to every count"""
    prune: tuple[int, ...] = ()
    """n-grams that occur at most so often are left out: a number an order, 0 first, the last for all longer ones"""
    kenlm_compat: bool = False
    """estimate discounts exactly as KenLM's lmplz does, its slip with the last n-gram included"""
    min_count: int = 1
    """rarer words are counted as <unk>"""
    memory_gigabytes: float = 0.0
    """count in files when memory would not hold it (0: more than half of this machine's memory)"""
    words: WordConfig = field(default_factory=default_words)
    """what a word is"""

    @property
    def word_config(self) -> WordConfig:
        """The rule for words, with this config's min_count; unknown words leave a mark."""
        return self.words.replace(min_count=self.min_count, keep_unknown=True)

    def check(self) -> None:
        if not 1 <= self.order <= MAX_ORDER:
            raise InputError(f"order must be in 1..{MAX_ORDER}, got {self.order}")
        if not 0 < self.k < float("inf"):
            raise InputError(f"k must be above 0, got {self.k}; for k = 0 set smoothing=maximum_likelihood")
        if self.min_count < 1:
            raise InputError(f"min_count must be at least 1, got {self.min_count}")
        check_min_count(self.words, self.min_count, default_words().min_count)
        if not 0 <= self.memory_gigabytes < float("inf"):
            raise InputError(f"memory_gigabytes must be 0 (half of the machine) or above, got {self.memory_gigabytes}")
        given, rising = ",".join(map(str, self.prune)), list(self.prune) == sorted(self.prune)
        if self.prune and (self.prune[0] != 0 or not rising or len(self.prune) > self.order):
            raise InputError(f"prune must begin with 0, never fall, and have at most {self.order} numbers, got {given}")
        if any(self.prune) and self.smoothing != "kneser_ney":
            raise InputError(f"prune must be empty with smoothing={self.smoothing}, got {given}")


def configure(size: str = "mini", preset: str = "ladder") -> NgramConfig:
    """The recipe's config; an n-gram model has no sizes, and one preset."""
    return NgramConfig()
