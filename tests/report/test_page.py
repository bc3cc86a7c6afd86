"""The report page: everything shown, everything escaped, nothing fetched."""
from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from polysemy.errors import InputError
from polysemy.report.page import flat, ranking, render_page, table_csv, write_report

from .fake_study import control, fake_study, trained

EVIL = '<script>alert(1)</script><img src=x onerror="x()">'


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(fake_study(), tmp_path_factory.mktemp("report") / "report.html").read_text()


def test_the_page_asks_no_network_for_anything(page: str) -> None:
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)", page)
    links = [value for name, value in Reader(page).attributes if name in ("src", "href", "xlink:href", "action")]
    assert links
    assert all(value.startswith("#") for value in links)
    assert "script" not in Reader(page).tags


def test_the_page_forbids_requests_by_its_own_policy(page: str) -> None:
    assert "default-src 'none'" in page
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_the_recommendation_comes_first_then_the_table(page: str) -> None:
    order = [page.index(mark) for mark in ("Which one to ship", "All rungs, best first", 'class="pictures"',
                                           "The same gaps", "What each one sees", "Can the test be fooled",
                                           "How this was measured")]
    assert order == sorted(order)


def test_every_picture_is_inline_and_beside_the_page_as_png(tmp_path: Path) -> None:
    path = write_report(fake_study(), tmp_path / "deep" / "report.html")
    names = ["accuracy-seconds", "loss-seconds", "accuracy-bytes", "accuracy-milliseconds", "accuracy-bands"]
    for name in names:
        assert f'<figure id="{name}">' in path.read_text()
        assert path.with_name(f"report-{name}.png").read_bytes().startswith(b"\x89PNG")
    assert path.read_text().count("<svg") == len(names)
    assert "var(--c0)" in path.read_text()  # pictures follow light and dark


def test_the_same_study_gives_the_same_page(page: str, tmp_path: Path) -> None:
    assert write_report(fake_study(), tmp_path / "again.html").read_text() == page


def test_chinese_stands_in_the_page_as_text(page: str) -> None:
    assert "后来回到家乡教书" in Reader(page).text
    assert "银行" in Reader(page).text


def evil_study() -> dict[str, Any]:
    study = fake_study()
    study |= {"title": EVIL, "command": EVIL, "method": [EVIL], "language": '"><script>'}
    study["corpus"] = {"files": [EVIL], EVIL: 1, "words": 5}
    study["samples"] = [{"left": EVIL, "right": EVIL, "gold": EVIL}]
    study["controls"] = [{"name": EVIL, "accuracy": 0.06, "passed": True}]
    study["recommendation"] = {"choice": EVIL, "lines": [{"name": EVIL, "text": EVIL}]}
    study["cloze"]["bands"] = [{"name": EVIL}] * 5
    study["rungs"] = [trained(EVIL, 0.3, 10, 3, 4, sees=EVIL, settings={EVIL: EVIL}, remarks=[EVIL],
                              fills=[[{"text": EVIL, "probability": 0.5}]]),
                      trained("b", 0.3, 12, 5, 4), control(f"c {EVIL}", 0.2, counts=True),
                      {"name": "d", "kind": "failed", "error": EVIL}]
    return study


def test_markup_in_any_text_is_escaped(tmp_path: Path) -> None:
    page = write_report(evil_study(), tmp_path / "report.html").read_text()
    reader = Reader(page)
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert reader.text.count("alert(1)") > 10


@pytest.mark.parametrize("name", ["$\\frac{1}{", "模型 αβ", "a\nb\x1b[31mc", "x" * 500, "", "\u202eevil"])
def test_any_name_can_be_drawn_and_shown_on_one_line(name: str, tmp_path: Path) -> None:
    study = fake_study()
    study["rungs"] = [trained(name, 0.3, 10, 3, 4), trained("other", 0.4, 12, 5, 4)]
    page = write_report(study, tmp_path / "report.html").read_text()
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "<svg" in page


def test_a_csv_cell_is_never_a_formula() -> None:
    study = fake_study()
    study["rungs"] = [trained("=cmd|' /C calc'!A0", 0.3, 10, 3, 4, remarks=["+1", "@x\ny"]),
                      trained("-2+3", 0.2, 10, 3, 4)]
    rows = list(csv.reader(io.StringIO(table_csv(study))))
    assert rows[1][0] == "'=cmd|' /C calc'!A0"
    assert rows[2][0] == "'-2+3"
    assert rows[1][-1] == "'+1; @x y"
    assert float(rows[1][2]) == 0.3
    assert len(rows) == 3


def test_rungs_without_a_score_come_last_and_say_why(page: str) -> None:
    study = fake_study()
    render_page(study)
    assert ranking(study["rungs"])[0]["label"] == "hf:all-minilm"
    assert ranking(study["rungs"])[-1]["label"] == "hf:broken"
    assert "What failed" in page


def test_a_study_with_almost_nothing_still_gives_a_page(tmp_path: Path) -> None:
    page = write_report({"rungs": [{"name": "only", "kind": "trained"}]}, tmp_path / "report.html").read_text()
    assert "only" in page
    assert "<svg" not in page
    assert "Which one to ship" not in page


def test_the_report_must_be_an_html_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a file name that ends in \.html"):
        write_report(fake_study(), tmp_path / "report.txt")


def test_nested_settings_become_dotted_names() -> None:
    values = {"a": {"kind": "Tokens", "rate": 0.15}, "b": None, "c": 30_000, "d": True, "e": ("x", "y")}
    assert flat(values) == [("a", "Tokens"), ("a.rate", "0.15"), ("c", "30,000"), ("d", "True"), ("e", "x, y")]
