"""The settings of word2vec."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.text.vocabulary import WordConfig, check_min_count

LEARNING_RATES = {"skipgram": 0.025, "cbow": 0.05}


@dataclass(frozen=True, kw_only=True)
class Word2VecConfig(Config):
    """How word vectors are learned (Mikolov et al. 2013a, b); defaults mostly those of gensim and word2vec.c."""

    mode: Literal["skipgram", "cbow"] = "skipgram"
    """skipgram: each word of the window predicts the middle; cbow: their mean does (faster, weaker on rare words)"""
    loss: Literal["negative", "hierarchical", "softmax"] = "negative"
    """negative: tell the word from a few others; hierarchical: a Huffman tree; softmax: all words (5,000 at most)"""
    size: int = 100
    """numbers a vector"""
    window: int = 5
    """words to each side of the middle"""
    dynamic_window: bool = True
    """draw the reach anew at each place, from 1 to window, so that near words count more"""
    negatives: int = 5
    """drawn words a place, with loss=negative"""
    negative_power: float = 0.75
    """negatives are drawn by count to this power"""
    subsample: float = 1e-4
    """share of the text above which a word is dropped at random (0: drop nothing)"""
    subsample_formula: Literal["code", "paper"] = "code"
    """code: word2vec.c's formula, which begins to drop at 2.6 times that share; paper: the published one"""
    learning_rate: float = 0.0
    """step at the start, falling to a ten-thousandth of it (0: 0.025 for skipgram, 0.05 for cbow)"""
    initial_range: float = 1.0
    """input vectors begin at random within this / size: gensim's 1; word2vec.c's 0.5 learns later on short texts"""
    min_count: int = 5
    """words seen less often are left out"""
    epochs: int = 5
    """passes over the text"""
    algorithm: Literal["fast", "plain"] = "fast"
    """fast: the words of a window share their negatives, any threads; plain: pair by pair as published, one thread"""
    deterministic: bool = False
    """same seed, same bits, also with algorithm=fast: takes one thread, for threads write over each other by chance"""
    words: WordConfig = field(default_factory=WordConfig)
    """what a word is; its min_count is the one above"""

    def check(self) -> None:
        rules = {"size": (1, 4096), "window": (1, 1000), "negatives": (1, 64), "epochs": (1, 100_000),
                 "min_count": (1, 2**31 - 1)}
        shares = {"subsample": 1.0, "learning_rate": 10.0, "negative_power": 10.0, "initial_range": 100.0}
        for name, (least, most) in rules.items():
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name} must be {least} to {most:,}, got {getattr(self, name)}")
        for name, most in shares.items():
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name} must be 0 to {most:g}, got {getattr(self, name)}")
        check_min_count(self.words, self.min_count)

    @property
    def word_config(self) -> WordConfig:
        """How text is cut into words and which are kept."""
        return self.words.replace(min_count=self.min_count)

    @property
    def first_rate(self) -> float:
        """The learning rate at the start."""
        return self.learning_rate or LEARNING_RATES[self.mode]

    @property
    def one_thread(self) -> bool:
        """Whether only one thread may train."""
        return self.deterministic or self.algorithm == "plain" or self.loss == "softmax"


def configure(size: str = "mini", preset: str = "ladder") -> Word2VecConfig:
    """The settings of a rung; sizes are those of neural models and change nothing here."""
    return Word2VecConfig()
