"""Positions: the closed forms of sines and rotations."""
from __future__ import annotations

import math

import pytest
import torch

from polysemy.errors import InputError
from polysemy.nn.position import Learned, LearnedPosition, Rotary, Sinusoidal, SinusoidalPosition, rotation, sinusoid

LAYOUTS = ["interleaved", "concatenated", "fairseq"]
P = torch.arange(-3, 40)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sinusoids_have_norm_half_the_width(layout: str) -> None:
    squared = sinusoid(P, 16, layout).square().sum(-1)
    torch.testing.assert_close(squared, torch.full_like(squared, 8), atol=1e-10, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_product_of_sinusoids_depends_on_the_distance_alone(layout: str) -> None:
    table = sinusoid(P, 16, layout)
    products = table @ table.T
    for distance in (0, 1, 7):
        line = products.diagonal(distance)
        torch.testing.assert_close(line, line[:1].expand_as(line), atol=1e-10, rtol=0)


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoid(torch.tensor([0, 5]), 6)
    for i in range(3):
        angle = 5 / 10_000 ** (2 * i / 6)
        assert table[1, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-12)
        assert table[1, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1]


def test_a_shift_is_a_rotation_of_each_pair() -> None:
    table = sinusoid(P, 8).unflatten(-1, (4, 2))  # (positions, pairs, (sin, cos))
    steps = 10_000.0 ** -(torch.arange(4, dtype=torch.float64) / 4)
    turn = torch.stack([torch.stack([(3 * steps).cos(), (3 * steps).sin()], -1),
                        torch.stack([-(3 * steps).sin(), (3 * steps).cos()], -1)], -2)
    torch.testing.assert_close(torch.einsum("pic,ibc->pib", table[:-3], turn), table[3:], atol=1e-10, rtol=0)


def test_layouts_hold_the_same_waves() -> None:
    paper, halves = sinusoid(P, 10), sinusoid(P, 10, "concatenated")
    torch.testing.assert_close(torch.cat([paper[:, 0::2], paper[:, 1::2]], -1), halves)
    assert sinusoid(torch.tensor([1]), 10, "fairseq")[0, 4].item() == pytest.approx(math.sin(1e-4), abs=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_odd_width_ends_in_zeros(layout: str) -> None:
    table = sinusoid(P, 7, layout)
    assert table.shape == (len(P), 7)
    assert table[:, 6].abs().max() == 0


def test_offset_shifts_positions() -> None:
    positions = torch.arange(4)[None]
    shifted = SinusoidalPosition(Sinusoidal(offset=2), 8)(positions)
    torch.testing.assert_close(shifted, sinusoid(positions + 2, 8))
    learned = LearnedPosition(Learned(max_positions=5, offset=2), 3)
    torch.testing.assert_close(learned(positions)[0], learned.table.weight[2:6])


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_rotary_scores_depend_on_the_distance_alone(layout: str) -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64).expand(2, 1, 1, 12, 8)
    turn = rotation(Rotary(layout=layout), torch.arange(12)[None], 8, torch.float64)  # type: ignore[arg-type]
    scores = turn.turn(q) @ turn.turn(k).transpose(-1, -2)
    for distance in (-4, 0, 3):
        line = scores[0, 0].diagonal(distance)
        torch.testing.assert_close(line, line[:1].expand_as(line), atol=1e-10, rtol=0)
    assert (scores[0, 0, 0, 0] - scores[0, 0, 0, 1]).abs() > 1e-3


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_rotary_keeps_lengths_and_position_zero(layout: str) -> None:
    x = torch.randn(1, 2, 12, 8, dtype=torch.float64)
    turned = rotation(Rotary(layout=layout), torch.arange(12)[None], 8, torch.float64).turn(x)  # type: ignore[arg-type]
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-10, rtol=0)
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0], atol=0, rtol=0)


def test_rotary_layouts_agree_after_a_permutation_of_coordinates() -> None:
    x = torch.randn(1, 2, 12, 8, dtype=torch.float64)
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    positions = torch.arange(12)[None]
    half = rotation(Rotary(layout="half"), positions, 8, torch.float64).turn(x[..., order])
    pairs = rotation(Rotary(layout="interleaved"), positions, 8, torch.float64).turn(x)
    torch.testing.assert_close(pairs[..., order], half, atol=1e-10, rtol=0)


def test_impossible_positions_are_refused() -> None:
    with pytest.raises(InputError, match="max_positions must be in"):
        Learned(max_positions=0)
    with pytest.raises(InputError, match="base must be above 1"):
        Rotary(base=1.0)
