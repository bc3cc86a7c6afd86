"""Cut one large document into sections, at the ends of paragraphs where there are any."""
from __future__ import annotations

from collections.abc import Iterator

SENTENCE_ENDS = tuple(sign.encode() for sign in (". ", "! ", "? ", "。", "！", "？"))


def cut_text(data: bytes, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) bytes of the sections of UTF-8 text, each some `size` bytes; only newlines at cuts are left out.

    A section ends after the first paragraph (line) that reaches `size`. A line of more than twice `size` is cut at the
    end of a sentence, or at a space, or where that is missing between two characters.
    """
    start = 0
    while start < len(data):
        stop = data.find(b"\n", min(start + size, len(data)), start + 2 * size)
        if stop < 0:
            stop = len(data) if len(data) - start <= 2 * size else _inside_line(data, start, start + 2 * size)
        yield start, stop
        start = stop + 1 if data[stop : stop + 1] == b"\n" else stop


def _inside_line(data: bytes, start: int, limit: int) -> int:
    """A place in (start, limit] to cut at: the last line end, sentence end or space in its second half."""
    middle = (start + limit) // 2
    newline = data.rfind(b"\n", start + 1, limit)
    if newline > 0:
        return newline
    ends = [at + len(sign) for sign in SENTENCE_ENDS if (at := data.rfind(sign, middle, limit - len(sign) + 1)) > 0]
    if ends:
        return max(ends)
    space = data.rfind(b" ", middle, limit)
    if space > 0:
        return space + 1
    while data[limit] & 0xC0 == 0x80:  # never inside a character
        limit -= 1
    return limit
