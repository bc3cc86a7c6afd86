"""The text of an ARPA file, line by line, held against its own rules; every fault is named with its line."""
from __future__ import annotations

import gzip
import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from polysemy.errors import InputError
from polysemy.models.ngram.arpa_kernels import Names, read_ngrams
from polysemy.models.ngram.config import MAX_ORDER

LONGEST_LINE = 1 << 20
BLOCK_BYTES = 4 << 20
ROWS = 1 << 16
ODD_LINES, ODD_SHARE = 100, 20
"""the quick way is given up in a section with so many unusual lines, and one in 20"""
COUNT = re.compile(rb"ngram (\d{1,4})=(\d{1,18})")
SECTION = re.compile(rb"\\(\d{1,4})-grams:")
GZIP = b"\x1f\x8b"
BEGIN, FINISH, UNK = b"<s>", b"</s>", b"<unk>"


@dataclass
class Section:
    """The n-grams of one order as they stand in the file.

    words          `order` numbers each, in turn, of `names`
    probabilities  log10
    backoffs       log10, nan where the line has none
    line           where the first stands
    """

    order: int
    line: int
    words: array = field(default_factory=lambda: array("i"))
    probabilities: array = field(default_factory=lambda: array("d"))
    backoffs: array = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.probabilities)


class Blocks:
    """A file block by block, to be read line by line or many lines at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.data, self.at = file, b"", 0

    def line(self) -> bytes:
        """The next line with its line feed, empty at the end; a very long one not to its end."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            self.data, self.at = self.data[self.at :] + self.file.read(BLOCK_BYTES), 0
            end = self.data.find(b"\n")
        stop = end + 1 if end >= 0 else len(self.data)
        line, self.at = self.data[self.at : stop], stop
        return line

    def whole_lines(self) -> tuple[np.ndarray, int, int]:
        """(bytes, where the next line begins, where the last whole line there ends)."""
        return np.frombuffer(self.data, np.uint8), self.at, self.data.rfind(b"\n", self.at) + 1


