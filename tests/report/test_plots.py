"""Pictures: what is on them, labels that do not touch, and no state left behind."""
from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from polysemy.report import plots
from polysemy.report.crossings import crossing, crossings
from polysemy.report.page import render_page
from polysemy.report.style import COLORS, drawable, spread, to_svg

from .fake_study import control, fake_study, trained


def numbered(study: dict[str, Any]) -> dict[str, Any]:
    render_page(study)
    return study


def test_a_study_gives_its_five_pictures_without_pyplot() -> None:
    found = plots.pictures(numbered(fake_study()))
    assert [name for name, *_ in found] == ["accuracy-seconds", "loss-seconds", "accuracy-bytes",
                                            "accuracy-milliseconds", "accuracy-bands"]
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("rungs", [[], [trained("a", 0.3, 1, 1, 4)], [control("c", 0.06)]])
def test_pictures_without_data_are_left_out(rungs: list[dict[str, Any]]) -> None:
    names = [name for name, *_ in plots.pictures(numbered({**fake_study(), "rungs": rungs}))]
    assert "accuracy-bytes" not in names


def test_all_rungs_are_named_at_their_data() -> None:
    study = numbered(fake_study())
    for name, _, _, figure in plots.pictures(study):
        svg = to_svg(figure, name, name)
        expected = ["bert", "roberta", "albert", "spanbert", "distilbert"]
        expected += ["bigram"] if name != "loss-seconds" else []
        assert all(f">{label}<" in svg for label in expected), name
        assert "unigram" not in svg  # who only guesses is the chance line


def test_labels_at_points_do_not_overlap() -> None:
    study = {**fake_study(), "rungs": [trained(f"rung{i}", 0.3 + 0.001 * i, 10 + 0.1 * i, 3, 4) for i in range(6)]}
    figure = next(figure for name, *_, figure in plots.pictures(numbered(study)) if name == "accuracy-bytes")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts if text.get_text().startswith("rung")]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for a, b in itertools.combinations([box.padded(-1.5) for box in boxes], 2))


@pytest.mark.parametrize("wanted", [[0.5] * 5, [0.0, 0.01, 0.02], [0.99, 1.0, 1.0], [0.2, 0.9, 0.21], [0.5], []])
def test_spread_labels_keep_their_order_their_distance_and_the_frame(wanted: list[float]) -> None:
    found = spread(list(wanted), 0.06, 0.0, 1.0)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in found)
    assert all(b - a >= 0.06 - 1e-9 for a, b in itertools.pairwise(sorted(found)))
    for i, j in itertools.combinations(range(len(wanted)), 2):
        if wanted[i] < wanted[j]:
            assert found[i] < found[j]


def test_labels_with_room_stay_where_they_belong() -> None:
    assert spread([0.1, 0.5, 0.9], 0.06, 0.0, 1.0) == pytest.approx([0.1, 0.5, 0.9])


def test_characters_outside_the_font_become_dots_not_boxes() -> None:
    assert drawable("bert 模型") == "bert ··"


def test_colors_are_told_apart_by_value() -> None:
    lights = [light.lower() for light, _ in COLORS.values()]
    assert len(set(lights)) == len(lights)


def test_a_crossing_is_straight_on_a_logarithmic_axis() -> None:
    assert crossing([(1, 0.1), (100, 0.3)], 0.2) == pytest.approx(10)
    assert crossing([(1, 0.1), (100, 0.3)], 0.05) == 0
    assert crossing([(1, 0.1), (100, 0.3)], 0.3) is None
    assert crossing([], 0.1) is None


def test_only_the_last_crossing_counts() -> None:
    assert crossing([(1, 0.3), (10, 0.1), (1000, 0.3)], 0.2) == pytest.approx(100)


def test_who_overtakes_counting_is_said_and_who_does_not() -> None:
    [line] = crossings(numbered(fake_study())["rungs"][:6])
    assert line.startswith("Context beats the bigram (21.5 %)")
    assert line.index("roberta") < line.index("bert after")
    slow = [trained("bert", 0.1, 1, 1, 4), control("bigram", 0.4, counts=True)]
    assert "counting wins" in crossings(numbered({"rungs": slow})["rungs"])[0]
