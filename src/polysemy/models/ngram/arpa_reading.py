"""Reads an ARPA file into a model. KenLM's, SRILM's and our own are read.

What other tools leave out is put in: `<unk>` gets log10 -100, as in KenLM; an n-gram that is missing although a longer
one begins or ends with it gets the probability that backing off gives it, so it changes no score; a back-off may be
missing where nothing longer begins with the n-gram.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from polysemy.errors import InputError
from polysemy.models.ngram.arpa_lines import BEGIN, FINISH, UNK, ArpaLines, Section
from polysemy.models.ngram.model import NgramModel
from polysemy.models.ngram.stream import BOUNDARY, FIRST_WORD, UNKNOWN_ID
from polysemy.models.ngram.trie import MAX_NODES, Trie
from polysemy.text.vocabulary import Vocabulary, WordConfig

NO_UNKNOWN = -100.0
SPACED = WordConfig(tokens="space", lowercase=False, min_count=1, keep_unknown=True)


def read_arpa(path: str | Path, words: WordConfig = SPACED) -> NgramModel:
    """The model of an ARPA file, plain or gzipped; a file that is not right raises InputError with the line's number.

    words  how texts are to be cut for it; as they are, at white space, by default

    Words are numbered as they come. The file knows no counts, so those of the vocabulary are 0.
    """
    lines = ArpaLines(Path(path))
    sections = lines.read()
    for name in (BEGIN, FINISH):
        if name not in lines.names:
            raise InputError(f"{path} must have the 1-gram {name.decode()}, got none")
    ids = np.empty(len(lines.names), np.int32)
    special = {UNK: UNKNOWN_ID, BEGIN: BOUNDARY, FINISH: BOUNDARY}
    plain = [name for name in lines.names if name not in special]
    ids[[lines.names[name] for name in plain]] = np.arange(FIRST_WORD, FIRST_WORD + len(plain))
    for name, number in special.items():
        if name in lines.names:
            ids[lines.names[name]] = number
    tables = [_Table.of(section, ids) for section in sections]
    tables[0] = _unigrams(tables[0], lines.names, len(plain) + FIRST_WORD)
    trie = _arrange(tables, len(plain) + FIRST_WORD, lines)
    vocabulary = Vocabulary([name.decode() for name in plain], np.zeros(len(plain), np.int64), words, 0)
    vocabulary.find("")
    return NgramModel(trie, vocabulary)


class _Table:
    """N-grams of one order: rows (n, order) int32 of ids, log10 and back-off; `line` is -1 beyond the file's own."""

    def __init__(self, rows: np.ndarray, logs: np.ndarray, backoffs: np.ndarray, lines: np.ndarray) -> None:
        self.rows: np.ndarray = rows
        self.logs: np.ndarray = logs
        self.backoffs: np.ndarray = backoffs
        self.lines: np.ndarray = lines
        self.keys: np.ndarray = np.zeros(0, np.int64)

    @classmethod
    def of(cls, section: Section, ids: np.ndarray) -> _Table:
        rows = ids[np.frombuffer(section.words, np.int32).reshape(-1, section.order)]
        logs, backoffs = (np.frombuffer(numbers, np.float64) for numbers in (section.probabilities, section.backoffs))
        return cls(rows, logs, backoffs, np.arange(section.line, section.line + len(section)))

    def sort(self, keys: np.ndarray, fail: ArpaLines) -> None:
        """Bring the rows into the order of their keys; two equal ones are an error."""
        order = np.argsort(keys, kind="stable")
        self.keys = keys[order]
        same = np.flatnonzero(self.keys[1:] == self.keys[:-1])
        if len(same):
            raise fail.fail("n-gram must stand once, got it again", int(self.lines[order[same[0] + 1]]))
        self.rows, self.logs, self.backoffs, self.lines = (
            array[order] for array in (self.rows, self.logs, self.backoffs, self.lines))

    def add(self, rows: np.ndarray) -> None:
        """Put in n-grams that the file left out."""
        rows = np.unique(rows, axis=0)
        self.rows = np.concatenate([self.rows, rows])
        self.logs = np.concatenate([self.logs, np.full(len(rows), np.nan)])
        self.backoffs = np.concatenate([self.backoffs, np.zeros(len(rows))])
        self.lines = np.concatenate([self.lines, np.full(len(rows), -1)])


