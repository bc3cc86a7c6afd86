"""A corpus as blocks of UTF-8 bytes for the word scanner: a line feed ends each line, no word crosses a border.

A plain file of UTF-8 is handed on as it lies on disk. Everything else is decoded first by the rules of the corpus:
compressed files, UTF-16, and JSON Lines and parquet record by record. The document rule of a text file does not matter
here, because a line is the unit; so a compressed file gives the same words as the file itself.
"""
from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from polysemy.errors import InputError
from polysemy.machine_code import compiled
from polysemy.text.corpus import Corpus, Document, TextDocuments
from polysemy.text.counts import ReadingReport
from polysemy.text.decoding import BYTE_ORDER_MARKS, MAX_NUL_RATE, REPLACEMENT, clean_text, decode_blocks
from polysemy.text.decompress import read_blocks
from polysemy.text.files import TextFile
from polysemy.text.pages import pages
from polysemy.text.portions import Portion
from polysemy.text.word_rows import Text, padded

BLOCK_BYTES = 2 << 20
CUTS = (b"\n", b" ", "。".encode())
NEAR = 1 << 14  # how far before the end of a block it is looked at first where to cut
SPARE = 24  # bytes behind a block: a line feed, and NULs for loads of eight
LINE_FEED = 10
HIGH_BITS = np.uint64(0x8080808080808080)


class Block(NamedTuple):
    """A stretch of a corpus. `raw`: may hold invalid UTF-8; then `mended` must see it first."""

    text: Text
    name: str
    raw: bool

    @property
    def data(self) -> np.ndarray:
        """uint8: its bytes."""
        return self.text.data[: self.text.size]


class Buffers:
    """Memory of blocks, to be used again by the reader when a block has been scanned; for use by several threads."""

    def __init__(self, size: int = 0) -> None:
        self.size = size or BLOCK_BYTES
        self._free: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        """uint64 with room for a block."""
        try:
            return self._free.pop()
        except IndexError:
            return pages((self.size + SPARE) // 8 + 2, np.uint64)

    def give_back(self, block: Block) -> None:
        self._free.append(block.text.eights)


def read_corpus(corpus: Iterable[Document], report: ReadingReport, buffers: Buffers) -> Generator[Block]:
    """The blocks of a corpus in order, as large as the buffers or a little smaller.

    A line longer than a block is cut at white space or a Chinese full stop, and goes on in the next block; a single
    word longer than a block is cut anywhere.
    """
    if not isinstance(corpus, Corpus):
        inner = corpus.corpus if isinstance(corpus, Portion) else corpus
        clean = isinstance(inner, Corpus | TextDocuments)  # what others give may hold anything
        texts = (document.text if clean else clean_text(document.text, report) for document in corpus)
        yield from _cut(_encoded(texts), "", buffers, raw=False)
        return
    for file, rule in zip(corpus.sources, corpus.rules.values(), strict=True):
        file.check_unchanged()
        name = str(file.path)
        if rule == "record":
            yield from _cut(_encoded(corpus.texts(file, report)), name, buffers, raw=False)
        elif _as_it_lies(file) and not corpus.strict:
            yield from _cut(_file_bytes(file), name, buffers, raw=True)
        else:
            blocks = decode_blocks(read_blocks(file.path), name, corpus.strict, report)
            yield from _cut((text.encode() for text in blocks), name, buffers, raw=False)
        file.check_unchanged()


def mended(block: Block) -> tuple[Text, int]:
    """The text of a block as valid UTF-8, each invalid sequence replaced by U+FFFD, and how many were."""
    if not block.raw or valid_utf8(block.data):
        return block.text, 0
    data = block.data.tobytes()
    text = data.decode("utf-8", "replace")
    return padded(text.encode()), text.count(REPLACEMENT) - data.count(REPLACEMENT.encode())


def check_nuls(block: Block, nuls: int) -> None:
    """Refuse what is binary, as a corpus does."""
    if nuls > MAX_NUL_RATE * block.text.size and block.text.size >= 64:
        raise InputError(f"corpus must be text, got {block.name or 'a document'} with {nuls:,} NULs in "
                         f"{block.text.size:,} bytes; it is binary, or UTF-16 without a byte-order mark")


@compiled
def valid_utf8(data: np.ndarray) -> bool:
    """Is it well-formed UTF-8 to its end: no overlong form, no surrogate, nothing above U+10FFFF?"""
    size = data.shape[0]
    eights = data[: size - size % 8].view(np.uint64)
    i = 0
    while i < size:
        if i % 8 == 0:
            while i + 8 <= size and not eights[i >> 3] & HIGH_BITS:
                i += 8
            if i >= size:
                break
        byte = data[i]
        if byte < 0x80:
            i += 1
            continue
        more = 1 if 0xC2 <= byte <= 0xDF else 2 if 0xE0 <= byte <= 0xEF else 3 if 0xF0 <= byte <= 0xF4 else 0
        if more == 0 or i + more >= size:
            return False
        lowest = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
        highest = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
        if not lowest <= data[i + 1] <= highest:
            return False
        for k in range(2, more + 1):
            if data[i + k] & 0xC0 != 0x80:
                return False
        i += more + 1
    return True


def _as_it_lies(file: TextFile) -> bool:
    """Is this a file whose bytes are the text, neither compressed nor in another encoding?"""
    for block in read_blocks(file.path):
        marks = [name for mark, name, _ in BYTE_ORDER_MARKS if block.startswith(mark)]
        head = _head(file)
        return block[: len(head)] == head and marks in ([], ["UTF-8"])
    return True


def _head(file: TextFile) -> bytes:
    with open(file.path, "rb") as stream:
        return stream.read(16)


def _file_bytes(file: TextFile) -> Iterator[bytes]:
    mark = BYTE_ORDER_MARKS[0][0]
    for number, block in enumerate(read_blocks(file.path)):
        yield block.removeprefix(mark) if number == 0 else block


def _encoded(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        yield text.encode()
        yield b"\n"


def _cut(pieces: Iterable[bytes], name: str, buffers: Buffers, *, raw: bool) -> Iterator[Block]:
    """Pieces of any length as blocks that fill the buffers; the last one ends with a line feed."""
    room, used = buffers.take(), 0
    data = room.view(np.uint8)
    for piece in pieces:
        rest = np.frombuffer(piece, np.uint8)
        while len(rest):
            taken = rest[: buffers.size + 1 - used]  # one byte more than a block: is it inside a character?
            data[used : used + len(taken)] = taken
            rest, used = rest[len(taken) :], used + len(taken)
            if used > buffers.size:
                stop = _place(data, buffers.size)
                after = buffers.take()
                used -= stop
                after.view(np.uint8)[:used] = data[stop : stop + used]
                yield _block(room, stop, name, raw)
                room, data = after, after.view(np.uint8)
    if used:
        if data[used - 1] != LINE_FEED:
            data[used] = LINE_FEED
            used += 1
        yield _block(room, used, name, raw)


def _block(room: np.ndarray, size: int, name: str, raw: bool) -> Block:
    data = room.view(np.uint8)
    data[size : size + SPARE] = 0
    return Block(Text(data, room, size), name, raw)


def _place(data: np.ndarray, size: int) -> int:
    """Where to end a block of at most `size` bytes, of which one more is there."""
    for mark in CUTS:
        for first in (max(0, size - NEAR), 0):
            if (place := data[first:size].tobytes().rfind(mark)) >= 0:
                return first + place + len(mark)
    stop = size
    while stop > size - 4 and data[stop] & 0xC0 == 0x80:  # not inside a character
        stop -= 1
    return max(stop, 1)