class ArpaLines:
    """Reads one file; `names` are the words of the 1-grams as bytes, numbered as they come."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self.names: dict[bytes, int] = {}

    def fail(self, rule: str, line: int | None = None) -> InputError:
        """The error to raise: what is wrong, and where."""
        return InputError(f"{self.path}, line {self.number if line is None else line}: {rule}")

    def read(self) -> list[Section]:
        """The sections in order."""
        try:
            with open(self.path, "rb") as raw:
                packed = raw.read(2) == GZIP
                raw.seek(0)
                file = gzip.GzipFile(fileobj=raw) if packed else raw
                room = None if packed else self.path.stat().st_size
                return self._read(file, room)  # type: ignore[arg-type]
        except (EOFError, gzip.BadGzipFile) as error:
            raise self.fail(f"gzip data must be whole, got an error: {error}") from error
        except OSError as error:
            raise InputError(f"{self.path} must be a readable ARPA file ({error.strerror or error})") from error

    def _read(self, file: IO[bytes], room: int | None) -> list[Section]:
        self.blocks = Blocks(file)
        lines = self._lines()
        counts = self._counts(lines, room)
        sections = []
        for order, count in enumerate(counts, 1):
            sections.append(self._section(lines, order, count, order == len(counts)))
            wanted = b"\\%d-grams:" % (order + 1) if order < len(counts) else b"\\end\\"
            line = next(filter(None, lines), b"")
            if line != wanted:
                raise self.fail(f"line must be {_show(wanted)}, got {_show(line) if line else 'the end of the file'}")
        if (line := next(filter(None, lines), b"")):
            raise self.fail(f"nothing may follow \\end\\, got {_show(line)}")
        return sections

    def _section(self, lines: Iterator[bytes], order: int, count: int, highest: bool) -> Section:
        """The n-grams of one order, up to the blank line behind them."""
        section = Section(order, self.number + 1)
        parse, names = (self._unigram, None) if order == 1 else (self._ngram, Names.of(self.names))
        odd = 0
        while True:
            if names and odd < len(section) // ODD_SHARE + ODD_LINES:
                self._many(section, count - len(section), highest, names)
            odd += 1
            line = next(lines, b"")
            if not line:
                break
            if line.startswith(b"\\") and (SECTION.fullmatch(line) or line == b"\\end\\"):
                raise self.fail(f"a blank line must stand before {_show(line)}")
            if len(section) == count:
                raise self.fail(f"{order}-grams must be {count:,} as \\data\\ says, got more")
            parse(line, section, highest)
        if len(section) != count:
            raise self.fail(f"{order}-grams must be {count:,} as \\data\\ says, got {len(section):,}")
        return section

    def _many(self, section: Section, most: int, highest: bool, names: Names) -> None:
        """Read the next lines as far as they are of the usual form and there already."""
        data, at, end = self.blocks.whole_lines()
        begin, finish = self.names.get(BEGIN, -1), self.names.get(FINISH, -1)
        while most > 0 and at < end:
            rows = min(most, ROWS)
            words, logs, weights = np.empty((rows, section.order), np.int32), np.empty(rows), np.empty(rows)
            read, at = read_ngrams(data, at, end, section.order, highest, begin, finish, *names, words, logs, weights)
            section.words.frombytes(words[:read].tobytes())
            section.probabilities.frombytes(logs[:read].tobytes())
            section.backoffs.frombytes(weights[:read].tobytes())
            self.number += read
            most -= read
            if read < rows:
                break
        self.blocks.at = at

    def _lines(self) -> Iterator[bytes]:
        while line := self.blocks.line():
            self.number += 1
            if len(line) >= LONGEST_LINE:
                raise self.fail(f"line must be shorter than {LONGEST_LINE:,} bytes")
            yield line.strip(b" \t\r\n")

    def _counts(self, lines: Iterator[bytes], room: int | None) -> list[int]:
        """The numbers that \\data\\ states; what cannot stand in a file of `room` bytes is refused here."""
        line = next(filter(None, lines), b"")
        if line.removeprefix(b"\xef\xbb\xbf") != b"\\data\\":
            raise self.fail(f"file must begin with \\data\\, got {_show(line) if line else 'nothing'}")
        counts: list[int] = []
        least = 0
        for line in lines:
            if not line:
                break
            if not (match := COUNT.fullmatch(line)):
                if SECTION.fullmatch(line):
                    raise self.fail(f"a blank line must stand before {_show(line)}")
                raise self.fail(f"line must be ngram ORDER=COUNT, got {_show(line)}")
            order, count = map(int, match.groups())
            if order != len(counts) + 1 or order > MAX_ORDER:
                raise self.fail(f"orders must be 1, 2, ... up to {MAX_ORDER}, got {order} after {len(counts)}")
            least += count * (2 * order + 2)
            if room is not None and least > room:
                raise self.fail(f"n-grams must fit a file of {room:,} bytes, got {count:,} of order {order}")
            counts.append(count)
        if not counts or not counts[0]:
            raise self.fail("\\data\\ must state at least one 1-gram, got none")
        line = next(filter(None, lines), b"")
        if line != b"\\1-grams:":
            raise self.fail(f"line must be \\1-grams:, got {_show(line) if line else 'the end of the file'}")
        return counts

    def _unigram(self, line: bytes, section: Section, highest: bool) -> None:
        fields = line.split()
        self._numbers(fields, section, highest)
        name = fields[1]
        if name in self.names:
            raise self.fail(f"word must stand once, got {_show(name)} again")
        try:
            name.decode()
        except UnicodeDecodeError as error:
            raise self.fail(f"word must be UTF-8, got byte 0x{name[error.start]:02x}") from error
        self.names[name] = len(self.names)
        section.words.append(self.names[name])

    def _ngram(self, line: bytes, section: Section, highest: bool) -> None:
        fields = line.split()
        self._numbers(fields, section, highest)
        words = fields[1 : section.order + 1]
        if BEGIN in words[1:] or FINISH in words[:-1]:
            raise self.fail(f"<s> must stand first only and </s> last only, got {_show(b' '.join(words))}")
        try:
            section.words.extend([self.names[word] for word in words])
        except KeyError as error:
            raise self.fail(f"word must be one of the 1-grams, got {_show(error.args[0])}") from error

    def _numbers(self, fields: list[bytes], section: Section, highest: bool) -> None:
        """Check and keep the probability and, behind the words, the back-off."""
        order = section.order
        most = order + 1 if highest else order + 2
        if not order + 1 <= len(fields) <= most:
            raise self.fail(f"{order}-gram must be a number, {order} words{'' if highest else ' and a back-off'}, got "
                            f"{_show(b' '.join(fields))}")
        log = self._number(fields[0], "log10 probability")
        if log > 0:
            raise self.fail(f"log10 probability must be at most 0, got {log:g}")
        weight = math.nan
        if len(fields) == order + 2:
            weight = self._number(fields[-1], "back-off")
            if weight == math.inf:
                raise self.fail("back-off must be finite, got inf")
        section.probabilities.append(log)
        section.backoffs.append(weight)

    def _number(self, text: bytes, what: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise self.fail(f"{what} must be a number, got {_show(text)}") from error
        if math.isnan(value) or b"_" in text:
            raise self.fail(f"{what} must be a number, got {_show(text)}")
        return value


def _show(text: bytes) -> str:
    return repr(text[:60].decode("utf-8", "replace"))
