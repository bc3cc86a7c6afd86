"""A corpus: files, folders and patterns read as a stream of documents, with bounded memory whatever their size.

Plain text and JSON Lines (.jsonl, .ndjson), also as .gz, .xz and (extra `formats`) .zst; .parquet with that extra.
"""
from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from polysemy.errors import InputError
from polysemy.text.counts import ReadingReport
from polysemy.text.decoding import clean_text, decode_blocks
from polysemy.text.decompress import read_blocks
from polysemy.text.documents import (
    HEAD_CHARACTERS,
    RULES,
    choose_rule,
    cut_text,
    looks_like_records,
    read_records,
    split_documents,
)
from polysemy.text.files import RECORD_SUFFIXES, TextFile, find_files

HASH_BYTES = 1 << 22


class Document(NamedTuple):
    """One document: its text (never blank), the file it came from, and its number in the corpus, from 0."""

    text: str
    name: str
    number: int


class Documents(Protocol):
    """What can be prepared for training: documents again and again in the same order, and a key of their content."""

    report: ReadingReport

    def __iter__(self) -> Iterator[Document]: ...
    @property
    def document_rule(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    def fingerprint(self) -> str: ...


class Corpus:
    """The documents of files, in the order of the files; iterate as often as you like.

    paths          files, folders (every text file below them) and patterns
    document       what a document is: "blank-line" (blank lines stand between documents), "line", "heading" (a line
                   `# Title` or ` = Title = ` begins one), "file", or "auto": chosen for each file from its beginning
                   (`document_rule` says what). In a .jsonl or .parquet file a record is a document, whatever is chosen.
    strict         refuse the first invalid byte or bad jsonl line, with its place, instead of counting it in `report`
    field          where a jsonl record or parquet row has its text

    Bad files, and a corpus without any text, raise InputError; so does a file that changes after it was found.
    A document longer than a million characters is cut at white space. Nothing depends on the number of passes.
    """

    def __init__(
        self,
        paths: Sequence[str | Path] | str | Path,
        *,
        document: str = "auto",
        strict: bool = False,
        field: str = "text",
    ) -> None:
        if document not in ("auto", *RULES):
            raise InputError(f"document must be one of auto, {', '.join(RULES)}, got {document!r}")
        self.document = document
        self.strict = strict
        self.field = field
        self.report = ReadingReport()
        self.sources = find_files(paths)
        """the files, with what is needed to see that they stay as they are"""

    @property
    def files(self) -> list[Path]:
        """The files, in reading order."""
        return [file.path for file in self.sources]

    @property
    def bytes(self) -> int:
        """Size of the files on disk (compressed where they are)."""
        return sum(file.size for file in self.sources)

    @functools.cached_property
    def rules(self) -> dict[Path, str]:
        """The document rule of each file: one of blank-line, line, heading, file, record."""
        return {file.path: self._rule(file) for file in self.sources}

    @property
    def document_rule(self) -> str:
        """The rule in use; several of them, joined by +, when the files differ."""
        return "+".join(sorted(set(self.rules.values())))

    def __iter__(self) -> Iterator[Document]:
        self.report = report = ReadingReport()
        for file in self.sources:
            file.check_unchanged()
            name = str(file.path)
            for text in self.texts(file, report):
                yield Document(text, name, report.documents)
                report.documents += 1
                report.characters += len(text)
            file.check_unchanged()
        if not report.documents:
            names = ", ".join(str(file.path) for file in self.sources[:3])
            why = f"{report.bad_lines:,} lines were skipped, {report.first_bad_line}" if report.bad_lines else \
                "there is only white space or nothing"
            raise InputError(f"corpus must hold text, got {names}{' ...' * (len(self.sources) > 3)}: {why}")

    def fingerprint(self) -> str:
        """Hex sha256 over the content of all files and the way they are cut into documents, not over names or times.

        Reads every file once (about 1 GB a second); kept for this object.
        """
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        parts = [[_file_digest(file), self.rules[file.path]] for file in self.sources]
        return hashlib.sha256(json.dumps([parts, self.field]).encode()).hexdigest()

    def _rule(self, file: TextFile) -> str:
        if file.suffix in (*RECORD_SUFFIXES, ".parquet"):
            return "record"
        if self.document != "auto":
            return self.document
        blocks = decode_blocks(read_blocks(file.path), str(file.path), False, ReadingReport())
        head = "".join(itertools.islice(blocks, 1))[:HEAD_CHARACTERS]
        return "record" if looks_like_records(head, self.field) else choose_rule(head)

    def texts(self, file: TextFile, report: ReadingReport) -> Iterator[str]:
        """The texts of one file's documents in their order; what is met on the way is counted in `report`."""
        name = str(file.path)
        if file.suffix == ".parquet":
            from polysemy.text.parquet import read_parquet

            for text in read_parquet(file.path, self.field):
                yield from cut_text(clean_text(text, report), report)
            return
        blocks = decode_blocks(read_blocks(file.path), name, self.strict, report)
        if self.rules[file.path] == "record":
            yield from read_records(blocks, name, self.field, self.strict, report)
        else:
            yield from split_documents(blocks, self.rules[file.path], report)


class TextDocuments:
    """Documents in memory with the interface of a corpus; blank texts are left out."""

    document_rule = "given"

    def __init__(self, texts: Iterable[str]) -> None:
        self.report = ReadingReport()
        self._texts = [piece for text in texts for piece in cut_text(clean_text(text, self.report), self.report)]
        if not self._texts:
            raise InputError("texts must hold at least one that is not blank, got none")
        self.report.documents = len(self._texts)
        self.report.characters = sum(map(len, self._texts))

    @property
    def bytes(self) -> int:
        """Length of the texts in UTF-8."""
        return sum(len(text.encode()) for text in self._texts)

    def __iter__(self) -> Iterator[Document]:
        return (Document(text, "", number) for number, text in enumerate(self._texts))

    def __len__(self) -> int:
        return len(self._texts)

    def fingerprint(self) -> str:
        """Hex sha256 over the texts and their borders."""
        digest = hashlib.sha256(b"texts")
        for text in self._texts:
            data = text.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()


def text_documents(texts: Iterable[str]) -> TextDocuments:
    """Documents in memory, each text one of them, to be used where a `Corpus` is."""
    return TextDocuments(texts)


def _file_digest(file: TextFile) -> str:
    digest = hashlib.sha256()
    file.check_unchanged()
    try:
        with open(file.path, "rb") as stream:
            while block := stream.read(HASH_BYTES):
                digest.update(block)
    except OSError as error:
        raise InputError(f"corpus must be readable, got {file.path} ({error.strerror})") from error
    file.check_unchanged()
    return digest.hexdigest()
