"""Recurrent layers: torch's own, step by step, in chunks, and by kernels."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polysemy.nn import kernels
from polysemy.nn.dropout import dropout_key
from polysemy.nn.initialization import initialize
from polysemy.nn.recurrent import RecurrentLayer
from polysemy.nn.transformer import TransformerConfig

cells = pytest.mark.parametrize("cell", ["rnn", "lstm"])
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def layer(cell: str, dtype: torch.dtype = torch.float64, size: int = 6, **more: float) -> RecurrentLayer:
    """With weights and biases large enough for every gate to matter."""
    made = RecurrentLayer(cell, 5, size, **more)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        nn.init.uniform_(parameter, -2 * size**-0.5, 2 * size**-0.5, generator=generator)
    return made.to(dtype)


def given(cell: str, t: int = 7, b: int = 3, size: int = 6, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Inputs and a state to begin with."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(t, b, 5), *[(b, size)] * (1 if cell == "rnn" else 2)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
            for shape in shapes]


def answers(y: Tensor, state: tuple[Tensor, ...], inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, last state and the gradients of a function of both."""
    change = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).view(y.shape).to(y.dtype)
    loss = (y * change).sum()
    (loss + sum((part.sin().sum() for part in state), torch.zeros(()))).backward()
    gradients = [x.grad for x in inputs]
    assert all(gradient is not None for gradient in gradients)
    return [y, *state, *gradients]  # type: ignore[list-item]


@cells
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_outputs_states_and_gradients_are_those_of_torch(cell: str, dtype: torch.dtype) -> None:
    ours = layer(cell, dtype)
    theirs = (nn.LSTM if cell == "lstm" else nn.RNN)(5, 6, dtype=dtype)
    with torch.no_grad():
        for name, value in (("weight_ih", ours.input_weight), ("weight_hh", ours.recurrent_weight),
                            ("bias_ih", ours.bias), ("bias_hh", torch.zeros_like(ours.bias))):
            getattr(theirs, f"{name}_l0").copy_(value)
    x, *state = given(cell, dtype=dtype)
    found = answers(*ours(x, tuple(state)), [x, *state, *ours.parameters()])
    x, *state = given(cell, dtype=dtype)
    first = tuple(part[None] for part in state)
    y, last = theirs(x, first if cell == "lstm" else first[0])
    last = tuple(part[0] for part in last) if cell == "lstm" else (last[0],)
    weights = [theirs.weight_ih_l0, theirs.weight_hh_l0, theirs.bias_ih_l0]
    expected = answers(y, last, [x, *state, *weights])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@cells
def test_the_library_that_a_gpu_takes_says_the_same(cell: str) -> None:
    made, (x, *state) = layer(cell), given(cell)
    for one, other in zip(made(x, tuple(state)), made._by_library(x, tuple(state), made.recurrent_weight), strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 2e-6), (torch.bfloat16, 1.5e-2)],
                         ids=["float32", "bfloat16"])
@pytest.mark.parametrize("size", [6, 40])
def test_the_kernel_is_the_plain_loop(size: int, dtype: torch.dtype, rounding: float) -> None:
    made, (x, *state) = layer("lstm", dtype, size), given("lstm", size=size, dtype=dtype)
    assert kernels.for_training(x, made.recurrent_weight)
    state[1] = state[1].detach().float().requires_grad_()
    found = answers(*made(x, tuple(state)), [x, *state, *made.parameters()])
    double = made.double()
    double.zero_grad()
    inputs = [part.detach().double().requires_grad_() for part in (x, *state)]
    expected = answers(*double(inputs[0], tuple(inputs[1:])), [*inputs, *double.parameters()])
    assert found[0].dtype == dtype
    assert found[2].dtype == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).norm() <= rounding * other.norm()


@cells
def test_gradients_are_those_of_finite_differences(cell: str) -> None:
    made, (x, *state) = layer(cell, size=2), given(cell, t=3, b=2, size=2)

    def run(x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        weights = dict(zip(("input_weight", "recurrent_weight", "bias"), parts[:3], strict=True))
        y, last = torch.func.functional_call(made, weights, (x, parts[3:]))
        return (y, *last)

    assert torch.autograd.gradcheck(run, (x, *made.parameters(), *state))


@cells
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_chunks_are_one_long_sequence(cell: str, dtype: torch.dtype) -> None:
    made, (x, *state) = layer(cell, dtype), given(cell, dtype=dtype)
    y, last = made(x, tuple(state))
    parts, carried = [], tuple(state)
    for chunk in x.split([1, 4, 2]):
        part, carried = made(chunk, carried)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts), y, atol=1e-6, rtol=0)
    for one, other in zip(carried, last, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@cells
def test_lengths_stop_each_row_where_its_text_ends(cell: str) -> None:
    made, (x, *state) = layer(cell), given(cell)
    lengths = torch.tensor([7, 0, 4])
    y, last = made(x, tuple(state), lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, after = made(x[:length, row:row + 1], tuple(part[row:row + 1] for part in state))
        torch.testing.assert_close(y[:length, row], alone[:, 0], atol=1e-12, rtol=0)
        for one, other in zip(last, after, strict=True):
            torch.testing.assert_close(one[row], other[0], atol=1e-12, rtol=0)


def test_weight_drop_has_one_mask_for_all_rows_and_steps_and_none_in_use() -> None:
    made, (x, *state) = layer("lstm", weight_drop=0.5).train(), given("lstm")
    with dropout_key(3, 4, [0, 1, 2]):
        whole, _ = made(x, tuple(state))
    parts = []
    for row in range(3):
        with dropout_key(3, 4, [row]):
            parts.append(made(x[:, row:row + 1], tuple(part[row:row + 1] for part in state))[0])
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-12, rtol=0)
    with dropout_key(3, 5, [0, 1, 2]):
        assert not torch.allclose(made(x, tuple(state))[0], whole)
    used, _ = made.eval()(x, tuple(state))
    made.weight_drop.rate = 0.0
    assert torch.equal(made.train()(x, tuple(state))[0], used)


def test_first_weights_follow_seed_and_name_and_the_gate_that_keeps_starts_open() -> None:
    model = nn.ModuleDict({"a": RecurrentLayer("lstm", 5, 16, forget_bias=1.0), "b": RecurrentLayer("rnn", 5, 16)})
    initialize(model, TransformerConfig(), seed=1)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert first["a.recurrent_weight"].abs().max() <= 0.25 < 1.05 * first["a.recurrent_weight"].abs().max()
    assert first["a.bias"].unflatten(0, (4, 16)).sum(1).tolist() == [0, 16, 0, 0]
    assert first["b.bias"].abs().sum() == 0
    initialize(model, TransformerConfig(), seed=1)
    assert all(torch.equal(first[name], tensor) for name, tensor in model.state_dict().items())
    initialize(model, TransformerConfig(), seed=2)
    assert not torch.equal(first["a.input_weight"], model.state_dict()["a.input_weight"])
