"""Adaptive softmax: torch's, a distribution, tied, and whole where nothing is cut off."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from polysemy.errors import InputError
from polysemy.nn.adaptive import AdaptiveSoftmax

SIZE, VOCABULARY, CUTOFFS = 16, 30, (5, 12)


def features(n: int = 40) -> Tensor:
    return torch.randn(n, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def softmax(tied: bool = False, bias: bool = False) -> AdaptiveSoftmax:
    made = AdaptiveSoftmax(SIZE, VOCABULARY, CUTOFFS, tied=tied, bias=bias).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        nn.init.normal_(parameter, generator=generator)
    return made


def targets(n: int = 40) -> Tensor:
    return torch.arange(n) % VOCABULARY


def table() -> Tensor:
    return torch.randn(VOCABULARY, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_it_is_that_of_torch() -> None:
    ours = softmax()
    theirs = nn.AdaptiveLogSoftmaxWithLoss(SIZE, VOCABULARY, list(CUTOFFS), dtype=torch.float64)
    with torch.no_grad():
        assert ours.head is not None
        theirs.head.weight.copy_(torch.cat([ours.head.weight, ours.clusters.weight]))
        for mine, other in zip(ours.tails, theirs.tail, strict=True):
            other[0].weight.copy_(mine["narrow"].weight)  # type: ignore[index]
            other[1].weight.copy_(mine["output"].weight)  # type: ignore[index]
    x, y = features().requires_grad_(), features().requires_grad_()
    loss, expected = ours.loss(x, targets()), theirs(y, targets()).loss * 40
    torch.testing.assert_close(loss, expected, atol=1e-10, rtol=0)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-10, rtol=0)
    torch.testing.assert_close(ours.log_probabilities(x), theirs.log_prob(y), atol=1e-10, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_probabilities_add_up_to_one_and_are_those_of_the_loss(tied: bool, bias: bool) -> None:
    made, vectors = softmax(tied, bias), table() if tied else None
    logs = made.log_probabilities(features(), vectors)
    assert logs.shape == (40, VOCABULARY)
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(40, dtype=torch.float64), atol=1e-12, rtol=0)
    picked = -logs.gather(1, targets()[:, None]).sum()
    torch.testing.assert_close(made.loss(features(), targets(), vectors), picked, atol=1e-10, rtol=0)


def test_tied_learns_in_every_row_of_the_table_it_was_asked_about() -> None:
    made, vectors = softmax(tied=True), table().requires_grad_()
    made.loss(features(3), torch.tensor([2, 7, 8]), vectors).backward()
    assert vectors.grad is not None
    touched = vectors.grad.abs().sum(1) > 0
    assert touched.tolist() == [True] * 12 + [False] * 18  # head and first cluster; nobody asked for the second
    assert not [name for name, _ in made.named_parameters() if "clusters" not in name]


@pytest.mark.parametrize("tied", [False, True])
def test_biases_that_start_from_counts_alone_say_how_frequent_each_token_is(tied: bool) -> None:
    made = AdaptiveSoftmax(SIZE, VOCABULARY, CUTOFFS, tied=tied, bias=True).double()
    counts = np.random.default_rng(0).integers(0, 50, VOCABULARY)
    made.start_from_counts(counts)
    logs = made.log_probabilities(torch.zeros(1, SIZE, dtype=torch.float64), table() if tied else None)
    shares = (counts + 1) / (counts + 1).sum()
    torch.testing.assert_close(logs[0], torch.from_numpy(np.log(shares)), atol=1e-6, rtol=0)


def test_no_targets_give_no_loss() -> None:
    assert softmax().loss(features(0), targets(0)).item() == 0


@pytest.mark.parametrize("cutoffs", [(), (0, 5), (5, 5), (12, 5), (5, 30)])
def test_cutoffs_that_do_not_climb_are_refused(cutoffs: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"cutoffs must climb within 1\.\.29"):
        AdaptiveSoftmax(SIZE, VOCABULARY, cutoffs)


def test_targets_beyond_the_vocabulary_are_refused() -> None:
    with pytest.raises(InputError, match=r"targets must be in 0\.\.29, got 3\.\.30"):
        softmax().loss(features(2), torch.tensor([3, 30]))
