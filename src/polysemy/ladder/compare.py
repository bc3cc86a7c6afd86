"""`polysemy compare`: run folders side by side on the page that a ladder uses, from what lies in them.

A run's curve is its held-out loss in metrics.jsonl; its scores are those of evaluation.json (`polysemy evaluate`).
Scores on different questions do not compare: they are shown and marked.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from polysemy import __version__
from polysemy.artifact import read_folder, read_json
from polysemy.errors import InputError
from polysemy.ladder.rungs import RUNGS
from polysemy.report import wording

LONGEST_ROW = 1 << 20
RECORDED = ("recipe", "seed", "dtype", "threads", "tokenizer", "text_hash")


def compare_runs(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write the page for these run folders to `out` (.html); InputError for a folder that holds no finished run."""
    from polysemy.report.page import write_report

    if not folders:
        raise InputError("folders must name at least one run, got none")
    rows = [run_row(Path(folder), label) for folder, label in zip(folders, _labels(folders), strict=True)]
    hashes = {row["items_hash"] for row in rows if row["items_hash"]}
    if len(hashes) > 1:
        for row in rows:
            if row["items_hash"]:
                row["remarks"].append(f"questions {row['items_hash'][:6]}")
    remarks = ["Scores come from `polysemy evaluate`; a run without them has only its losses. No pair was compared "
               "question by question: a ladder does that, and calls ties."]
    if len(hashes) > 1:
        remarks.append("These runs answered different questions, so their cloze scores do not compare: judge them "
                       "again with --items of one study.")
    texts = {row["text_hash"] for row in rows if row["text_hash"]}
    if len(texts) > 1:
        for row in rows:
            if row["text_hash"]:
                row["remarks"].append(f"perplexity of text {row['text_hash'][:6]}")
        remarks.append("These runs scored different texts, so their bits a byte do not compare: evaluate them with the "
                       "same --data.")
    bands = next((row["cloze"]["bands"] for row in rows if row.get("cloze") and row["cloze"].get("bands")), [])
    study = {"kind": "compare", "title": f"{len(rows)} runs side by side", "version": __version__,
             "created": datetime.now().strftime("%Y-%m-%d %H:%M"), "rungs": rows, "method": remarks,
             "cloze": {"bands": [{"name": band["name"], "items": band.get("items")} for band in bands]}}
    return write_report(study, out)


def run_row(folder: Path, label: str) -> dict[str, Any]:
    """One run folder as a row of the report."""
    record = read_folder(folder, verify=False).config
    results = record.get("results", {})
    tasks = _tasks(folder)
    cloze, speed = tasks.get("cloze") or None, tasks.get("speed", {})
    scores = results.get("scores", {})
    own_loss = scores.get("held_out_masked_lm", scores.get("held_out_loss"))
    curve = _curve(folder / "metrics.jsonl")
    about = RUNGS.get(record["recipe"])
    remarks = [] if cloze else ["not judged: polysemy evaluate"]
    if record.get("budget_text"):
        remarks.append(f"trained for {record['budget_text']}")
    return {
        "name": str(folder), "label": label, "kind": "trained", "seconds": results.get("seconds"),
        "parameters": results.get("parameters"), "bytes": speed.get("bytes") or _bytes(folder),
        "milliseconds": speed.get("milliseconds_p50"), "cloze": cloze,
        "items_hash": (cloze or {}).get("items_hash"), "curve": curve,
        "loss": tasks.get("loss", {}).get("masked_lm_loss", own_loss),
        "bits_per_byte": tasks.get("perplexity", {}).get("bits_per_byte"), "remarks": remarks,
        "text_hash": tasks.get("perplexity", {}).get("text_hash"),
        "sees": about.sees if about else None, "costs": about.costs if about else None,
        "good_for": about.good_for if about else None,
        "settings": {**{name: record.get(name) for name in RECORDED}, **_dict(record.get("config"))},
    }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tasks(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "evaluation.json"
    if not path.is_file():
        return {}
    found = read_json(path)
    tasks = found.get("tasks") if isinstance(found, dict) else None
    if not isinstance(tasks, dict) or not all(isinstance(task, dict) for task in tasks.values()):
        raise InputError(f"{path} must be one that polysemy evaluate wrote; judge the run again")
    return tasks


def _curve(path: Path) -> list[dict[str, float]]:
    """Held-out losses over time; a torn last line of a killed run is left out."""
    rows = []
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if len(line) > LONGEST_ROW or "held_out_" not in line:
                    continue
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                loss = row.get("held_out_masked_lm", row.get("held_out_loss"))
                if isinstance(loss, int | float) and isinstance(row.get("seconds"), int | float):
                    rows.append({"seconds": float(row["seconds"]), "loss": float(loss)})
    return rows


def _bytes(folder: Path) -> int | None:
    from polysemy.evaluation.speed import bytes_on_disk

    return bytes_on_disk(folder)


def _labels(folders: Sequence[str | Path]) -> list[str]:
    """The shortest names that differ: the last part of each path, or the last two, or the whole."""
    paths = [Path(folder).resolve() for folder in folders]
    for parts in (1, 2, 3):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise InputError(f"folders must differ, got {wording.one_line(twice)} twice")
    return [str(path) for path in paths]
