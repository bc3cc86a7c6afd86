"""Pooling: real tokens alone count, whatever stands beside them."""
from __future__ import annotations

import pytest
import torch

from polysemy.errors import InputError
from polysemy.nn.pooling import POOLINGS, Pooling, normalized, pool, pooled_places, shortened

LENGTHS = (3, 1, 5)


def batch(width: int, fill: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """States (3, width, 4) and documents, `fill` at padding."""
    generator = torch.Generator().manual_seed(0)
    states = torch.full((3, width, 4), fill)
    for row, n in enumerate(LENGTHS):
        states[row, :n] = torch.randn(n, 4, generator=generator)
    documents = torch.where(torch.arange(width) < torch.tensor(LENGTHS)[:, None], 0, -1)
    return states, documents


def pooled(width: int, pooling: Pooling, fill: float = 0.0) -> torch.Tensor:
    states, documents = batch(width, fill)
    at, lengths = pooled_places(documents, pooling)
    return pool(states.flatten(0, 1)[at], lengths, pooling)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_each_pooling_is_its_definition(pooling: Pooling) -> None:
    states, _ = batch(5)
    rows = [states[row, :n] for row, n in enumerate(LENGTHS)]
    wanted = {"mean": [x.mean(0) for x in rows], "cls": [x[0] for x in rows], "last": [x[-1] for x in rows],
              "max": [x.amax(0) for x in rows]}[pooling]
    torch.testing.assert_close(pooled(5, pooling), torch.stack(wanted))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_no_bit(pooling: Pooling) -> None:
    assert torch.equal(pooled(5, pooling), pooled(9, pooling, fill=1e9))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_go_to_real_tokens_alone(pooling: Pooling) -> None:
    states, documents = batch(6)
    states.requires_grad_()
    at, lengths = pooled_places(documents, pooling)
    pool(states.flatten(0, 1)[at], lengths, pooling).sum().backward()
    assert states.grad is not None
    assert not states.grad[documents < 0].any()
    assert states.grad.sum() == pytest.approx(12)  # every number of every vector has weight 1 in all


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_row_without_a_token_gets_zeros(pooling: Pooling) -> None:
    documents = torch.tensor([[-1, -1], [0, 0], [-1, -1]])
    at, lengths = pooled_places(documents, pooling)
    found = pool(torch.ones(6, 3)[at], lengths, pooling)
    assert torch.equal(found, torch.tensor([[0.0] * 3, [1.0] * 3, [0.0] * 3]))


def test_vectors_are_cut_and_normalized() -> None:
    vectors = torch.tensor([[3.0, 4.0, 12.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(normalized(shortened(vectors, 2)), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert shortened(vectors, None) is vectors
    with pytest.raises(InputError, match=r"dimensions must be in 1\.\.3, got 4"):
        shortened(vectors, 4)
