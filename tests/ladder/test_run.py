"""A ladder climbed: one text for all, failures contained, stopped and gone on with, refused when it is another."""
from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.ladder import judging, run, rungs
from polysemy.ladder.builders import Built, Work
from polysemy.ladder.run import Source, run_ladder
from polysemy.ladder.rungs import RUNGS, Rung
from polysemy.ladder.settings import LadderConfig
from polysemy.ladder.study import summary
from polysemy.text.corpus import text_documents

from .small_text import documents

CONFIG = LadderConfig(size="tiny", quick=True, questions=150, minutes=0.01)
BUILT: list[str] = []
FAIL: set[str] = set()


class Longest:
    """Prefers the longest candidate: a model with an opinion and no sense."""

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        return np.array([[len(word) for word in item.candidates] for item in items], np.float64)


def build(work: Work, rung: Rung, folder: Path) -> Built:
    """A rung that takes no time and fails when told to."""
    BUILT.append(rung.name)
    if rung.name in FAIL:
        raise RuntimeError(f"{rung.name} broke\nin two lines \x1b[31m<script>")
    return Built(model=Longest(), seconds=0.5, bytes=1_000)


def use_small_table(patch: pytest.MonkeyPatch) -> None:
    """Two rungs that are trained in no time, few questions, and no asking of networks."""
    table = {name: RUNGS[name] for name in ("unigram", "bigram")}
    for name in ("first", "second"):
        table[name] = Rung(name=name, kind="trained", build=f"{__name__}:build", recipe="bert", sees="s", costs="c",
                           good_for="g")
    patch.setattr(rungs, "RUNGS", table)
    patch.setattr(run, "controls_of", lambda *_: [{"name": "blind", "accuracy": 0.06, "passed": True}])
    patch.setattr(run, "models_for_controls", lambda *_: ({}, {}))


@pytest.fixture(autouse=True)
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    BUILT.clear()
    FAIL.clear()
    use_small_table(monkeypatch)


@pytest.fixture(scope="module")
def corpus() -> Any:
    return text_documents(documents())


