"""Files of the original: `.bin` (whole model) and `.ftz` (quantized), read and written.

Layout, little endian without padding: magic and version (12; 11 had no subwords in classifiers) · settings (12 int32, a
double) · dictionary (entries, words, labels int32; running words, pruned n-grams int64; entries as text, NUL, int64
count, byte type; pruned index as pairs of int32) · a byte "input is quantized" and the input matrix · a byte "output is
quantized" and the output matrix. Every number that says how much follows is held against the bytes that are left
before anything of that size is made; a dense matrix is memory-mapped, not read.

Source: facebookresearch/fastText, fasttext.cc, dictionary.cc, args.cc, densematrix.cc, quantmatrix.cc.
"""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from polysemy.artifact import flush
from polysemy.errors import InputError
from polysemy.models.fasttext.quantized import CENTROIDS, QuantizedMatrix, Quantizer
from polysemy.models.fasttext.subwords import to_bytes

MAGIC = 793712314
VERSIONS = (11, 12)
LOSSES = {1: "hierarchical", 2: "negative", 3: "softmax", 4: "ova"}
MODELS = {1: "cbow", 2: "skipgram", 3: "classify"}
FIELDS = ("size", "window", "epochs", "min_count", "negatives", "word_ngrams", "loss", "model", "buckets", "shortest",
          "longest", "update_rate")
MAX_SIZE = 1 << 16
MAX_WORD_BYTES = 1 << 20
SMALLEST_ENTRY = 10  # bytes: an empty word, its NUL, count and type
Matrix = np.ndarray | QuantizedMatrix


@dataclass
class FasttextFile:
    """A model of the original, as it stands in its file.

    settings  numbers by the names in FIELDS and `subsample`; loss and model as words
    entries   words, then labels, in the file's order; a byte that is no UTF-8 is kept as a surrogate
    counts    int64 (entries,)
    total     running words read in training
    pruned    int32 (n, 2) pairs of bucket and row (behind the words), or None where every bucket has its row
    input     (words + buckets, size), or (words + n, size) when pruned; float32, memory-mapped, or quantized
    output    (labels, or words, size)
    """

    settings: dict[str, Any]
    entries: list[str]
    counts: np.ndarray
    num_labels: int
    total: int
    input: Matrix
    output: Matrix
    pruned: np.ndarray | None = None
    version: int = 12
    path: str = field(default="", compare=False)

    @property
    def num_words(self) -> int:
        return len(self.entries) - self.num_labels


def is_binary(path: str | Path) -> bool:
    """Does the file begin as one of the original's models?"""
    with open(path, "rb") as file:
        return file.read(4) == struct.pack("<i", MAGIC)


def read_binary(path: str | Path) -> FasttextFile:
    """Read a .bin or .ftz; whatever does not hold together is an InputError that says where."""
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            return _read(_Reader(file, size, path))
    except OSError as error:
        raise InputError(f"{path} must be a readable file ({error.strerror})") from error


def write_binary(path: str | Path, model: FasttextFile) -> None:
    """Write a model of version 12, which the original and gensim open; under a temporary name, then renamed."""
    path = Path(path)
    for entry in model.entries:
        if "\0" in entry:
            raise InputError(f"words must not hold a NUL in a file of fastText, got {entry!r}")
    work = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(work, "wb") as file:
            _write(file, model)
        flush(work)
        os.replace(work, path)
    except OSError as error:
        raise InputError(f"{path} must be writable ({error.strerror})") from error
    finally:
        with contextlib.suppress(OSError):
            work.unlink(missing_ok=True)


class _Reader:
    """Takes numbers from a file and never asks for more bytes than it has."""

    def __init__(self, file: BinaryIO, size: int, path: Path) -> None:
        self.file, self.size, self.path = file, size, path

    @property
    def left(self) -> int:
        return self.size - self.file.tell()

    def damaged(self, reason: str) -> InputError:
        return InputError(f"{self.path} must be a model of fastText, but {reason}; it is damaged or not one")

    def need(self, count: int, what: str) -> None:
        if count > self.left:
            raise self.damaged(f"{what} would take {count:,} bytes where {self.left:,} are left")

    def take(self, layout: str, what: str) -> tuple[Any, ...]:
        self.need(struct.calcsize(layout), what)
        return struct.unpack(layout, self.file.read(struct.calcsize(layout)))

    def flag(self, what: str) -> bool:
        (value,) = self.take("<B", what)
        if value > 1:
            raise self.damaged(f"the byte {what!r} is {value} instead of 0 or 1")
        return bool(value)

    def array(self, dtype: str, count: int, what: str) -> np.ndarray:
        self.need(count * np.dtype(dtype).itemsize, what)
        return np.frombuffer(self.file.read(count * np.dtype(dtype).itemsize), dtype)


