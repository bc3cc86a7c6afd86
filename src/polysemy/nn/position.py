"""Where order enters a Transformer.  There are three places, and a kind of position uses one of them:

added to the input      Learned, Sinusoidal     (nn/embedding.py adds them to the token vectors)
turned into q and k     Rotary                  (nn/attention.py turns the heads)
added to the scores     reserved for relative positions
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.nn.limits import check_size


@dataclass(frozen=True, kw_only=True)
class Learned(Config):
    """One trained vector a position (BERT, GPT)."""

    max_positions: int = 512
    """longest document in tokens"""
    offset: int = 0
    """rows left unused at the start of the table; RoBERTa's published tables begin at 2"""

    def check(self) -> None:
        check_size("max_positions", self.max_positions)
        check_size("offset", self.offset)


@dataclass(frozen=True, kw_only=True)
class Sinusoidal(Config):
    """Fixed sines and cosines (Vaswani et al. 2017, section 3.5); no longest document.

    `interleaved` is the paper's; `concatenated` is the same columns in another order; `fairseq` (and tensor2tensor)
    is concatenated with exponent i / (d/2 - 1), so that the last wavelength is exactly 10,000 * 2 pi.
    """

    layout: Literal["interleaved", "concatenated", "fairseq"] = "interleaved"
    offset: int = 0
    """added to each position; fairseq counts from padding index + 1"""

    def check(self) -> None:
        check_size("offset", self.offset)


@dataclass(frozen=True, kw_only=True)
class Rotary(Config):
    """Queries and keys are turned by an angle that grows with their position (Su et al. 2021)."""

    base: float = 10_000.0
    """the longest wavelength is about 2 pi times this many tokens"""
    layout: Literal["half", "interleaved"] = "half"
    """which two coordinates make a pair: (i, i + e/2) as in LLaMA, or (2i, 2i + 1) as in the paper"""

    def check(self) -> None:
        if self.base <= 1:
            raise InputError(f"base must be above 1, got {self.base}")


class LearnedPosition(nn.Module):
    """A table of position vectors."""

    def __init__(self, config: Learned, size: int) -> None:
        super().__init__()
        self.offset = config.offset
        self.table = nn.Embedding(config.max_positions + config.offset, size)

    def forward(self, positions: Int[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        from polysemy.nn.fused import look_up  # which needs rotations from here

        return look_up(self.table.weight, positions + self.offset if self.offset else positions)


class SinusoidalPosition(nn.Module):
    """Computed position vectors: no parameters, any length."""

    def __init__(self, config: Sinusoidal, size: int) -> None:
        super().__init__()
        self.config, self.size = config, size

    def forward(self, positions: Int[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        return sinusoid(positions + self.config.offset, self.size, self.config.layout)


def sinusoid(positions: Int[Tensor, "*shape"], size: int, layout: str = "interleaved") -> Float[Tensor, "*shape d"]:
    """Sines and cosines of positions (negative ones too) in float64, a zero column last where `size` is odd."""
    half = size // 2
    steps = torch.arange(half, device=positions.device, dtype=_wide(positions))
    exponent = steps / max(half - 1, 1) if layout == "fairseq" else 2 * steps / (size - size % 2)
    angle = positions[..., None] * 10_000.0**-exponent  # (..., size/2)
    waves = (angle.sin(), angle.cos())
    table = torch.stack(waves, -1).flatten(-2) if layout == "interleaved" else torch.cat(waves, -1)
    return nn.functional.pad(table, (0, size % 2))


class Rotation(NamedTuple):
    """Cosines and sines of one forward, shared by all layers."""

    cosine: Tensor  # (b, 1, t, e/2), or what broadcasts to the half of x
    sine: Tensor
    layout: str

    def turn(self, x: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        """Each pair of coordinates turned by its angle; lengths and position 0 stay as they were."""
        if self.layout == "half":
            a, b = x.chunk(2, -1)
        else:
            a, b = x[..., 0::2], x[..., 1::2]
        turned = (a * self.cosine - b * self.sine, a * self.sine + b * self.cosine)
        return torch.cat(turned, -1) if self.layout == "half" else torch.stack(turned, -1).flatten(-2)


def rotation(config: Rotary, positions: Int[Tensor, "b t"], head_size: int, dtype: torch.dtype) -> Rotation:
    """The rotation of every position; angles are computed in float64 and then rounded to `dtype`."""
    steps = torch.arange(0, head_size, 2, device=positions.device, dtype=_wide(positions))
    angle = positions[:, None, :, None] * config.base ** (-steps / head_size)  # (b, 1, t, e/2)
    return Rotation(angle.cos().to(dtype), angle.sin().to(dtype), config.layout)


def _wide(like: Tensor) -> torch.dtype:
    return torch.float32 if like.device.type == "mps" else torch.float64  # the one device without float64