def _unigrams(table: _Table, names: dict[bytes, int], size: int) -> _Table:
    """One row an id: the boundary has the probability of </s> and the back-off of <s>."""
    logs, backoffs = np.full(size, NO_UNKNOWN), np.zeros(size)
    lines = np.full(size, -1)
    ids = table.rows[:, 0]
    logs[ids], backoffs[ids], lines[ids] = table.logs, table.backoffs, table.lines
    begin, finish = names[BEGIN], names[FINISH]
    logs[BOUNDARY], backoffs[BOUNDARY], lines[BOUNDARY] = table.logs[finish], table.backoffs[begin], table.lines[begin]
    result = _Table(np.arange(size, dtype=np.int32)[:, None], logs, backoffs, lines)
    result.keys = np.arange(size, dtype=np.int64)
    return result


def _arrange(tables: list[_Table], size: int, fail: ArpaLines) -> Trie:
    """Sort, put in what is missing, and lay the tables out as a tree."""
    while True:
        missing: list[np.ndarray | None] = [None] * len(tables)
        for k in range(1, len(tables)):
            parts = []
            prefixes = _find(tables, tables[k].rows[:, :-1], size)
            suffixes = _find(tables, tables[k].rows[:, 1:], size)
            for found, part in ((prefixes, tables[k].rows[:, :-1]), (suffixes, tables[k].rows[:, 1:])):
                parts.append(part[found < 0])
            if any(map(len, parts)):
                missing[k - 1] = np.concatenate(parts)
                break
            tables[k].sort(prefixes * size + tables[k].rows[:, -1], fail)
        absent = [k for k, rows in enumerate(missing) if rows is not None]
        if not absent:
            break
        tables[absent[0]].add(missing[absent[0]])  # type: ignore[arg-type]
    return _lay_out(tables, size, fail)


def _find(tables: list[_Table], rows: np.ndarray, size: int) -> np.ndarray:
    """int64 (n,): the place of each row in the sorted table of its order, -1 for none."""
    place = rows[:, 0].astype(np.int64)
    for j in range(1, rows.shape[1]):
        keys = tables[j].keys
        wanted = np.where(place >= 0, place * size + rows[:, j], -1)
        at = np.searchsorted(keys, wanted).clip(0, max(0, len(keys) - 1))
        place = np.where((wanted >= 0) & (keys[at] == wanted), at, -1) if len(keys) else np.full(len(rows), -1)
    return place


def _lay_out(tables: list[_Table], size: int, fail: ArpaLines) -> Trie:
    sizes = np.array([len(table.rows) for table in tables], np.int64)
    if sizes.sum() > MAX_NODES:
        raise InputError(f"{fail.path} must have at most {MAX_NODES:,} n-grams, got {sizes.sum():,}")
    first = [np.array([size], np.int64)]
    for k in range(1, len(tables)):
        children = np.bincount(tables[k].keys // size, minlength=sizes[k - 1])
        lacking = np.flatnonzero((children > 0) & np.isnan(tables[k - 1].backoffs))
        if len(lacking):
            raise fail.fail("n-gram must have a back-off, since longer ones begin with it, got none",
                            int(tables[k - 1].lines[lacking].min()))
        first.append(sizes[:k].sum() + np.cumsum(children))
        blank = np.flatnonzero(np.isnan(tables[k].logs))
        if len(blank):
            prefix = tables[k].keys[blank] // size
            suffix = _find(tables, tables[k].rows[blank, 1:], size)
            tables[k].logs[blank] = tables[k - 1].backoffs[prefix] + tables[k - 1].logs[suffix]
    backoffs = [np.nan_to_num(table.backoffs, nan=0.0, neginf=-np.inf) for table in tables[:-1]]
    return Trie(
        words=np.concatenate([table.rows[:, -1] for table in tables]),
        probabilities=np.concatenate([table.logs for table in tables]).astype(np.float32),
        backoffs=np.concatenate([*backoffs, np.zeros(0)]).astype(np.float32),
        first=(np.concatenate(first) if len(tables) > 1 else np.zeros(1)).astype(np.int32),
        sizes=sizes,
    )
