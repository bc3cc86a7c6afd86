"""AdamW and LAMB: torch's own numbers, kernels equal to their twins, clipping, groups, state; and the schedules."""
from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from polysemy.errors import InputError
from polysemy.training.optimizer import Optimizer, OptimizerConfig, rate_factor


def small_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 33), nn.LayerNorm(33), nn.Linear(33, 50))


def train(model: nn.Module, optimizer, steps: int = 5, size: float = 1.0) -> None:
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(0, 50, (20,), generator=generator)
        (nn.functional.cross_entropy(model(ids).float(), (ids * 7 + 1) % 50) * size).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(params=["kernel", "plain"])
def way(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    return request.param


def settings(**changes) -> OptimizerConfig:
    return OptimizerConfig(learning_rate=1e-2, **changes)


def test_adamw_has_the_numbers_of_torch(way):
    ours, theirs = small_model(), small_model()
    train(ours, Optimizer(ours, settings(weight_decay=0.1, beta2=0.999, epsilon=1e-8, clip=0)))
    groups = [{"params": [p for p in theirs.parameters() if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in theirs.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    train(theirs, torch.optim.AdamW(groups, lr=1e-2))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


def test_clipping_is_that_of_torch(way):
    ours, theirs = small_model(), small_model()
    for model in (ours, theirs):
        (model(torch.arange(50)).pow(2).sum() * 10).backward()
    norm = float(nn.utils.clip_grad_norm_(theirs.parameters(), 0.5))
    torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.98), eps=1e-6, weight_decay=0).step()
    update = Optimizer(ours, settings(clip=0.5, weight_decay=0)).step()
    assert update.norm == pytest.approx(norm, rel=1e-5)
    assert update.clipped
    assert update.applied
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["adamw", "lamb"])
def test_kernel_and_twin_agree(monkeypatch, kind, dtype):
    results = []
    for plain in ("", "1"):
        monkeypatch.setenv("POLYSEMY_PLAIN", plain)
        model = small_model()
        optimizer = Optimizer(model, settings(kind=kind, clip=0.1), dtype=dtype)
        for step in range(4):
            generator = torch.Generator().manual_seed(step)
            for slot in optimizer.slots:
                slot.parameter.grad = torch.randn(slot.master.shape, generator=generator).to(slot.work.dtype)
            optimizer.step(0.5)
        results.append(optimizer.state_dict())
    for name, tensor in results[0].items():
        torch.testing.assert_close(tensor, results[1][name], rtol=2e-5, atol=1e-6)


def test_lamb_steps_by_the_trust_ratio(way):
    model = nn.Linear(8, 4)
    before = model.weight.detach().clone()
    optimizer = Optimizer(model, settings(kind="lamb", clip=0, weight_decay=0.0))
    model.weight.grad, model.bias.grad = torch.randn(4, 8), torch.randn(4)
    optimizer.step()
    moved = (model.weight.detach() - before).norm()
    torch.testing.assert_close(moved, 1e-2 * before.norm(), rtol=1e-4, atol=0)  # rate times the weights' own norm


def test_norms_and_biases_do_not_decay(way):
    model = small_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    Optimizer(model, settings(weight_decay=0.5)).step()
    for name, p in model.named_parameters():
        expected = before[name] * (1 - 1e-2 * 0.5 if p.dim() >= 2 else 1)
        torch.testing.assert_close(p.detach(), expected)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(way, value):
    model = small_model()
    optimizer = Optimizer(model, settings(), dtype="bfloat16")
    before = {name: tensor.clone() for name, tensor in optimizer.state_dict().items()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model[1].weight.grad[3, 3] = value
    update = optimizer.step()
    assert not update.applied
    assert not math.isfinite(update.norm)
    assert all(torch.equal(tensor, before[name]) for name, tensor in optimizer.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_micro_batches_are_added_up_in_float32(way):
    """2,000 gradients of 1 would stop at 256 in bfloat16."""
    model = nn.Linear(3, 3)
    optimizer = Optimizer(model, settings(clip=0), dtype="bfloat16")
    for _ in range(2000):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.accumulate()
    assert optimizer.step().norm == pytest.approx(2000 * 12**0.5)


def test_working_weights_are_bfloat16_and_masters_keep_small_steps(way):
    model = nn.Linear(4, 4, bias=False)
    nn.init.ones_(model.weight)
    optimizer = Optimizer(model, OptimizerConfig(learning_rate=1e-4, clip=0, weight_decay=0), dtype="bfloat16")
    assert model.weight.dtype == torch.bfloat16
    for _ in range(50):
        model.weight.grad = torch.ones(4, 4, dtype=torch.bfloat16)
        optimizer.step()
    torch.testing.assert_close(optimizer.masters()["weight"], torch.full((4, 4), 1 - 50e-4), rtol=1e-4, atol=0)
    assert torch.equal(model.weight, optimizer.masters()["weight"].bfloat16())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_state_goes_on_bit_for_bit(way, dtype):
    whole, first, second = small_model(), small_model(), small_model(seed=9)
    optimizer = Optimizer(whole, settings(), dtype=dtype)
    train(whole, optimizer, steps=3)
    train(whole, optimizer, steps=3)
    early = Optimizer(first, settings(), dtype=dtype)
    train(first, early, steps=3)
    late = Optimizer(second, settings(), dtype=dtype)
    late.load_state_dict({name: tensor.clone() for name, tensor in early.state_dict().items()})
    train(second, late, steps=3)
    assert late.steps == 6
    for name, tensor in optimizer.state_dict().items():
        assert torch.equal(tensor, late.state_dict()[name]), name
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_same_bits_whatever_the_number_of_threads():
    states = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            model = nn.Linear(300, 300)
            optimizer = Optimizer(model, settings(kind="lamb"))
            for slot in optimizer.slots:
                slot.master.copy_(torch.linspace(-1, 1, slot.master.numel()).view_as(slot.master))
                slot.parameter.grad = torch.sin(torch.arange(slot.master.numel()).float()).view_as(slot.master)
            optimizer.step()
            states.append(optimizer.state_dict())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_shared_parameters_are_moved_once(way):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert [slot.name for slot in Optimizer(model, settings()).slots] == ["0.weight", "0.bias", "1.bias"]


def test_state_of_another_model_is_refused():
    state = Optimizer(nn.Linear(3, 4), settings()).state_dict()
    with pytest.raises(InputError, match="optimizer state must be of this model"):
        Optimizer(nn.Linear(4, 4), settings()).load_state_dict(state)


@pytest.mark.parametrize("change", [{"learning_rate": 0.0}, {"beta2": 1.0}, {"clip": -1.0}, {"epsilon": 0.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        OptimizerConfig(**{"learning_rate": 1e-3, **change})


@pytest.mark.parametrize("schedule", ["linear", "cosine", "inverse_sqrt", "constant"])
def test_schedules_climb_then_fall(schedule):
    factors = [rate_factor(i / 100, schedule, 0.1) for i in range(101)]
    assert factors[5] == pytest.approx(0.5)
    assert factors[10] == pytest.approx(1.0)
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[10:]))
    ends = {"linear": 0.0, "cosine": 0.0, "inverse_sqrt": 0.1**0.5, "constant": 1.0}
    assert factors[100] == pytest.approx(ends[schedule], abs=1e-12)
    assert factors[55] == pytest.approx({"linear": 0.5, "cosine": 0.5, "inverse_sqrt": (0.1 / 0.55) ** 0.5,
                                         "constant": 1.0}[schedule])


def test_schedule_without_warm_up_starts_at_the_top():
    assert rate_factor(0.0, "linear", 0.0) == 1
    assert rate_factor(0.0, "inverse_sqrt", 0.0) == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_update_counts_up_the_version_of_every_weight(dtype: str) -> None:
    linear = torch.nn.Linear(8, 8)
    optimizer = Optimizer(linear, OptimizerConfig(), dtype=dtype)
    before = [parameter._version for parameter in linear.parameters()]
    for parameter in linear.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(parameter._version > old for parameter, old in zip(linear.parameters(), before, strict=True))
