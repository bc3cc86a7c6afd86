"""Seeded dropout: the same bits for any way of cutting the work, the right rate, the right gradient."""
from __future__ import annotations

import pytest
import torch

from polysemy.errors import InputError
from polysemy.nn.dropout import Drop, Dropout, dropout_key, keep


def dropped(x: torch.Tensor, *, rate: float = 0.3, seed: int = 1, step: int = 2, rows=None, calls: int = 1):
    layer = Dropout(rate)
    with dropout_key(seed, step, range(len(x)) if rows is None else rows):
        outputs = [layer(x) for _ in range(calls)]
    return outputs[-1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6, 5, 33), (6, 40), (6, 3, 5, 5)])
def test_kernel_and_twin_give_the_same_bits(monkeypatch, shape, dtype):
    x = torch.randn(shape).to(dtype)
    fast = dropped(x)
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    torch.testing.assert_close(fast, dropped(x), rtol=0 if dtype == torch.float32 else 8e-3, atol=0)
    assert torch.equal(fast == 0, dropped(x) == 0)


def test_rate_and_scale_are_exact_enough():
    x = torch.ones(64, 64, 256)
    y = dropped(x, rate=0.1)
    assert abs((y == 0).float().mean().item() - 0.1) < 1e-3  # 1 M draws: deviation 3e-4
    assert abs(y.mean().item() - 1) < 1e-3
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / 0.9))


def test_micro_batches_give_the_bits_of_the_batch():
    x = torch.randn(8, 7, 16)
    whole = dropped(x, rows=[30, 31, 32, 33, 34, 35, 36, 37])
    parts = torch.cat([dropped(x[:3], rows=[30, 31, 32]), dropped(x[3:], rows=[33, 34, 35, 36, 37])])
    assert torch.equal(whole, parts)


def test_padding_columns_change_nothing():
    x = torch.randn(2, 9, 16)
    assert torch.equal(dropped(x)[:, :5], dropped(x[:, :5]))


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": 3}, {"rows": [5, 6, 7, 8]}, {"calls": 2}])
def test_every_part_of_the_key_changes_the_mask(change):
    x = torch.ones(4, 8, 64)
    same = (dropped(x, rate=0.5) == dropped(x, rate=0.5, **change)).float().mean()
    assert abs(same - 0.5) < 0.06  # 2,048 fair coins: deviation 0.011


def test_masks_of_neighbors_are_independent():
    y = (dropped(torch.ones(16, 32, 64), rate=0.5) != 0).double() - 0.5
    for axis in range(3):
        along = (y.narrow(axis, 0, y.shape[axis] - 1) * y.narrow(axis, 1, y.shape[axis] - 1)).mean() * 4
        assert abs(along) < 0.03


def test_gradient_has_the_mask_of_the_output():
    x = torch.randn(3, 4, 50, requires_grad=True)
    y = dropped(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x, y)


def test_flat_tokens_have_the_bits_of_their_rows():
    x = torch.randn(4, 6, 16)
    at = torch.tensor([0, 3, 7, 22])
    layer = Dropout(0.5)
    with dropout_key(0, 0, [9, 8, 7, 6]):
        rows = layer(x)
    with dropout_key(0, 0, [9, 8, 7, 6]) as step:
        step.tokens = step.token_keys(6).flatten()[at]
        flat = layer(x.flatten(0, 1)[at])
    assert torch.equal(flat, rows.flatten(0, 1)[at])


def test_evaluation_and_rate_zero_pass_the_input_through():
    x = torch.randn(2, 3)
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5).eval()(x) is x


def test_training_without_a_key_is_refused():
    with pytest.raises(InputError, match="dropout must be keyed"):
        Dropout(0.5)(torch.randn(2, 3))
    with pytest.raises(InputError, match="rows of dropout_key must be as many"):
        dropped(torch.randn(2, 3), rows=[1, 2, 3])
    with pytest.raises(InputError, match="dropout must be at least 0 and below 1"):
        Dropout(1.0)


def test_mask_is_the_same_on_every_machine():
    kept = keep(Drop(torch.tensor([1, -5], dtype=torch.int32), 0.5), 8)
    assert kept.int().tolist() == GOLDEN


GOLDEN = [[0, 0, 1, 0, 1, 0, 0, 0], [1, 1, 0, 1, 1, 0, 1, 0]]
