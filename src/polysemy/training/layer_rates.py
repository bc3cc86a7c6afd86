"""Which part of a body learns how fast, and when: rates by depth, frozen layers, one layer more an epoch.

Depth counts from the embedding (0) over the layers 1..n to the head (n + 1); weights that several layers share have the
depth of the highest.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polysemy.models.depths import layers_of


def depths(model: Any) -> dict[str, int]:
    """The depth of every parameter of a task model, by name."""
    return {name: layers_of(name, model.config)[1] for name, _ in model.named_parameters()}


def tables(model: Any) -> set[str]:
    """Names of the embedding's parameters: fine-tuned without weight decay, so what no example has stays as it was."""
    return {name for name, depth in depths(model).items() if depth == 0}


def layer_rates(model: Any, decay: float = 1.0, freeze: int | None = None) -> dict[str, float]:
    """Factors of the learning rate by parameter name: decay ** (n + 1 - depth), 0 in the embedding and the `freeze`
    lowest layers.

    InputError where layers share weights across the border, and for more layers than there are.
    """
    top, frozen = model.config.num_layers + 1, model.frozen_parameters(freeze) if freeze is not None else set()
    return {name: 0.0 if name in frozen else decay ** (top - depth) for name, depth in depths(model).items()}


class Unfreezing:
    """Gradual unfreezing (Howard and Ruder 2018, 3.3): the head alone in epoch 0, then one layer more an epoch."""

    def __init__(self, model: Any, rates: dict[str, float], gradual: bool) -> None:
        """`rates` of all parameters when all learn; those of rate 0 never do."""
        self.rates = rates
        found = {name: depth for name, depth in depths(model).items() if rates[name]}
        levels = sorted(set(found.values()), reverse=True)
        order = {level: number for number, level in enumerate(levels)}
        self.epochs = {name: order[depth] if gradual else 0 for name, depth in found.items()}
        """the epoch in which each parameter begins to learn"""

    @property
    def last(self) -> int:
        """The epoch from which on everything learns."""
        return max(self.epochs.values(), default=0)

    def first(self, epoch: int) -> dict[str, float]:
        """Rates of all parameters when the model begins in this epoch; 0 for those that are to wait."""
        return {name: rate if self.epochs.get(name, epoch + 1) <= epoch else 0.0 for name, rate in self.rates.items()}

    def due(self, frozen: Iterable[str], epoch: int) -> dict[str, float]:
        """Rates of the parameters among `frozen` that learn from this epoch on."""
        return {name: self.rates[name] for name in frozen if self.epochs.get(name, epoch + 1) <= epoch}
