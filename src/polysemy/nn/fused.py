"""Steps that training runs all the time, each as one function: what it computes in torch, and a kernel that does it.

The torch lines are the definition.  The kernels (bfloat16 or float32 on a CPU; see `nn/kernels`) read and write each
number once, work in float32, fold in the bias of the linear layer before them and keep only what the backward needs.
Dropout comes as what `Dropout.draw` gives.
"""
from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polysemy.nn import kernels
from polysemy.nn.dropout import Drop, drop
from polysemy.nn.pieces import Pieces
from polysemy.nn.position import Rotation
from polysemy.runtime import cpu_flags


def apart(linear: nn.Linear, x: Float[Tensor, "*n i"]) -> tuple[Float[Tensor, "*n o"], Float[Tensor, "o"] | None]:
    """linear(x) as (output, bias to be added by the next step); the bias is None where it is in the output already."""
    if linear.bias is not None and kernels.for_training(x, linear.weight):
        return F.linear(x, linear.weight), linear.bias
    return linear(x), None


# --- x + dropout(y + bias), and its norm


def add(x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"], bias: Float[Tensor, "d"] | None,
        dropped: Drop | None = None) -> Float[Tensor, "*n d"]:
    """What closes a pre-norm sublayer: x + dropout(y + bias)."""
    if bias is not None and kernels.for_training(x, y, bias):
        return _Add.apply(x, y, bias, dropped)  # pyright: ignore[reportReturnType]
    return x + drop(y if bias is None else y + bias, dropped)


def add_norm(x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"], bias: Float[Tensor, "d"] | None, norm: nn.LayerNorm,
             dropped: Drop | None = None) -> Float[Tensor, "*n d"]:
    """What closes a post-norm sublayer: norm(x + dropout(y + bias))."""
    if bias is not None and kernels.for_training(x, y, bias, norm.weight):
        return _AddNorm.apply(x, y, bias, norm.weight, norm.bias, norm.eps, dropped)  # pyright: ignore[reportReturnType]
    return norm(add(x, y, bias, dropped))


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, bias: Tensor, dropped: Drop | None) -> Tensor:
        from polysemy.nn.kernels.norm import sum_forward

        keys, *ctx.more = parts = _parts(dropped)
        ctx.save_for_backward(keys)
        return sum_forward(_rows(x), _rows(y), bias, *parts).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.norm import sum_backward

        dout = gradients[0]
        dy, dbias = sum_backward(_rows(dout), ctx.saved_tensors[0], *ctx.more)
        return dout, dy.view(dout.shape), dbias.to(dout.dtype), None


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, bias: Tensor, weight: Tensor, shift: Tensor, eps: float,
                dropped: Drop | None) -> Tensor:
        from polysemy.nn.kernels.norm import norm_forward

        keys, least, scale = _parts(dropped)
        out, total, statistics = norm_forward(_rows(x), _rows(y), bias, torch.stack([weight, shift]), eps, keys, least,
                                              scale)
        ctx.save_for_backward(total, statistics, weight, keys)
        ctx.more = least, scale
        return out.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.norm import norm_backward

        total, statistics, weight, keys = ctx.saved_tensors
        least, scale = ctx.more
        dx, dy, sums = norm_backward(_rows(gradients[0]), total, weight, statistics, keys, least, scale, True)
        dweight, dshift, dbias = sums.to(weight.dtype)
        shape = gradients[0].shape
        return dx.view(shape), dy.view(shape), dbias, dweight, dshift, None, None


class LayerNorm(nn.LayerNorm):
    """torch's layer norm; the fast path has the gradients of a row in one pass."""

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if kernels.for_training(x, self.weight):
            return _Norm.apply(x, self.weight, self.bias, self.eps)  # pyright: ignore[reportReturnType]
        return super().forward(x)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, shift: Tensor, eps: float) -> Tensor:
        from polysemy.nn.kernels.norm import norm_forward

        out, total, statistics = norm_forward(_rows(x), None, weight, torch.stack([weight, shift]), eps, None, 0, 1.0)
        ctx.save_for_backward(total, statistics, weight)
        return out.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.norm import norm_backward

        total, statistics, weight = ctx.saved_tensors
        dx, _, sums = norm_backward(_rows(gradients[0]), total, weight, statistics, None, 0, 1.0, False)
        dweight, dshift, _ = sums.to(weight.dtype)
        return dx.view(gradients[0].shape), dweight, dshift, None


# --- activation(x + bias)


def activate(x: Float[Tensor, "*n d"], bias: Float[Tensor, "d"] | None, kind: str) -> Float[Tensor, "*n d"]:
    """gelu (erf), gelu_tanh (its approximation), quick_gelu (x * sigmoid(1.702 x)) or relu of x + bias."""
    if bias is not None and kernels.for_training(x, bias):
        return _Activate.apply(x, bias, kind)  # pyright: ignore[reportReturnType]
    x = x if bias is None else x + bias
    if kind == "relu":
        return F.relu(x)
    if kind == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")


