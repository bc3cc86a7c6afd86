"""Shard files while they grow: part after part is appended and journaled, so that a killed run goes on.

Each line of the journal follows the data it describes and carries its checksum. What a crash left behind the last
good line is cut off; a power cut that lost data is found by the checksum.
"""
from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from polysemy.errors import InputError
from polysemy.text.part import Part

JOURNAL = "parts.jsonl"
ARRAYS = {"ids": "ids.bin", "word_starts": "word_starts.bin", "sentence_starts": "sentence_starts.bin",
          "document_starts": "document_starts.bin", "document_sentences": "document_sentences.bin"}
BORDERS = ("sentence_starts", "document_starts", "document_sentences")
ZERO = np.zeros(1, "<i8").tobytes()


@dataclass(frozen=True)
class Totals:
    """How much is in the files."""

    parts: int = 0
    tokens: int = 0
    sentences: int = 0
    documents: int = 0
    bytes: int = 0
    words: int = 0

    def plus(self, part: Part) -> Totals:
        return Totals(self.parts + 1, self.tokens + len(part.ids), self.sentences + len(part.sentence_ends),
                      self.documents + len(part.document_ends), self.bytes + part.bytes, self.words + part.words)

    def file_bytes(self, id_bytes: int) -> dict[str, int]:
        """The length each file must have; border files begin with a zero."""
        return {"ids": self.tokens * id_bytes, "word_starts": self.tokens, "sentence_starts": 8 * (self.sentences + 1),
                "document_starts": 8 * (self.documents + 1), "document_sentences": 8 * (self.documents + 1)}


class PartStore:
    """The growing files in one folder; made by `growing`."""

    def __init__(self, folder: Path, id_bytes: int) -> None:
        self.folder = folder
        self.id_bytes = id_bytes
        self.totals = self._recover()
        self._files = {name: _appending(folder / file) for name, file in ARRAYS.items()}
        self._journal = _appending(folder / JOURNAL)
        if not self.totals.parts:
            for name in BORDERS:
                _write(self._files[name], ZERO)

    def append(self, part: Part) -> None:
        """Add one part at the end of all files, then its line in the journal."""
        before = self.totals
        self.totals = before.plus(part)
        data = {
            "ids": part.ids.tobytes(),
            "word_starts": part.word_starts.tobytes(),
            "sentence_starts": (part.sentence_ends + before.tokens).astype("<i8").tobytes(),
            "document_starts": (part.document_ends + before.tokens).astype("<i8").tobytes(),
            "document_sentences": (part.document_sentence_ends + before.sentences).astype("<i8").tobytes(),
        }
        checksum = 0
        for name, content in data.items():
            checksum = zlib.crc32(content, checksum)
            _write(self._files[name], content)
        line = json.dumps({**asdict(self.totals), "checksum": checksum})
        _write(self._journal, f"{line}\n".encode())

    def close(self) -> None:
        for file in (*self._files.values(), self._journal):
            file.close()

    def _recover(self) -> Totals:
        """The totals after the last part that is whole; what lies behind it is cut off."""
        totals, kept = Totals(), 0
        if (self.folder / JOURNAL).is_file():
            for line in (self.folder / JOURNAL).read_bytes().splitlines(keepends=True):
                after = self._checked(totals, line)
                if after is None:
                    break
                totals, kept = after, kept + len(line)
        lengths = totals.file_bytes(self.id_bytes) if totals.parts else dict.fromkeys(ARRAYS, 0)
        for path, length in ((self.folder / JOURNAL, kept), *((self.folder / ARRAYS[n], lengths[n]) for n in ARRAYS)):
            with open(path, "ab") as file:
                file.truncate(length)
        return totals

    def _checked(self, before: Totals, line: bytes) -> Totals | None:
        """The totals that the line states, or None if the line or the data before it is not whole."""
        try:
            stated = json.loads(line)
            checksum = stated.pop("checksum")
            after = Totals(**stated)
            starts = before.file_bytes(self.id_bytes)
            checked = 0
            for name, stop in after.file_bytes(self.id_bytes).items():
                with open(self.folder / ARRAYS[name], "rb") as file:
                    file.seek(starts[name])
                    content = file.read(stop - starts[name])
                if len(content) != stop - starts[name]:
                    return None
                checked = zlib.crc32(content, checked)
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            return None
        whole = line.endswith(b"\n") and after.parts == before.parts + 1
        return after if whole and checked == checksum else None


def _appending(path: Path) -> FileIO:
    """A file without a buffer: nothing is left to be written when it is closed after an error."""
    return FileIO(path, "ab")


def _write(file: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest):]


@contextmanager
def growing(folder: Path, id_bytes: int) -> Iterator[PartStore]:
    """Open or create the growing files; a full disk or the like is an InputError with the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store = PartStore(folder, id_bytes)
        try:
            yield store
        finally:
            store.close()
    except OSError as error:
        raise InputError(f"shards folder must be writable and have room, got {folder} ({error.strerror or error}); "
                         "what is finished there is kept") from error
