"""Multi-head attention: queries from x, keys and values from x itself or from a source.

Letters in shapes: b rows, t queries, s keys, d hidden_size, h heads, e = d / h.
One mask convention everywhere, that of scaled_dot_product_attention: True = may look.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.nn.dropout import Dropout
from polysemy.nn.fused import attend
from polysemy.nn.pieces import Pieces
from polysemy.nn.position import Rotation


@dataclass(frozen=True, kw_only=True)
class Full(Config):
    """Every query sees every allowed key."""


AttentionKind = Full
"""Which positions a query may look at; further kinds join as a union."""
Scale = Literal["sqrt", "none"]
"""Scores divided by the root of the head size, or left as they are (T5, with its own initialization)."""


@dataclass(frozen=True, eq=False)
class Visibility:
    """Which keys each query may look at: built once a forward, handed to every layer.

    A query that may look at nothing gets weights 0 and context 0.
    """

    mask: Bool[Tensor, "#b 1 #t s"] | None = None
    """None when every query may look at every key"""
    causal: bool = False
    """every query sees the keys up to its own place and nothing else restricts it; then mask is None"""

    @classmethod
    def build(cls, kind: AttentionKind = Full(), documents: Int[Tensor, "b s"] | None = None,
              visible: Bool[Tensor, "b s"] | None = None, *, causal: bool = False,
              num_queries: int | None = None) -> Visibility:
        """From document numbers (packed rows, -1 at padding) or from `visible` (one document a row, False at padding).

        Documents never look into each other.  With `causal`, fewer queries than keys are the last ones.
        """
        mask = None
        if documents is not None and not _uniform(documents):
            same = documents[:, :, None] == documents[:, None, :]
            mask = (same & documents.ge(0)[:, None, :])[:, None]
        elif documents is None and visible is not None and not _uniform(visible, only=True):
            mask = visible[:, None, None, :]
        keys = documents if documents is not None else visible
        t, s = num_queries, None if keys is None else keys.shape[1]
        if not causal or (mask is None and (s is None or t in (None, s))):
            return cls(mask, causal)
        assert keys is not None
        assert s is not None
        t = s if t is None else t
        triangle = torch.ones(t, s, dtype=torch.bool, device=keys.device).tril(s - t)[None, None]
        if mask is not None and mask.shape[2] == s:
            mask = mask[:, :, s - t:]
        return cls(triangle if mask is None else mask & triangle)


def _uniform(keys: Tensor, only: bool = False) -> bool:
    """Whether each row is one document without padding, so that no mask is needed; compiled code does not ask."""
    if torch.compiler.is_compiling():
        return False
    return bool(keys.all()) if only else bool(((keys == keys[:, :1]) & (keys >= 0)).all())


EVERYTHING = Visibility()


class Attention(nn.Module):
    """Scaled dot-product attention in `num_heads` heads (Vaswani et al. 2017, section 3.2).

    One fused projection makes queries, keys and values (rows of `qkv.weight` in that order, heads contiguous in each);
    with `source` its parts are used one by one, so that self- and cross-attention have the same parameters.
    Softmax runs in float32 or better.  Dropout falls on the weights, by the seeded dropout of `nn/dropout.py`.
    """

    def __init__(self, hidden_size: int, num_heads: int, kind: AttentionKind = Full(), *, dropout: float = 0.0,
                 scale: Scale = "sqrt") -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise InputError(f"hidden_size must be a multiple of num_heads, got {hidden_size} and {num_heads}")
        self.num_heads, self.kind = num_heads, kind
        self.factor = (hidden_size // num_heads) ** -0.5 if scale == "sqrt" else 1.0
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*n d"], visibility: Visibility | Pieces = EVERYTHING,
                source: Float[Tensor, "b s d"] | None = None, rotation: Rotation | None = None,
                weights: list[Tensor] | None = None) -> Float[Tensor, "*k d"]:
        """States (b, t, d) after looking, or (n, d) when the visibility is that of `Pieces`, of the tokens that ask.

        The weights (b, h, t, s) of this layer are appended to the list `weights` if given; pieces give none.
        """
        return self.output(self.inside(x, visibility, source, rotation, weights))

    def inside(self, x: Float[Tensor, "*n d"], visibility: Visibility | Pieces = EVERYTHING,
               source: Float[Tensor, "b s d"] | None = None, rotation: Rotation | None = None,
               weights: list[Tensor] | None = None) -> Float[Tensor, "*k d"]:
        """What the last projection takes: the contexts of all heads side by side."""
        if isinstance(visibility, Pieces):
            return self._in_pieces(x, visibility)
        q, k, v = self._project(x, source)
        if rotation is not None:
            q, k = rotation.turn(q), rotation.turn(k)
        if weights is None and not (self.training and self.dropout.rate):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=visibility.mask, scale=self.factor,
                                               is_causal=visibility.causal)
        else:
            seen = attention_weights(q, k, visibility, self.factor)
            if weights is not None:
                weights.append(seen)
            y = self.dropout(seen).to(v.dtype) @ v
        return y.transpose(1, 2).flatten(2)

    def _in_pieces(self, x: Tensor, pieces: Pieces) -> Tensor:
        d, weight, at = x.shape[1], self.qkv.weight, pieces.at
        q, kv = (F.linear(x, weight), None) if at is None else (F.linear(x[at], weight[:d]), F.linear(x, weight[d:]))
        return attend(q, kv, self.qkv.bias, pieces, self.num_heads, self.factor, self.dropout.draw(q))

    def _project(self, x: Tensor, source: Tensor | None) -> tuple[Tensor, ...]:
        if source is None:
            parts = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        else:
            d = x.shape[-1]
            q = F.linear(x, self.qkv.weight[:d], self.qkv.bias[:d]).unflatten(-1, (self.num_heads, -1))
            kv = F.linear(source, self.qkv.weight[d:], self.qkv.bias[d:])
            parts = (q, *kv.unflatten(-1, (2, self.num_heads, -1)).unbind(2))
        return tuple(part.transpose(1, 2) for part in parts)  # each (b, h, t or s, e)


def attention_weights(q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"], visibility: Visibility,
                      factor: float) -> Float[Tensor, "b h t s"]:
    """The softmax of the scores, in float32 or better, where a row that may look at nothing is 0 throughout."""
    scores = (q @ k.transpose(-1, -2)) * factor
    scores = scores if scores.dtype == torch.float64 else scores.float()
    mask = visibility.mask
    if visibility.causal:
        t, s = scores.shape[-2:]
        mask = torch.ones(t, s, dtype=torch.bool, device=q.device).tril(s - t)
    if mask is None:
        return scores.softmax(-1)
    # a finite floor keeps the softmax of an empty row, and its gradient, free of NaN; the product then empties it
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1) * mask