class _Activate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, kind: str) -> Tensor:
        from polysemy.nn.kernels.activation import activation_forward

        rows = _rows(x)
        ctx.save_for_backward(rows, bias)
        ctx.kind = kind
        return activation_forward(rows, bias, kind).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.activation import activation_backward

        rows, bias = ctx.saved_tensors
        dx, dbias = activation_backward(_rows(gradients[0]), rows, bias, ctx.kind)
        return dx.view(gradients[0].shape), dbias.to(bias.dtype), None


# --- rows of a table


def look_up(table: Float[Tensor, "v d"], ids: Int[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
    """table[ids]; gradients of a row that is looked up several times are added up in float32."""
    if kernels.for_training(table) and table.requires_grad:
        return _LookUp.apply(table, ids)  # pyright: ignore[reportReturnType]
    return F.embedding(ids, table)


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.rows = len(table)
        return F.embedding(ids, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.table import table_gradient

        ids, = ctx.saved_tensors
        return table_gradient(_rows(gradients[0]), ids.reshape(-1).contiguous(), ctx.rows), None


# --- attention inside pieces


def attend(q: Float[Tensor, "n _"], kv: Float[Tensor, "m _"] | None, bias: Float[Tensor, "_"],
           pieces: Pieces, num_heads: int, scale: float, dropped: Drop | None = None) -> Float[Tensor, "n _"]:
    """Context of each query over the keys of its piece that it sees; before, bias is added to q, k and v, and q and k
    are turned.

    q (n, d) and kv (m, 2d) side by side, or all three in q (n, 3d).  Dropout of a weight is keyed by its query's key,
    its head and its key's column, as `Dropout` does for weights (b, h, t, s).
    """
    if kernels.for_training(q, bias) and attention_fits(q, len(bias) // (3 * num_heads)):
        return _Attend.apply(q, kv, bias, pieces, num_heads, scale, dropped)  # pyright: ignore[reportReturnType]
    q, k, v = ((x + part).unflatten(-1, (num_heads, -1)).transpose(0, 1)
               for x, part in zip(_three(q, kv), bias.chunk(3), strict=True))
    if pieces.turns is not None:
        cosine, sine, *places, interleaved = pieces.turns
        layout = "interleaved" if interleaved else "half"
        q, k = (Rotation(cosine[at].to(x.dtype), sine[at].to(x.dtype), layout).turn(x)
                for x, at in zip((q, k), places, strict=True))
    found = []
    for first, count, first_key, keys, column in pieces.table.tolist():
        here, there = slice(first, first + count), slice(first_key, first_key + keys)
        heads = q[:, here], k[:, there], v[:, there]
        scores = heads[0] @ heads[1].transpose(1, 2) * scale
        weights = scores.masked_fill(~pieces.seen(first, count, first_key, keys), -math.inf).softmax(-1)
        if dropped is not None:  # the mask counts columns from the beginning of the batch's row
            keys_of_heads = dropped.keys[here] ^ torch.arange(num_heads, dtype=torch.int32)[:, None] << 16
            weights = drop(F.pad(weights, (column, 0)), dropped._replace(keys=keys_of_heads))[..., column:]
        found.append((weights @ heads[2]).transpose(0, 1).flatten(1))
    return torch.cat(found)


def attention_fits(x: Tensor, head_size: int) -> bool:
    """Whether the attention kernel can do it: bfloat16 on a processor that multiplies it, heads of 32, 64, ... wide."""
    return kernels.usable(x) and x.dtype == torch.bfloat16 and "avx512_bf16" in cpu_flags() and head_size % 32 == 0


def _three(q: Tensor, kv: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values as views."""
    if kv is None:
        q, k, v = q.chunk(3, 1)
    else:
        k, v = kv.chunk(2, 1)
    return q, k, v


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, kv: Tensor | None, bias: Tensor, pieces: Pieces, num_heads: int, scale: float,
                dropped: Drop | None) -> Tensor:
        from polysemy.nn.kernels.attention_forward import attention_forward
        from polysemy.nn.kernels.attention_pieces import Choice

        keys, threshold, factor = _parts(dropped)
        ctx.choice = Choice(pieces, num_heads, scale, keys, threshold, factor)
        out, sums = attention_forward(*_three(q, kv), bias, ctx.choice)
        ctx.save_for_backward(q, kv, bias, sums)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.attention_backward import attention_backward

        q, kv, bias, sums = ctx.saved_tensors
        dq, dkv = torch.empty_like(q), None if kv is None else torch.empty_like(kv)
        dbias = attention_backward(gradients[0].contiguous(), sums, _three(q, kv), bias, ctx.choice, _three(dq, dkv))
        return dq, dkv, dbias.flatten().to(bias.dtype), None, None, None, None


def _parts(dropped: Drop | None) -> tuple[Tensor | None, int, float]:
    """(keys, threshold, factor) as kernels take them."""
    return (None, 0, 1.0) if dropped is None else (dropped.keys.reshape(-1).contiguous(), dropped.threshold,
                                                   dropped.factor)


def _rows(x: Tensor) -> Tensor:
    """The vectors of x one after the other, (n, d)."""
    return x.reshape(-1, x.shape[-1]).contiguous()
