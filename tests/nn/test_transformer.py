"""The stack: sharing, norms, order, padding."""
from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from polysemy.errors import InputError
from polysemy.nn.attention import Visibility
from polysemy.nn.initialization import initialize
from polysemy.nn.position import Rotary
from polysemy.nn.transformer import Activation, Source, Transformer, TransformerConfig


def config(**changes: Any) -> TransformerConfig:
    sizes: dict[str, Any] = {"hidden_size": 16, "num_layers": 4, "num_heads": 2, "intermediate_size": 24,
                             "dropout": 0.0, "attention_dropout": 0.0}
    return TransformerConfig(**{**sizes, **changes})


def stack(seed: int = 0, **changes: Any) -> Transformer:
    model = Transformer(config(**changes)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


def states(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("share", ["all", "attention", "feed_forward", "none"])
def test_a_group_for_each_layer_is_no_sharing(share: str) -> None:
    plain, grouped = stack(), stack(num_groups=4, share=share)
    assert plain.state_dict().keys() == grouped.state_dict().keys()
    x = states(2, 5, 16)
    torch.testing.assert_close(plain(x), grouped(x), atol=0, rtol=0)


@pytest.mark.parametrize(("share", "attention", "feed_forward"),
                         [("all", 2, 2), ("attention", 2, 4), ("feed_forward", 4, 2), ("none", 4, 4)])
def test_groups_share_what_they_say(share: str, attention: int, feed_forward: int) -> None:
    model = stack(num_groups=2, share=share)
    assert (len(model.attention), len(model.feed_forward)) == (attention, feed_forward)
    blocks = list(model.blocks())
    assert (blocks[0].attention is blocks[1].attention) == (attention == 2)
    assert (blocks[2].feed_forward is blocks[3].feed_forward) == (feed_forward == 2)
    assert blocks[1].attention is not blocks[2].attention


def test_the_gradient_of_shared_weights_is_the_sum_over_unrolled_copies() -> None:
    shared, unrolled = stack(num_groups=1), stack()
    for parts, copies in ((shared.attention, unrolled.attention), (shared.feed_forward, unrolled.feed_forward)):
        for part in copies:
            part.load_state_dict(parts[0].state_dict())
    x = states(2, 5, 16)
    for model in (shared, unrolled):
        model(x).square().sum().backward()
    for name, parameter in shared.attention[0].named_parameters():
        total = sum(dict(part.named_parameters())[name].grad for part in unrolled.attention)  # type: ignore[misc]
        torch.testing.assert_close(parameter.grad, total, atol=1e-10, rtol=1e-10)


def test_post_norm_ends_in_the_norm_of_the_last_sublayer_and_pre_norm_in_one_of_its_own() -> None:
    post, pre = stack(norm="post"), stack(norm="pre")
    assert isinstance(post.final_norm, nn.Identity)
    assert isinstance(pre.final_norm, nn.LayerNorm)
    with torch.no_grad():
        pre.final_norm.weight.fill_(1)
        pre.final_norm.bias.zero_()
    y = pre(10 * states(2, 5, 16))
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 5, dtype=torch.float64), atol=1e-10, rtol=0)
    assert (y.var(-1, unbiased=False) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_sublayer_is_its_formula(norm: str) -> None:
    model, x = stack(norm=norm, num_layers=1), states(2, 5, 16)
    attention, feed_forward = model.attention[0], model.feed_forward[0]
    if norm == "post":
        a = attention.norm(x + attention.inner(x))
        wanted = feed_forward.norm(a + feed_forward.inner(a))
    else:
        a = x + attention.inner(attention.norm(x))
        wanted = model.final_norm(a + feed_forward.inner(feed_forward.norm(a)))
    torch.testing.assert_close(model(x), wanted, atol=0, rtol=0)


def test_without_positions_a_permuted_input_gives_the_permuted_output() -> None:
    model, x = stack(), states(2, 7, 16)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    torch.testing.assert_close(model(x[:, order]), model(x)[:, order], atol=1e-10, rtol=0)


def test_with_rotary_positions_order_counts_and_a_common_shift_does_not() -> None:
    model, x = stack(distance=Rotary()), states(2, 7, 16)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    assert (model(x[:, order]) - model(x)[:, order]).abs().max() > 1e-3
    shifted = model(x, positions=torch.arange(7)[None] + 11)
    torch.testing.assert_close(shifted, model(x), atol=1e-9, rtol=0)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("distance", [None, Rotary()])
def test_padding_and_neighbors_in_the_row_change_nothing(norm: str, distance: Rotary | None) -> None:
    model, x = stack(norm=norm, distance=distance), states(1, 12, 16)
    documents = torch.tensor([[0] * 5 + [1] * 4 + [-1] * 3])
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 0, 0]])
    packed = model(x, Visibility.build(documents=documents), positions)
    torch.testing.assert_close(packed[:, :5], model(x[:, :5]), atol=1e-10, rtol=0)
    torch.testing.assert_close(packed[:, 5:9], model(x[:, 5:9]), atol=1e-10, rtol=0)
    assert bool(packed.isfinite().all())


