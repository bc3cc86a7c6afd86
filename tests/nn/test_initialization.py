"""First weights: distributions, the pair of SPEC's two parametrizations, independence of what else is there."""
from __future__ import annotations

from typing import Any

import pytest
import torch

from polysemy.nn.attention import Attention
from polysemy.nn.initialization import initialize
from polysemy.nn.transformer import Transformer, TransformerConfig

SIZES: dict[str, Any] = {"hidden_size": 256, "num_layers": 2, "num_heads": 4, "intermediate_size": 1024, "dropout": 0.0,
                         "attention_dropout": 0.0}


def stack(seed: int = 0, **changes: Any) -> Transformer:
    config = TransformerConfig(**{**SIZES, **changes})
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    initialize(model, config, seed)
    return model


def inner(model: Transformer, i: int = 0) -> Attention:
    found = model.attention[i].inner
    assert isinstance(found, Attention)
    return found


@pytest.mark.parametrize("initializer", ["bert", "gpt2", "t5", "xavier"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_every_parameter_is_filled(initializer: str, norm: str) -> None:
    for name, parameter in stack(initializer=initializer, norm=norm, cross_attention=True).named_parameters():
        assert bool(parameter.isfinite().all()), name
        if name.endswith("bias"):
            assert parameter.abs().max() == 0, name
        elif "norm" in name:
            assert bool((parameter == 1).all()), name


def test_bert_is_cut_at_two_deviations() -> None:
    weight = inner(stack(initializer="bert")).qkv.weight
    assert weight.abs().max() <= 0.04
    assert weight.abs().max() > 0.0395
    assert weight.std().item() == pytest.approx(0.8796 * 0.02, rel=0.01)


def test_gpt2_scales_what_closes_a_residual_branch() -> None:
    model = stack(initializer="gpt2")
    assert inner(model).qkv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert inner(model).output.weight.std().item() == pytest.approx(0.02 / 4**0.5, rel=0.02)
    assert model.feed_forward[1].inner.down.weight.std().item() == pytest.approx(0.02 / 4**0.5, rel=0.02)  # type: ignore[union-attr]


@pytest.mark.parametrize(("initializer", "scale"), [("xavier", "sqrt"), ("t5", "none")])
def test_scores_begin_with_variance_one_in_both_parametrizations(initializer: str, scale: str) -> None:
    layer = inner(stack(initializer=initializer, scale=scale))
    x = torch.randn(64, 32, 256, generator=torch.Generator().manual_seed(3))
    q, k, _ = layer._project(x, None)
    scores = (q @ k.transpose(-1, -2)) * layer.factor
    off = ~torch.eye(32, dtype=torch.bool)
    assert scores[..., off].var().item() == pytest.approx(1.0, abs=0.1)


def test_unscaled_scores_with_smaller_queries_are_the_same_function() -> None:
    scaled = stack(initializer="xavier", scale="sqrt").double()
    unscaled = Transformer(TransformerConfig(**SIZES, scale="none")).double()
    unscaled.load_state_dict(scaled.state_dict())
    with torch.no_grad():
        for i in range(2):
            inner(unscaled, i).qkv.weight[:256] /= 8  # the root of the head size 64
            inner(unscaled, i).qkv.bias[:256] /= 8
    x = torch.randn(2, 9, 256, dtype=torch.float64)
    torch.testing.assert_close(unscaled(x), scaled(x), atol=1e-10, rtol=0)


def test_xavier_counts_queries_keys_and_values_as_three_matrices() -> None:
    weight = inner(stack(initializer="xavier")).qkv.weight
    bound = (6 / (256 + 256)) ** 0.5
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.99 * bound


def test_weights_depend_on_seed_and_name_alone() -> None:
    small, large, other = stack(num_layers=2), stack(num_layers=4), stack(seed=1)
    torch.testing.assert_close(inner(small, 1).qkv.weight, inner(large, 1).qkv.weight, atol=0, rtol=0)
    assert not torch.equal(inner(small).qkv.weight, inner(other).qkv.weight)
    assert not torch.equal(inner(small, 0).qkv.weight, inner(small, 1).qkv.weight)
