"""What a neural recipe costs before it is built: parameters, arithmetic and memory, from its config alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from polysemy.models.recipe import PretrainingConfig
from polysemy.nn.attention import Linformer, Local


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Counts for one recipe at one length; training figures are for the batch size of its config."""

    parameters: int
    """of body and heads, shared and tied ones once"""
    body_parameters: int
    """without an output layer that only the heads read (ELMo's own softmax)"""
    file_bytes: int
    """of the weights as float32"""
    flops_per_token: int
    """multiply-adds counted twice, forward and backward, output layer at hidden positions only"""
    inference_flops_per_token: int
    optimizer_bytes: int
    """working weights, gradients, float32 masters and two moments"""
    activation_bytes: int
    """kept between forward and backward for one micro-batch, an estimate"""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def cost_of(config: PretrainingConfig) -> Cost:
    """Build the model on the meta device (no memory) and count; arithmetic follows Kaplan et al. 2020, section 2.1."""
    import torch
    from torch import nn

    from polysemy.models.pretrained import PretrainingModel, count_parameters

    with torch.device("meta"):
        model = PretrainingModel(config.model, config.heads)
    total, body = count_parameters(model), count_parameters(model.body)
    output = getattr(model.body, "output", None)
    tables = sum(module.weight.numel() for module in model.body.modules() if isinstance(module, nn.Embedding))
    t = config.training.length
    forward, head = _arithmetic(config, body - tables)
    d, f, layers = _shape(config)
    width = 2 if config.training.dtype != "float32" else 4
    rows = config.training.micro_batch_size or config.training.batch_size
    activations = rows * t * (layers * (12 * d + 2 * f) * width + 4 * d * width)
    return Cost(
        parameters=total,
        body_parameters=body - (0 if output is None else count_parameters(output)),
        file_bytes=4 * total,
        flops_per_token=int(3 * (forward + (1.0 if config.corruption is None else config.corruption.rate) * head)),
        inference_flops_per_token=forward,
        optimizer_bytes=total * (12 + 2 * width),
        activation_bytes=activations,
    )


def _shape(config: PretrainingConfig) -> tuple[int, int, int]:
    """Width of the states, of what is inside a layer, and number of layers."""
    transformer = getattr(config.model, "transformer", None)
    d = config.model.hidden_size
    return d, 4 * d if transformer is None else transformer.intermediate_size, config.model.num_layers


def _arithmetic(config: PretrainingConfig, weights: int) -> tuple[int, int]:
    """Multiply-adds, counted twice, of one token through the body and through the output layer.

    `weights` are the numbers of the body that no table of vectors holds.
    """
    d, f, layers = _shape(config)
    sizes = config.model.head_sizes()
    e, v = sizes.table_size, sizes.vocab_size
    if "masked_lm" in config.heads:
        head = 2 * (d * e + e * v)
    else:
        head = 2 * (e if sizes.tied else sizes.hidden_size) * v * len(config.heads)
    embedding = getattr(config.model, "embedding", None)
    if getattr(config.model, "transformer", None) is None or embedding is None:
        return 2 * weights, head  # each is used once a token
    factor = getattr(embedding, "factor_size", None)
    layer = 2 * (4 * d * d + 2 * d * f) + 4 * seen_of(config) * d
    return layers * layer + (2 * factor * d if factor else 0), head


def seen_of(config: PretrainingConfig) -> int:
    """How many keys a token's scores are made for."""
    kind, length = config.model.transformer.attention, config.training.length  # type: ignore[union-attr]
    length += getattr(config.model, "memory", 0)
    if isinstance(kind, Local):
        return min(length, kind.reach + 1 if config.model.transformer.causal else 2 * kind.reach + 1)  # type: ignore
    return min(length, kind.rank) if isinstance(kind, Linformer) else length
