"""`metrics.jsonl`: one JSON object a step, only ever appended; a full disk costs rows, never the run."""
from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polysemy.artifact import write_bytes

log = logging.getLogger(__name__)


class Metrics:
    """Rows of one run.  Each row goes to the system at once, so a killed run keeps all but the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.missing = 0
        """rows that could not be written"""

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; values that are not finite become null.  An I/O error warns once and is counted."""
        line = json.dumps({name: _finite(value) for name, value in row.items()}, allow_nan=False) + "\n"
        try:
            with open(self.path, "ab", buffering=0) as file:
                _write_whole(file.fileno(), line.encode())
        except OSError as error:
            if not self.missing:
                log.warning("%s cannot be written (%s); training goes on, rows are missing", self.path, error.strerror)
            self.missing += 1

    def rows(self) -> Iterator[dict[str, Any]]:
        """All whole rows; a torn line (the end of a killed run) is left out."""
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict) and isinstance(row.get("step"), int):
                    yield row

    def keep_until(self, step: int) -> None:
        """Drop the rows after `step`, whose steps will be done again; torn lines go too.  Atomic."""
        if self.path.exists():
            kept = [json.dumps(row) for row in self.rows() if row["step"] <= step]
            write_bytes(self.path, "".join(line + "\n" for line in kept).encode())


def _write_whole(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data):]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
