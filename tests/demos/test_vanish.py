"""Gradients die with distance in a plain recurrent network, more slowly in an LSTM, hardly in attention."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polysemy.demos.vanish import KINDS, Recall, gradient_norm, told, vanish
from polysemy.errors import InputError


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    return vanish(lag=8, steps=2, distances=[1, 8, 60], size=16)


def test_the_fresh_gradient_dies_in_the_rnn_first_and_in_attention_never(quick: dict[str, Any]) -> None:
    fall = {kind: norms[-1] / norms[0] for kind, norms in quick["gradient"]["fresh"].items()}
    assert fall["rnn"] < 1e-6 * fall["lstm"]
    assert fall["lstm"] < 0.05 * fall["attention"]
    assert fall["attention"] > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_is_that_of_the_whole_derivative(kind: Any) -> None:
    """Random projections give in the mean what all rows of the derivative give exactly."""
    model = Recall(kind, 8, 5, 0)
    vectors = model.table(torch.tensor([[0, 1, 2, 3]])).detach()
    whole = torch.autograd.functional.jacobian(lambda x: model.last(x)[0], vectors)
    assert isinstance(whole, torch.Tensor)
    expected = float(whole[:, 0, 0].square().sum().sqrt())
    found = np.sqrt(np.mean([gradient_norm(model, 3, seed) ** 2 for seed in range(20)]))
    assert 0.6 * expected < found < 1.6 * expected  # other symbols, so not the same number


def test_the_same_seed_gives_the_same_numbers(quick: dict[str, Any]) -> None:
    assert vanish(lag=8, steps=2, distances=[1, 8, 60], size=16) == quick


def test_it_is_told_with_a_row_a_distance(quick: dict[str, Any]) -> None:
    lines, rows = told(quick)
    assert [row[0] for row in rows] == ["1", "8", "60"]
    assert rows[2][7:] == ("", "", "")  # beyond what was trained nothing is asked
    assert "8 places before" in lines[1]


@pytest.mark.parametrize("wrong", [{"lag": 0}, {"steps": 0}, {"size": 6}, {"distances": [0, 3]}, {"distances": []}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        vanish(**wrong)


@pytest.mark.slow
def test_at_lag_50_attention_remembers_more_than_the_lstm_and_that_more_than_the_rnn() -> None:
    found = vanish(lag=50, steps=200, distances=[1, 10, 50])
    right = {kind: shares[-1] for kind, shares in found["accuracy"].items()}
    assert right["rnn"] < 0.25
    assert right["rnn"] + 0.2 < right["lstm"] < right["attention"]
    assert right["attention"] > 0.98
    trained = found["gradient"]["trained"]
    assert trained["lstm"][-1] > 100 * found["gradient"]["fresh"]["lstm"][-1]  # its gates opened
    assert trained["rnn"][-1] < 1e-6 * trained["rnn"][0]
