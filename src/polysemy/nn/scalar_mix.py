"""One vector a token from all layers of a frozen model: gamma * sum over j of softmax(s)_j h_j (Peters et al. 2018).

    E(w) = gamma * sum_j softmax(s)_j h_j          s begins at 0 and gamma at 1: the plain mean of the layers

A task learns num_layers numbers s and one gamma, and so picks the layers that serve it.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysemy.errors import InputError
from polysemy.nn.dropout import Dropout


class ScalarMix(nn.Module):
    """The mix of `num_layers` states; the embedding counts as a layer.

    norm     brings each layer to mean 0 and variance 1 first, over all real tokens of the batch and all numbers of
             their vectors together, as AllenNLP does: its result depends on what else is in the batch
    dropout  on the mix
    """

    def __init__(self, num_layers: int, *, norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = norm
        self.scalars = nn.Parameter(torch.zeros(num_layers))
        self.gamma = nn.Parameter(torch.ones(()))
        self.dropout = Dropout(dropout)

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """The plain mean; returns the parameters that are done."""
        self.scalars.zero_()
        self.gamma.fill_(1)
        return list(self.parameters())

    def forward(self, layers: Sequence[Float[Tensor, "b t d"]],
                visible: Bool[Tensor, "b t"] | None = None) -> Float[Tensor, "b t d"]:
        """`visible` is False at padding, which only `norm` needs to know."""
        if len(layers) != len(self.scalars):
            raise InputError(f"layers must be as many as the mix was made for, got {len(layers)} and "
                             f"{len(self.scalars)}; a model has num_layers + 1, the embedding counted")
        shares = self.shares().unbind()
        total: Tensor | None = None
        for share, layer in zip(shares, layers, strict=True):
            part = share.to(layer.dtype) * (normalized(layer, visible) if self.norm else layer)
            total = part if total is None else total + part
        assert total is not None
        return self.dropout(self.gamma.to(total.dtype) * total)

    def shares(self) -> Float[Tensor, "n"]:
        """How much each layer counts; they add up to 1."""
        wide = self.scalars if self.scalars.dtype == torch.float64 else self.scalars.float()
        return wide.softmax(0)

    def penalty(self, rate: float) -> Float[Tensor, ""]:
        """rate * |s|^2 for the loss: 0.001 lets the shares vary, 1 holds them near the plain mean (paper, 3.2)."""
        return rate * self.scalars.square().sum()


def normalized(layer: Float[Tensor, "b t d"], visible: Bool[Tensor, "b t"] | None = None) -> Float[Tensor, "b t d"]:
    """Mean 0 and variance 1 over all numbers at visible places together; what stands elsewhere means nothing."""
    wide = layer if layer.dtype == torch.float64 else layer.float()
    real = wide if visible is None else wide[visible]
    mean = real.mean()
    return ((wide - mean) / ((real - mean).square().mean() + 1e-12).sqrt()).to(layer.dtype)
