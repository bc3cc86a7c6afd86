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
from polysemy.nn.dropout import Dropout, drop
from polysemy.nn.fused import attend
from polysemy.nn.linformer import Documents, Linformer, Projection, attend_linearly
from polysemy.nn.local import Local, Window
from polysemy.nn.pieces import Pieces
from polysemy.nn.position import Rotation
from polysemy.nn.softmax import masked_softmax


@dataclass(frozen=True, kw_only=True)
class Full(Config):
    """Every query sees every allowed key."""


AttentionKind = Full | Local | Linformer
"""Which positions a query may look at."""
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
    window: Window | None = None
    """local attention: it knows masks and causality"""
    documents: Documents | None = None
    """Linformer: how to take rows apart; None where each row is one document without padding"""
    projection: Projection | None = None
    """Linformer: the matrices that all layers share, if they do"""

    @classmethod
    def build(cls, kind: AttentionKind = Full(), documents: Int[Tensor, "b s"] | None = None,
              visible: Bool[Tensor, "b s"] | None = None, *, causal: bool = False,
              num_queries: int | None = None) -> Visibility:
        """From document numbers (packed rows, -1 at padding) or from `visible` (one document a row, False at padding).

        Documents never look into each other.  With `causal`, fewer queries than keys are the last ones.
        """
        if not isinstance(kind, Full):
            assert num_queries is None, "queries and keys must be the same tokens"
            return cls._of_kind(kind, documents, visible, causal)
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

    @classmethod
    def _of_kind(cls, kind: Local | Linformer, documents: Tensor | None, visible: Tensor | None,
                 causal: bool) -> Visibility:
        if documents is None and visible is not None:
            documents = visible.long() - 1
        if documents is not None and _uniform(documents):
            documents = None
        if isinstance(kind, Local):
            return cls(window=Window(kind.reach, causal, documents))
        return cls(documents=None if documents is None else Documents(documents))

    @classmethod
    def reading_on(cls, kind: AttentionKind, keys: Int[Tensor, "b s"], queries: Int[Tensor, "b t"]) -> Visibility:
        """Of causal queries at positions `queries` over cached and new keys at positions `keys`, -1 for none."""
        gap = queries[:, :, None] - keys[:, None, :]
        seen = (gap >= 0) & (keys >= 0)[:, None, :]
        if isinstance(kind, Local):
            seen &= gap <= kind.reach
        return cls() if queries.shape[1] == 1 and bool(seen.all()) else cls(seen[:, None])

    def dense(self, t: int, s: int, device: torch.device) -> Bool[Tensor, "#b 1 #t s"] | None:
        """Over all pairs of t queries and s keys; None when every query may look at every key."""
        if self.window is not None:
            return self.window.mask(t, device)
        if self.causal:
            return torch.ones(t, s, dtype=torch.bool, device=device).tril(s - t)[None, None]
        return self.mask


def _uniform(keys: Tensor, only: bool = False) -> bool:
    """Whether each row is one document without padding, so that no mask is needed; compiled code does not ask."""
    if torch.compiler.is_compiling():
        return False
    return bool(keys.all()) if only else bool(((keys == keys[:, :1]) & (keys >= 0)).all())


EVERYTHING = Visibility()


class Cache:
    """Keys and values (b, h, s, e) of one layer, turned already, from what was read before."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None) -> None:
        self.keys, self.values = keys, values

    def extend(self, k: Float[Tensor, "b h t e"], v: Float[Tensor, "b h t e"]) -> tuple[Tensor, Tensor]:
        """All keys and values, those of now last; new tensors, so that whoever holds the old ones keeps them."""
        if self.keys is not None and self.values is not None:
            k, v = torch.cat([self.keys, k], 2), torch.cat([self.values, v], 2)
        self.keys, self.values = k, v
        return k, v


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
        alone = isinstance(kind, Linformer) and kind.sharing != "layerwise"
        self.projection = Projection(kind, num_heads) if alone and isinstance(kind, Linformer) else None

    def forward(self, x: Float[Tensor, "*n d"], visibility: Visibility | Pieces = EVERYTHING,
                source: Float[Tensor, "b s d"] | None = None, rotation: Rotation | None = None,
                weights: list[Tensor] | None = None, cache: Cache | None = None) -> Float[Tensor, "*k d"]:
        """States (b, t, d) after looking, or (n, d) when the visibility is that of `Pieces`, of the tokens that ask.

        The weights (b, h, t, s) of this layer are appended to the list `weights` if given; pieces give none.
        Queries also see what `cache` holds, and it then holds the keys and values of x too.
        """
        return self.output(self.inside(x, visibility, source, rotation, weights, cache))

    def inside(self, x: Float[Tensor, "*n d"], visibility: Visibility | Pieces = EVERYTHING,
               source: Float[Tensor, "b s d"] | None = None, rotation: Rotation | None = None,
               weights: list[Tensor] | None = None, cache: Cache | None = None) -> Float[Tensor, "*k d"]:
        """What the last projection takes: the contexts of all heads side by side."""
        if isinstance(visibility, Pieces):
            return self._in_pieces(x, visibility)
        q, k, v = self._project(x, source)
        if rotation is not None:
            q, k = rotation.turn(q), rotation.turn(k)
        if cache is not None:
            k, v = cache.extend(k, v)
        y = self._look(q, k, v, visibility, weights)
        return y.transpose(1, 2).flatten(2)

    def _look(self, q: Tensor, k: Tensor, v: Tensor, visibility: Visibility, weights: list[Tensor] | None) -> Tensor:
        """Contexts (b, h, t, e)."""
        dropped = self.dropout.draw(q)
        if isinstance(self.kind, Linformer):
            projection = self.projection or visibility.projection
            assert projection is not None, "layers that share a projection get it with the visibility"
            return attend_linearly((q, k, v), projection, visibility.documents, self.factor, dropped, weights)
        if weights is None and visibility.window is not None:
            return visibility.window.attend(q, k, v, self.factor, dropped)
        if weights is None and dropped is None:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=visibility.mask, scale=self.factor,
                                                  is_causal=visibility.causal)
        seen = attention_weights(q, k, visibility, self.factor)
        if weights is not None:
            weights.append(seen)
        return drop(seen, dropped).to(v.dtype) @ v

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
    return masked_softmax(scores, visibility.dense(scores.shape[-2], scores.shape[-1], q.device))
