"""A real ladder, small: trained and downloaded models, controls, curves, fills, the whole report."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from polysemy.ladder.run import run_ladder
from polysemy.ladder.settings import LadderConfig
from polysemy.models.bert import configure
from polysemy.models.hugging_face import to_hugging_face
from polysemy.models.pretrained import PretrainingModel, open_run, write_run
from polysemy.text.corpus import text_documents

from .small_text import documents


def write_theirs(run: Path, folder: Path) -> None:
    """A model of the published shape with the run's tokenizer, as the other library would have it."""
    _, tokenizer, _ = open_run(run)
    config = configure("tiny", "paper", vocab_size=tokenizer.vocab_size)
    write_run(folder / "ours", PretrainingModel(config.model, config.heads, seed=5), tokenizer, config)
    to_hugging_face(folder / "ours", folder / "theirs")


@pytest.mark.slow
def test_a_small_ladder_with_a_downloaded_and_a_broken_model(tmp_path: Path) -> None:
    corpus, folder = text_documents(documents()), tmp_path / "study"
    config = LadderConfig(size="tiny", minutes=0.1, questions=150, quick=True, rungs=("bert", "albert"))
    run_ladder(corpus, folder, config)
    write_theirs(folder / "rungs" / "bert", tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "xlnet"}')
    again = config.replace(rungs=("bert", "albert", f"hf:{tmp_path / 'theirs'}", f"hf:{tmp_path / 'broken'}"))
    page = run_ladder(corpus, folder, again).read_text()
    rows = {row["label"]: row for row in json.loads((folder / "study.json").read_text())["rungs"]}
    assert "model_type must be" in rows["hf:broken"]["error"]
    for label in ("bert", "albert"):
        row = rows[label]
        assert [point["accuracy"] is not None for point in row["curve"]] == [True] * 3
        assert row["curve"][0]["seconds"] < row["curve"][1]["seconds"] < row["curve"][2]["seconds"]
        assert row["loss"] > 0
        assert row["milliseconds"] > 0
        assert len(row["fills"][0]) == 5
        assert 5.0 < row["seconds"] < 8.0
    assert 0.0 < rows["hf:theirs"]["cloze"]["accuracy"] < 0.2
    assert "may have seen this text" in rows["hf:theirs"]["remarks"]
    assert "seconds" not in rows["hf:theirs"] or rows["hf:theirs"]["seconds"] is None
    controls = json.loads((folder / "results" / "controls.json").read_text())["controls"]
    assert {"random weights", "planted copies"} <= {control["name"] for control in controls}
    assert any("shuffled contexts" in control["name"] for control in controls)
    assert page.count("<svg") == 5
