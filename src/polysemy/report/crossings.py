"""At which budget does context begin to win? Crossing points of the curves, as sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from polysemy.report import wording


def crossing(curve: Sequence[tuple[float, float]], level: float) -> float | None:
    """Seconds at which a curve of (seconds, score) rises above a level for good, straight between checkpoints on a
    logarithmic axis; 0 when it never lies below, None when it ends below."""
    curve = sorted((x, y) for x, y in curve if x > 0)
    if not curve or curve[-1][1] <= level:
        return None
    for (x0, y0), (x1, y1) in zip(reversed(curve[:-1]), reversed(curve[1:]), strict=True):
        if y0 <= level:
            part = (level - y0) / (y1 - y0)
            return math.exp(math.log(x0) + part * (math.log(x1) - math.log(x0)))
    return 0.0


def crossings(rungs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence about each counting control that some rung learns to beat, or that nothing beats yet."""
    lines = []
    for control in rungs:
        level = (control.get("cloze") or {}).get("accuracy")
        if control.get("kind") != "control" or not control.get("counts") or level is None:
            continue
        times = {rung["label"]: crossing(_curve(rung), level) for rung in rungs if len(_curve(rung)) > 1}
        won = {label: seconds for label, seconds in times.items() if seconds is not None}
        never = [label for label in times if label not in won]
        name = f"the {control['label']}" if not str(control["label"]).startswith("the ") else control["label"]
        if won:
            parts = [f"{label} {_when(seconds)}" for label, seconds in sorted(won.items(), key=lambda pair: pair[1])]
            late = f" {wording.joined(never)} {'has' if len(never) == 1 else 'have'} not got there." if never else ""
            lines.append(f"Context beats {name} ({wording.percent(level)}) from some point on: "
                         f"{wording.joined(parts)}.{late}")
        elif times:
            others = [rung["label"] for rung in rungs if rung.get("kind") == "trained" and rung["label"] not in times
                      and ((rung.get("cloze") or {}).get("accuracy") or 0) > level]
            what = f"Nothing trained here but {wording.joined(others)}" if others else "Nothing trained here"
            lines.append(f"{what} beats {name} ({wording.percent(level)}) within this budget: "
                         "at small budgets counting wins.")
    return lines


def _when(seconds: float) -> str:
    return f"after about {wording.duration(seconds)}" if seconds else "before its first checkpoint"


def _curve(rung: Mapping[str, Any]) -> list[tuple[float, float]]:
    rows = rung.get("curve") or ()
    return [(row["seconds"], row["accuracy"]) for row in rows if row.get("accuracy") is not None and row["seconds"] > 0]
