"""The reader of frozen layers: it equals torch's own BiLSTM over the plain mean, and padding changes nothing."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polysemy.nn.dropout import dropout_key
from polysemy.nn.initialization import initialize
from polysemy.nn.mix_head import MixHead, reversing
from polysemy.nn.transformer import TransformerConfig


def head(dropout: float = 0.0) -> MixHead:
    made = MixHead(3, 8, dropout=dropout)
    initialize(made, TransformerConfig(), 1)
    return made


def states(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 6, 8, generator=generator) for _ in range(3)]


def library(made: MixHead) -> nn.LSTM:
    """torch's BiLSTM with the same weights."""
    twin = nn.LSTM(8, 4, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for name, layer in (("", made.ahead), ("_reverse", made.back)):
            getattr(twin, f"weight_ih_l0{name}").copy_(layer.input_weight)
            getattr(twin, f"weight_hh_l0{name}").copy_(layer.recurrent_weight)
            getattr(twin, f"bias_ih_l0{name}").copy_(layer.bias)
            getattr(twin, f"bias_hh_l0{name}").zero_()
    return twin


def test_it_begins_as_a_bilstm_over_the_plain_mean_beside_that_mean() -> None:
    made, layers = head(), states()
    mean = torch.stack(layers).mean(0)
    wanted, _ = library(made)(mean)
    found = made(layers)
    assert found.shape[-1] == made.output_size == 16
    torch.testing.assert_close(found[..., :8], wanted, atol=2e-6, rtol=0)
    torch.testing.assert_close(found[..., 8:], mean, atol=2e-6, rtol=0)


def test_padding_changes_nothing() -> None:
    made, layers = head(), states()
    visible = torch.arange(6) < torch.tensor([[4], [6]])
    noisy = [torch.where(visible[..., None], layer, 9.0) for layer in layers]
    found = made(noisy, visible)
    torch.testing.assert_close(found[:1, :4], made([layer[:1, :4] for layer in layers]), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1:], made([layer[1:] for layer in layers]), atol=1e-6, rtol=0)


def test_turning_around_twice_is_nothing() -> None:
    visible = torch.arange(5) < torch.tensor([[3], [5], [0]])
    order = reversing(3, 5, visible, torch.device("cpu"))
    assert order.tolist() == [[2, 1, 0, 3, 4], [4, 3, 2, 1, 0], [0, 1, 2, 3, 4]]
    assert torch.equal(order.gather(1, order), torch.arange(5).expand(3, 5))


def test_the_mix_is_learned_and_told() -> None:
    """Only layer 2 knows the answer, so its share must grow."""
    made = head()
    layers = states()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    first = made.report()
    assert first["gamma"] == 1
    assert first["layer 2"] == pytest.approx(1 / 3)
    for step in range(60):
        layers = states(step)
        loss = (made(layers)[..., :4] - torch.tanh(layers[2][..., :4])).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = made.report()
    assert found["layer 2"] > 0.5 > found["layer 0"] + found["layer 1"]
    assert sum(found[f"layer {j}"] for j in range(3)) == pytest.approx(1, abs=1e-6)
    shares = made.mix.shares()
    wanted = made.mix.gamma * sum(share * layer for share, layer in zip(shares, layers, strict=True))
    torch.testing.assert_close(made.mixed(layers), wanted)


def test_dropout_is_a_function_of_its_key() -> None:
    made, layers = head(0.5).train(), states()

    def run(step: int) -> Tensor:
        with dropout_key(0, step, torch.arange(2)):
            return made(layers)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_measured_layers_have_mean_0_and_variance_1_in_every_number_that_varies() -> None:
    made = head()
    scales, shifts = torch.tensor([0.01, 1.0, 30.0]), torch.tensor([0.5, 0.0, -90.0])
    layers = [scale * layer + shift for scale, shift, layer in zip(scales, shifts, states(), strict=True)]
    layers[1][..., 3] = 7.0
    made.measure([layer[row] for layer in layers] for row in range(2))
    for middle, scale, layer in zip(made.middle, made.scale, layers, strict=True):
        flat = ((layer - middle) * scale).flatten(0, 1)
        torch.testing.assert_close(flat.mean(0), torch.zeros(8), atol=2e-5, rtol=0)
        wanted = torch.ones(8) if layer is not layers[1] else torch.tensor([1.0, 1, 1, 0, 1, 1, 1, 1])
        torch.testing.assert_close(flat.std(0, correction=0), wanted, atol=1e-4, rtol=0)
    assert not {name for name, _ in made.named_parameters()} & {"middle", "scale"}  # kept, not learned
    assert {"middle", "scale"} <= made.state_dict().keys()


def test_without_states_nothing_is_measured() -> None:
    made = head()
    made.measure([])
    assert (made.middle == 0).all()
    assert (made.scale == 1).all()
