"""Files of rows: tab-separated, comma-separated, JSON Lines and fastText's `__label__` lines, compressed or not.

The one place where such files are opened.  Rows come with the number of their line, so that whoever finds something
wrong in them can say where.  Tabs are never quoted (MRPC holds bare quotes), commas are; a byte-order mark is dropped;
what is no valid UTF-8 is replaced and counted, and a file that is mostly that is refused.
"""
from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polysemy.errors import InputError
from polysemy.text.counts import ReadingReport
from polysemy.text.decoding import decode_blocks
from polysemy.text.decompress import read_blocks
from polysemy.text.files import TextFile

PREFIX = "__label__"
MAX_FIELD = 32_000_000
SHOWN = 80
MAX_INVALID_RATE = 0.1
TABLES = (".tsv", ".csv")
RECORDS = (".jsonl", ".ndjson")


@dataclass
class LabelFile:
    """A file of rows that exists; `report` is complete once it was read to its end."""

    path: Path
    suffix: str
    """`.tsv` of a.tsv.gz"""
    report: ReadingReport = field(default_factory=ReadingReport)

    @classmethod
    def at(cls, path: str | Path) -> LabelFile:
        if not Path(path).exists():
            raise InputError(f"file must exist to be read, got {path}, which does not")
        file = TextFile.at(Path(path))
        if file.path.is_dir():
            raise InputError(f"{path} must be one file of labels and texts, got a folder; name the file")
        return cls(file.path, file.suffix)

    def error(self, line: int, message: str) -> InputError:
        """What is wrong with a line."""
        return InputError(f"{self.path}, line {line:,} {message}")

    def text(self) -> str:
        """The whole content."""
        return "".join(self._blocks())

    def lines(self) -> Iterator[str]:
        """Its lines without their ends."""
        rest = ""
        for block in self._blocks():
            *whole, rest = (rest + block).split("\n")
            yield from whole
        if rest:
            yield rest

    def tabbed(self) -> Iterator[tuple[int, list[str]]]:
        """(line, cells) of a file with tabs; blank lines are left out."""
        return ((number, line.split("\t")) for number, line in enumerate(self.lines(), start=1) if line)

    def comma_separated(self) -> Iterator[tuple[int, list[str]]]:
        """(line with which the row begins, cells); a quoted cell may hold commas and line ends."""
        csv.field_size_limit(MAX_FIELD)
        reader = csv.reader(line + "\n" for line in self.lines())
        line = 0
        try:
            for cells in reader:
                if cells and cells != [""]:
                    yield line + 1, cells
                line = reader.line_num
        except csv.Error as error:
            raise InputError(f"{self.path}, after line {line:,}, must be a table of comma-separated values ({error})"
                             ) from error

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line, object) of JSON Lines."""
        for number, line in enumerate(self.lines(), start=1):
            if not line.strip():
                continue
            try:
                record = self.parsed(line)
            except (ValueError, RecursionError) as error:
                raise self.error(number, f"must be a JSON object, got {line[:SHOWN]!r}") from error
            if not isinstance(record, dict):
                raise self.error(number, f"must be a JSON object, got {line[:SHOWN]!r}")
            yield number, record

    def parsed(self, text: str) -> Any:
        """What JSON says; halves of characters in it (`\\ud83d` alone) are replaced and counted."""
        value = json.loads(text)
        return _whole(value, self.report) if "\\ud" in text or "\\uD" in text else value

    def prefixed(self, prefix: str = PREFIX) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """(line, text, labels) of fastText's form; lines without a label are left out, as by the original."""
        for number, line in enumerate(self.lines(), start=1):
            words = line.split()
            names = tuple(dict.fromkeys(word[len(prefix):] for word in words if word.startswith(prefix)))
            if names:
                yield number, " ".join(word for word in words if not word.startswith(prefix)), names

    def _blocks(self) -> Iterator[str]:
        self.report = ReadingReport()
        for block in decode_blocks(read_blocks(self.path), str(self.path), False, self.report):
            self.report.characters += len(block)
            yield block
            if self.report.invalid > MAX_INVALID_RATE * self.report.characters + 8:
                raise InputError(f"{self.path} must be text in UTF-8, got {self.report.invalid:,} invalid bytes in "
                                 f"{self.report.characters:,} characters; it is binary or in another encoding")


def _whole(value: Any, report: ReadingReport) -> Any:
    """The same value without lone surrogates, each replaced by one character."""
    if isinstance(value, str):
        invalid = sum("\ud800" <= character <= "\udfff" for character in value)
        report.invalid += invalid
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if invalid else value
    if isinstance(value, list):
        return [_whole(item, report) for item in value]
    if isinstance(value, dict):
        return {_whole(name, report): _whole(item, report) for name, item in value.items()}
    return value
