"""metrics.jsonl: appended, cut back on resume, never the reason that a run ends."""
from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from polysemy.training.metrics import Metrics


def test_rows_are_appended_as_json_and_numbers_come_back_exactly(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.jsonl")
    metrics.append({"step": 1, "loss": 0.1 + 0.2})
    metrics.append({"step": 2, "loss": math.nan, "gradient_norm": math.inf})
    assert list(metrics.rows()) == [{"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "loss": None, "gradient_norm": None}]


def test_resuming_drops_the_rows_after_the_checkpoint_and_torn_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(path)
    for step in range(1, 6):
        metrics.append({"step": step})
    with open(path, "a") as file:
        file.write('{"step": 6, "lo')
    metrics.keep_until(3)
    metrics.append({"step": 4})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]


def test_no_rows_before_the_first(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.jsonl")
    metrics.keep_until(0)
    assert list(metrics.rows()) == []


def test_a_full_disk_warns_once_and_counts_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    metrics = Metrics(full)
    for step in range(3):
        metrics.append({"step": step})
    assert metrics.missing == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left" in caplog.text