def _read(reader: _Reader) -> FasttextFile:
    magic, version = reader.take("<ii", "magic and version")
    if magic != MAGIC:
        raise reader.damaged(f"it begins with {magic} instead of {MAGIC}")
    if version not in VERSIONS:
        raise reader.damaged(f"its version is {version} instead of {' or '.join(map(str, VERSIONS))}")
    settings = _read_settings(reader)
    if version == 11 and settings["model"] == "classify":
        settings["longest"] = 0
    num_entries, num_words, num_labels, total, num_pruned = reader.take("<iiiqq", "dictionary")
    if min(num_words, num_labels, total) < 0 or num_entries != num_words + num_labels or num_entries < 1:
        raise reader.damaged(f"it claims {num_entries:,} entries: {num_words:,} words and {num_labels:,} labels")
    if settings["model"] == "classify" and not num_labels:
        raise reader.damaged("it is a classifier without labels")
    entries, counts = _read_entries(reader, num_entries, num_words)
    pruned = _read_pruned(reader, num_pruned, settings["buckets"])
    input_quantized = reader.flag("input is quantized")
    if pruned is not None and not input_quantized:
        raise reader.damaged("its n-grams are pruned though its input is not quantized (a file of an old version)")
    rows = num_words + (settings["buckets"] if pruned is None else len(pruned))
    input = _read_matrix(reader, input_quantized, rows, settings["size"], "input")
    output_quantized = reader.flag("output is quantized") and input_quantized
    rows = num_labels if settings["model"] == "classify" else num_words
    output = _read_matrix(reader, output_quantized, rows, settings["size"], "output")
    if reader.left:
        raise reader.damaged(f"{reader.left:,} bytes follow its end")
    return FasttextFile(settings, entries, counts, num_labels, total, input, output, pruned, version, str(reader.path))


def _read_settings(reader: _Reader) -> dict[str, Any]:
    *numbers, subsample = reader.take("<12id", "settings")
    settings: dict[str, Any] = dict(zip(FIELDS, numbers, strict=True), subsample=subsample)
    for name, low, high in (("size", 1, MAX_SIZE), ("buckets", 0, 2**31 - 1), ("word_ngrams", 0, 1000),
                            ("shortest", 0, 1000), ("longest", 0, 1000), ("window", 0, 2**20),
                            ("negatives", 0, 2**20), ("epochs", 0, 2**31 - 1)):
        if not low <= settings[name] <= high:
            raise reader.damaged(f"{name} is {settings[name]:,}")
    for name, known in (("loss", LOSSES), ("model", MODELS)):
        if settings[name] not in known:
            raise reader.damaged(f"{name} has the unknown number {settings[name]}")
        settings[name] = known[settings[name]]
    if not settings["buckets"] and (settings["longest"] > 0 or settings["word_ngrams"] > 1):
        raise reader.damaged("it has n-grams but no buckets")
    return settings


def _read_entries(reader: _Reader, count: int, num_words: int) -> tuple[list[str], np.ndarray]:
    reader.need(count * SMALLEST_ENTRY, f"{count:,} dictionary entries")
    entries, counts = [], np.empty(count, np.int64)
    start, data, place = reader.file.tell(), b"", 0
    for number in range(count):
        stop = data.find(b"\0", place)
        if stop < 0 or len(data) < stop + SMALLEST_ENTRY:
            start += place
            reader.file.seek(start)
            data, place = reader.file.read(2 * MAX_WORD_BYTES), 0
            stop = data.find(b"\0")
        if stop < 0 or stop - place > MAX_WORD_BYTES or len(data) < stop + SMALLEST_ENTRY:
            raise reader.damaged(f"dictionary entry {number + 1:,} of {count:,} has no end")
        counts[number], kind = struct.unpack_from("<qB", data, stop + 1)
        if counts[number] < 0 or kind != (number >= num_words):
            raise reader.damaged(f"dictionary entry {number + 1:,} has count {counts[number]:,} and type {kind}")
        entries.append(data[place:stop].decode("utf-8", "surrogateescape"))
        place = stop + SMALLEST_ENTRY
    reader.file.seek(start + place)
    if len(set(entries)) != count:
        raise reader.damaged("a word stands twice in its dictionary")
    return entries, counts


