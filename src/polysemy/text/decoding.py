"""Bytes to characters: UTF-8, or UTF-16 and UTF-32 with a byte-order mark; what is invalid is counted or refused.

Defined here, once: a line ends with a line feed and only with it (so lines are those of `wc -l`); a carriage return
before it belongs to the line end; U+2028 and the like are white space inside a line; a NUL becomes a space and is
counted; a byte-order mark at the start is dropped. Each maximal invalid sequence becomes one U+FFFD.
"""
from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator

from polysemy.errors import InputError
from polysemy.text.counts import ReadingReport

Decode = Callable[[bytes, str, bool], tuple[str, int]]
BYTE_ORDER_MARKS: tuple[tuple[bytes, str, Decode], ...] = (
    (codecs.BOM_UTF8, "UTF-8", codecs.utf_8_decode),
    (codecs.BOM_UTF32_LE, "UTF-32", codecs.utf_32_le_decode),
    (codecs.BOM_UTF32_BE, "UTF-32", codecs.utf_32_be_decode),
    (codecs.BOM_UTF16_LE, "UTF-16", codecs.utf_16_le_decode),
    (codecs.BOM_UTF16_BE, "UTF-16", codecs.utf_16_be_decode),
)
MAX_NUL_RATE = 0.05
REPLACEMENT = "\ufffd"


def decode_blocks(blocks: Iterator[bytes], name: str, strict: bool, report: ReadingReport) -> Iterator[str]:
    """The text of the blocks of bytes, block by block, with line feeds as the only line ends.

    With `strict` the first invalid byte raises InputError with its offset (in the unpacked text); otherwise
    `report.invalid` counts what was replaced and `report.nuls` the NULs.
    """
    decode: Decode = codecs.utf_8_decode
    encoding, carry, offset, held = "UTF-8", b"", 0, ""
    for number, block in enumerate(_with_final(blocks)):
        data = carry + (block or b"")
        if number == 0:
            for mark, found, decoder in BYTE_ORDER_MARKS:
                if data.startswith(mark):
                    encoding, decode, data, offset = found, decoder, data[len(mark):], len(mark)
                    break
        text, used = _decode(decode, data, block is None, (name, encoding, offset), strict, report)
        carry, offset = data[used:], offset + used
        text = held + text
        held = ""
        if text.endswith("\r") and block is not None:
            text, held = text[:-1], "\r"
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if "\0" in text:
            text = _without_nuls(text, name, report)
        if text:
            yield text


def clean_text(text: str, report: ReadingReport) -> str:
    """The same rules for a text that is already characters: line ends, NULs, lone surrogates."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if "\0" in text:
        report.nuls += text.count("\0")
        text = text.replace("\0", " ")
    try:
        text.encode()
    except UnicodeEncodeError:
        clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        report.invalid += clean.count(REPLACEMENT) - text.count(REPLACEMENT)
        text = clean
    return text


def _decode(
    decode: Decode, data: bytes, final: bool, where: tuple[str, str, int], strict: bool, report: ReadingReport
) -> tuple[str, int]:
    """Decode all but an unfinished character at the end; the text and how many bytes it took."""
    try:
        return decode(data, "strict", final)
    except UnicodeDecodeError as error:
        name, encoding, offset = where
        if strict:
            raise InputError(
                f"{name} must be valid {encoding}, got byte 0x{data[error.start]:02x} at byte {offset + error.start:,} "
                f"({error.reason}); without --strict it is replaced and counted"
            ) from error
        text, used = decode(data, "replace", final)
        kept = data[:used].count(REPLACEMENT.encode()) if encoding == "UTF-8" else 0
        report.invalid += text.count(REPLACEMENT) - kept
        return text, used


def _without_nuls(text: str, name: str, report: ReadingReport) -> str:
    count = text.count("\0")
    if count > MAX_NUL_RATE * len(text) and len(text) >= 64:
        raise InputError(f"corpus must be text, got {name} with {count:,} NULs in {len(text):,} characters; "
                         "it is binary, or UTF-16 without a byte-order mark")
    report.nuls += count
    return text.replace("\0", " ")


def _with_final(blocks: Iterator[bytes]) -> Iterator[bytes | None]:
    yield from blocks
    yield None
