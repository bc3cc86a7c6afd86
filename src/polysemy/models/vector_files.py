"""Files of word vectors made by other tools: word2vec (text and binary), GloVe (text, no header), fastText (.vec).

Formats: "word2vec" has a header line `words size`; whether rows are text or binary is seen from the first row (say
"word2vec-text" or "word2vec-binary" to fix it; when writing, a name that ends in .bin asks for binary). "glove" has no
header. "fasttext" is word2vec text. "auto" reads all of them. Files may be .gz, .xz or .zst. What is written here opens
in gensim, fastText and GloVe's scripts with equal float32 values, and theirs open here.

Every damage has one result. E is an InputError that names the file, the line or byte, and the cause; it comes before
anything of the claimed size is allocated.

| what is found | result |
|---|---|
| empty file, header without rows, header with 0, negative or non-whole numbers | E |
| header that claims more than the bytes of the file can hold | E, at once, nothing is allocated |
| text: rows one more or one fewer than the header says | the rows count; a UserWarning says so |
| text: rows off by more | E |
| binary: bytes left over after the last word, or too few | E |
| binary: cut inside a vector; no space within 4,096 bytes; a line feed in a word | E |
| word of length zero (text: a line that begins with a space) | E |
| word that is no UTF-8 | E, or with errors="replace" / "ignore" as Python's decoding does |
| row with too few numbers, or with something that is no number among them | E |
| row with too many numbers (the word would end in ` number`) | E |
| spaces inside a word (the last `size` fields are the numbers) | the word with its spaces |
| NaN, infinity, or a number beyond float32 | E |
| the same word twice | the first row counts; a UserWarning says how many were left out |
| no header where one must be, or a header where none must be | E |
| CRLF, spaces or tabs at the end of a line, runs of spaces between numbers, empty lines | passed over |
| a byte order mark at the beginning | passed over |

Writing: a word with white space cannot be told from its numbers by other tools, so it is an InputError, unless `space`
gives what to put in its place.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.models.word_vectors import WordVectors

FORMATS = ("auto", "word2vec", "word2vec-text", "word2vec-binary", "glove", "fasttext")
ERRORS = ("strict", "replace", "ignore")
LONGEST_WORD = 4096
HEADER = re.compile(rb"\s*([+-]?[0-9.eE+]+)[ \t]+([+-]?[0-9.eE+]+)[ \t\r]*\n")
BOM = b"\xef\xbb\xbf"
FASTTEXT_MAGIC = b"\xba\x16\x4f\x2f"
BLOCK_ROWS = 4096


def read_vectors(
    path: str | Path, format: str = "auto", *, limit: int | None = None, errors: str = "strict"
) -> WordVectors:
    """The word vectors of a file; `limit` reads only that many of its first words; `errors` is for words in bad UTF-8.

    Every damaged file has one fixed result: see the table above. Some 10 million numbers a second are read.
    """
    path = Path(path)
    if format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if errors not in ERRORS:
        raise InputError(f"errors must be one of {', '.join(ERRORS)}, got {errors!r}")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    data = _content(path)
    start = 3 if data[:3].tobytes() == BOM else 0
    header = _header(path, data, start) if format != "glove" else None
    if header is None and format not in ("auto", "glove"):
        raise InputError(f"{path} must begin with a line `words size`, it does not; is it GloVe's (format glove)?")
    if header is not None and (format == "word2vec-binary" or (format in ("auto", "word2vec")
                                                               and _is_binary(data, header))):
        table, words = _read_binary(path, data, header, limit)
    else:
        table, words = _read_text(path, data, start, header, limit)
    return _assembled(path, table, _decoded(path, data, words, errors))


def write_vectors(
    path: str | Path, vectors: WordVectors, format: str = "word2vec", *, space: str | None = None
) -> None:
    """Write a file that other tools open, atomically; numbers in the shortest decimals that give the same float32.

    format: "word2vec" (binary when the name ends in .bin), "word2vec-text", "word2vec-binary", "glove", "fasttext".
    """
    path = Path(path)
    if format not in FORMATS[1:]:
        raise InputError(f"format must be one of {', '.join(FORMATS[1:])}, got {format!r}")
    binary = format == "word2vec-binary" or (format == "word2vec" and path.suffix == ".bin")
    words = _writable(vectors.index_to_key, space)
    work = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(work, "wb") as file:
            if format != "glove":
                file.write(f"{len(vectors)} {vectors.vector_size}\n".encode())
            for start in range(0, len(words), BLOCK_ROWS):
                rows = np.ascontiguousarray(vectors.vectors[start : start + BLOCK_ROWS], np.float32)
                if not np.isfinite(rows).all():
                    raise InputError(f"vectors must be finite to be written, got NaN or infinity near row {start:,}")
                file.write((_binary_rows if binary else _text_rows)(words[start : start + BLOCK_ROWS], rows))
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, path)
    except OSError as error:
        raise InputError(f"output must be writable, got {path} ({error.strerror})") from error
    finally:
        work.unlink(missing_ok=True)


# -- the beginning of a file


def _content(path: Path) -> np.ndarray:
    """The file as uint8, mapped where it is not compressed."""
    from polysemy.text.decompress import MAGIC, read_blocks

    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(f"vectors must be a readable file, got {path} ({error.strerror})") from error
    if not head:
        raise InputError(f"vectors must be in the file, got {path}, which is empty")
    if head.startswith(FASTTEXT_MAGIC):
        raise InputError(f"{path} must be a file of vectors, it is a fastText model; read it as one (--from fasttext)")
    if any(head.startswith(magic) for magic in MAGIC):
        return np.frombuffer(b"".join(read_blocks(path)), np.uint8)
    return np.memmap(path, np.uint8, mode="r")


def _header(path: Path, data: np.ndarray, start: int) -> tuple[int, int, int] | None:
    """(words, size, first byte after the line), None when the first line is no header; lies are refused."""
    match = HEADER.match(data[start : start + 200].tobytes())
    if match is None:
        return None
    room = len(data) - start - match.end()
    if not all(re.fullmatch(rb"\+?[0-9]{1,18}", number) for number in match.groups()):
        if any(b"." in n or b"e" in n.lower() for n in match.groups()[1:]) and room:
            return None  # a row of GloVe with one number
        raise InputError(f"header must be two whole numbers, got {_shown(match.group())} in {path}")
    words, size = map(int, match.groups())
    if words < 1 or size < 1:
        raise InputError(f"header must claim at least 1 word of 1 number, got {words:,} and {size:,} in {path}")
    if (words - 1) * (2 * size + 2) - 1 > room:
        raise InputError(f"header must fit the file, got {words:,} words of {size:,} numbers in {path}, "
                         f"which has {room:,} bytes after it; it was cut or is no file of vectors")
    return words, size, start + match.end()


def _is_binary(data: np.ndarray, header: tuple[int, int, int]) -> bool:
    """Is the first row binary: does its first line not end in as many numbers as the header says?"""
    from polysemy.models.vector_numbers import numbers_at_end

    _, size, start = header
    head = data[start : start + 64 * size + LONGEST_WORD]
    lines = np.flatnonzero(head == 10)
    first = head[: lines[0]] if len(lines) else head
    if numbers_at_end(first, 0, len(first))[0] >= size:
        return False
    control = (head < 9) | ((head > 13) & (head < 32)) | (head == 127)
    return bool(control.any() or not _is_utf8(first.tobytes()))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


# -- text rows


def _read_text(
    path: Path, data: np.ndarray, start: int, header: tuple[int, int, int] | None, limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    from polysemy.models.vector_numbers import FINE, count_lines, numbers_at_end, parse_rows

    first = start if header is None else header[2]
    if header is None:
        line = data[first : first + (1 << 20)]
        ends = np.flatnonzero(line == 10)
        size = numbers_at_end(line, 0, ends[0] if len(ends) else len(line))[0]
        if not size:
            raise InputError(f"{path} must begin with a word and its numbers, got {_shown(line)}")
    else:
        size = header[1]
    room = (len(data) - first + 1) // (2 * size + 2) + 1  # no row is shorter: `a 0 0 0` and its line feed
    claimed = int(min(room, count_lines(data[first:]) + 1 if limit is None else limit))
    table, words = np.empty((claimed, size), np.float32), np.empty((claimed, 2), np.int64)
    rows, wrong, line, at = parse_rows(data, first, table, words, claimed if limit is None else limit)
    if wrong != FINE:
        _refuse_row(path, data, int(at), int(line) + (1 if header is None else 2), size, wrong)
    if not rows:
        raise InputError(f"vectors must be in the file, got {path} with a header and no rows")
    if header is not None and rows != header[0] and (limit is None or rows < min(limit, header[0])):
        _compare(path, rows, header[0])
    return (table if rows == claimed else table[:rows].copy()), words[:rows]


def _compare(path: Path, rows: int, claimed: int) -> None:
    if abs(rows - claimed) > 1:
        raise InputError(f"{path} must have the {claimed:,} rows that its header says, got {rows:,}; was it cut?")
    warnings.warn(f"{path}: the header says {claimed:,} words, there are {rows:,}, which were read", stacklevel=4)


def _refuse_row(path: Path, data: np.ndarray, at: int, line: int, size: int, wrong: int) -> None:
    from polysemy.models import vector_numbers as codes

    row = data[at : at + (1 << 20)]
    ends = np.flatnonzero(row == 10)
    row = row[: ends[0]] if len(ends) else row
    numbers, fields = codes.numbers_at_end(row, 0, len(row))
    if wrong in (codes.NO_NUMBER, codes.TOO_FEW) and numbers == fields - 1:
        wrong = codes.TOO_FEW
    rules = {
        codes.NO_WORD: "begin with a word, not with a space",
        codes.NO_NUMBER: f"end in {size} numbers, one is no number",
        codes.NOT_FINITE: f"end in {size} finite numbers, one is NaN, infinite or beyond float32",
        codes.TOO_FEW: f"have {size} numbers, it has {numbers}",
        codes.TOO_MANY: f"have {size} numbers, it has {numbers}",
    }
    raise InputError(f"line {line:,} of {path} must {rules[wrong]}, got {_shown(row)}")


def _shown(line: np.ndarray | bytes) -> str:
    text = bytes(line[:60]).decode("utf-8", "replace")
    return repr(text.split("\n")[0])


# -- binary rows


def _read_binary(
    path: Path, data: np.ndarray, header: tuple[int, int, int], limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    from polysemy.models import vector_numbers as codes

    claimed, size, start = header
    room = len(data) - start
    if claimed * (4 * size + 2) > room:
        raise InputError(f"header must fit the file, got {claimed:,} words of {size:,} float32 numbers in {path}, "
                         f"which has {room:,} bytes after it; it was cut or is no file of vectors")
    count = claimed if limit is None else min(limit, claimed)
    table, words = np.empty((count, size), "<f4"), np.empty((count, 2), np.int64)
    row, wrong, at = codes.parse_binary(data, start, table.view(np.uint8), words, LONGEST_WORD)
    rules = {
        codes.NO_WORD: "have at least one byte",
        codes.LONG_WORD: f"end in a space within {LONGEST_WORD:,} bytes",
        codes.LINE_IN_WORD: "hold no line feed",
        codes.CUT: "be followed by its whole vector, but the file ends",
    }
    if wrong != codes.FINE:
        raise InputError(f"word {row + 1:,} of {path} must {rules[wrong]}, got {_shown(data[at : at + 60])} at byte "
                         f"{at:,}; the file was cut, or is no word2vec binary of {size} numbers a word")
    if count == claimed and at != len(data):
        raise InputError(f"{path} must end after the {claimed:,} words of its header, "
                         f"got {len(data) - at:,} bytes more")
    for start in range(0, count, 1 << 16):
        if not np.isfinite(table[start : start + (1 << 16)]).all():
            bad = start + int(np.flatnonzero(~np.isfinite(table[start : start + (1 << 16)]).all(1))[0])
            raise InputError(f"numbers must be finite, got NaN or infinity at word {bad + 1:,} of {path}")
    return table.astype(np.float32, copy=False), words


# -- words


def _decoded(path: Path, data: np.ndarray, words: np.ndarray, errors: str) -> list[str]:
    from polysemy.models.vector_numbers import join_words

    joined = join_words(data, words).tobytes()
    try:
        found = joined.decode("utf-8", errors).split("\n")[:-1]
    except UnicodeDecodeError as error:
        row = joined.count(b"\n", 0, error.start)
        raise InputError(f"words must be UTF-8, got {data[words[row, 0] : words[row, 1]].tobytes()[:60]!r} as word "
                         f'{row + 1:,} of {path}; errors="replace" reads it nevertheless') from error
    assert len(found) == len(words)
    if "" in found:
        raise InputError(f"words must have at least one character, got none at word {found.index('') + 1:,} of {path}")
    return found


def _assembled(path: Path, table: np.ndarray, words: list[str]) -> WordVectors:
    """The vectors, later rows of a word that stood before left out."""
    places: dict[str, int] = {}
    for row, word in enumerate(words):
        places.setdefault(word, row)
    if len(places) == len(words):
        return WordVectors(words, table)
    again: Any = next(word for row, word in enumerate(words) if places[word] != row)
    warnings.warn(
        f"{path}: {len(words) - len(places):,} rows left out whose word stood before, such as {again!r}", stacklevel=3
    )
    return WordVectors(list(places), table[np.fromiter(places.values(), np.int64)])


def _writable(words: list[str], space: str | None) -> list[str]:
    result = words
    if any(len(word.encode("utf-8", "replace").split()) != 1 or word != word.strip(" \t\n\r\v\f") for word in words):
        result = [word if space is None else re.sub(r"[ \t\n\r\v\f]+", space, word) for word in words]
        bad = next((w for w in result if not w or re.search(r"[ \t\n\r\v\f]", w)), None)
        if bad is not None:
            raise InputError(f"words must be without white space to be written, got {bad!r}; "
                             "give `space` a sign for it")
    try:
        "".join(result).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"words must be valid Unicode, got one with {error.object[error.start]!r}") from error
    return result


def _binary_rows(words: list[str], rows: np.ndarray) -> bytes:
    packed: Iterator[bytes] = (row.tobytes() for row in rows.astype("<f4", copy=False))
    return b"".join(word.encode() + b" " + row + b"\n" for word, row in zip(words, packed, strict=True))


def _text_rows(words: list[str], rows: np.ndarray) -> bytes:
    from polysemy.models.vector_numbers import LONGEST_NUMBER, write_rows

    encoded = [word.encode() for word in words]
    bounds = np.cumsum([0, *map(len, encoded)])
    text = np.frombuffer(b"".join(encoded), np.uint8)
    out = np.empty(len(text) + len(rows) * (rows.shape[1] * LONGEST_NUMBER + 1), np.uint8)
    return out[: write_rows(rows, text, bounds, out)].tobytes()
