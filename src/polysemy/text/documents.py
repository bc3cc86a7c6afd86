"""Where documents begin and end in a stream of text: at blank lines, at each line, at headings, or nowhere."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator

from polysemy.errors import InputError
from polysemy.text.counts import ReadingReport
from polysemy.text.decoding import clean_text

RULES = ("blank-line", "line", "heading", "file")
MAX_CHARACTERS = 1_000_000  # of a document; longer ones are cut, so that memory stays bounded
MAX_RECORD_CHARACTERS = 32_000_000  # of a jsonl line
CUT_WINDOW = 100_000  # how far back a white space is looked for before a cut is made inside a word
BAD_LINES = 100  # lines that may be skipped in a file ...
BAD_LINE_RATE = 0.01  # ... and in a long one this share of the lines so far
HEAD_CHARACTERS = 1 << 18
HEADING = re.compile(r"\s*(?:= [^=\s](?:.*[^=\s])? =|# \S.*)\s*\Z")
WIKI_HEADING = re.compile(r"^ ?= [^=\n]+ = ?$", re.MULTILINE)
BLANK_LINE = re.compile(r"\S[^\S\n]*\n[^\S\n]*\n\s*\S")


def choose_rule(head: str) -> str:
    """The document rule that fits the beginning of a file.

    Titles in the manner of WikiText (` = Title = `) mean "heading", blank lines between lines "blank-line"; without
    either each line is a document.
    """
    if WIKI_HEADING.search(head):
        return "heading"
    return "blank-line" if BLANK_LINE.search(head) else "line"


def looks_like_records(head: str, field: str) -> bool:
    """Is the first line of the head a JSON object with this field?"""
    line = head.lstrip().partition("\n")[0]
    if not line.startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict) and f'"{field}"' in line
    except (ValueError, RecursionError):
        return False


def split_documents(blocks: Iterator[str], rule: str, report: ReadingReport) -> Iterator[str]:
    """The documents of one file, without the blank lines around them.

    A document longer than MAX_CHARACTERS is cut, between lines where it has any, and `report.cut` counts the cuts.
    """
    lines = _lines(blocks, report)
    if rule == "line":
        for line in lines:
            if line and not line.isspace():
                yield line.strip()
        return
    document: list[str] = []
    size = 0
    for line in lines:
        blank = not line or line.isspace()
        ends = blank if rule == "blank-line" else rule == "heading" and HEADING.match(line) is not None
        too_long = size + len(line) > MAX_CHARACTERS
        if document and (ends or too_long):
            yield from _joined(document)
            document, size = [], 0
            report.cut += too_long and not ends
        if not blank or (document and rule != "blank-line"):
            document.append(line.rstrip())
            size += len(line) + 1
    yield from _joined(document)


def read_records(blocks: Iterator[str], name: str, field: str, strict: bool, report: ReadingReport) -> Iterator[str]:
    """The texts in the field of a JSON Lines file; a line without one is skipped and counted, up to a limit.

    Skipped are lines that are no JSON object, that lack the field, where it is no string, or that are longer than 32
    million characters. Once they are more than 100 and more than 1 % of the lines so far, or at the first one with
    `strict`, InputError is raised with file and line.
    """
    bad = 0
    for number, line in enumerate(_whole_lines(blocks), start=1):
        if line is not None and (not line or line.isspace()):
            continue
        text, reason = _record(line, field)
        if reason:
            bad += 1
            report.bad_lines += 1
            report.first_bad_line = report.first_bad_line or f"{name}, line {number}: {reason}"
            _check_bad(bad, number, name, field, strict, reason)
        if text and not text.isspace():
            yield from cut_text(clean_text(text, report), report)


def cut_text(text: str, report: ReadingReport) -> Iterator[str]:
    """A text in pieces of at most MAX_CHARACTERS, cut at white space where there is any; no piece is blank."""
    start = 0
    while len(text) - start > MAX_CHARACTERS:
        stop = _cut_place(text, start)
        report.cut += 1
        if piece := text[start:stop].strip():
            yield piece
        start = stop
    if piece := (text[start:] if start else text).strip():
        yield piece


def _lines(blocks: Iterator[str], report: ReadingReport) -> Iterator[str]:
    """Lines without their line feeds; one longer than MAX_CHARACTERS comes in pieces."""
    carry = ""
    for block in blocks:
        lines = block.split("\n")
        lines[0] = carry + lines[0]
        carry = lines.pop()
        if max(map(len, lines), default=0) <= MAX_CHARACTERS:
            yield from lines
            lines = []
        for line in lines:
            if len(line) > MAX_CHARACTERS:
                yield from cut_text(line, report)
            else:
                yield line
        if len(carry) > MAX_CHARACTERS:
            stop = _cut_place(carry, 0)
            report.cut += 1
            yield carry[:stop]
            carry = carry[stop:]
    yield from cut_text(carry, report)


def _whole_lines(blocks: Iterator[str]) -> Iterator[str | None]:
    """Lines in one piece; None stands for one that is too long, of which nothing is kept."""
    parts: list[str] = []
    size = 0
    for block in blocks:
        lines = block.split("\n")
        for line in lines[:-1]:
            size += len(line)
            yield "".join((*parts, line)) if size <= MAX_RECORD_CHARACTERS else None
            parts, size = [], 0
        size += len(lines[-1])
        if size <= MAX_RECORD_CHARACTERS:
            parts.append(lines[-1])
        else:
            parts = []
    if size:
        yield "".join(parts) if size <= MAX_RECORD_CHARACTERS else None


def _record(line: str | None, field: str) -> tuple[str, str]:
    """The text of a line of JSON, or why it has none."""
    if line is None:
        return "", f"longer than {MAX_RECORD_CHARACTERS:,} characters"
    try:
        record = json.loads(line)
    except RecursionError:
        return "", "nested too deeply"
    except ValueError as error:
        return "", f"not JSON ({error})"
    if not isinstance(record, dict):
        return "", "not a JSON object"
    if field not in record:
        return "", f"no field {field!r} among {', '.join(map(repr, list(record)[:5]))}"
    if not isinstance(record[field], str):
        return "", f"field {field!r} is no string"
    return record[field], ""


def _check_bad(bad: int, number: int, name: str, field: str, strict: bool, reason: str) -> None:
    """Raise when there are too many bad lines among the first `number`."""
    if strict:
        raise InputError(f"{name} must have a JSON object with {field!r} on every line, got line {number}: {reason}")
    if bad > BAD_LINES and bad > BAD_LINE_RATE * number:
        raise InputError(
            f"{name} must have a JSON object with {field!r} on nearly every line, got {bad:,} others up to line "
            f"{number:,} (there: {reason}); name the field that holds the text, or mend the file"
        )


def _cut_place(text: str, start: int) -> int:
    """Where to end a piece that begins at `start`: at a line feed, else a space or full stop, else anywhere."""
    stop = start + MAX_CHARACTERS
    window = text[max(start, stop - CUT_WINDOW) : stop]
    for separator in ("\n", " ", "。"):
        if (place := window.rfind(separator)) >= 0:
            return stop - len(window) + place + 1
    parts = window.rsplit(None, 1)  # other white space, U+3000 for example
    return stop - len(parts[1]) if len(parts) == 2 else stop


def _joined(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines).strip("\n")
    if text:
        yield text
