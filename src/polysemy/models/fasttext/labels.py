"""Documents with labels, from the files people have: fastText's lines, tables with named columns, JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polysemy.errors import InputError
from polysemy.text.counts import ReadingReport
from polysemy.text.decoding import decode_blocks
from polysemy.text.decompress import read_blocks
from polysemy.text.files import TextFile

PREFIX = "__label__"
MAX_FIELD = 32_000_000
SHOWN = 80


@dataclass(frozen=True)
class LabeledText:
    """Texts and the labels of each: one or more, without a prefix, in the order they were given."""

    texts: list[str]
    labels: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.texts)


def read_labels(
    path: str | Path, *, text: str = "text", label: str = "label", prefix: str = PREFIX
) -> LabeledText:
    """Read a file of labels; its kind goes by its name, compressed (.gz, .xz, .zst) or not.

    .tsv and .csv: columns named by the first line, `text` and `label`; given as numbers from 1, there is no first line
    of names. Tabs are not quoted, commas are. .jsonl: objects with these fields; a list holds several labels.
    Anything else: fastText's form, a document a line, in which words beginning with `prefix` are its labels; lines
    without one are left out, as by the original.
    """
    file = TextFile.at(Path(path))
    report = ReadingReport()
    blocks = decode_blocks(read_blocks(file.path), str(path), False, report)
    kinds = {".tsv": _table, ".csv": _table, ".jsonl": _records, ".ndjson": _records}
    if file.suffix in kinds:
        found = kinds[file.suffix](_lines(blocks), file, text, label)
    else:
        found = _prefixed(_lines(blocks), prefix)
    texts: list[str] = []
    labels: list[tuple[str, ...]] = []
    for document, names in found:
        texts.append(document)
        labels.append(names)
    if not texts:
        raise InputError(f"{path} must hold texts with labels, got none; lines look like '{prefix}good a fine day', or "
                         f"name the file .tsv, .csv or .jsonl")
    return LabeledText(texts, labels)


def _lines(blocks: Iterator[str]) -> Iterator[str]:
    rest = ""
    for block in blocks:
        *whole, rest = (rest + block).split("\n")
        yield from whole
    if rest:
        yield rest


def _prefixed(lines: Iterator[str], prefix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in lines:
        words = line.split()
        names = tuple(dict.fromkeys(word[len(prefix):] for word in words if word.startswith(prefix)))
        if names:
            yield " ".join(word for word in words if not word.startswith(prefix)), names


def _table(
    lines: Iterator[str], file: TextFile, text: str, label: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    csv.field_size_limit(MAX_FIELD)
    tabs = file.suffix == ".tsv"
    rows: Iterator[list[str]] = (
        (line.split("\t") for line in lines) if tabs else csv.reader(line + "\n" for line in lines)
    )
    if text.isdigit() and label.isdigit():
        columns = [int(text) - 1, int(label) - 1]
        first = 1
    else:
        names = next(rows, [])
        for name in (text, label):
            if names.count(name) != 1:
                raise InputError(f"{file.path} must have one column {name!r}, got {', '.join(map(repr, names))[:300]}; "
                                 "name the columns, or give their numbers if the first line is no heading")
        columns, first = [names.index(text), names.index(label)], 2
    if min(columns) < 0:
        raise InputError(f"columns must be numbered from 1, got {text} and {label}")
    number = first
    try:
        for number, row in enumerate(rows, start=first):
            if not row or row == [""]:
                continue
            if len(row) <= max(columns):
                raise InputError(f"{file.path}, line {number:,} must have {max(columns) + 1} columns, got {len(row)}")
            if not row[columns[1]]:
                raise InputError(f"{file.path}, line {number:,} must have a label, got an empty one")
            yield row[columns[0]], (row[columns[1]],)
    except csv.Error as error:
        raise InputError(f"{file.path}, after line {number:,}, must be a table of comma-separated values ({error})"
                         ) from error


def _records(
    lines: Iterator[str], file: TextFile, text: str, label: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file.path}, line {number:,} must be a JSON object, got {line[:SHOWN]!r}") from error
        if not isinstance(record, dict) or not isinstance(record.get(text), str) or label not in record:
            raise InputError(f"{file.path}, line {number:,} must have fields {text!r} and {label!r}, "
                             f"got {line[:SHOWN]!r}")
        names = record[label] if isinstance(record[label], list) else [record[label]]
        if not names or not all(isinstance(name, str | int) and str(name) for name in names):
            raise InputError(f"{file.path}, line {number:,} must have labels that are words, "
                             f"got {str(names)[:SHOWN]!r}")
        yield record[text], tuple(dict.fromkeys(map(str, names)))
