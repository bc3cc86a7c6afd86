"""The demonstration of positions: lengths, rotations, products that know the distance alone, and the picture."""
from __future__ import annotations

import math

import numpy as np
import pytest

from polysemy.demos.positions import positions, shift_error, told
from polysemy.errors import InputError
from polysemy.report.position_picture import positions as picture


def test_every_position_has_half_the_width_as_its_squared_length() -> None:
    assert positions(size=20, length=30)["norms"] == [10.0]


@pytest.mark.parametrize("kind", ["sinusoid", "rotary"])
def test_products_depend_on_the_distance_alone(kind: str) -> None:
    found = positions(size=32)
    for row in found["rows"]:
        assert np.ptp(row[kind]) < 1e-9
    assert len({round(row[kind][0], 3) for row in found["rows"]}) == len(found["rows"])


def test_products_of_sinusoids_are_sums_of_cosines() -> None:
    row = positions(size=16)["rows"][2]
    wanted = sum(math.cos(row["shift"] * 10_000 ** (-2 * i / 16)) for i in range(8))
    assert row["sinusoid"][0] == pytest.approx(wanted, abs=1e-9)


def test_unshifted_rotary_is_the_plain_product() -> None:
    found = positions(size=8)
    assert found["rows"][0]["rotary"][2] == pytest.approx(found["plain"], abs=1e-9)


def test_a_step_is_one_rotation_at_every_position() -> None:
    assert shift_error(32) < 1e-9


def test_it_is_told_with_a_row_a_shift() -> None:
    found = positions()
    lines, rows = told(found)
    assert [row[0] for row in rows] == ["0", "1", "4", "16", "64"]
    assert all(len(row) == 7 and row[1] == row[2] == row[3] and row[4] == row[5] == row[6] for row in rows)
    assert "squared length 32" in lines[0]


def test_the_picture_shows_the_table_and_its_products() -> None:
    found = positions(size=8, length=12)
    panels = picture(found).axes
    np.testing.assert_array_equal(panels[0].images[0].get_array(), np.array(found["table"]))
    assert panels[1].images[0].get_array().shape == (12, 12)  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [{"size": 3}, {"size": 0}, {"length": 1}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be"):
        positions(**wrong)
