"""A file as a stream of blocks of bytes, decompressed where it is compressed, with bounded memory and patience.

gzip and xz come with Python, zstandard with the extra `formats`. What a file is, its first bytes say. Concatenated
members are all read; a cut or damaged file is an InputError with the place; a bomb (a small file that unpacks to a huge
one) is stopped once it has given 64 MiB at more than 200 times its size.
"""
from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from polysemy.errors import InputError

BLOCK_BYTES = 1 << 20
INPUT_BYTES = 1 << 18
MAX_RATIO = 200
RATIO_FROM_BYTES = 64 << 20
MAX_BYTES = 1 << 42
XZ_MEMORY_BYTES = 256 << 20
MAGIC = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}
SUFFIXES = {".gz": "gzip", ".xz": "xz", ".zst": "zstandard"}
NOT_TEXT = {b"PK\x03\x04": "a zip archive", b"%PDF-": "a PDF", b"\x7fELF": "a program", b"\x89PNG": "a picture",
            b"BZh91AY&SY": "bzip2", b"7z\xbc\xaf": "a 7z archive", b"Rar!\x1a": "a rar archive",
            b"PAR1": "a parquet file"}


class Decompressor(Protocol):
    """What zlib, lzma and zstandard have in common (as in Python's lzma)."""

    def decompress(self, data: bytes, max_length: int) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def read_blocks(path: Path) -> Iterator[bytes]:
    """The content of the file in blocks of at most about 1 MiB (zstandard: 32 MiB), decompressed."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
            file.seek(0)
            kind = _kind(path, head)
            if not kind:
                while block := file.read(BLOCK_BYTES):
                    yield block
            else:
                yield from _limited(path, file, kind)
    except OSError as error:
        raise InputError(f"corpus must be readable, got {path} ({error.strerror or error})") from error


def _kind(path: Path, head: bytes) -> str:
    """gzip, xz, zstandard, or nothing for plain text; what can be no text is refused."""
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    expected = SUFFIXES.get(path.suffix.lower())
    if expected and head:
        raise InputError(f"{path} must be {expected} as its name says, but it does not begin like that; rename it")
    for magic, kind in NOT_TEXT.items():
        if head.startswith(magic):
            raise InputError(f"corpus must be text, got {path}, {kind}; unpack or convert it first")
    return ""


def _limited(path: Path, file: IO[bytes], kind: str) -> Iterator[bytes]:
    given = 0
    for block in _members(path, file, kind):
        given += len(block)
        taken = max(file.tell(), 1)
        if (given > RATIO_FROM_BYTES and given > MAX_RATIO * taken) or given > MAX_BYTES:
            raise InputError(
                f"{path} must unpack to at most {MAX_RATIO} times its size, got {given:,} bytes from {taken:,}; "
                "if this is no decompression bomb, unpack it yourself"
            )
        yield block


def _members(path: Path, file: IO[bytes], kind: str) -> Iterator[bytes]:
    """The members of a compressed file one after the other."""
    new, input_bytes = _decompressors(kind)
    magic = next(magic for magic, name in MAGIC.items() if name == kind)
    pending, members = b"", 0
    while True:
        pending = _skip_padding(file, pending, len(magic))
        if not pending:
            return
        if not pending.startswith(magic):
            raise InputError(
                f"{path} must be {kind} to its end, but after {members} member{'s' * (members > 1)} something else "
                f"begins at byte {file.tell() - len(pending):,}; cut that off"
            )
        decompressor = new()
        while not decompressor.eof:
            if not pending and decompressor.needs_input:
                pending = file.read(input_bytes)
                if not pending:
                    yield from _rest(decompressor)
                    if not decompressor.eof:
                        raise InputError(f"{path} must be a whole {kind} file, but it ends too early, at byte "
                                         f"{file.tell():,}; it was cut, get it again")
                    break
            try:
                block = decompressor.decompress(pending, BLOCK_BYTES)
            except Exception as error:  # each library has its own error class
                raise InputError(f"{path} must be an undamaged {kind} file, but near byte {file.tell():,}: "
                                 f"{error}") from error
            pending = b""
            if block:
                yield block
        pending = decompressor.unused_data
        members += 1


def _skip_padding(file: IO[bytes], pending: bytes, needed: int) -> bytes:
    """The bytes of the next member, at least its magic; empty at the end of the file. Zeros between are allowed."""
    while True:
        pending = pending.lstrip(b"\0")
        if len(pending) >= needed:
            return pending
        more = file.read(INPUT_BYTES)
        if not more:
            return pending
        pending += more


def _rest(decompressor: Decompressor) -> Iterator[bytes]:
    """What is still inside once the input has ended."""
    while not decompressor.eof:
        try:
            block = decompressor.decompress(b"", BLOCK_BYTES)
        except EOFError:
            return
        if not block:
            return
        yield block


class _Gzip:
    """zlib with the interface of lzma."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._tail = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        block = self._inner.decompress(self._tail + data, max_length)
        self._tail = self._inner.unconsumed_tail
        return block

    @property
    def needs_input(self) -> bool:
        return not self._tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


class _Zstandard:
    """zstandard with the interface of lzma; its output is bounded by feeding little at a time."""

    needs_input = True

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(data) if data else b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _decompressors(kind: str) -> tuple[Callable[[], Decompressor], int]:
    """A maker of decompressors, and how many bytes to feed at a time."""
    if kind == "gzip":
        return _Gzip, INPUT_BYTES
    if kind == "xz":
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES), INPUT_BYTES
    try:
        import zstandard
    except ImportError as error:
        raise InputError('corpus must not be zstandard unless its reader is installed; pip install "polysemy[formats]"'
                         ) from error
    frames = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    return lambda: _Zstandard(frames.decompressobj()), 1 << 10
