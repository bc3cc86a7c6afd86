"""What sentence vectors are learned from: pairs of texts, or sentences of plain text; each distinct text once."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polysemy.errors import InputError
from polysemy.text.labeled import Examples, read_examples
from polysemy.text.labeled_columns import SCORES
from polysemy.text.sentence_batches import COLUMNS
from polysemy.text.sentences import sentence_spans
from polysemy.text.tables import RECORDS, LabelFile
from polysemy.text.words import word_spans

Making = Literal["twins", "adjacent"]
"""pairs from plain text: a sentence twice, under two dropout masks; or a sentence and the next one of its document"""
SHORTEST = 4
"""words of a sentence that is taken from plain text"""
MOST_SENTENCES = 1_000_000


@dataclass(frozen=True, eq=False)
class SentenceExamples:
    """Pairs by the numbers of their texts."""

    texts: tuple[str, ...]
    """each once"""
    pairs: np.ndarray
    """int64 (n, 3): first text, second text, hard negative; -1 where there is none"""
    scores: np.ndarray | None = None
    """float32 (n,) in 0..1; None where pairs are only known to belong together"""
    source: str = "pairs"
    """pairs | scored pairs | twins | adjacent sentences"""
    notes: tuple[str, ...] = ()
    """lines that say what was taken for what in the file, and what was replaced"""

    def __len__(self) -> int:
        return len(self.pairs)


def from_examples(examples: Iterable[Any], *, scored: bool, name: str = "examples") -> SentenceExamples:
    """Of things with `text`, `pair`, `negative` (or None) and, if `scored`, a number `label` on any scale.

    Scores are moved to 0..1, the lowest to 0 and the highest to 1.
    """
    found = list(examples)
    numbers: dict[str, int] = {}
    pairs = np.full((len(found), COLUMNS), -1, np.int64)
    for line, example in zip(pairs, found, strict=True):
        parts = (example.text, example.pair, getattr(example, "negative", None))
        if example.pair is None:
            raise InputError(f"{name} must hold pairs of texts, got a single text in row {example.row}")
        line[:] = [-1 if part is None else numbers.setdefault(part, len(numbers)) for part in parts]
    if not scored:
        return SentenceExamples(tuple(numbers), pairs)
    labels = np.array([float(example.label) for example in found], np.float64)
    low, high = (labels.min(), labels.max()) if len(labels) else (0.0, 0.0)
    if not low < high:
        raise InputError(f"{name} must hold different scores, got {low:g} alone; for pairs that belong together leave "
                         "the scores out")
    return SentenceExamples(tuple(numbers), pairs, ((labels - low) / (high - low)).astype(np.float32), "scored pairs")


def from_documents(documents: Iterable[str], making: Making = "twins", *, most: int = MOST_SENTENCES,
                   name: str = "text") -> SentenceExamples:
    """Pairs from plain text, from its first `most` sentences of at least SHORTEST words; equal sentences count once."""
    numbers: dict[str, int] = {}
    pairs: list[tuple[int, int, int]] = []
    for sentences in sentences_of(documents):
        before = -1
        for sentence in sentences:
            number = numbers.setdefault(sentence, len(numbers)) if sentence else -1
            if making == "adjacent" and before >= 0 and number >= 0 and number != before:
                pairs.append((before, number, -1))
            before = number
        if len(numbers) >= most:
            break
    if making == "twins":
        pairs = [(i, i, -1) for i in range(len(numbers))]
    if len(pairs) < 2:
        raise InputError(f"{name} must hold at least two sentences of {SHORTEST} words, got {len(numbers)}")
    source = "twins" if making == "twins" else "adjacent sentences"
    return SentenceExamples(tuple(numbers), np.array(pairs, np.int64), source=source)


def sentences_of(documents: Iterable[str]) -> Iterator[list[str]]:
    """The sentences of each document on one line each; "" for one that is too short to mean something alone."""
    for text in documents:
        found = [" ".join(text[start:stop].split()) for start, stop in sentence_spans(text)]
        yield [sentence if len(word_spans(sentence)) >= SHORTEST else "" for sentence in found]


def rows_of_texts(reader: Any, texts: Sequence[str], length: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """(ids, segments) of each text as the model reads it, and how many texts were cut at `length` tokens."""
    room = min(length, reader.length) - reader.specials(False)
    rows, cut = [], 0
    for encoding in reader.encode(texts):
        cut += len(encoding.ids) > room
        rows.append(tuple(reader.row(encoding.ids[:room])))
    return rows, cut


def read_scored(path: str | Path, columns: str | None = None) -> SentenceExamples:
    """Pairs of texts with how alike they are (STS-B, LCQMC): .tsv, .csv or .jsonl, columns named or guessed."""
    return _from_table(read_examples(path, "regress", columns), scored=True)


def _from_table(found: Examples, *, scored: bool) -> SentenceExamples:
    return replace(from_examples(found, scored=scored, name=found.path), notes=(found.note, *found.warnings))


def read_training(path: str | Path, making: Making = "twins", columns: str | None = None) -> SentenceExamples:
    """What a file gives to learn from: a table of pairs, with or without scores, or plain text (`making`).

    A table is a .tsv, .csv, .jsonl with a second text, or a text file with tabs in its first line.  A column called
    score, label or the like, or without a heading the last column of numbers, makes its pairs scored.
    """
    path = Path(path)
    if columns is None and not _is_table(path):
        from polysemy.text.corpus import Corpus

        return from_documents((document.text for document in Corpus([path])), making, name=str(path))
    if columns is None or "label" in columns or "score" in columns:
        try:
            found = read_examples(path, "regress", columns)
        except InputError:
            if columns is not None:
                raise
        else:
            label = dict(part.split("=", 1) for part in found.columns.split(",")).get("label", "")
            if found.pair and (columns is not None or label.isdigit() or label.casefold() in SCORES):
                return _from_table(found, scored=True)
    return _from_table(read_examples(path, "embed", columns), scored=False)


def _is_table(path: Path) -> bool:
    file = LabelFile.at(path)
    if file.suffix in (".tsv", ".csv"):
        return True
    if file.suffix in RECORDS:
        _, record = next(file.records(), (0, {}))
        return len(record) > 1 and "text" not in record
    return "\t" in next((line for line in file.lines() if line.strip()), "")
