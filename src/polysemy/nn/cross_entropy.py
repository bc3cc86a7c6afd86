"""Summed cross-entropy of a linear output layer, without keeping the logits of all targets at once.

Logits are made for CHUNK numbers at a time and turned into their gradient where they stand, so the gradients of hidden
states, table and bias are there when the forward ends and the backward only scales them (the idea of Liger and of
Apple's "Cut your losses", Wijmans et al. 2025).
"""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from polysemy.errors import InputError
from polysemy.nn import kernels

CHUNK = 1 << 25
"""logits held at once, 64 MB in bfloat16; with fewer the products are slower, and they cost ten times the softmax"""


def linear_cross_entropy(hidden: Float[Tensor, "n e"], weight: Float[Tensor, "v e"], bias: Float[Tensor, "v"] | None,
                         targets: Int[Tensor, "n"], weights: Float[Tensor, "n"] | None = None) -> Float[Tensor, ""]:
    """sum over n of weights * -log softmax(hidden @ weight.T + bias)[targets], natural, in float32 or better.

    Without targets it is 0, still joined to the graph.
    """
    if len(targets) and not torch.compiler.is_compiling():
        least, most = targets.aminmax()
        if least < 0 or most >= len(weight):
            raise InputError(f"targets must be in 0..{len(weight) - 1}, got {int(least)}..{int(most)}")
    if bias is None:
        bias = weight.new_zeros(len(weight))
    inputs = hidden, weight, bias
    if not kernels.for_training(*inputs) or not len(targets) or not any(x.requires_grad for x in inputs):
        return _plain(hidden, weight, bias, targets, weights)
    return _LinearCrossEntropy.apply(*inputs, targets, weights)  # pyright: ignore[reportReturnType]


def _plain(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    total = None
    rows = max(1, CHUNK // len(weight)) if not torch.is_grad_enabled() else max(1, len(targets))
    for first in range(0, max(1, len(targets)), rows):
        part = slice(first, first + rows)
        logits = F.linear(hidden[part], weight, bias)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        losses = F.cross_entropy(logits, targets[part], reduction="none")
        loss = losses.sum() if weights is None else (losses * weights[part]).sum()
        total = loss if total is None else total + loss
    assert total is not None
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor,
                weights: Tensor | None) -> Tensor:
        from polysemy.nn.kernels.cross_entropy import cross_entropy_rows

        n, v = len(hidden), len(weight)
        hidden, bias = hidden.contiguous(), bias.contiguous()
        weights = None if weights is None else weights.float().contiguous()
        dhidden, dweight = torch.empty_like(hidden), torch.empty_like(weight)
        dbias = torch.zeros(torch.get_num_threads(), v)
        losses = []
        rows = -(-n // -(-n * v // CHUNK))  # chunks of equal size
        held, total = weight.new_empty(rows, v), None
        for first in range(0, n, rows):
            part = slice(first, min(first + rows, n))
            logits = torch.mm(hidden[part], weight.t(), out=held[:part.stop - first])
            losses.append(cross_entropy_rows(logits, bias, targets[part], None if weights is None else weights[part],
                                             dbias))
            torch.mm(logits, weight, out=dhidden[part])
            torch.mm(logits.t(), hidden[part], out=dweight)
            if rows < n:  # added up in float32: each bfloat16 sum would round away more
                total = dweight.to(torch.float32, copy=True) if total is None else total.add_(dweight)
        if total is not None:
            dweight.copy_(total)
        ctx.save_for_backward(dhidden, dweight, dbias.sum(0).to(bias.dtype))
        return torch.cat(losses).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        factor = gradients[0]
        return (*(saved * factor if wanted else None for saved, wanted in
                  zip(ctx.saved_tensors, ctx.needs_input_grad[:3], strict=True)), None, None)
