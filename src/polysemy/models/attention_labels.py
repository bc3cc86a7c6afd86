"""Names for the rows and columns of an attention map that a person can read, and which pieces make a word."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from polysemy.models.attention_maps import AttentionMap, Span
from polysemy.text.words import word_bounds

if TYPE_CHECKING:
    from polysemy.text.tokenizer import Tokenizer

SPACE = "▁"


class Labels(NamedTuple):
    """How the pieces of one side of a map are called."""

    pieces: list[str]
    words: list[Span]
    """they cover all pieces, in order; a mark such as [SEP] is a word of its own"""
    marks: list[int]
    """places that hold no text: [CLS], [SEP] and their like"""


class Piece(NamedTuple):
    """A piece of a text: its name in the vocabulary and its characters."""

    name: str
    start: int
    stop: int


def labels(pieces: Sequence[str], tokenizer: Tokenizer, texts: Sequence[str]) -> Labels:
    """Labels of `pieces`, which hold the pieces of each text in order, with marks between them.

    Where a text is not found among the pieces (it was cut), names stay as they stand in the vocabulary.
    """
    shown: list[str] = []
    words: list[Span] = []
    marks: list[int] = []
    for text in texts:
        encoding = tokenizer.encode(text)
        names = tokenizer.pieces(encoding.ids)
        at = _find(pieces, names, len(shown))
        if at is None:
            return plain(pieces)
        _add_marks(pieces[len(shown):at], shown, words, marks)
        parts = [Piece(*part) for part in zip(names, encoding.starts.tolist(), encoding.ends.tolist(), strict=True)]
        words += [Span(span.text, span.start + at, span.stop + at) for span in word_spans(text, parts)]
        shown += readable(text, parts, keep=tokenizer.kind == "wordpiece")
    _add_marks(pieces[len(shown):], shown, words, marks)
    return Labels(shown, words, marks)


def plain(pieces: Sequence[str]) -> Labels:
    """Names as they stand, each a word of its own."""
    return Labels(list(pieces), [Span(piece, i, i + 1) for i, piece in enumerate(pieces)], [])


def readable(text: str, parts: Sequence[Piece], *, keep: bool = False) -> list[str]:
    """What each piece is called: its characters; a part of a character as `鑫 2/3`.

    keep: as it stands in the vocabulary (WordPiece's names can be read, and `##` says that a word goes on).
    """
    if keep:
        return [part.name for part in parts]
    shown = []
    for i, part in enumerate(parts):
        characters = text[part.start:part.stop].strip()
        same = [j for j, other in enumerate(parts) if other[1:] == part[1:]] if len(characters) == 1 else []
        if len(same) > 1:
            characters += f" {same.index(i) + 1}/{len(same)}"
        unknown = part.name.startswith(("[", "<")) and len(part.name) > 1 and part.name not in text
        shown.append(part.name if unknown else characters or SPACE)
    return shown


def word_spans(text: str, parts: Sequence[Piece]) -> list[Span]:
    """Pieces that share a word of the text (see `text/words.py`) or stand for parts of one character, together.

    A piece that holds several words, as a Chinese one may, joins them; a bare space goes with what follows it.
    """
    starts, stops = (bounds.tolist() for bounds in word_bounds(text))
    owner = [-1] * len(text)
    for word, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        owner[start:stop] = [word] * (stop - start)
    spans: list[Span] = []
    begin = 0
    for i in range(1, len(parts) + 1):
        if i < len(parts) and _together(owner, parts[i - 1], parts[i]):
            continue
        if parts:
            spans.append(Span(text[parts[begin].start:parts[i - 1].stop].strip() or SPACE, begin, i))
        begin = i
    return spans


def _together(owner: Sequence[int], left: Piece, right: Piece) -> bool:
    if left.start == left.stop:
        return left.stop == right.start
    if left[1:] == right[1:]:
        return True
    ends, begins = owner[left.start:left.stop], owner[right.start:right.stop]
    return bool(ends and begins) and ends[-1] == begins[0] != -1


def _find(pieces: Sequence[str], names: Sequence[str], start: int) -> int | None:
    last = len(pieces) - len(names)
    return next((at for at in range(start, last + 1) if list(pieces[at:at + len(names)]) == list(names)), None)


def _add_marks(pieces: Sequence[str], shown: list[str], words: list[Span], marks: list[int]) -> None:
    for piece in pieces:
        marks.append(len(shown))
        words.append(Span(piece, len(shown), len(shown) + 1))
        shown.append(piece)


def label(found: AttentionMap, tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[AttentionMap, Labels]:
    """The map of pieces under names a person can read, and the labels of its queries."""
    names = labels(found.pieces, tokenizer, texts)
    return found._replace(pieces=names.pieces), names
