"""States of tokens into one vector a text: mean, first, last or largest; normalized, or cut to its first numbers.

Everything runs on a flat list of real tokens, row after row, so padding cannot take part.
"""
from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysemy.errors import InputError

Pooling = Literal["mean", "cls", "last", "max"]
POOLINGS: tuple[str, ...] = get_args(Pooling)


def pooled_places(documents: Int[Tensor, "b t"], pooling: Pooling) -> tuple[Int[Tensor, "k"], Int[Tensor, "b"]]:
    """The flat places (row * t + column, ascending) that a pooling reads, and how many of them each row has.

    `documents` are -1 at padding.  mean and max read every real token, special ones included; cls the first of a row,
    last its last.  A row without a real token has none.
    """
    t = documents.shape[1]
    real = documents >= 0
    lengths = real.sum(1)
    if pooling in ("mean", "max"):
        return real.flatten().nonzero()[:, 0], lengths
    columns = torch.arange(t, device=documents.device)
    found = torch.where(real, columns, t).amin(1) if pooling == "cls" else torch.where(real, columns, -1).amax(1)
    rows = torch.arange(len(documents), device=documents.device)
    return (rows * t + found)[lengths > 0], lengths.clamp(max=1)


def pool(states: Float[Tensor, "k d"], lengths: Int[Tensor, "b"], pooling: Pooling) -> Float[Tensor, "b d"]:
    """One float32 vector a row from the states that `pooled_places` named, `lengths` of them each.

    Sums run over a row in the order of its tokens and in float32, whatever the states are: the same bits alone and in
    any company.  A row without a token gets zeros.
    """
    states = states.float()
    if pooling in ("cls", "last"):
        found = states.new_zeros(len(lengths), states.shape[1])
        return found.index_put(((lengths > 0).nonzero()[:, 0],), states)
    how = "max" if pooling == "max" else "sum"
    found = torch.segment_reduce(states, how, lengths=lengths, axis=0, unsafe=True)
    if pooling == "max":
        return torch.where(lengths[:, None] > 0, found, 0.0)
    return found / lengths[:, None].clamp(min=1)


def normalized(vectors: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """Every vector at length 1; zeros stay zeros."""
    return torch.nn.functional.normalize(vectors, dim=-1, eps=1e-12)


def shortened(vectors: Float[Tensor, "*n d"], dimensions: int | None) -> Float[Tensor, "*n e"]:
    """The first `dimensions` numbers of every vector (Kusupati et al. 2022); all of them when None."""
    if dimensions is None:
        return vectors
    if not 1 <= dimensions <= vectors.shape[-1]:
        raise InputError(f"dimensions must be in 1..{vectors.shape[-1]}, got {dimensions}")
    return vectors[..., :dimensions]