@pytest.fixture(scope="module")
def finished(corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is done; tests get copies."""
    folder = tmp_path_factory.mktemp("ladder") / "study"
    with pytest.MonkeyPatch.context() as patch:
        use_small_table(patch)
        run_ladder(Source(corpus=corpus, title="A study", command="polysemy ladder x"), folder, CONFIG)
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "study"))


def unfinished(study: Path) -> Path:
    """The study as it was before its first rung: text and questions are there, results and report are not."""
    for path in (study / "results", study / "study.json", study / "report.html"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return study


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads((folder / "study.json").read_text())["rungs"]}


def test_a_ladder_leaves_report_study_results_and_questions(study: Path) -> None:
    for name in ("report.html", "report.csv", "study.json", "cloze.jsonl", "split/test.txt", "results/first.json"):
        assert (study / name).is_file(), name
    rows = rows_of(study)
    assert list(rows) == ["unigram", "bigram", "first", "second"]
    assert len({row["cloze"]["items_hash"] for row in rows.values()}) == 1
    assert "answers" not in rows["first"]
    assert "A study" in (study / "report.html").read_text()


def test_counting_beats_a_senseless_model_and_the_report_says_so(study: Path) -> None:
    found = json.loads((study / "study.json").read_text())
    rows = rows_of(study)
    assert rows["bigram"]["cloze"]["accuracy"] > rows["first"]["cloze"]["accuracy"] + 0.1
    assert found["recommendation"]["choice"] is None
    assert {found["recommendation"]["best"], *found["recommendation"]["ties"]} == {"first", "second"}
    assert found["pairs"][0]["verdict"] == "tie"
    assert "tie" in rows["first"]["remarks"]


def test_the_summary_has_a_row_for_each_rung_and_five_lines(study: Path) -> None:
    header, rows, lines = summary(json.loads((study / "study.json").read_text()))
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][0] == "bigram"
    assert len(lines) == 5


def test_the_same_command_trains_nothing_again(study: Path, corpus: Any) -> None:
    BUILT.clear()
    lines: list[str] = []
    run_ladder(corpus, study, CONFIG, tell=lambda line, passing: lines.append(line))
    assert BUILT == []
    assert any("done before" in line for line in lines)


def test_limits_and_purpose_may_be_asked_of_a_finished_study(study: Path, corpus: Any) -> None:
    BUILT.clear()
    run_ladder(corpus, study, CONFIG.replace(purpose="score", max_mb=0.0001))
    assert BUILT == []
    assert json.loads((study / "study.json").read_text())["recommendation"]["out"].keys() == {"first", "second"}


def test_a_failing_rung_is_a_row_and_is_tried_again(study: Path, corpus: Any) -> None:
    FAIL.add("first")
    run_ladder(corpus, unfinished(study), CONFIG)
    rows = rows_of(study)
    assert rows["first"]["error"] == "first broke in two lines [31m<script>"
    assert rows["second"]["cloze"]
    assert "<script" not in (study / "report.html").read_text()
    FAIL.clear()
    BUILT.clear()
    run_ladder(corpus, study, CONFIG)
    assert BUILT == ["first"]
    assert "error" not in rows_of(study)["first"]


def test_a_stopped_ladder_goes_on_where_it_was(study: Path, corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = run.judge_rung

    def stop(work: Work, built: Built) -> dict[str, Any]:
        if BUILT[-1:] == ["second"]:
            raise KeyboardInterrupt
        return judge(work, built)

    monkeypatch.setattr(run, "judge_rung", stop)
    with pytest.raises(KeyboardInterrupt):
        run_ladder(corpus, unfinished(study), CONFIG)
    monkeypatch.setattr(run, "judge_rung", judge)
    BUILT.clear()
    run_ladder(corpus, study, CONFIG, overwrite=True)
    assert BUILT == ["second"]
    assert not (study / "lock").exists()


def test_another_plan_needs_another_folder_or_overwrite(study: Path, corpus: Any) -> None:
    with pytest.raises(InputError, match=r"seed must stay 0 when a study goes on, got 3; .*--overwrite"):
        run_ladder(corpus, study, CONFIG.replace(seed=3))
    BUILT.clear()
    run_ladder(corpus, study, CONFIG.replace(seed=3), overwrite=True)
    assert BUILT == ["first", "second"]


def test_a_folder_with_other_things_in_it_is_left_alone(corpus: Any, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="must be a new or empty folder or hold a study"):
            run_ladder(corpus, tmp_path, CONFIG, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_the_plan_is_told_before_anything_is_done(study: Path, corpus: Any) -> None:
    lines: list[tuple[str, int]] = []
    run_ladder(corpus, unfinished(study), CONFIG, tell=lambda line, passing: lines.append((line, len(BUILT))))
    head = [line for line, built in lines if not built]
    assert head[0] == "4 rungs: unigram, bigram, first, second"
    assert "of training for each of 2 at size tiny" in head[1]
    assert "in all, about" in head[1]
    assert "of memory" in head[1]


def test_a_wrong_size_is_refused_before_a_folder_is_made(corpus: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size must be"):
        run_ladder(corpus, tmp_path / "study", CONFIG.replace(size="hugee"))
    assert not (tmp_path / "study").exists()


def test_a_quick_part_keeps_every_band() -> None:
    class Asked:
        def __init__(self, band: int) -> None:
            self.band = band

    questions = tuple(Asked(band) for band in [0] * 60 + [1] * 30 + [2] * 10)
    kept = judging._first(questions, 20)  # type: ignore[arg-type]
    assert [sum(one.band == band for one in kept) for band in (0, 1, 2)] == [12, 6, 2]
    assert judging._first(questions, 1_000) == questions  # type: ignore[arg-type]
