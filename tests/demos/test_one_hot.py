"""The demonstration of one-hot vectors."""
from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from polysemy.demos.one_hot import one_hot, told
from polysemy.errors import InputError


def test_all_pairs_are_equally_far() -> None:
    found = one_hot(["a", "b", "c", "d", "e"])
    assert set(found["cosines"]) == {0.0}
    assert len(found["cosines"]) == 10
    np.testing.assert_allclose(found["distances"], math.sqrt(2))


def test_the_product_is_a_lookup() -> None:
    assert one_hot()["lookup_error"] == 0.0
    table = torch.randn(7, 3)
    words = torch.tensor([4, 1, 4])
    assert torch.equal(torch.nn.functional.one_hot(words, 7).float() @ table, table[words])


def test_only_rows_in_use_have_a_gradient() -> None:
    assert one_hot(["a", "b", "c", "d"])["rows_touched"] == ["a", "b"]
    table = torch.randn(5, 3, requires_grad=True)
    torch.nn.functional.one_hot(torch.tensor([0, 3]), 5).float().matmul(table).square().sum().backward()
    assert table.grad is not None
    assert table.grad.abs().sum(1).ne(0).tolist() == [True, False, False, True, False]


def test_the_costs_grow_with_the_vocabulary_and_are_told() -> None:
    found = one_hot(size=50)
    assert [cost["table_numbers"] // cost["one_hot_numbers"] for cost in found["costs"]] == [50] * 4
    lines, rows = told(found)
    assert len(rows) == 4
    assert any("as far from" in line for line in lines)


def test_too_few_words_are_refused() -> None:
    with pytest.raises(InputError, match="words must be at least 3 different ones, got 2"):
        one_hot(["a", "b", "b"])
