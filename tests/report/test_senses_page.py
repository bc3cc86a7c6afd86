"""The page of a word's uses: every point with its sentence, all text escaped, nothing fetched; the map's places."""
from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from polysemy.errors import InputError
from polysemy.report.senses_map import ASPECT, draw_map, lay_out
from polysemy.report.senses_page import render_page, write_page

NASTY = "</script><b>&"


def usage(groups: int = 3, each: int = 9) -> dict[str, Any]:
    """A made-up map: each group around its own place."""
    uses = [{"left": f"{NASTY} use {i} of the ", "word": "bank", "right": f" in group {i % groups}.", "document": i,
             "sense": i % groups, "x": (i % groups) / groups + 0.02 * (i % 5), "y": 0.5 - 0.03 * (i % 7),
             "central": 1 - i / 100} for i in range(groups * each)]
    senses = [{"words": [f"word{number}", "<i>river"], "count": each,
               "examples": [i for i in range(groups * each) if i % groups == number]} for number in range(groups)]
    return {"uses": uses, "senses": senses, "silhouettes": {"2": 0.1, "3": 0.2}, "shown": 0.25, "self_similarity": 0.7,
            "baseline": 0.2}


def test_every_use_is_a_point_that_tells_its_sentence() -> None:
    page = render_page(usage(), word="bank", model="bert, layer 8")
    assert len(re.findall(r'<use class="dot t\d"', page)) == 27
    assert page.count("<title>&lt;/script&gt;&lt;b&gt;&amp; use") == 27
    rows = json.loads(re.search(r'id="data">(.*?)</script>', page).group(1))  # type: ignore[union-attr]
    assert rows[4] == [f"{NASTY} use 4 of the ", "bank", " in group 1.", 1]
    assert page.count('class="kwic') == 27
    assert "<summary>3 more</summary>" in page


def test_text_is_escaped_and_nothing_is_fetched() -> None:
    page = render_page(usage(), word="<img src=x>", model=NASTY, facts=[NASTY],
                       static={"model": NASTY, "neighbors": [(NASTY, 0.5), ("money", 0.4)]})
    assert "<img" not in page
    assert "<i>river" not in page
    assert "<b>&" not in page
    assert page.count("</script>") == 2
    assert not re.search(r"https?://|url\(|@import", page)
    assert "default-src 'none'" in page


def test_the_static_vector_is_one_point_with_its_neighbors() -> None:
    near = [(f"near{i}", 0.9 - i / 20) for i in range(12)]
    page = render_page(usage(), word="bank", static={"model": "w2v", "neighbors": near})
    orbit = page[page.index('id="orbit"'):page.index("</figure>", page.index('id="orbit"'))]
    assert orbit.count("<circle class=\"one\"") == 1
    assert orbit.count("<title>cosine") == 9
    assert "w2v has one vector for all 27 uses" in page
    assert 'id="orbit"' not in render_page(usage(), word="bank")


def test_points_fill_the_box_in_one_scale_and_labels_stand_apart() -> None:
    found = usage(6)
    layout = lay_out(found)
    assert all(0.03 < x < 0.97 and 0.03 < y < 0.97 for x, y in layout.points)
    (a, b), (c, d) = layout.points[0], layout.points[1]
    first, second = found["uses"][0], found["uses"][1]
    scale = (second["x"] - first["x"]) / (ASPECT * (c - a))
    assert (second["y"] - first["y"]) / -(d - b) == pytest.approx(scale)
    for i, (x, y) in enumerate(layout.labels):
        for u, v in layout.labels[:i]:
            assert abs(x - u) >= 0.29 or abs(y - v) >= 0.08


def test_no_ellipse_leaves_the_box() -> None:
    found = usage(2)
    for i, use in enumerate(found["uses"]):  # two tall clouds beside each other, each of points at its two ends
        use["x"], use["y"], use["sense"] = 2.0 * (i % 2) + 0.1 * (i % 3), 3.0 * (i // 2 % 2) + 0.01 * i, i % 2
    for one in lay_out(found).ellipses:
        assert one is not None
        turn = math.radians(one.turn)
        tall = math.hypot(one.long * math.sin(turn), one.short * math.cos(turn))
        assert 0.03 < one.y - tall < one.y + tall < 0.97


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_page_and_picture_are_written_for_any_number_of_groups(groups: int, tmp_path: Path) -> None:
    found = usage(groups, 2)
    found["senses"][0]["words"] = []
    write_page(found, tmp_path / "new" / "bank.html", word="银行", model="bert")
    draw_map(found, tmp_path / "bank.png", word="银行", model="bert")
    assert "no word tells this group" in (tmp_path / "new" / "bank.html").read_text("utf-8")
    assert (tmp_path / "bank.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_place_is_a_map_too() -> None:
    found = usage(1)
    for use in found["uses"]:
        use["x"] = use["y"] = 0.0
    assert {(round(x, 6), round(y, 6)) for x, y in lay_out(found).points} == {(0.5, 0.5)}
    assert "One point for all uses" in render_page(found, word="bank")
    assert "One point for all uses" not in render_page(usage(1), word="bank")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"page must be a file name that ends in \.html"):
        write_page(usage(), tmp_path / "a.txt", word="bank")
    with pytest.raises(InputError, match=r"map must be a file name that ends in \.png"):
        draw_map(usage(), tmp_path / "a.svg", word="bank")
