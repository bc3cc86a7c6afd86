"""Demonstrations of attention: why scores are divided, who may look at whom, how many heads."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polysemy.demos import heads, masks, positions, scale, schedule, vanish
from polysemy.errors import InputError
from polysemy.nn.attention import Visibility
from polysemy.report.demo_pictures import PICTURES, draw
from polysemy.runtime import random_for


@pytest.fixture(scope="module")
def scaled() -> dict[str, Any]:
    return scale.scale()


def test_scaled_rows_stay_as_open_whatever_the_width(scaled: dict[str, Any]) -> None:
    for way in ("scaled", "unscaled, T5's weights"):
        measures = scaled["ways"][way]
        np.testing.assert_allclose(measures["deviation"][1:], 1, atol=0.1)  # variance 1 at the start, SPEC's 1 +- 0.1
        assert max(measures["entropy"][1:]) - min(measures["entropy"][1:]) < 0.05
        assert min(measures["gradient"]) > 0.1


def test_unscaled_rows_close_and_their_gradient_dies(scaled: dict[str, Any]) -> None:
    plain = scaled["ways"]["unscaled"]
    assert plain["entropy"] == sorted(plain["entropy"], reverse=True)
    assert plain["entropy"][-1] < 0.05
    assert plain["gradient"][-1] < 1e-3
    np.testing.assert_allclose(np.divide(plain["deviation"], np.sqrt(scaled["widths"])), 1, atol=0.35)


def test_the_gradient_is_that_of_the_softmax() -> None:
    scores = random_for("softmax").normal(size=(1, 6))
    whole = torch.autograd.functional.jacobian(lambda x: x.softmax(-1), torch.tensor(scores[0]))
    assert isinstance(whole, torch.Tensor)
    found = scale.measure(scale.softmax(scores), scores)["gradient"]
    assert found == pytest.approx(float(whole.norm()), abs=1e-12)


def test_the_masks_are_those_of_the_library() -> None:
    found = {name: torch.tensor(mask["grid"]).bool() for name, mask in masks.masks(10, reach=2, memory=4).items()}
    rows = torch.zeros(1, 10, dtype=torch.long)
    causal = Visibility.build(documents=rows.index_fill(1, torch.tensor([9]), -1), causal=True).mask
    assert causal is not None
    assert torch.equal(found["causal"][:9, :9], causal[0, 0, :9, :9])
    packed = Visibility.build(documents=(torch.arange(10) >= 5).long()[None]).mask
    assert packed is not None
    assert torch.equal(found["packed"], packed[0, 0])
    assert torch.equal(found["local causal"], found["local"] & found["causal"])
    assert torch.equal(found["memory"][:, 4:], found["causal"])
    assert found["memory"][:, :4].all()
    assert found["linformer"].shape == (10, 4)


def test_what_a_mask_costs_is_counted_and_told() -> None:
    found = masks.masks(8, reach=1)
    assert found["full"]["pairs"] == 64
    assert found["causal"]["pairs"] == 36
    assert found["local"]["pairs"] == 22
    assert masks.told(found).count("\n\n") == len(found) - 1


@pytest.mark.parametrize("wrong", [{"size": 1}, {"reach": -1}, {"slots": 0}, {"memory": -1}])
def test_impossible_masks_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} must be at least"):
        masks.masks(**wrong)


def test_every_head_reads_the_whole_input_not_its_slice() -> None:
    """Changing four numbers of the input changes the weights of all eight heads."""
    model = heads.Looker(32, 8, 0)
    ids = torch.arange(heads.LENGTH)[None] % heads.SYMBOLS
    x = (model.symbols(ids) + model.places.weight).detach()
    changed = x.clone()
    changed[..., :4] = 0
    before: list[torch.Tensor] = []
    for inputs in (x, changed):
        model.attention(inputs, Visibility(causal=True), weights=before)
    assert (before[0] - before[1]).abs().amax((0, 2, 3)).min() > 1e-3


def test_heads_cost_nothing_and_are_told() -> None:
    found = heads.heads([1, 8], steps=2)
    assert len({row["parameters"] for row in found["rows"]}) == 1
    lines, rows = heads.told(found)
    assert [row[:2] for row in rows] == [("1", "32"), ("8", "4")]
    assert "chance 12 %" in lines[0]


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(InputError, match="heads must divide the width 32, got 5"):
        heads.heads([5])


@pytest.mark.slow
def test_four_heads_beat_one_and_thirty_two() -> None:
    one, four, many = (row["accuracy"] for row in heads.heads([1, 4, 32])["rows"])
    assert four > 0.97
    assert one < 0.7
    assert many < four - 0.1


@pytest.mark.parametrize("name", list(PICTURES))
def test_every_demonstration_has_a_picture(name: str, scaled: dict[str, Any], tmp_path: Path) -> None:
    made: dict[str, Any] = {
        "scale": lambda: scaled, "masks": masks.masks, "heads": lambda: heads.heads([1, 8], steps=1),
        "positions": positions.positions, "schedule": schedule.schedule,
        "vanish": lambda: vanish.vanish(lag=2, steps=1, distances=[1, 2], size=8),
    }
    found = made[name]()
    assert draw(name, found, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    svg = draw(name, found, tmp_path / "a.svg").read_text()
    assert svg.startswith("<svg")
    assert "var(--" not in svg
    with pytest.raises(InputError, match="picture must be a file name that ends in"):
        draw(name, found, tmp_path / "a.pdf")
