"""Which columns of a table hold the texts and the label: as the user says, by their names, or by what is in them.

By content: a text is the column with the longest cells that are not all numbers; a second text one that looks like it;
a label the column, filled in nearly every row, with the fewest different values; a score the last column of numbers.
"""
from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polysemy.errors import InputError
from polysemy.text.lines import WIDE_FROM

SAMPLE = 5000
LONGEST_HEADING = 60
ROLES = {"classify": ("text", "label"), "pair": ("text", "pair", "label"), "regress": ("text", "pair", "label"),
         "embed": ("text", "pair", "negative"), "tag": ("text", "label")}
"""columns of each kind of task, in the order in which they are given without names"""
OPTIONAL = {("regress", "pair"), ("embed", "pair"), ("embed", "negative")}
ALIASES = {"score": "label", "labels": "label", "tags": "label", "words": "text", "tokens": "text", "anchor": "text",
           "positive": "pair", "second": "pair", "first": "text"}
KNOWN: dict[str, tuple[str, ...]] = {
    "text": ("text", "sentence", "sentence1", "text1", "texta", "text_a", "question1", "premise", "anchor", "query",
             "#1 string", "first", "review", "content", "document", "body", "comment", "message", "tweet", "utterance",
             "description", "title", "question", "tokens", "words", "sent1", "s1", "q1",
             "文本", "句子", "句子1", "内容", "评论"),
    "pair": ("sentence2", "text2", "textb", "text_b", "question2", "hypothesis", "positive", "#2 string", "pair",
             "second", "sent2", "s2", "q2", "answer", "passage", "context", "sentence", "句子2"),
    "negative": ("negative", "hard_negative", "neg"),
    "label": ("label", "labels", "class", "category", "target", "gold_label", "sentiment", "quality", "intent",
              "section", "is_duplicate", "tags", "ner_tags", "pos_tags", "score", "similarity", "rating", "y",
              "标签", "类别", "分类"),
}
SCORES = ("score", "similarity", "similarity_score", "rating", "label", "value", "target", "y", "分数", "标签")
OTHERS = ("id", "index", "idx", "qid", "pairid", "genre")
HEADINGS = frozenset(name for names in KNOWN.values() for name in names) | frozenset(SCORES) | frozenset(OTHERS)
ASKS = ("question", "query")
"""headings of the first of two texts, the other of which may be called `sentence` (QNLI)"""
LABELS_TOO = frozenset(("positive", "negative", "neg", "question", "answer"))
"""headings that are as often labels: they tell nothing but where vectors are learned"""
FILLED = 0.9


@dataclass(frozen=True)
class Columns:
    """The place of each role in a row."""

    at: Mapping[str, int]
    names: tuple[str, ...]
    """headings, or nothing"""
    width: int

    def __str__(self) -> str:
        """text = 'sentence', label = column 2"""
        return ", ".join(f"{role} = {self.name(place)}" for role, place in self.at.items())

    def name(self, place: int) -> str:
        return repr(self.names[place]) if self.names else f"column {place + 1}"


def parse_columns(columns: str | Mapping[str, str | int] | None, kind: str) -> dict[str, str]:
    """`text=sentence,label=2`, or `sentence,2` in the order of ROLES, or a mapping: names or numbers by role."""
    if columns is None:
        return {}
    roles = ROLES[kind]
    if isinstance(columns, str):
        parts = [part.strip() for part in columns.split(",")]
        if not all(parts):
            raise InputError(f"columns must be names or numbers, as in {','.join(roles)}, got {columns!r}")
        order = roles if len(parts) != 2 or kind != "regress" else ("text", "label")
        if len(parts) > len(order):
            raise InputError(f"columns must be at most {len(order)} for {kind} ({', '.join(order)}), got {columns!r}")
        pairs = [part.split("=", 1) if "=" in part else [order[number], part] for number, part in enumerate(parts)]
    else:
        pairs = [[role, str(name)] for role, name in columns.items()]
    found: dict[str, str] = {}
    for role, name in pairs:
        role = ALIASES.get(role.strip(), role.strip())
        if role not in roles:
            raise InputError(f"columns must be given for {', '.join(roles)}, got {role!r}")
        found[role] = name.strip()
    return found


def has_heading(rows: Sequence[Sequence[str]], wanted: Mapping[str, str], kind: str) -> bool:
    """Whether the first row names the columns: by a name asked for, a usual one, or words above a column of numbers.

    What stands in the first row and again below it is no name.
    """
    first = [cell.strip() for cell in rows[0]]
    named = [name for name in wanted.values() if not name.isdigit()]
    if named:
        return True  # the user knows names, so there are some; which ones, `choose` checks
    filled = [cell for cell in first if cell]  # a first column of row numbers often has none
    if len(first) - len(filled) > 1 or len(set(filled)) < len(filled) or max(map(len, first)) > LONGEST_HEADING:
        return False
    below = rows[1:]
    if any(cell and place < len(row) and row[place].strip() == cell
           for row in below for place, cell in enumerate(first)):
        return False
    if any(cell.casefold() in (HEADINGS if kind == "embed" else HEADINGS - LABELS_TOO) for cell in first):
        return True
    return len(below) > 1 and not any(map(is_number, first)) and any(
        all(place < len(row) and is_number(row[place]) for row in below) for place in range(len(first)))


