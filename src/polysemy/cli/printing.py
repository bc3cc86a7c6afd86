"""What commands print: plain aligned text for people, one JSON object for machines, never raw control characters."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any


def plain(text: str) -> str:
    """`text` on one line with control and escape characters made visible, so no file can steer a terminal."""
    return "".join(ch if ch.isprintable() or ch == " " else repr(ch)[1:-1] for ch in text)


def width(text: str) -> int:
    """Columns that `text` takes on a terminal: East Asian wide characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(ch) else 2 if unicodedata.east_asian_width(ch) in "WF" else 1 for ch in text)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, right: str = "") -> str:
    """Aligned columns; a header named in `right` (comma-separated) is a number column."""
    cells = [[plain(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(width(row[i]) for row in cells) for i in range(len(header))]
    numbers = {i for i, name in enumerate(header) if name in right.split(",")}
    lines = []
    for row in cells:
        padded = [
            " " * (widths[i] - width(cell)) + cell if i in numbers else cell + " " * (widths[i] - width(cell))
            for i, cell in enumerate(row)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def emit(args: Any, value: dict[str, Any], text: str) -> None:
    """Print `value` as JSON under --json, else `text`."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False) if getattr(args, "json", False) else text)


def note(message: str) -> None:
    """A line about what is being done, on standard error."""
    print(plain(message), file=sys.stderr, flush=True)


def lines_of(path: str) -> list[str]:
    """Lines of a UTF-8 file or of standard input (-), without their ends; empty lines are left out."""
    from polysemy.errors import InputError

    try:
        data = sys.stdin.buffer.read() if path == "-" else open(path, "rb").read()  # noqa: SIM115
        lines = [line.rstrip("\r") for line in data.decode("utf-8-sig").split("\n")]
    except OSError as error:
        raise InputError(f"input must be a readable file, got {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"input must be UTF-8, got byte {error.object[error.start]:#04x} at {error.start} of {path}"
        ) from error
    blank = sum(not line.strip() for line in lines) - (lines[-1:] == [""])
    lines = [line for line in lines if line.strip()]
    if blank > 0 and lines:
        note(f"{blank} blank line{'s' * (blank > 1)} left out: results are of the other {len(lines)}, in their order")
    if not lines:
        raise InputError(f"input must hold at least one line of text, got none in {path}")
    return lines


def count(number: float) -> str:
    """`1234567` as `1.23M`; below a thousand as it is."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:g}"
