"""Attention whose scores hold the distance from query to key (Dai et al. 2019, section 3.3).

score(i, j) = ((W_q x_i + u) . W_k x_j + (W_q x_i + v) . W_r R_{i-j}) / sqrt(e)

R is a sinusoid of the distance, u and v are learned vectors of each head.  Nothing here depends on where the text
begins, so states of earlier text (the memory) can stand before the keys.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.errors import InputError
from polysemy.nn.dropout import Dropout, drop
from polysemy.nn.position import sinusoid
from polysemy.nn.softmax import masked_softmax

DEVIATION = 0.02


def distances(s: int, size: int, like: Tensor, longest: int | None = None) -> Float[Tensor, "s d"]:
    """Sinusoids of the distances s - 1 ... 0, the query counted after what precedes it; beyond `longest` as there."""
    steps = torch.arange(s - 1, -1, -1, device=like.device)
    return sinusoid(steps if longest is None else steps.clamp(max=longest), size, "concatenated").to(like.dtype)


def shift(scores: Float[Tensor, "*n t s"]) -> Float[Tensor, "*n t s"]:
    """Row i, column j holds what stood at distance i + (s - t) - j: column c came in for distance s - 1 - c.

    A column before the first and another cut of the rows move each row by one more than the row before (appendix B);
    what stands at negative distances means nothing.
    """
    t, s = scores.shape[-2:]
    return F.pad(scores, (1, 0)).flatten(-2).unflatten(-1, (s + 1, t))[..., 1:, :].flatten(-2).unflatten(-1, (t, s))


def sight(t: int, s: int, device: torch.device, longest: int | None = None) -> Bool[Tensor, "t s"]:
    """Which of s keys the last t of them, as queries, may see: none ahead, none more than `longest` before."""
    gap = torch.arange(s - t, s, device=device)[:, None] - torch.arange(s, device=device)
    return gap >= 0 if longest is None else (gap >= 0) & (gap <= longest)


class ScoreBiases(nn.Module):
    """u and v: what each head looks for whatever the query, by content and by distance."""

    def __init__(self, num_heads: int, head_size: int) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.empty(num_heads, head_size))
        self.distance = nn.Parameter(torch.empty(num_heads, head_size))
        for vector in self.parameters():
            nn.init.normal_(vector, std=DEVIATION)

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Normal numbers, as narrow as tables."""
        for name, vector in self.named_parameters():
            vector.normal_(std=DEVIATION, generator=generator(name))
        return list(self.parameters())


class RelativeAttention(nn.Module):
    """Heads that score by content and distance; no linear part has a bias."""

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise InputError(f"hidden_size must be a multiple of num_heads, got {hidden_size} and {num_heads}")
        self.num_heads, self.factor = num_heads, (hidden_size // num_heads) ** -0.5
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.distance = nn.Linear(hidden_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "b t d"], memory: Float[Tensor, "b m d"] | None,
                waves: Float[Tensor, "s d"], biases: ScoreBiases, mask: Bool[Tensor, "#b 1 t s"],
                weights: list[Tensor] | None = None) -> Float[Tensor, "b t d"]:
        """States after looking at memory and x (s = m + t); `waves` are those of `distances`, True in `mask` is seen.

        The weights (b, h, t, s) are appended to the list `weights` if given.
        """
        return self.output(self.inside(x, memory, waves, biases, mask, weights))

    def inside(self, x: Tensor, memory: Tensor | None, waves: Tensor, biases: ScoreBiases, mask: Tensor,
               weights: list[Tensor] | None = None) -> Float[Tensor, "b t d"]:
        """What the last projection takes: the contexts of all heads side by side."""
        d, weight = x.shape[-1], self.qkv.weight
        if memory is None or not memory.shape[1]:
            parts = self.qkv(x).chunk(3, -1)
        else:
            parts = F.linear(x, weight[:d]), *F.linear(torch.cat([memory, x], 1), weight[d:]).chunk(2, -1)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)) for part in parts)
        r = self.distance(waves).unflatten(-1, (self.num_heads, -1)).transpose(0, 1)  # (h, s, e)
        content = (q + biases.content).transpose(1, 2) @ k.permute(0, 2, 3, 1)
        by_distance = (q + biases.distance).transpose(1, 2) @ r.transpose(1, 2)
        seen = masked_softmax((content + shift(by_distance)) * self.factor, mask)
        if weights is not None:
            weights.append(seen)
        y = drop(seen, self.dropout.draw(seen)).to(v.dtype) @ v.transpose(1, 2)
        return y.transpose(1, 2).flatten(2)


def remembered(memory: Float[Tensor, "b m d"], x: Float[Tensor, "b t d"], read: Int[Tensor, "b"] | None,
               size: int) -> Float[Tensor, "b n d"]:
    """The last `size` of memory and x, without a gradient; of x the first `read` columns count, aligned at the right.

    Where a row has fewer, what stands at its left is not of it.
    """
    both = torch.cat([memory, x], 1).detach()
    if read is not None:
        columns = torch.arange(both.shape[1], device=x.device) - (x.shape[1] - read)[:, None]
        both = both.gather(1, columns.clamp(min=0)[..., None].expand_as(both))
    return both[:, max(0, both.shape[1] - size):]