def _read_pruned(reader: _Reader, count: int, buckets: int) -> np.ndarray | None:
    if count < 0:
        if count != -1:
            raise reader.damaged(f"it claims {count:,} pruned n-grams")
        return None
    if count > buckets:
        raise reader.damaged(f"it claims {count:,} pruned n-grams in {buckets:,} buckets")
    pairs = reader.array("<i4", 2 * count, f"a pruned index of {count:,} n-grams").reshape(-1, 2)
    ranges = ((0, buckets), (0, count))
    for column, (low, high) in enumerate(ranges):
        values = pairs[:, column]
        if count and (values.min() < low or values.max() >= high or len(np.unique(values)) != count):
            what = "buckets" if column == 0 else "rows"
            raise reader.damaged(f"its pruned index holds {what} twice or beyond {high:,}")
    return pairs


def _read_matrix(reader: _Reader, quantized: bool, rows: int, size: int, name: str) -> Matrix:
    norms = reader.flag(f"{name} has norms") if quantized else False
    claimed = reader.take("<qq", f"{name} matrix")
    if claimed != (rows, size):
        raise reader.damaged(f"its {name} matrix is {claimed[0]:,} x {claimed[1]:,} instead of {rows:,} x {size:,}")
    if not quantized:
        reader.need(4 * rows * size, f"the {name} matrix")
        place = reader.file.tell()
        reader.file.seek(4 * rows * size, os.SEEK_CUR)
        return np.memmap(reader.path, "<f4", "r", place, (rows, size)) if rows else np.zeros((0, size), np.float32)
    (num_codes,) = reader.take("<i", f"codes of {name}")
    if num_codes % max(rows, 1) or not 0 < num_codes <= rows * size:
        raise reader.damaged(f"its {name} matrix of {rows:,} rows claims {num_codes:,} codes")
    codes = reader.array("u1", num_codes, f"codes of {name}").reshape(rows, -1)
    quantizer = _read_quantizer(reader, size, codes.shape[1], name)
    if not norms:
        return QuantizedMatrix(codes, quantizer)
    norm_codes = reader.array("u1", rows, f"norms of {name}")
    return QuantizedMatrix(codes, quantizer, norm_codes, _read_quantizer(reader, 1, 1, f"norms of {name}"))


def _read_quantizer(reader: _Reader, size: int, parts: int, name: str) -> Quantizer:
    claimed = reader.take("<iiii", f"quantizer of {name}")
    part = claimed[2]
    if part < 1 or claimed[0] != size or claimed[1] != parts or -(-size // part) != parts or claimed[3] != (
        size % part or part
    ):
        raise reader.damaged(f"the quantizer of its {name} claims size, parts, part, last part {claimed}")
    return Quantizer(size, part, reader.array("<f4", CENTROIDS * size, f"centroids of {name}"))


def _write(file: BinaryIO, model: FasttextFile) -> None:
    by_name = {name: number for names in (LOSSES, MODELS) for number, name in names.items()}
    values = [by_name[model.settings[name]] if name in ("loss", "model") else int(model.settings[name])
              for name in FIELDS]
    file.write(struct.pack("<ii12id", MAGIC, 12, *values, float(model.settings["subsample"])))
    pruned = -1 if model.pruned is None else len(model.pruned)
    file.write(struct.pack("<iiiqq", len(model.entries), model.num_words, model.num_labels, model.total, pruned))
    for number, (entry, count) in enumerate(zip(model.entries, model.counts.tolist(), strict=True)):
        file.write(to_bytes(entry) + struct.pack("<xqB", count, number >= model.num_words))
    if model.pruned is not None:
        file.write(np.ascontiguousarray(model.pruned, "<i4").tobytes())
    for matrix in (model.input, model.output):
        file.write(struct.pack("<B", isinstance(matrix, QuantizedMatrix)))
        _write_matrix(file, matrix)


def _write_matrix(file: BinaryIO, matrix: Matrix) -> None:
    if not isinstance(matrix, QuantizedMatrix):
        file.write(struct.pack("<qq", *matrix.shape))
        for start in range(0, len(matrix), 1 << 16):
            file.write(np.ascontiguousarray(matrix[start : start + (1 << 16)], "<f4").tobytes())
        return
    file.write(struct.pack("<Bqqi", matrix.norm_codes is not None, *matrix.shape, matrix.codes.size))
    file.write(matrix.codes.tobytes())
    _write_quantizer(file, matrix.quantizer)
    if matrix.norm_codes is not None:
        assert matrix.norm_quantizer is not None
        file.write(matrix.norm_codes.tobytes())
        _write_quantizer(file, matrix.norm_quantizer)


def _write_quantizer(file: BinaryIO, quantizer: Quantizer) -> None:
    last = quantizer.size % quantizer.part or quantizer.part
    file.write(struct.pack("<iiii", quantizer.size, quantizer.num_parts, quantizer.part, last))
    file.write(np.ascontiguousarray(quantizer.centroids, "<f4").tobytes())
