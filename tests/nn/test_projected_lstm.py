"""The projected LSTM: equal to torch's, three ways to the same numbers, documents that begin anew, clipping."""
from __future__ import annotations

import pytest
import torch

from polysemy.nn import kernels
from polysemy.nn.projected_lstm import ProjectedLSTM, _by_library, side_by_side
from polysemy.runtime import cpu_flags, seed_for

FRESH = torch.tensor([[True, False, False, True, False, False, False], [True, False, False, False, False, True, True]])


def layer(dtype: torch.dtype = torch.float64, **clips: float) -> ProjectedLSTM:
    found = ProjectedLSTM(6, 16, 5, **clips).to(dtype)
    done = found.first_weights(lambda name: torch.Generator().manual_seed(seed_for(name) >> 1))
    assert {id(parameter) for parameter in done} == {id(parameter) for parameter in found.parameters()}
    with torch.no_grad():
        found.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(3))
    return found


def inputs(b: int = 2, t: int = 7, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(b, t, 6, generator=torch.Generator().manual_seed(1), dtype=dtype)


def results(found: ProjectedLSTM, x: torch.Tensor, fresh: torch.Tensor | None) -> list[torch.Tensor]:
    """Outputs, then the gradients of input and weights for an uneven sum of the outputs."""
    x = x.clone().requires_grad_()
    found.zero_grad()
    y = found(x, fresh)
    (y.float() * torch.randn(y.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in found.parameters())]  # type: ignore[list-item]


def test_equals_torch_with_a_projection() -> None:
    ours, theirs = layer(), torch.nn.LSTM(6, 16, proj_size=5, batch_first=True).double()
    theirs.load_state_dict({"weight_ih_l0": ours.input_weight, "weight_hh_l0": ours.recurrent_weight,
                            "bias_ih_l0": ours.bias, "bias_hh_l0": ours.opened(),
                            "weight_hr_l0": ours.projection_weight})
    torch.testing.assert_close(ours(inputs()), theirs(inputs())[0], atol=1e-12, rtol=0)


def test_fresh_columns_begin_as_if_nothing_had_been_read() -> None:
    found, x = layer(), inputs()
    y = found(x, FRESH)
    torch.testing.assert_close(y[0, :3], found(x[:1, :3])[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(y[0, 3:], found(x[:1, 3:])[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(y[1, 6:], found(x[1:, 6:])[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("fresh", [None, FRESH])
def test_the_library_gives_the_same_numbers(fresh: torch.Tensor | None) -> None:
    found, x = layer(), inputs()
    torch.testing.assert_close(_by_library(found, x, fresh), found(x, fresh), atol=1e-12, rtol=0)


@pytest.mark.parametrize("fresh", [None, FRESH])
def test_kernels_give_the_outputs_and_gradients_of_the_loop(fresh: torch.Tensor | None,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernels.switched_on():
        pytest.skip("kernels need Linux and Numba")
    found, x = layer(torch.float32), inputs(dtype=torch.float32)
    fast = results(found, x, fresh)
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    for one, other in zip(fast, results(found, x, fresh), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fresh", [None, FRESH])
@pytest.mark.parametrize("size", [16, 48])
def test_all_steps_in_one_run_are_the_steps_one_by_one(fresh: torch.Tensor | None, size: int,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernels.switched_on() or "avx512_bf16" not in cpu_flags():
        pytest.skip("the run needs Linux, Numba and a processor that multiplies bfloat16")
    from polysemy.nn.kernels import projected

    x = torch.randn(7, 7, 8, generator=torch.Generator().manual_seed(4)).bfloat16()
    fresh = None if fresh is None else torch.cat([fresh.flip(1), fresh, fresh, fresh[:1]])
    pair = []
    for seed in range(2):
        found = ProjectedLSTM(8, 2 * size, size)
        found.first_weights(lambda name, seed=seed: torch.Generator().manual_seed(seed_for(seed, name) >> 1))
        pair.append(found.bfloat16())

    def learned() -> list[torch.Tensor]:
        for found in pair:
            found.zero_grad()
        y = side_by_side(pair, [x, x.flip(1)], [fresh, fresh])
        factors = torch.randn(2, *y[0].shape, generator=torch.Generator().manual_seed(5))
        sum((a.float() * b).sum() for a, b in zip(y, factors, strict=True)).backward()  # type: ignore[union-attr]
        return [*y, *(parameter.grad for found in pair for parameter in found.parameters())]  # type: ignore[list-item]

    at_once = learned()
    monkeypatch.setattr(projected, "steps_fit", lambda *weights: False)
    for one, other in zip(at_once, learned(), strict=True):
        scale = float(other.detach().float().abs().max())
        torch.testing.assert_close(one.detach().float(), other.detach().float(), atol=0.02 * scale, rtol=0.02)


def test_layers_side_by_side_are_each_alone() -> None:
    one, other = layer(torch.float32), layer(torch.float32)
    with torch.no_grad():
        other.recurrent_weight.mul_(-1)
    x, y = inputs(dtype=torch.float32), inputs(dtype=torch.float32).flip(1)
    found = side_by_side([one, other], [x, y], [FRESH, None])
    torch.testing.assert_close(found[0], one(x, FRESH), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], other(y), atol=1e-6, rtol=0)
    found[1].sum().backward()
    assert other.recurrent_weight.grad is not None
    assert other.recurrent_weight.grad.abs().max() > 0
    assert one.recurrent_weight.grad is None or one.recurrent_weight.grad.abs().max() == 0


def test_bfloat16_stays_near_float32() -> None:
    wanted = results(layer(torch.float32), inputs(dtype=torch.float32), FRESH)
    found = results(layer(torch.float32).bfloat16(), inputs(dtype=torch.float32).bfloat16(), FRESH)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.float(), other, atol=0.04 * float(other.abs().max()), rtol=0.05)


def test_gradients_are_right() -> None:
    found, x = layer(cell_clip=0.5), inputs(t=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: found(x, FRESH[:, 2:5]), (x,))


def test_clipping_bounds_cell_and_output() -> None:
    x = 20 * inputs()
    free, clipped = layer()(x), layer(projection_clip=0.1)(x)
    assert free.abs().max() > 0.1
    assert clipped.abs().max() == 0.1
    torch.testing.assert_close(layer(cell_clip=50.0, projection_clip=50.0)(x), free, atol=1e-12, rtol=0)
    # the cell: what is shown is at most tanh(clip), so outputs are within its sum over the projection
    tight = layer(cell_clip=1e-3)
    assert bool((tight(x).abs() <= 1e-3 * tight.projection_weight.abs().sum(1)).all())


def test_no_columns_give_no_outputs() -> None:
    assert layer()(inputs(t=0)).shape == (2, 0, 5)
