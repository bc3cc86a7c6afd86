"""What a word is, for every tokenizer alike: found in the text itself, by character offsets.

A word is the longest run of letters of one script with their marks, or the longest run of digits. Han text has no
spaces: each character is a word, or, with unit="word", what a segmenter (jieba, extra `zh`) cuts out. Punctuation,
symbols and spaces are no words. So `don't` is `don` and `t`, `B2B` is `B`, `2`, `B`, and `Mother-in-law's` has four.

The character table is made once a process from Python's Unicode data; spans are found by array operations, not by a
loop over characters.
"""
from __future__ import annotations

import functools
import unicodedata
from importlib import metadata
from typing import Any

import numpy as np

from polysemy.errors import InputError

UNITS = ("character", "word")

# classes of characters; scripts are numbered from FIRST_SCRIPT on
OTHER, DIGIT, MARK, HAN, FIRST_SCRIPT = 0, 1, 2, 3, 4

HAN_RANGES = (
    (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF), (0x20000, 0x2FA1F), (0x30000, 0x323AF),
)
HANGUL_SYLLABLES = (0xAC00, 0xD7A3)
LAST_LETTER = 0x1FFFF  # beyond it there is only Han, private use, tags and variation selectors
VARIATION_SELECTORS = (0xE0100, 0xE01EF)
JOINERS = (0x00AD, 0x200C, 0x200D, 0x2060)  # soft hyphen, non-joiner, joiner, word joiner: part of a word
# letters whose name does not begin with a script but which modify the letter before them, in any script
MODIFIERS = {"MODIFIER", "KATAKANA-HIRAGANA", "COMBINING"}
LATIN_SIGNS = {"FEMININE", "MASCULINE", "ANGSTROM", "KELVIN", "SUPERSCRIPT", "SUBSCRIPT", "TURNED"}
WIDTHS = ("FULLWIDTH ", "HALFWIDTH ")


def word_spans(text: str, unit: str = "character") -> list[tuple[int, int]]:
    """The words of the text as (start, stop) character offsets, in order, without overlap.

    unit says what a Han word is: "character", or "word" for a segmenter's (needs jieba).
    """
    starts, stops = word_bounds(text, unit)
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def word_bounds(text: str, unit: str = "character") -> tuple[np.ndarray, np.ndarray]:
    """`word_spans` as two int64 arrays, starts and stops; some 100 MB of English a second."""
    begins, inside = word_flags(text, unit)
    last = inside.copy()
    last[:-1] &= begins[1:] | ~inside[1:]
    return np.flatnonzero(begins), np.flatnonzero(last) + 1


def word_flags(text: str, unit: str = "character") -> tuple[np.ndarray, np.ndarray]:
    """For each character: does a word begin there, and is it inside a word? Two bool arrays of the text's length."""
    _check_unit(unit)
    classes = character_classes(text)
    marks = classes == MARK
    if marks.any():
        classes = _inherit(classes, marks)
    inside = classes != OTHER
    han = classes == HAN
    begins = inside.copy()
    begins[1:] &= (classes[1:] != classes[:-1]) | han[1:]
    begins &= ~marks
    if unit == "word" and han.any():
        _segment(text, begins, han)
    return begins, inside


def unit_key(unit: str) -> str:
    """What to put into a key of results that depend on the unit: it names the segmenter and its version."""
    _check_unit(unit)
    if unit == "character":
        return unit
    _segmenter()
    return f"word jieba {metadata.version('jieba')}"


def is_han(ch: str) -> bool:
    """Is this one character Han (a Chinese character)?"""
    code = ord(ch)
    return code > 0x3000 and any(first <= code <= last for first, last in HAN_RANGES)


def character_classes(text: str) -> np.ndarray:
    """The class of each character (OTHER, DIGIT, MARK, HAN, or a script's number) as a uint8 array."""
    return character_table()[code_points(text)]


def code_points(text: str) -> np.ndarray:
    """The characters as numbers: uint8 where the text is ASCII, else uint32. Read-only."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


@functools.cache
def character_table() -> np.ndarray:
    """The class of every Unicode code point, uint8 (1,114,112,). A script is the first word of a letter's name."""
    table = np.zeros(0x110000, np.uint8)
    scripts: dict[str, int] = {}
    for code in range(LAST_LETTER + 1):
        if 0x3400 <= code < 0xA000 or HANGUL_SYLLABLES[0] <= code <= HANGUL_SYLLABLES[1]:
            continue
        ch = chr(code)
        kind = unicodedata.category(ch)
        if kind[0] == "N":
            table[code] = DIGIT
        elif kind[0] == "M" or code in JOINERS:
            table[code] = MARK
        elif kind[0] == "L":
            script = _script(ch)
            table[code] = MARK if script in MODIFIERS else scripts.setdefault(script, FIRST_SCRIPT + len(scripts))
    table[HANGUL_SYLLABLES[0] : HANGUL_SYLLABLES[1] + 1] = scripts["HANGUL"]
    table[VARIATION_SELECTORS[0] : VARIATION_SELECTORS[1] + 1] = MARK
    for first, last in HAN_RANGES:
        table[first : last + 1] = HAN
    assert FIRST_SCRIPT + len(scripts) <= 256, "the classes no longer fit a byte"
    table.flags.writeable = False
    return table


def _check_unit(unit: str) -> None:
    if unit not in UNITS:
        raise InputError(f"unit must be one of {', '.join(UNITS)}, got {unit!r}")


def _script(ch: str) -> str:
    name = unicodedata.name(ch, "OTHER")
    for width in WIDTHS:
        name = name.removeprefix(width)
    first = name.split(" ", 1)[0]
    return "LATIN" if first in LATIN_SIGNS else first


def _inherit(classes: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Give each mark the class of the letter before it; a mark at the very start belongs to nothing."""
    source = np.where(marks, -1, np.arange(len(classes)))
    np.maximum.accumulate(source, out=source)
    inherited = classes[source]
    inherited[source < 0] = OTHER
    return inherited


def _segment(text: str, begins: np.ndarray, han: np.ndarray) -> None:
    """Keep in `begins`, in place, only those Han characters that begin a word of the segmenter."""
    cut = _segmenter()
    edges = np.diff(np.concatenate([[False], han, [False]]).astype(np.int8))
    begins[han] = False
    for start, stop in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        for word in cut(text[start:stop]):
            begins[start] = True
            start += len(word)


@functools.cache
def _segmenter() -> Any:
    try:
        import jieba
    except ImportError as error:
        raise InputError(
            'unit must be "character" unless a segmenter is installed, got "word"; pip install "polysemy[zh]"'
        ) from error
    jieba.setLogLevel("ERROR")
    jieba.initialize()
    return jieba.lcut
