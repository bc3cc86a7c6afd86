"""First weights: each is a function of the seed and its own name, whatever else the model holds.

bert     truncated normal, 0.02 before the cut at two of them (Google's code; transformers draws the plain normal)
gpt2     normal 0.02, positions 0.01, and what closes a residual branch smaller by the root of 2 * num_layers
t5       each matrix so that unscaled scores begin with variance 1: queries (d e)^-1/2, keys and values d^-1/2, ...
xavier   uniform within (6 / (inputs + outputs))^1/2; queries, keys and values count as three matrices, not as one

A module with `first_weights` (a recurrent layer, say) fills its own parameters whatever the scheme.

Biases are 0, norms 1 and 0.  Tables are as wide as `bert` and `gpt2` say; under t5 they have deviation 1 where the sum
is not normed and width^-1/2 where it is (its scale is then free, and T5 divides tied logits by the root of the width,
which our heads do not); under xavier width^-1/2.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from polysemy.nn.attention import Attention
from polysemy.nn.embedding import Embedding
from polysemy.nn.position import LearnedPosition
from polysemy.nn.relative import RelativeAttention
from polysemy.nn.transformer import FeedForward, TransformerConfig
from polysemy.runtime import seed_for

Role = Literal["table", "position", "query", "key", "value", "residual", "linear"]
DEVIATION = 0.02


@runtime_checkable
class FillsItself(Protocol):
    """A module that knows its own first weights."""

    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Fill parameters in place, each by the generator of its name; returns those that are done."""
        ...


@torch.no_grad()
def initialize(model: nn.Module, config: TransformerConfig, seed: int = 0) -> None:
    """Fill every parameter of `model` in place by the scheme `config.initializer`; the meta device is left alone."""
    normed = any(isinstance(module, Embedding) and module.config.norm for module in model.modules())
    filled: set[int] = set()
    for name, module in model.named_modules():
        empty = any(parameter.is_meta for parameter in module.parameters())
        if isinstance(module, FillsItself):
            if not empty:
                filled |= {id(done) for done in module.first_weights(functools.partial(_generator, seed, name))}
            continue
        for roles, parameter in _matrices(module):
            if id(parameter) in filled or parameter.is_meta:
                continue
            generator = _generator(seed, name, *roles)
            for role, part in zip(roles, parameter.chunk(len(roles)), strict=True):
                part.copy_(_draw(role, part.shape, config, normed, generator))
            filled.add(id(parameter))
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(bias := getattr(module, "bias", None), Tensor):
            bias.zero_()


def _generator(seed: int, *key: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(seed, "initialize", *key) >> 1)


def deviation(role: Role, shape: tuple[int, ...], config: TransformerConfig, normed: bool = True) -> float:
    """Standard deviation that the scheme gives to a matrix of `shape` (outputs, inputs), before any cut."""
    outputs, inputs = shape
    match config.initializer:
        case "bert":
            return DEVIATION
        case "gpt2":
            residual = DEVIATION / (2 * config.num_layers) ** 0.5
            return {"residual": residual, "position": DEVIATION / 2}.get(role, DEVIATION)
        case "t5":
            if role in ("table", "position"):
                return inputs**-0.5 if normed else 1.0
            return (inputs * config.head_size) ** -0.5 if role == "query" else inputs**-0.5
        case "xavier":
            return inputs**-0.5 if role in ("table", "position") else (2 / (inputs + outputs)) ** 0.5
    raise AssertionError(config.initializer)


def _draw(role: Role, shape: torch.Size, config: TransformerConfig, normed: bool, generator: torch.Generator) -> Tensor:
    std = deviation(role, tuple(shape), config, normed)
    values = torch.empty(shape)
    if config.initializer == "bert":
        return _truncated(values, std, generator)
    if config.initializer == "xavier" and role not in ("table", "position"):
        return values.uniform_(-(3**0.5) * std, 3**0.5 * std, generator=generator)
    return values.normal_(std=std, generator=generator)


def _truncated(values: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Normal values, drawn again where they lie beyond two deviations (several times faster than inverting erf)."""
    values.normal_(std=std, generator=generator)
    while len(outside := (values.flatten().abs() > 2 * std).nonzero()[:, 0]):
        values.view(-1)[outside] = torch.empty(len(outside)).normal_(std=std, generator=generator)
    return values


def _matrices(module: nn.Module) -> list[tuple[list[Role], Tensor]]:
    """The matrices that this module answers for, each with the role of every part along its rows."""
    match module:
        case Attention() | RelativeAttention():
            return [(["query", "key", "value"], module.qkv.weight), (["residual"], module.output.weight)]
        case FeedForward():
            return [(["residual"], module.down.weight)]
        case LearnedPosition():
            return [(["position"], module.table.weight)]
        case nn.Embedding():
            return [(["table"], module.weight)]
        case nn.Linear():
            return [(["linear"], module.weight)]
    return []
