"""Examples of a task from the files people have: tables, JSON Lines, CoNLL columns, SQuAD questions.

`read_examples` is the one reader of labeled files.  What it took for what stands in `Examples.note`; whatever is wrong
is one line that names the file and its line.
"""
from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from polysemy.errors import InputError
from polysemy.text.labeled_columns import KNOWN, SAMPLE, Columns, choose, has_heading, parse_columns
from polysemy.text.tables import PREFIX, RECORDS, SHOWN, LabelFile

KINDS = ("classify", "pair", "regress", "embed", "tag", "span")
MOST_CLASSES_SHOWN = 200


@dataclass(frozen=True)
class Example:
    """A text, or two or three, with a label (classify, pair), a score (regress) or nothing."""

    text: str
    pair: str | None = None
    label: str | float | None = None
    row: int = 0
    """line of the file, from 1"""
    negative: str | None = None


@dataclass(frozen=True)
class Tagged:
    """The words of a sentence and the tag of each."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    row: int = 0


@dataclass(frozen=True)
class Question:
    """A question to a text; each answer is (start, text) with context[start:start + len(text)] == text."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[int, str], ...]
    """none: it has no answer there"""
    row: int = 0


@dataclass(frozen=True)
class Examples(Sequence[Any]):
    """What a file holds: Example, Tagged (tag) or Question (span) in its order."""

    items: tuple[Any, ...]
    kind: str
    path: str = "data"
    note: str = ""
    """one line: what was read, and which columns were taken"""
    warnings: tuple[str, ...] = ()
    """one line each: what was replaced, left out or looks wrong"""
    columns: str = ""
    """what to give as `columns` to read a file like this one in the same way"""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: Any) -> Any:
        return self.items[i]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels or tags that occur, each once: numbers by size, other names by name."""
        if self.kind == "tag":
            found = {tag for item in self.items if item.tags is not None for tag in item.tags}
        else:
            found = {item.label for item in self.items if isinstance(item.label, str)}
        return natural_order(found)

    @property
    def pair(self) -> bool:
        """Whether examples are pairs of texts."""
        return self.kind in ("classify", "pair", "regress") and any(item.pair is not None for item in self.items)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        scores = [item.label for item in self.items if item.label is not None]
        return (min(scores), max(scores)) if scores else (0.0, 0.0)


def natural_order(labels: set[str] | Sequence[str]) -> tuple[str, ...]:
    """Numbers by size before names by name, in which numbers count as numbers too (`class 2` before `class 10`)."""
    def key(label: str) -> tuple[Any, ...]:
        try:
            number = float(label)
            if math.isfinite(number):
                return 0, number, label
        except ValueError:
            pass
        parts = re.split(r"(\d+)", label)
        return 1, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part], label

    return tuple(sorted(set(labels), key=key))


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
    if kind == "span":
        from polysemy.text.squad import read_questions

        items, found = read_questions(file), ""
    elif kind == "tag":
        from polysemy.text.conll import read_tagged

        items, found = read_tagged(file, parse_columns(columns, kind), labels)
    else:
        wanted = parse_columns(columns, kind)
        return _finished(file, kind, *_read_table(file, kind, wanted, labels), guessed="text" not in wanted)
    return _finished(file, kind, items, found, "" if columns is None else str(columns))


def texts_as_examples(texts: Sequence[str], pairs: Sequence[str] | None = None, *, kind: str = "classify",
                      path: str = "texts") -> Examples:
    """Texts without labels as examples, for prediction."""
    if pairs is not None and len(pairs) != len(texts):
        raise InputError(f"pairs must be as many as texts, got {len(pairs)} and {len(texts)}")
    others: Sequence[str | None] = [None] * len(texts) if pairs is None else pairs
    return Examples(tuple(Example(text, other, None, number) for number, (text, other)
                          in enumerate(zip(texts, others, strict=True), start=1)), kind, path)


def check_labels(train: Examples, dev: Examples | None = None) -> tuple[str, ...]:
    """The labels (or tags) to learn, in order: those of `train`, two at least; `dev` may hold no other.

    Scores need not be among those of train, but they must differ.  For embed and span there is nothing to check.
    """
    if train.kind in ("embed", "span"):
        return ()
    if train.kind == "regress":
        low, high = train.range
        if not low < high:
            raise InputError(f"scores of {train.path} must differ to be learned, got {low:g} in all rows")
        return ()
    known = train.labels
    if len(known) < 2:
        raise InputError(f"labels of {train.path} must be at least two to be learned, got only "
                         f"{', '.join(map(repr, known)) or 'none'}; see that the right column was taken ({train.note})")
    for item in dev or ():
        own = item.tags or () if train.kind == "tag" else (item.label,)
        for label in own:
            if label is not None and label not in known:
                assert dev is not None
                raise InputError(f"{dev.path}, line {item.row:,}: label must be one that {train.path} has "
                                 f"({', '.join(map(repr, known))[:SHOWN * 2]}), got {label!r}")
    return known


def _finished(file: LabelFile, kind: str, items: list[Any], found: str, columns: str, names: Sequence[str] = (), *,
              guessed: bool = False) -> Examples:
    if not items:
        raise InputError(f"{file.path} must hold examples, got none; it is empty")
    what = {"tag": "sentence", "span": "question"}.get(kind, "example")
    note = f"{file.path}: {len(items):,} {what}{'s' * (len(items) != 1)}" + (f", {found}" if found else "")
    report, warnings = file.report, []
    for count, changed in ((report.invalid, "invalid bytes"), (report.nuls, "NULs")):
        if count:
            warnings.append(f"{file.path}: {count:,} {changed} were replaced")
    if kind in ("classify", "pair") and columns:
        several = len({item.label for item in items})
        if several > max(MOST_CLASSES_SHOWN, len(items) // 4):
            warnings.append(f"{file.path}: {several:,} different labels in {len(items):,} rows; see that the right "
                            f"column was taken ({found})")
    unread = [name for name in names if name.casefold() in KNOWN["pair"]]
    if kind == "classify" and guessed and unread:
        warnings.append(f"{file.path}: {unread[0]!r} is not read, as the task takes one text; use --task pair for two")
    return Examples(tuple(items), kind, str(file.path), note, tuple(warnings), columns)


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
    heading = form == "records" or has_heading(cells, wanted)
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
    return file.error(line, f"must have {width} columns like the first, got {len(row)} ({str(row)[:SHOWN]})")


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
            raise file.error(line, f"must have one label, got {', '.join(names)[:SHOWN]}; the classifier of fastText "
                                   "learns several")
        yield line, [text, label]


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
        yield line, [_cell(record[name]) for name in names]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _example(file: LabelFile, line: int, cells: Mapping[str, str], kind: str, labels: bool) -> Example:
    texts = {}
    for role in ("text", "pair", "negative"):
        texts[role] = cells[role].strip() if role in cells else None
        if texts[role] == "":
            raise file.error(line, f"must have a text, got an empty one ({role})")
    label: str | float | None = cells["label"].strip() if "label" in cells else None
    if label == "" and labels:
        raise file.error(line, "must have a label, got an empty one")
    if kind == "regress" and label:
        label = _score(file, line, str(label))
    return Example(str(texts["text"]), texts["pair"], label if label != "" else None, line, texts["negative"])


def _score(file: LabelFile, line: int, cell: str) -> float:
    try:
        score = float(cell)
    except ValueError as error:
        raise file.error(line, f"must have a number as its score, got {cell[:SHOWN]!r}") from error
    if not math.isfinite(score):
        raise file.error(line, f"must have a finite score, got {cell!r}")
    return score
