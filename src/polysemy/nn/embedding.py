"""From token ids to the first states: token, position and segment vectors, normed and widened as the config says."""
from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.nn.dropout import Dropout
from polysemy.nn.fused import LayerNorm, look_up
from polysemy.nn.limits import check_rate, check_size
from polysemy.nn.position import Learned, LearnedPosition, Sinusoidal, SinusoidalPosition


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(Config):
    """Tables that are added up, and what happens to the sum."""

    vocab_size: int = 8000
    position: Learned | Sinusoidal | None = field(default_factory=Learned)
    """order added to the input"""
    factor_size: int | None = None
    """width of the tables when it is not the model's: ALBERT has 128 and a projection with bias to hidden_size"""
    num_segments: int = 0
    """kinds of segment: 2 for sentence pairs, 0 for none"""
    norm: bool = True
    """layer norm of the sum"""
    dropout: float = 0.1
    """on the (normed) sum"""
    norm_eps: float = 1e-12
    scale_tokens: bool = False
    """multiply token vectors by the root of their width before adding, as Vaswani et al. 2017"""

    def check(self) -> None:
        check_size("vocab_size", self.vocab_size)
        check_size("factor_size", self.factor_size)
        check_size("num_segments", self.num_segments)
        check_rate("dropout", self.dropout)
        if not 0 < self.norm_eps < 1:
            raise InputError(f"norm_eps must be above 0 and below 1, got {self.norm_eps}")


class Embedding(nn.Module):
    """widen(dropout(norm(token + position + segment)))."""

    def __init__(self, config: EmbeddingConfig, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        size = config.factor_size or hidden_size
        self.token = nn.Embedding(config.vocab_size, size)
        match config.position:
            case Learned():
                self.position = LearnedPosition(config.position, size)
            case Sinusoidal():
                self.position = SinusoidalPosition(config.position, size)
            case None:
                self.position = None
        self.segment = nn.Embedding(config.num_segments, size) if config.num_segments else None
        self.norm = LayerNorm(size, config.norm_eps) if config.norm else nn.Identity()
        self.dropout = Dropout(config.dropout)
        self.widen = nn.Linear(size, hidden_size) if config.factor_size else nn.Identity()

    def forward(self, ids: Int[Tensor, "*#n"], positions: Int[Tensor, "*#n"] | None = None,
                segments: Int[Tensor, "*#n"] | None = None) -> Float[Tensor, "*n d"]:
        """Of rows (b, t), or of a flat list of tokens (n,) with its positions; those are 0, 1, ... in rows without.

        Segments are all 0 unless given.
        """
        x = look_up(self.token.weight, ids)
        if self.config.scale_tokens:
            x = x * x.shape[-1] ** 0.5
        if self.position is not None:
            x = x + self.position(self._positions(ids, positions)).to(x.dtype)
        if self.segment is not None:
            x = x + (self.segment.weight[0] if segments is None else look_up(self.segment.weight, segments))
        return self.widen(self.dropout(self.norm(x)))

    def _positions(self, ids: Tensor, positions: Tensor | None) -> Tensor:
        limit = self.config.position.max_positions if isinstance(self.config.position, Learned) else None
        if limit is not None and ids.shape[-1] > limit and (positions is None or int(positions.max()) >= limit):
            raise InputError(f"a document must be at most max_positions {limit} tokens long, got {ids.shape[-1]}; "
                             "cut it, or train with a larger model.embedding.position.max_positions")
        return torch.arange(ids.shape[-1], device=ids.device)[None] if positions is None else positions
