"""The column, the picture and the table of a task with labels, and none of them without one."""
from __future__ import annotations

from typing import Any

import pytest

from polysemy.report.page import render_page, table_csv
from polysemy.report.plots import label_bars

from .fake_study import fake_study


@pytest.fixture
def study() -> dict[str, Any]:
    """Three rungs that learned labels, one that failed to."""
    found = fake_study()
    found["downstream"] = {"file": "reviews.tsv <b>", "labels": ["down", "up"], "train": 4_321, "test": 1_000}
    scores = {"unigram": 0.5, "bert": 0.912, "roberta": 0.897}
    for number, rung in enumerate(found["rungs"]):
        rung["number"], rung["series"] = number, None if rung["kind"] == "control" else number
        if rung["name"] in scores:
            score = scores[rung["name"]]
            rung["downstream"] = {"score": score, "interval": [score - 0.02, score + 0.02], "how": "fine-tuned",
                                  "cpu_seconds": 75.0, "metrics": {"macro_f1": score}}
    found["rungs"][5]["downstream"] = {"error": "no <i>memory</i>"}
    return found


def test_the_page_ranks_who_learned_the_labels(study: dict[str, Any]) -> None:
    page = render_page(study)
    task = page[page.index("Who learns the labels"):page.index("The same gaps")]
    places = [task.index(text) for text in ("91.2 %", "89.7 %", "50.0 %", "failed: no")]
    assert places == sorted(places)
    assert "89.2 % to 93.2 %" in task
    assert "<i>memory" not in page
    assert "1,000 unseen texts of reviews.tsv &lt;b&gt;" in page


def test_the_bars_stand_in_order_with_the_most_frequent_label_as_a_line(study: dict[str, Any]) -> None:
    figure = label_bars(study["rungs"])
    assert figure is not None
    assert [round(bar.get_width(), 3) for bar in figure.axes[0].patches] == [0.897, 0.912]
    assert "most frequent label" in [text.get_text() for text in figure.axes[0].texts]


def test_without_a_task_there_is_no_trace_of_one() -> None:
    study = fake_study()
    assert "Who learns the labels" not in render_page(study)
    assert ">labels<" not in render_page(study)
    assert label_bars(study["rungs"]) is None


def test_the_table_for_spreadsheets_has_the_scores(study: dict[str, Any]) -> None:
    rows = [line.split(",") for line in table_csv(study).splitlines()]
    at = rows[0].index("labels")
    assert next(row for row in rows if row[0] == "bert")[at:at + 2] == ["0.912", "75.0"]
