"""The fused linear + cross-entropy against torch: loss, gradients, weights, chunks, edges."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from polysemy.errors import InputError
from polysemy.nn import cross_entropy
from polysemy.nn.cross_entropy import linear_cross_entropy


def example(dtype=torch.float32, n: int = 37, v: int = 101, e: int = 24):
    torch.manual_seed(0)
    inputs = [torch.randn(n, e), torch.randn(v, e), torch.randn(v)]
    return [x.to(dtype).requires_grad_() for x in inputs], torch.randint(0, v, (n,)), torch.rand(n)


def exact(inputs, targets, weights=None, factor: float = 1.0):
    """Loss and gradients in float64."""
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    losses = F.cross_entropy(F.linear(*doubles), targets, reduction="none")
    loss = (losses if weights is None else losses * weights.double()).sum()
    (loss * factor).backward()
    return loss, [x.grad for x in doubles]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("plain", ["", "1"])
def test_loss_and_gradients_in_float32(monkeypatch, plain, weighted):
    monkeypatch.setenv("POLYSEMY_PLAIN", plain)
    inputs, targets, weights = example()
    weights = weights if weighted else None
    loss = linear_cross_entropy(*inputs, targets, weights)
    (loss * 0.25).backward()
    expected, gradients = exact(inputs, targets, weights, 0.25)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    for x, gradient in zip(inputs, gradients, strict=True):
        torch.testing.assert_close(x.grad.double(), gradient, rtol=1e-5, atol=2e-6)


def test_bfloat16_rounds_but_does_not_drift():
    inputs, targets, _ = example(torch.bfloat16)
    loss = linear_cross_entropy(*inputs, targets)
    loss.backward()
    expected, gradients = exact(inputs, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=2e-3, atol=0)
    for x, gradient in zip(inputs, gradients, strict=True):
        assert x.grad.dtype == torch.bfloat16
        assert (x.grad.double() - gradient).norm() < 0.01 * gradient.norm()


def test_many_chunks_in_bfloat16_add_up_in_float32(monkeypatch):
    """The table's gradient would stop growing where a chunk's share is below half a unit of the sum's last place."""
    hidden = torch.ones(600, 8, dtype=torch.bfloat16, requires_grad=True)
    table = torch.zeros(2, 8, dtype=torch.bfloat16, requires_grad=True)
    monkeypatch.setattr(cross_entropy, "CHUNK", 2)
    linear_cross_entropy(hidden, table, None, torch.zeros(600, dtype=torch.int64)).backward()
    assert table.grad.tolist() == [[-300.0] * 8, [300.0] * 8]


@pytest.mark.parametrize("rows", [1, 10, 36])
def test_chunks_change_nothing(monkeypatch, rows):
    inputs, targets, weights = example()
    whole = linear_cross_entropy(*inputs, targets, weights)
    whole.backward()
    gradients = [x.grad.clone() for x in inputs]
    monkeypatch.setattr(cross_entropy, "CHUNK", rows * 101)
    for x in inputs:
        x.grad = None
    parts = linear_cross_entropy(*inputs, targets, weights)
    parts.backward()
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=0)
    for x, gradient in zip(inputs, gradients, strict=True):
        torch.testing.assert_close(x.grad, gradient, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(*inputs, targets, weights), whole, rtol=1e-6, atol=0)


def test_large_logits_neither_overflow_nor_lose_the_loss():
    hidden, weight = torch.tensor([[300.0, 0.0]]).requires_grad_(), torch.eye(2)
    right = linear_cross_entropy(hidden, weight, None, torch.tensor([0]))
    wrong = linear_cross_entropy(hidden, weight, None, torch.tensor([1]))
    assert right.item() == 0
    assert wrong.item() == 300


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_shows_in_the_loss(value):
    inputs, targets, _ = example()
    with torch.no_grad():
        inputs[0][3, 3] = value
    assert not linear_cross_entropy(*inputs, targets).isfinite()


def test_no_targets_give_zero_that_still_has_gradients():
    inputs, targets, _ = example()
    loss = linear_cross_entropy(inputs[0][:0], inputs[1], inputs[2], targets[:0])
    loss.backward()
    assert loss.item() == 0
    assert torch.count_nonzero(inputs[1].grad) == 0


@pytest.mark.parametrize("target", [-1, 101])
def test_targets_outside_the_vocabulary_are_refused(target):
    inputs, targets, _ = example()
    targets[5] = target
    with pytest.raises(InputError, match=r"targets must be in 0\.\.100"):
        linear_cross_entropy(*inputs, targets)
