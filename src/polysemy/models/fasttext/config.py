"""Settings of fastText, for word vectors and for its classifier, under the names of the other word vector models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Self

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.text.vocabulary import WordConfig, check_min_count

VECTOR_LOSSES = ("negative", "hierarchical", "softmax")
LABEL_LOSSES = ("softmax", "hierarchical", "ova")
MAX_BUCKETS = 2**27
MAX_SIZE = 4096


@dataclass(frozen=True, kw_only=True)
class FasttextConfig(Config):
    """fastText as published; settings whose default is none take the original's value for the task (`resolved`).

    Held to the original's code where it differs from the paper: a word is the mean (the paper: the sum) of its rows,
    in training too; the gradient of the mean is added to each row whole for vectors, and divided by the number of rows
    for the classifier; negatives are drawn by count^0.5 (the paper of word2vec: 0.75).
    """

    task: Literal["vectors", "classify"] = "vectors"
    """vectors: of words, from running text; classify: labels of documents, from a file of labels and texts"""
    mode: Literal["skipgram", "cbow"] = "skipgram"
    """vectors: predict each neighbor from a word, or a word from the mean of its neighbors"""
    loss: Literal["negative", "hierarchical", "softmax", "ova"] | None = None
    """negative for vectors, softmax for classify; ova: each label by itself, for documents with several"""
    algorithm: Literal["fast", "plain"] = "fast"
    """fast: many threads, negatives shared by a window; plain: the original's updates, one by one, on one thread"""
    size: int = 100
    """numbers a vector"""
    window: int = 5
    """words on each side, at most; each place draws 1..window"""
    negatives: int = 5
    """words drawn for each true one"""
    shortest: int = 3
    """characters of the shortest subword"""
    longest: int | None = None
    """characters of the longest subword, 0 for none; 6 for vectors, 0 for classify"""
    buckets: int = 2_000_000
    """rows that subwords and word n-grams are hashed to; only those in use take memory"""
    word_ngrams: int = 1
    """classify: longest run of words that is a feature of its own"""
    min_count: int | None = None
    """words seen less often have no row of their own; 5 for vectors, 1 for classify"""
    subsample: float = 1e-4
    """vectors: words more frequent than this are dropped now and then; 0 keeps all"""
    learning_rate: float | None = None
    """at the start, falling to 0; 0.05 for vectors, 0.1 for classify"""
    epochs: int = 5
    """passes over the text"""
    pruned: bool = False
    """n-grams without a row are left out of the mean, as in quantized files; otherwise they count as zeros"""
    words: WordConfig = field(default_factory=WordConfig)
    """what a word is; its min_count is the one above"""

    def check(self) -> None:
        for name, low, high in (("size", 1, MAX_SIZE), ("window", 1, 1000), ("negatives", 1, 100),
                                ("shortest", 1, 100), ("longest", 0, 100), ("buckets", 1, MAX_BUCKETS),
                                ("word_ngrams", 1, 20), ("min_count", 1, 2**31), ("epochs", 1, 100_000)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(f"{name} must be in {low}..{high}, got {value}")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 100:
            raise InputError(f"learning_rate must be above 0 and at most 100, got {self.learning_rate}")
        if self.subsample < 0:
            raise InputError(f"subsample must be 0 (keep all) or above, got {self.subsample}")
        if self.longest and self.longest < self.shortest:
            raise InputError(f"longest must be 0 or at least shortest = {self.shortest}, got {self.longest}")
        check_min_count(self.words, self.min_count)
        losses = VECTOR_LOSSES if self.task == "vectors" else LABEL_LOSSES
        if self.loss is not None and self.loss not in losses:
            raise InputError(f"loss must be one of {', '.join(losses)} when task is {self.task}, got {self.loss}")

    def resolved(self) -> Self:
        """A copy in which every setting has its value for the task."""
        vectors = self.task == "vectors"
        defaults = {
            "loss": "negative" if vectors else "softmax",
            "longest": 6 if vectors else 0,
            "min_count": 5 if vectors else 1,
            "learning_rate": 0.05 if vectors else 0.1,
        }
        changes = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        if changes.get("longest") and changes["longest"] < self.shortest:
            changes["longest"] = self.shortest
        return self.replace(**changes)

    @property
    def reads(self) -> str:
        """What is trained on: "text" or "labels"."""
        return "text" if self.task == "vectors" else "labels"

    @property
    def word_config(self) -> WordConfig:
        """What a word is, with this model's `min_count`."""
        min_count = self.resolved().min_count
        assert min_count is not None
        return self.words.replace(min_count=min_count)


def configure(size: str = "mini", preset: str = "ladder") -> FasttextConfig:
    """The settings of a preset; the size of neural models says nothing here.

    "paper": the original's defaults. "ladder": the same with 500,000 buckets, so that a folder stays small; the text
    of a ladder has fewer different subwords than that.
    """
    if preset not in ("ladder", "paper"):
        raise InputError(f"preset must be ladder or paper, got {preset!r}")
    return FasttextConfig() if preset == "paper" else FasttextConfig(buckets=500_000)