def test_layers_and_weights_come_out_on_request() -> None:
    model, x = stack(norm="pre"), states(2, 5, 16)
    layers: list[torch.Tensor] = []
    weights: list[torch.Tensor] = []
    y = model(x, layers=layers, weights=weights)
    assert len(layers) == 5
    assert len(weights) == 4
    torch.testing.assert_close(layers[0], x, atol=0, rtol=0)
    torch.testing.assert_close(layers[-1], y, atol=0, rtol=0)
    torch.testing.assert_close(weights[2].sum(-1), torch.ones(2, 2, 5, dtype=torch.float64))
    torch.testing.assert_close(model(x), y, atol=1e-10, rtol=0)


def test_cross_attention_reads_the_source() -> None:
    model, x, source = stack(cross_attention=True), states(2, 5, 16), states(2, 3, 16)
    one = model(x, source=Source(source))
    assert (one - model(x, source=Source(source + 1))).abs().max() > 1e-3
    visible = torch.tensor([[True, True, False]] * 2)
    hidden = Source(source, Visibility.build(visible=visible))
    torch.testing.assert_close(model(x, source=hidden), model(x, source=Source(source[:, :2])), atol=1e-10, rtol=0)


def test_activations_are_their_formulas() -> None:
    x = torch.linspace(-4, 4, 81, dtype=torch.float64)
    torch.testing.assert_close(Activation("gelu")(x), x * 0.5 * (1 + torch.erf(x / 2**0.5)))
    torch.testing.assert_close(Activation("gelu_tanh")(x),
                               0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))))
    torch.testing.assert_close(Activation("quick_gelu")(x), x / (1 + torch.exp(-1.702 * x)))
    torch.testing.assert_close(Activation("relu")(x), x.clamp(min=0))


def test_bfloat16_weights_stay_near_float32() -> None:
    model = Transformer(config(norm="pre"))
    initialize(model, config(initializer="xavier"))
    x, documents = torch.randn(2, 6, 16), torch.tensor([[0, 0, 0, 1, 1, -1], [0] * 6])
    wanted = model(x, Visibility.build(documents=documents))
    found = copy.deepcopy(model).bfloat16()(x.bfloat16(), Visibility.build(documents=documents))
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted)[documents >= 0].abs().mean() < 0.02


@pytest.mark.parametrize(("changes", "message"), [
    ({"hidden_size": 10**9}, "hidden_size must be in 1..65536, got 1000000000"),
    ({"num_layers": -1}, "num_layers must be in"),
    ({"num_heads": 3}, "hidden_size must be a multiple of num_heads, got 16 and 3"),
    ({"num_groups": 9}, r"num_groups must be in 1..num_layers \(4\), got 9"),
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ({"norm_eps": 1e308}, "norm_eps must be above 0 and below 1"),
    ({"num_heads": 16, "distance": Rotary()}, "must be even for rotary"),
])
def test_impossible_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(**changes)