def choose(rows: Sequence[Sequence[str]], names: Sequence[str], wanted: Mapping[str, str], kind: str,
           where: str, *, labels: bool = True) -> Columns:
    """The columns for a kind of task; `rows` are some rows without the heading.

    A name that is not there is an InputError with the nearest one and all that are; so is a role that cannot be
    guessed.  Without `labels` a table without a label will do.
    """
    width = len(names) or (len(rows[0]) if rows else 0)
    found = {role: _named(name, names, width, where) for role, name in wanted.items()}
    if len(set(found.values())) < len(found):
        raise InputError(f"columns of {where} must differ, got {', '.join(f'{r}={n}' for r, n in wanted.items())}")
    profiles = [_Profile.of([row[place] for row in rows if place < len(row)]) for place in range(width)]
    for role in ROLES[kind]:
        if role not in found:
            place = _known(role, kind, names, found)
            if place is not None:
                found[role] = place
    _by_content(found, profiles, kind, labels)
    for role in ROLES[kind]:
        if role not in found and (kind, role) not in OPTIONAL and (labels or role != "label"):
            there = ", ".join(map(repr, names)) or f"{width} without names"
            raise InputError(f"columns of {where} must include one for {role}, got {there[:300]}; name it, as in "
                             f"--columns {','.join(f'{r}={r.upper()}' for r in ROLES[kind])}")
    for role in ("text", "pair", "negative"):
        if role in found and role not in wanted and profiles[found[role]].numeric:
            raise InputError(f"column for {role} of {where} must hold texts, got only numbers in "
                             f"{names[found[role]] if names else f'column {found[role] + 1}'}; name the columns, as in "
                             f"--columns {','.join(f'{r}={r.upper()}' for r in ROLES[kind])}")
    order = {role: found[role] for role in ROLES[kind] if role in found}
    return Columns(order, tuple(names), width)


@dataclass(frozen=True)
class _Profile:
    """What a column looks like."""

    numeric: bool
    filled: bool
    length: float
    distinct: int
    rows: int
    running: bool
    """most cells hold several words, or Chinese"""

    @classmethod
    def of(cls, cells: Sequence[str]) -> _Profile:
        full = [cell for cell in cells if cell.strip()]
        running = sum(" " in cell.strip() or max(cell) >= WIDE_FROM for cell in full)
        return cls(bool(full) and all(map(is_number, full)), len(full) >= FILLED * len(cells) > 0,
                   sum(map(len, full)) / max(len(full), 1), len(set(full)), len(cells), running > len(full) / 2)


def is_number(cell: str) -> bool:
    """Whether a cell is a number, nan and inf included."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _named(name: str, names: Sequence[str], width: int, where: str) -> int:
    """The place of a column that the user named or numbered."""
    stripped = [heading.strip() for heading in names]
    if stripped.count(name) == 1:
        return stripped.index(name)
    if stripped.count(name) > 1:
        raise InputError(f"columns of {where} must have different names, got {name!r} {stripped.count(name)} times; "
                         "give its number")
    if name.isdigit():
        if not 1 <= int(name) <= width:
            raise InputError(f"column of {where} must be 1 to {width}, got {name}")
        return int(name) - 1
    near = difflib.get_close_matches(name.casefold(), [heading.casefold() for heading in stripped], 1, 0.5)
    meant = next((heading for heading in stripped if near and heading.casefold() == near[0]), None)
    hint = f"did you mean {meant!r}?" if meant else "name one of these"
    there = ", ".join(map(repr, stripped))
    raise InputError(f"column {name!r} must be in {where}, which has {there[:300]}; {hint}")


def _known(role: str, kind: str, names: Sequence[str], found: Mapping[str, int]) -> int | None:
    """A free column with a usual name for this role."""
    usual = SCORES if kind == "regress" and role == "label" else KNOWN[role]
    if role == "text" and "pair" in ROLES[kind]:
        usual = ASKS + usual
    headings = [re.sub(r"\s+", " ", name.strip()).casefold() for name in names]
    for name in usual:
        if headings.count(name) == 1 and headings.index(name) not in found.values():
            return headings.index(name)
    return None


def _by_content(found: dict[str, int], profiles: Sequence[_Profile], kind: str, labels: bool) -> None:
    """Fill in the roles that no name tells."""
    def free() -> list[int]:
        return [place for place in range(len(profiles)) if place not in found.values()]

    if "label" in ROLES[kind] and "label" not in found and (labels or len(profiles) > 1):
        if kind == "regress":
            fitting = [place for place in free() if profiles[place].numeric]
            if fitting:
                found["label"] = fitting[-1]
        else:
            fitting = [place for place in free() if profiles[place].filled
                       and (profiles[place].distinct <= max(2, profiles[place].rows // 2))]
            if fitting:
                found["label"] = min(reversed(fitting), key=lambda place: profiles[place].distinct)
    texts = [role for role in ROLES[kind] if role != "label" and role not in found]
    if "text" not in texts:
        return  # a second text beside a first one that has a name is no guess to make
    candidates = [place for place in free() if profiles[place].filled and not profiles[place].numeric] or free()
    longest = sorted(candidates, key=lambda place: -profiles[place].length)
    alike = [place for place in longest[1:] if profiles[place].running
             or profiles[place].length > profiles[longest[0]].length / 4]
    if kind == "embed" and len(alike) > 1 and len(profiles) > 3:
        alike = []  # a table of many things: which of them belong together, only a user knows
    for role, place in zip(texts, sorted([*longest[:1], *alike[:len(texts) - 1]]), strict=False):
        found[role] = place
