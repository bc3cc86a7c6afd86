"""The scalar mix: plain mean at first, one layer at will, joint norm, penalty."""
from __future__ import annotations

import pytest
import torch

from polysemy.errors import InputError
from polysemy.nn.dropout import dropout_key
from polysemy.nn.scalar_mix import ScalarMix


def layers(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(2, 5, 8, generator=generator, dtype=torch.float64) + 1 for _ in range(count)]


def test_begins_as_the_plain_mean() -> None:
    found = layers()
    torch.testing.assert_close(ScalarMix(3).double()(found), torch.stack(found).mean(0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_a_large_scalar_reproduces_its_layer(chosen: int) -> None:
    mix, found = ScalarMix(3).double(), layers()
    with torch.no_grad():
        mix.scalars[chosen] = 100.0
    torch.testing.assert_close(mix(found), found[chosen], atol=1e-12, rtol=0)
    with torch.no_grad():
        mix.gamma.fill_(2)
    torch.testing.assert_close(mix(found), 2 * found[chosen], atol=1e-12, rtol=0)


def test_norm_is_joint_over_the_visible_numbers_of_a_layer() -> None:
    mix, found = ScalarMix(2, norm=True).double(), layers(2)
    visible = torch.tensor([[True] * 5, [True, True, False, False, False]])
    wanted = sum((x - x[visible].mean()) / x[visible].std(unbiased=False) for x in found) / 2
    shown = mix(found, visible)
    torch.testing.assert_close(shown[visible], wanted[visible], atol=1e-9, rtol=0)  # type: ignore[index]
    noisy = [x.clone() for x in found]
    for x in noisy:
        x[1, 2:] = 1e6
    torch.testing.assert_close(mix(noisy, visible)[visible], shown[visible], atol=1e-12, rtol=0)


def test_a_task_can_learn_which_layer_serves_it() -> None:
    mix, found = ScalarMix(3).double(), layers()
    optimizer = torch.optim.Adam(mix.parameters(), 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        (mix(found) - 2 * found[1]).square().mean().backward()
        optimizer.step()
    assert mix.shares()[1] > 0.95
    assert float(mix.gamma.detach()) == pytest.approx(2, abs=0.1)


def test_the_penalty_is_the_square_of_the_scalars() -> None:
    mix = ScalarMix(2)
    assert float(mix.penalty(0.5).detach()) == 0
    with torch.no_grad():
        mix.scalars.copy_(torch.tensor([1.0, -3.0]))
    assert float(mix.penalty(0.5).detach()) == 5.0


def test_dropout_falls_on_the_mix_in_training() -> None:
    mix, found = ScalarMix(3, dropout=0.5).double(), layers()
    with dropout_key(0, 0, [0, 1]):
        dropped = mix(found)
    assert 0.3 < float((dropped == 0).double().mean()) < 0.7
    assert not bool((mix.eval()(found) == 0).any())


def test_the_number_of_layers_must_fit() -> None:
    with pytest.raises(InputError, match="layers must be as many as the mix was made for, got 2 and 3"):
        ScalarMix(3)(layers(2))
