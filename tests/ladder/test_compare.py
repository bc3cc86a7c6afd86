"""Run folders side by side: what lies in them, on one page."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polysemy.artifact import write_json
from polysemy.errors import InputError
from polysemy.ladder.compare import compare_runs, run_row


def make_run(folder: Path, recipe: str = "bert", *, items: str | None = "a" * 64, accuracy: float = 0.3) -> Path:
    """A folder with the files of a finished run; its weights are beside the point here."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {
        "format": 1, "recipe": recipe, "files": {}, "seed": 1, "budget_text": "20 minutes",
        "config": {"recipe": recipe, "size": "mini"},
        "results": {"seconds": 1200.0, "parameters": 6_000_000, "scores": {"held_out_masked_lm": 3.9}}})
    rows = [{"step": 1, "seconds": 1.0, "loss": 9.0}, {"step": 500, "seconds": 60.0, "held_out_masked_lm": 5.0},
            {"step": 900, "seconds": 110.0, "held_out_masked_lm": 3.9}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 901, "held_out_m')
    if items:
        cloze: dict[str, Any] = {"accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01], "mrr": 0.5,
                                 "bits": 3.0, "items": 2000, "items_hash": items,
                                 "bands": [{"name": "1-100", "accuracy": accuracy}, {"name": "rarer", "accuracy": 0.2}]}
        write_json(folder / "evaluation.json", {"tasks": {"cloze": cloze, "loss": {"masked_lm_loss": 4.0},
                                                          "speed": {"milliseconds_p50": 3.0, "bytes": 24_000_000}}})
    return folder


def test_a_row_holds_what_lies_in_the_folder(tmp_path: Path) -> None:
    row = run_row(make_run(tmp_path / "bert"), "bert")
    assert (row["seconds"], row["parameters"], row["bytes"], row["milliseconds"]) == (1200.0, 6_000_000, 24e6, 3.0)
    assert row["cloze"]["accuracy"] == 0.3
    assert row["curve"] == [{"seconds": 60.0, "loss": 5.0}, {"seconds": 110.0, "loss": 3.9}]
    assert row["loss"] == 4.0


def test_runs_stand_on_one_page_with_their_curves(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "bert"), make_run(tmp_path / "albert", "albert", accuracy=0.35)]
    page = compare_runs(runs, tmp_path / "out" / "report.html").read_text()
    assert page.index(">albert<") < page.index(">bert<")
    assert '<figure id="loss-seconds">' in page
    assert '<figure id="accuracy-bytes">' in page
    assert "different questions" not in page


def test_scores_on_different_questions_are_marked(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", items="b" * 64)]
    page = compare_runs(runs, tmp_path / "report.html").read_text()
    assert "answered different questions" in page
    assert "questions aaaaaa" in page


def test_a_run_that_was_not_judged_has_its_losses(tmp_path: Path) -> None:
    row = run_row(make_run(tmp_path / "a", items=None), "a")
    assert row["cloze"] is None
    assert row["loss"] == 3.9
    assert "not judged: polysemy evaluate" in row["remarks"]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / place / "bert") for place in ("x", "y")]
    page = compare_runs(runs, tmp_path / "report.html").read_text()
    assert "x/bert" in page
    assert "y/bert" in page


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a run folder"):
        compare_runs([tmp_path / "nothing"], tmp_path / "report.html")
    with pytest.raises(InputError, match="at least one run"):
        compare_runs([], tmp_path / "report.html")
    run = make_run(tmp_path / "a")
    with pytest.raises(InputError, match="must differ"):
        compare_runs([run, run], tmp_path / "report.html")
    write_json(run / "evaluation.json", {"tasks": [1]})
    with pytest.raises(InputError, match="must be one that polysemy evaluate wrote"):
        compare_runs([run], tmp_path / "report.html")
