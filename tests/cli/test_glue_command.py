"""`glue` from the command line on a battery of two small sets, with real fine-tuning."""
from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from tuning_files import ROWS, write_files

from polysemy.cli.main import main


def write_battery(folder: Path) -> Path:
    """SST-2, and an MNLI with both of its dev sets."""
    for part, rows in (("train", ROWS[:32]), ("dev", ROWS[48:])):
        (folder / "SST-2").mkdir(parents=True, exist_ok=True)
        (folder / "SST-2" / f"{part}.tsv").write_text("sentence\tlabel\n" + "".join(
            f"{text}\t{int(label == 'good')}\n" for text, label in rows))
    (folder / "MNLI").mkdir()
    for part, rows in (("train", ROWS[:32]), ("dev_matched", ROWS[48:]), ("dev_mismatched", ROWS[40:46])):
        (folder / "MNLI" / f"{part}.tsv").write_text("sentence1\tsentence2\tgold_label\n" + "".join(
            f"{text}\tshe knows it well\t{label}\n" for text, label in rows))
    return folder


def test_a_battery_is_run_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bert, data, out = write_files(tmp_path) / "bert", write_battery(tmp_path / "data"), tmp_path / "glue.json"
    words = ["glue", str(bert), str(data), "-o", str(out), "--seeds", "2", "--epochs", "2", "--threads", "1",
             "--learning-rate", "3e-3", "--batch-size", "8", "--device", "cpu"]
    assert main(words) == 0
    shown = capsys.readouterr()
    header = next(line for line in shown.out.splitlines() if line.startswith("model"))
    assert "SST-2 accuracy" in header
    assert "MNLI accuracy/mismatched" in header
    assert "majority" in shown.out
    assert "not found in" in shown.out
    found = json.loads(out.read_text())
    assert len(found["runs"]) == 4
    assert not found["errors"]
    for run in found["runs"]:
        assert 0 <= run["metrics"]["accuracy"] <= 1
        assert ("mismatched_accuracy" in run["metrics"]) == (run["set"] == "MNLI")
        # six rows: another number than of the twelve of dev
        assert (6 * run["metrics"].get("mismatched_accuracy", 0)) % 1 == pytest.approx(0, abs=1e-9)
    score = found["scores"]["bert"]["SST-2"]
    each = [run["metrics"]["accuracy"] for run in found["runs"] if run["set"] == "SST-2"]
    assert score["metrics"]["accuracy"] == statistics.median(each)
    assert score["deviation"]["accuracy"] == statistics.stdev(each)
    assert main(words) == 0
    assert capsys.readouterr().err.count("done before") == 4
