"""Numbers and foreign text as a reader should meet them, in pages, terminals and CSV files."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

NOTHING = "–"
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def percent(share: float | None, digits: int = 1) -> str:
    """0.4123 as `41.2 %`."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number with thousands marked."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: `48 s`, `9 min 30 s`, `2 h 05 min`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min" + (f" {whole % 60:02d} s" if whole % 60 else "")
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float | None) -> str:
    """Bytes with a decimal unit: `13.2 MB`."""
    if count is None:
        return NOTHING
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.{0 if count >= 100 * scale else 1}f} {unit}"
    return f"{count:.0f} B"


def milliseconds(value: float | None) -> str:
    """`2.1 ms`, `0.031 ms`: two digits that count."""
    if value is None:
        return NOTHING
    digits = 0 if value >= 100 else 1 if value >= 1 else 3
    return f"{value:,.{digits}f} ms"


def count(value: float | None) -> str:
    """Thousands marked: `12,345`."""
    return NOTHING if value is None else f"{value:,.0f}"


def short_count(value: float | None) -> str:
    """`11.2 M`, `480 k`: parameters, words."""
    if value is None:
        return NOTHING
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.{0 if value >= 100 * scale else 1}f} {unit}"
    return f"{value:.0f}"


def one_line(text: object, longest: int = 400) -> str:
    """Foreign text for a terminal or a log: one line, no control or direction characters, bounded."""
    clean = "".join(" " if _breaks(character) else character for character in str(text)[: 2 * longest])
    clean = " ".join(clean.split())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def cell(value: object) -> str:
    """A value for a CSV file that no spreadsheet takes for a formula."""
    text = one_line(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "'" + text if text[:1] in ("=", "+", "-", "@") and not is_number else text


def joined(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    found = list(names)
    return " and ".join((", ".join(found[:-1]), found[-1]) if len(found) > 1 else found)


def harmless(value: Any) -> Any:
    """A copy of nested plain values whose texts hold no control characters but line ends."""
    if isinstance(value, str):
        return "".join(" " if _breaks(character) and character != "\n" else character for character in value)
    if isinstance(value, Mapping):
        return {harmless(name): harmless(item) for name, item in value.items()}
    return [harmless(item) for item in value] if isinstance(value, list | tuple) else value


def _breaks(character: str) -> bool:
    """Controls, line separators, halves of characters, and the marks that turn the direction of what follows."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in TURNING
