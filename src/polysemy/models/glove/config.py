"""The settings of GloVe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.text.vocabulary import WordConfig, check_min_count


@dataclass(frozen=True, kw_only=True)
class GloveConfig(Config):
    """How words are counted together and vectors fitted to the counts (Pennington et al. 2014)."""

    size: int = 100
    """numbers a vector"""
    window: int = 10
    """words to each side that count as near, each by 1 / distance"""
    x_max: float = 10.0
    """counts from here on weigh 1, smaller ones less; grow it with the text (100 for billions of words)"""
    alpha: float = 0.75
    """smaller counts weigh (count / x_max) to this power"""
    learning_rate: float = 0.05
    """step of AdaGrad"""
    min_count: int = 5
    """words seen less often are left out"""
    epochs: int = 25
    """passes over the counts"""
    algorithm: Literal["fast", "plain"] = "fast"
    """fast: float32, in cache blocks, any threads; plain: float64, one count after the other, one thread"""
    memory: float = 2.0
    """gigabytes for counting; what does not fit goes to files beside the model while it trains"""
    words: WordConfig = WordConfig()  # noqa: RUF009 - it is frozen
    """what a word is; its min_count is the one above"""

    def check(self) -> None:
        rules = {"size": (1, 4096), "window": (1, 1000), "epochs": (1, 100_000), "min_count": (1, 2**31 - 1)}
        for name, (least, most) in rules.items():
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name} must be {least} to {most:,}, got {getattr(self, name)}")
        for name, most in {"x_max": 1e12, "alpha": 10.0, "learning_rate": 10.0, "memory": 1e6}.items():
            if not 0 < getattr(self, name) <= most:
                raise InputError(f"{name} must be above 0 and up to {most:g}, got {getattr(self, name)}")
        check_min_count(self.words, self.min_count)

    @property
    def word_config(self) -> WordConfig:
        """How text is cut into words and which are kept."""
        return self.words.replace(min_count=self.min_count)


def configure(size: str = "mini", preset: str = "ladder") -> GloveConfig:
    """The settings of a rung, or the paper's for billions of words; sizes are those of neural models, unused here."""
    return GloveConfig(size=300, x_max=100.0, epochs=100) if preset == "paper" else GloveConfig()
