"""Multi-head attention with the whole contract of `torch.nn.MultiheadAttention`, in the open.

Same constructor, parameter names, first weights and `forward`, so that either loads the weights of the other.  Where we
differ: a query that may look at nothing gets weights 0 and context 0 with and without `need_weights` (torch gives NaN
with them), and nothing is deprecated: masks of different types may be mixed.  The models here use `nn/attention.py`.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from polysemy.nn.softmax import masked_softmax


class MultiheadAttention(nn.Module):
    """Concat(head_1 ... head_h) W_o with head_i = softmax(Q W_i (K W_i)^T / sqrt(e)) V W_i (Vaswani et al. 2017).

    embed_dim: width of queries and output; kdim, vdim: widths of keys and values where they differ.  add_bias_kv: one
    more key and value, learned; add_zero_attn: one more of zeros, last.  batch_first: (b, t, d) instead of (t, b, d).
    ValueError for sizes of 0 or less, AssertionError when num_heads does not divide embed_dim (as torch).
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, device: torch.device | str | None = None,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(f"embed_dim and num_heads must be above 0, got {embed_dim} and {num_heads}")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        if embed_dim % num_heads:
            raise AssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn

        def parameter(*shape: int, there: bool = True) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if there else None

        one = self.kdim == self.vdim == embed_dim
        self.in_proj_weight = parameter(3 * embed_dim, embed_dim, there=one)
        self.q_proj_weight = parameter(embed_dim, embed_dim, there=not one)
        self.k_proj_weight = parameter(embed_dim, self.kdim, there=not one)
        self.v_proj_weight = parameter(embed_dim, self.vdim, there=not one)
        self.in_proj_bias = parameter(3 * embed_dim, there=bias)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.bias_k = parameter(1, 1, embed_dim, there=add_bias_kv)
        self.bias_v = parameter(1, 1, embed_dim, there=add_bias_kv)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier uniform for the projections, the packed one as a single matrix; biases 0; bias_k and bias_v normal."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)
        for vector in (self.bias_k, self.bias_v):
            if vector is not None:
                nn.init.xavier_normal_(vector)

    def forward(self, query: Float[Tensor, "*q d"], key: Float[Tensor, "*k dk"], value: Float[Tensor, "*k dv"],
                key_padding_mask: Shaped[Tensor, "*p"] | None = None, need_weights: bool = True,
                attn_mask: Shaped[Tensor, "*m"] | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Float[Tensor, "*q d"], Tensor | None]:
        """(states, weights or None).  Inputs (t, b, d), (b, t, d) if batch_first, or (t, d) without a batch.

        key_padding_mask (b, s) and attn_mask (t, s) or (b * h, t, s): bool, True = may not look, or floats added to the
        scores.  Weights (b, t, s), averaged over heads, or (b, h, t, s), after dropout.  is_causal only says that
        attn_mask is the triangle, which is still needed.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("attn_mask must be given with is_causal, which only describes it, got none")
        batched = query.dim() == 3
        if query.dim() not in (2, 3) or key.dim() != query.dim() or value.dim() != query.dim():
            raise AssertionError("query, key and value must all have 3 dimensions, or 2 without a batch, got "
                                 f"{query.dim()}, {key.dim()} and {value.dim()}")
        if not batched:
            query, key, value = (x[None] for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self._heads(query, key, value)
        seen, added = self._masks(q, key.shape[1], k.shape[2], key_padding_mask, attn_mask)
        scores = q @ k.transpose(-1, -2) * self.head_dim**-0.5
        weights = masked_softmax(scores if added is None else scores + added, seen).to(q.dtype)
        weights = F.dropout(weights, self.dropout, self.training)
        y = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        shown = None
        if need_weights:
            shown = weights.mean(1) if average_attn_weights else weights
            shown = shown if batched else shown[0]
        if not batched:
            return y[0], shown
        return y if self.batch_first else y.transpose(0, 1), shown

    def _heads(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (b, h, t, e), keys and values (b, h, s, e) with the extra ones at the end."""
        for name, x, size in (("query", query, self.embed_dim), ("key", key, self.kdim), ("value", value, self.vdim)):
            if x.shape[-1] != size:
                raise AssertionError(f"{name} must be {size} wide, got {x.shape[-1]}")
        if key.shape[:2] != value.shape[:2] or len(query) != len(key):
            raise AssertionError("key and value must have one length and all inputs one batch size, got "
                                 f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}")
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, weight, bias)
                   for x, weight, bias in zip((query, key, value), self._weights(), biases, strict=True))
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (torch.cat([x, extra.expand(len(x), 1, -1)], 1) for x, extra in ((k, self.bias_k), (v, self.bias_v)))
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        return q, k, v

    def _weights(self) -> tuple[Tensor, ...]:
        """The matrices of queries, keys and values."""
        if self.in_proj_weight is not None:
            return self.in_proj_weight.chunk(3)
        return tuple(x for x in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight) if x is not None)

    def _masks(self, q: Tensor, s: int, keys: int, padding: Tensor | None, attn_mask: Tensor | None
               ) -> tuple[Bool[Tensor, "#b #h #t s"] | None, Float[Tensor, "#b #h #t s"] | None]:
        """Where one may look (True = may), and what is added to the scores; the extra keys are open to all."""
        b, h, t, _ = q.shape
        seen, added = None, None
        if padding is not None and padding.shape != (b, s):
            raise AssertionError(f"key_padding_mask must be {(b, s)}, got {tuple(padding.shape)}")
        if attn_mask is not None and attn_mask.shape not in ((t, s), (b * h, t, s)):
            raise RuntimeError(f"attn_mask must be {(t, s)} or {(b * h, t, s)}, got {tuple(attn_mask.shape)}")
        for name, mask in (("key_padding_mask", padding), ("attn_mask", attn_mask)):
            if mask is None:
                continue
            if mask.dtype != torch.bool and not mask.is_floating_point():
                raise AssertionError(f"{name} must be of bool or a float type, got {mask.dtype}")
            if mask.is_floating_point() and mask.dtype != q.dtype:
                raise RuntimeError(f"{name} must be bool or of the queries' type {q.dtype}, got {mask.dtype}")
            mask = mask[:, None, None] if name == "key_padding_mask" else (
                mask[None, None] if mask.dim() == 2 else mask.unflatten(0, (b, h)))
            # minus infinity says the same as True; a finite floor in the softmax keeps empty rows free of NaN
            open_ = F.pad(~(mask if mask.dtype == torch.bool else mask == -torch.inf), (0, keys - s), value=True)
            seen = open_ if seen is None else seen & open_
            if mask.dtype != torch.bool:
                more = F.pad(mask.masked_fill(mask == -torch.inf, 0), (0, keys - s))
                added = more if added is None else added + more
        return seen, added
