"""The demonstration of the progressive learning rate: up, then down, and the picture."""
from __future__ import annotations

from itertools import pairwise

import pytest

from polysemy.demos.schedule import schedule, told
from polysemy.errors import InputError
from polysemy.report.demo_pictures import draw


def test_the_rate_climbs_over_the_warm_up_and_then_falls_to_nothing() -> None:
    found = schedule(0.2, 101)
    linear = found["factors"]["linear"]
    assert linear[0] == 0
    assert linear.index(max(linear)) == 20
    assert all(a < b for a, b in pairwise(linear[:21]))
    assert all(a > b for a, b in pairwise(linear[20:]))
    assert linear[-1] == found["factors"]["cosine"][-1] == 0
    assert found["factors"]["constant"][-1] == 1


def test_it_is_told_as_a_table_and_drawn(tmp_path) -> None:
    lines, rows = told(schedule())
    assert "10 %" in lines[0]
    assert rows[2][:2] == ("10%", "1.000")
    draw("schedule", schedule(), tmp_path / "schedule.png")
    assert (tmp_path / "schedule.png").stat().st_size > 5000


@pytest.mark.parametrize("wrong", [{"warmup_rate": 1.0}, {"points": 1}])
def test_wrong_settings_are_named(wrong) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        schedule(**wrong)
