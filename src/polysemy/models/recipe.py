"""What a pretraining recipe is made of: body, heads, tokenizer, segments, corruption and training settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.bidirectional import BidirectionalConfig
from polysemy.models.encoder import EncoderConfig
from polysemy.models.feed_forward import FeedForwardConfig
from polysemy.models.recurrent import RecurrentConfig
from polysemy.models.segment_memory import SegmentMemoryConfig
from polysemy.models.static_body import StaticConfig
from polysemy.text.masking import MarkedSpans, NGrams, Spans, Tokens, WholeWords
from polysemy.text.segments import FullSentences, NextSentence, SentenceOrder, Stretch
from polysemy.text.streams import Chunks, Streams
from polysemy.text.tokenizer import TokenizerConfig

BodyConfig = (EncoderConfig | RecurrentConfig | FeedForwardConfig | BidirectionalConfig | SegmentMemoryConfig
              | StaticConfig)
"""what a neural model is built from; each kind builds its body by `body()`"""
Size = Literal["tiny", "mini", "small", "medium", "base", "large"]
SIZES: dict[str, tuple[int, int]] = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
"""(num_layers, hidden_size); heads are 64 wide and the feed-forward part is four times as wide as the state."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """Settings of the optimizer and the loop; sizes count rows of `length` tokens."""

    learning_rate: float = 1e-3
    """peak rate"""
    batch_size: int = 32
    """rows a step, over all processes and micro-batches"""
    length: int = 128
    """tokens a row"""
    micro_batch_size: int | None = None
    """rows computed at once; none means the whole batch (less memory, the same gradient)"""
    optimizer: Literal["adamw", "lamb"] = "adamw"
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    weight_decay: float = 0.01
    schedule: Literal["linear", "cosine", "inverse_sqrt", "constant"] = "linear"
    warmup_rate: float = 0.06
    """part of the budget over which the rate climbs"""
    clip: float = 1.0
    """largest gradient norm; 0 switches clipping off"""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """format of weights and activations at work; master weights and optimizer state are float32 always"""
    compile: bool = False
    """use torch.compile where a compiler is there"""
    checkpoint_every: int = 1000
    """steps between checkpoints"""
    keep: int = 2
    """newest checkpoints kept beside the best one"""
    evaluate_every: int = 500
    """steps between held-out evaluations"""
    skip_limit: int = 5
    """steps in a row with a loss or gradient that is not finite before the run stops"""

    def check(self) -> None:
        for name in ("batch_size", "length", "checkpoint_every", "evaluate_every", "skip_limit"):
            if getattr(self, name) < 1:
                raise InputError(f"training.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("beta1", "beta2", "warmup_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"training.{name} must be in 0..1, got {getattr(self, name)}")
        if self.learning_rate <= 0 or self.epsilon <= 0 or self.weight_decay < 0 or self.clip < 0:
            raise InputError(
                "training.learning_rate and epsilon must be above 0, weight_decay and clip not below, got "
                f"{self.learning_rate}, {self.epsilon}, {self.weight_decay}, {self.clip}"
            )
        if self.length < 8:
            raise InputError(f"training.length must be at least 8 tokens, got {self.length}")
        if self.micro_batch_size is not None and not 1 <= self.micro_batch_size <= self.batch_size:
            raise InputError(f"training.micro_batch_size must be in 1..{self.batch_size}, got {self.micro_batch_size}")


@dataclass(frozen=True, kw_only=True)
class EmbeddingStart(Config):
    """Where the token vectors of a new model begin."""

    init: str = "random"
    """random: as the body's other weights; onehot: rows at right angles, of one length; else a run folder of word
    vectors, from which pieces get theirs"""

    def check(self) -> None:
        if not self.init:
            raise InputError("embedding.init must be random, onehot or a folder of word vectors, got nothing")


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig(Config):
    """One recipe, whole: everything that `train` needs but the text, the seed and the budget."""

    recipe: str
    model: BodyConfig
    heads: tuple[Literal["masked_lm", "pair", "span_boundary", "next_token", "previous_token"], ...] = ("masked_lm",)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    segments: FullSentences | Stretch | NextSentence | SentenceOrder | Chunks | Streams = field(
        default_factory=FullSentences)
    """chunks and streams are running text for language models; streams let the model carry its state"""
    corruption: Tokens | WholeWords | NGrams | Spans | MarkedSpans | None = field(default_factory=Tokens)
    """none for language models"""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    embedding: EmbeddingStart = field(default_factory=EmbeddingStart)
    preset: Literal["paper", "ladder"] = "ladder"
    size: str = "mini"

    def check(self) -> None:
        pairs = isinstance(self.segments, NextSentence | SentenceOrder)
        if ("pair" in self.heads) != pairs:
            raise InputError(
                f"segments must {'' if 'pair' in self.heads else 'not '}give sentence pairs when heads are "
                f"{', '.join(self.heads)}, got {type(self.segments).__name__}; "
                "set both: heads=masked_lm,pair with segments=nextsentence or sentenceorder"
            )
        if "span_boundary" in self.heads and not isinstance(self.corruption, Spans | MarkedSpans):
            raise InputError(
                "corruption must be spans or markedspans when heads have span_boundary, "
                f"got {type(self.corruption).__name__}"
            )
        if isinstance(self.corruption, MarkedSpans) and not self.tokenizer.marks:
            raise InputError(
                "tokenizer.marks must be true with corruption=markedspans, got false; add --set tokenizer.marks=true"
            )
        language = isinstance(self.segments, Chunks | Streams)
        if language != ("next_token" in self.heads) or language != (self.corruption is None):
            raise InputError("segments must be chunks or streams, and corruption none, exactly when heads have "
                             f"next_token, got {type(self.segments).__name__}, "
                             f"{'none' if self.corruption is None else type(self.corruption).__name__} and heads "
                             f"{', '.join(self.heads)}")
        causal = getattr(getattr(self.model, "transformer", None), "causal", None)
        if causal is not None and causal != language:
            raise InputError(f"model.transformer.causal must be {str(language).lower()} with heads "
                             f"{', '.join(self.heads)}, got {str(causal).lower()}")
        if getattr(self.model, "cutoffs", ()) and self.tokenizer.kind not in ("word", "space"):
            raise InputError("tokenizer.kind must be word or space with model.cutoffs, for ids must fall in frequency, "
                             f"got {self.tokenizer.kind}; add --set tokenizer.kind=word")
        embedding = getattr(self.model, "embedding", None)
        positions = getattr(getattr(embedding, "position", None), "max_positions", None)
        if positions is not None and positions < self.training.length:
            raise InputError(
                f"training.length must be at most the model's max_positions {positions}, got {self.training.length}"
            )
        longest = getattr(getattr(getattr(self.model, "transformer", None), "attention", None), "length", None)
        if longest is not None and longest < self.training.length:
            raise InputError(f"training.length must be at most the model's attention.length {longest}, got "
                             f"{self.training.length}; add --set model.transformer.attention.length="
                             f"{self.training.length}")
