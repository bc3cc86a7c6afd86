"""Examples of a task from the files people have: tables, JSON Lines, CoNLL columns, SQuAD questions.

`read_examples` is the one reader of labeled files.  What it took for what stands in `Examples.note`; whatever is wrong
is one line that names the file and its line.
"""
from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from polysemy.errors import InputError
from polysemy.text.conll import read_tagged
from polysemy.text.examples import (
    Example,
    Examples,
    Question,
    Tagged,
    check_labels,
    natural_order,
    texts_as_examples,
)
from polysemy.text.labeled_columns import KNOWN, SAMPLE, Columns, choose, has_heading, is_number, parse_columns
from polysemy.text.squad import read_questions
from polysemy.text.tables import PREFIX, RECORDS, SHOWN, LabelFile

__all__ = ["Example", "Examples", "Question", "Tagged", "check_labels", "natural_order", "read_examples",
           "texts_as_examples"]

KINDS = ("classify", "pair", "regress", "embed", "tag", "span")
MOST_CLASSES = 200
"""labels from which on a warning asks whether they are labels"""
MANY_LABELS = "the classifier of fastText learns several"


def read_examples(path: str | Path, kind: str, columns: str | Mapping[str, str | int] | None = None, *,
                  labels: bool = True) -> Examples:
    """The examples of a file, compressed (.gz, .xz, .zst) or not.

    kind     classify | pair | regress | embed: .tsv, .csv, .jsonl, else tabs, or fastText's `__label__` lines, or one
             text a line where that is enough; tag: CoNLL columns, or .jsonl of tokens and tags; span: SQuAD's JSON
    columns  `text=sentence,label=label`, names or numbers from 1; what is not named is guessed
    labels   False: to predict, so labels may be absent

    Raises InputError with file and line for a missing or misnamed column, an empty text, a missing label, a score that
    is no finite number, a row of another width, an answer that is not in its context, an empty or binary file.
    """
    if kind not in KINDS:
        raise InputError(f"task must be {' | '.join(KINDS)}, got {kind!r}")
    file = LabelFile.at(path)
    wanted = {} if kind == "span" else parse_columns(columns, kind)
    if kind == "span":
        items, found = read_questions(file)
    elif kind == "tag":
        items, found = read_tagged(file, wanted, labels)
    else:
        return _finished(file, kind, *_read_table(file, kind, wanted, labels), guessed="text" not in wanted)
    return _finished(file, kind, items, found, ",".join(f"{role}={name}" for role, name in wanted.items()))


