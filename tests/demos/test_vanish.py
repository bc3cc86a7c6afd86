"""Gradients die with distance in a plain recurrent network, more slowly in an LSTM, hardly in attention.

And a recurrent network's places wait for each other.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polysemy.demos.vanish import KINDS, Recall, cpu_seconds, gradient_norm, told, vanish
from polysemy.errors import InputError


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    return vanish(lag=8, steps=2, distances=[1, 8, 60], size=16, lengths=[4, 40])


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
    again = vanish(lag=8, steps=2, distances=[1, 8, 60], size=16, lengths=[4, 40])
    measured = {"speed", "together"}
    assert {name: again[name] for name in again.keys() - measured} == {
        name: quick[name] for name in quick.keys() - measured}


def test_it_is_told_with_a_row_a_distance(quick: dict[str, Any]) -> None:
    lines, rows = told(quick)
    assert [row[0] for row in rows] == ["1", "8", "60"]
    assert rows[2][7:] == ("", "", "")  # beyond what was trained nothing is asked
    assert "8 places before" in lines[1]


def test_the_speed_is_told_with_a_line_a_length(quick: dict[str, Any]) -> None:
    found = {**quick, "speed": {passes: {kind: [factor * i for i in (0.001, 0.02)] for kind in KINDS}
                                for passes, factor in (("forward", 1), ("both", 3))},
             "together": {"rnn": 6.02, "lstm": 2.4, "attention": 1.1}}
    lines = told(found)[0][2:]
    assert [line.split() for line in lines[1:6]] == [
        ["tokens", "RNN", "LSTM", "attention"],
        ["forward", "4", *["1.00", "(4,000)"] * 3],
        ["forward", "40", *["20.00", "(2,000)"] * 3],
        ["forward", "and", "backward", "4", *["3.00", "(1,333)"] * 3],
        ["forward", "and", "backward", "40", *["60.00", "(667)"] * 3],
    ]
    assert "16 texts of 40 at once, forward: 6.0 times (RNN), 2.4 times (LSTM), 1.1 times (attention)" in lines[6]


def test_each_kind_is_timed_at_each_length(quick: dict[str, Any]) -> None:
    for passes in ("forward", "both"):
        assert list(quick["speed"][passes]) == list(KINDS)
        assert all(len(times) == 2 and min(times) > 0 for times in quick["speed"][passes].values())
    assert all(gain > 0 for gain in quick["together"].values())


@pytest.mark.parametrize("kind", KINDS)
def test_timing_leaves_neither_gradients_nor_threads_behind(kind: Any) -> None:
    model, threads = Recall(kind, 8, 5, 0), torch.get_num_threads()
    before = {name: value.clone() for name, value in model.modules.state_dict().items()}
    cpu_seconds(model, 9, True)  # longer than its positions: only the layer is timed
    assert torch.get_num_threads() == threads
    assert all(parameter.grad is None for parameter in model.modules.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.modules.state_dict().items())


@pytest.mark.parametrize("wrong", [{"lag": 0}, {"steps": 0}, {"size": 6}, {"distances": [0, 3]}, {"distances": []},
                                   {"lengths": [0, 16]}, {"lengths": []}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        vanish(**wrong)


@pytest.mark.slow
def test_one_text_leaves_a_processor_unused_in_a_recurrent_network_and_not_in_attention() -> None:
    """Processor time on one thread, so a busy machine changes little: 6.0 times to 1.1 where this was written."""
    together = vanish(lag=1, steps=1, distances=[1], lengths=[1024])["together"]
    assert together["rnn"] > 2 * together["attention"]
    assert together["attention"] < 2


@pytest.mark.slow
def test_attention_gains_more_from_a_longer_text_than_the_plain_network() -> None:
    """Tokens a second at 256 over those at 16, forward and backward: 7.6 times and 1.2 times where this was written."""
    speed = vanish(lag=1, steps=1, distances=[1], lengths=[16, 256])["speed"]["both"]
    gain = {kind: 16 * short / long for kind, (short, long) in speed.items()}
    assert gain["attention"] > 2 * gain["rnn"]


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
