"""Documents with one or more labels each, as fastText's classifier learns them; the files are read by `text.tables`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polysemy.errors import InputError
from polysemy.text.tables import PREFIX, RECORDS, SHOWN, TABLES, LabelFile


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
    file = LabelFile.at(path)
    if file.suffix in TABLES:
        found = _table(file, text, label)
    elif file.suffix in RECORDS:
        found = _records(file, text, label)
    else:
        found = ((document, names) for _, document, names in file.prefixed(prefix))
    texts: list[str] = []
    labels: list[tuple[str, ...]] = []
    for document, names in found:
        texts.append(document)
        labels.append(names)
    if not texts:
        raise InputError(f"{path} must hold texts with labels, got none; lines look like '{prefix}good a fine day', or "
                         f"name the file .tsv, .csv or .jsonl")
    return LabeledText(texts, labels)


def _table(file: LabelFile, text: str, label: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    rows = file.tabbed() if file.suffix == ".tsv" else file.comma_separated()
    if text.isdigit() and label.isdigit():
        columns = [int(text) - 1, int(label) - 1]
    else:
        _, names = next(rows, (1, []))
        for name in (text, label):
            if names.count(name) != 1:
                raise InputError(f"{file.path} must have one column {name!r}, got {', '.join(map(repr, names))[:300]}; "
                                 "name the columns, or give their numbers if the first line is no heading")
        columns = [names.index(text), names.index(label)]
    if min(columns) < 0:
        raise InputError(f"columns must be numbered from 1, got {text} and {label}")
    for number, row in rows:
        if len(row) <= max(columns):
            raise file.error(number, f"must have {max(columns) + 1} columns, got {len(row)}")
        if not row[columns[1]]:
            raise file.error(number, "must have a label, got an empty one")
        yield row[columns[0]], (row[columns[1]],)


def _records(file: LabelFile, text: str, label: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for number, record in file.records():
        if not isinstance(record.get(text), str) or label not in record:
            raise file.error(number, f"must have fields {text!r} and {label!r}, got {str(record)[:SHOWN]!r}")
        names = record[label] if isinstance(record[label], list) else [record[label]]
        if not names or not all(isinstance(name, str | int) and str(name) for name in names):
            raise file.error(number, f"must have labels that are words, got {str(names)[:SHOWN]!r}")
        yield record[text], tuple(dict.fromkeys(map(str, names)))