def _finished(file: LabelFile, kind: str, items: list[Any], found: str, columns: str, names: Sequence[str] = (), *,
              guessed: bool = False) -> Examples:
    if not items:
        raise InputError(f"{file.path} must hold examples, got none; it "
                         + ("has a heading alone" if names else "is empty"))
    what = {"tag": "sentence", "span": "question"}.get(kind, "example")
    note = f"{file.path}: {len(items):,} {what}{'s' * (len(items) != 1)}" + (f", {found}" if found else "")
    report, warnings = file.report, []
    for count, changed in ((report.invalid, "invalid bytes"), (report.nuls, "NULs")):
        if count:
            warnings.append(f"{file.path}: {count:,} {changed} were replaced")
    if kind in ("classify", "pair") and columns:
        several = len({item.label for item in items})
        if several > max(MOST_CLASSES, len(items) // 4):
            warnings.append(f"{file.path}: {several:,} different labels in {len(items):,} rows; see that the right "
                            f"column was taken ({found})")
    if kind in ("classify", "pair") and columns and not names and _may_be_heading(items):
        warnings.append(f"{file.path}: line 1 was taken for an example, the only one with label {items[0].label!r}; if "
                        "it names the columns, give the names in --columns")
    unread = [name for name in names if name.casefold() in KNOWN["pair"] and repr(name) not in found]
    if kind == "classify" and guessed and unread:
        warnings.append(f"{file.path}: {unread[0]!r} is not read, as the task takes one text; use --task pair for two")
    return Examples(tuple(items), kind, str(file.path), note, tuple(warnings), columns)


def _may_be_heading(items: Sequence[Example]) -> bool:
    """Whether the label of the first row is the only one that comes once."""
    counts = Counter(item.label for item in items)
    return len(counts) > 2 and items[0].row == 1 and [name for name in counts if counts[name] == 1] == [items[0].label]


def _read_table(file: LabelFile, kind: str, wanted: Mapping[str, str], labels: bool
                ) -> tuple[list[Any], str, str, tuple[str, ...]]:
    """(examples, what was taken, the same as `columns`, headings)."""
    rows, form = _open(file, kind, labels)
    if form == "lines":
        return [_example(file, line, {"text": cells[0]}, kind, labels)
                for line, cells in rows], "one text a line", "", ()
    if form == "prefixed":
        return [_example(file, line, {"text": cells[0], "label": cells[1]}, kind, labels)
                for line, cells in rows], f"labels by {PREFIX}", "", ()
    head = list(islice(rows, SAMPLE + 1))
    if not head:
        return [], "", "", ()
    cells = [row for _, row in head]
    heading = form == "records" or has_heading(cells, wanted, kind)
    names = [name.strip() for name in cells[0]] if heading else []
    width = len(cells[0])
    body = head[1:] if heading else head
    for line, row in body:
        if len(row) != width:
            raise _ragged(file, line, width, row)
    taken = choose([row for _, row in body], names, wanted, kind, str(file.path), labels=labels)
    examples = []
    for line, row in chain(body, rows):
        if len(row) != width:
            raise _ragged(file, line, width, row)
        examples.append(_example(file, line, {role: row[at] for role, at in taken.at.items()}, kind, labels))
    return examples, str(taken) + ("" if heading else " (no heading)"), _as_columns(taken), taken.names


def _as_columns(taken: Columns) -> str:
    plain = bool(taken.names) and not any("," in name or "=" in name or name.isdigit() for name in taken.names)
    return ",".join(f"{role}={taken.names[at] if plain else at + 1}" for role, at in taken.at.items())


def _ragged(file: LabelFile, line: int, width: int, row: Sequence[str]) -> InputError:
    hint = "; see that its quotation mark is closed" if any("\n" in cell for cell in row) else ""
    return file.error(line, f"must have {width} columns like the first, got {len(row)} ({str(row)[:SHOWN]}){hint}")


def _open(file: LabelFile, kind: str, labels: bool) -> tuple[Iterator[tuple[int, list[str]]], str]:
    """(line, cells) and the form: table, records, prefixed or lines."""
    if file.suffix == ".csv":
        return file.comma_separated(), "table"
    if file.suffix in RECORDS:
        return _from_records(file), "records"
    if file.suffix == ".tsv":
        return file.tabbed(), "table"
    first = next((line for line in file.lines() if line.strip()), "")
    if any(word.startswith(PREFIX) for word in first.split()):
        return _from_prefixed(file), "prefixed"
    if file.suffix == ".json" and first.lstrip().startswith("{"):
        return _from_records(file), "records"
    if "\t" in first:
        return file.tabbed(), "table"
    if labels and kind != "embed":
        raise InputError(f"{file.path} must hold texts with labels, got {first[:SHOWN]!r}; write a label, a tab and a "
                         f"text a line, '{PREFIX}good a fine day', or name the file .csv, .tsv or .jsonl")
    return ((line, [text]) for line, text in enumerate(file.lines(), start=1) if text.strip()), "lines"


def _from_prefixed(file: LabelFile) -> Iterator[tuple[int, list[str]]]:
    for line, text, names in file.prefixed():
        label, *others = names
        if others:
            raise file.error(line, f"must have one label, got {', '.join(names)[:SHOWN]}; {MANY_LABELS}")
        yield line, [text, label]


class _NoText(str):
    """A value of a JSON object that is no string, as text: a label or a score, but no text."""


def _from_records(file: LabelFile) -> Iterator[tuple[int, list[str]]]:
    """The fields of the first object as a heading, then the values of each."""
    names: list[str] = []
    for line, record in file.records():
        if not names:
            names = list(record)
            yield 0, names
        missing = [name for name in names if name not in record]
        if missing:
            raise file.error(line, f"must have the fields of the first line, but {missing[0]!r} is missing")
        yield line, [_cell(file, line, name, record[name]) for name in names]


def _cell(file: LabelFile, line: int, name: str, value: Any) -> str:
    """A value as text; a list of words as the words with spaces between."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        if len(value) > 1 and name.casefold() in KNOWN["label"]:
            raise file.error(line, f"must have one label, got {str(value)[:SHOWN]}; {MANY_LABELS}")
        return " ".join(map(str, value))
    return _NoText(json.dumps(value, ensure_ascii=False))


def _example(file: LabelFile, line: int, cells: Mapping[str, str], kind: str, labels: bool) -> Example:
    texts = {}
    for role in ("text", "pair", "negative"):
        if isinstance(cells.get(role), _NoText):
            raise file.error(line, f"must have a string as its {role}, got {cells[role][:SHOWN]}; write it in quotes, "
                             "or name the right field in --columns")
        texts[role] = cells[role].strip() if role in cells else None
        if texts[role] == "":
            raise file.error(line, f"must have a text, got an empty one ({role})")
    label: str | float | None = cells["label"].strip() if "label" in cells else None
    if label == "" and labels:
        raise file.error(line, "must have a label, got an empty one")
    if kind == "regress" and label:
        label = _score(file, line, str(label)) if labels or is_number(str(label)) else None
    return Example(str(texts["text"]), texts["pair"], label if label != "" else None, line, texts["negative"])


def _score(file: LabelFile, line: int, cell: str) -> float:
    try:
        score = float(cell)
    except ValueError as error:
        raise file.error(line, f"must have a number as its score, got {cell[:SHOWN]!r}") from error
    if not math.isfinite(score):
        raise file.error(line, f"must have a finite score, got {cell!r}")
    return score
