"""Tagged words: CoNLL columns (one word a line, blank line between sentences) or JSON Lines of tokens and tags.

The last column is the tag and the first the word (CoNLL-2003).  `-DOCSTART-` lines and comments of `# ` with no tag are
left out.  Tags stay as they stand: IOB1, IOB2 or BIOES (see `scheme`).
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polysemy.errors import InputError
from polysemy.text.examples import Tagged
from polysemy.text.labeled_columns import KNOWN, choose
from polysemy.text.tables import RECORDS, SHOWN, LabelFile
from polysemy.text.words import is_han

DOCUMENT = "-DOCSTART-"
LONGEST_HAN = 12
"""Chinese characters of a word or a name; more are a text"""


def read_tagged(file: LabelFile, wanted: Mapping[str, str], labels: bool = True) -> tuple[list[Tagged], str]:
    """(sentences, what was taken); `wanted` may name the columns or fields of text (words) and label (tags).

    Without `labels` a file of one column, or lines of words, will do.
    """
    if file.suffix in RECORDS:
        return _from_records(file, wanted, labels)
    return _from_columns(file, wanted, labels)


def scheme(tags: Sequence[str]) -> str:
    """IOB2, IOB1 or BIOES where the tags of a file look like entities, else `plain`.

    IOB1 begins an entity with B- only after another one of its type; IOB2 always does.
    """
    prefixes = {tag[:1] for tag in tags if tag[1:2] == "-"}
    if not prefixes or not all((tag[1:2] == "-" and tag[0] in "BIESLU") or tag == "O" for tag in tags):
        return "plain"
    if prefixes & set("ESLU"):
        return "BIOES"
    before = "O"
    for tag in tags:
        if tag[0] == "I" and before[2:] != tag[2:]:
            return "IOB1"
        before = tag
    return "IOB2"


def as_iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """The tags of one sentence in IOB2, from IOB1, IOB2 or BIOES; tags without a prefix stay."""
    result, before = [], "O"
    for tag in tags:
        prefix, dash, name = tag.partition("-")
        if not dash or prefix not in {"B", "I", "E", "S", "L", "U"}:
            result.append(tag)
        else:
            begins = prefix in "BSU" or before.partition("-")[2] != name or before[:1] in "ESLU"
            result.append(f"{'B' if begins else 'I'}-{name}")
        before = tag
    return tuple(result)


def _from_columns(file: LabelFile, wanted: Mapping[str, str], labels: bool) -> tuple[list[Tagged], str]:
    sentences: list[Tagged] = []
    width = 0
    for start, rows in _sentences(file):
        for line, cells in rows:
            width = width or len(cells)
            if len(cells) != width:
                raise file.error(line, f"must have {width} columns like the first, got {len(cells)} "
                                       f"({str(cells)[:SHOWN]})")
        if width < 2 and labels:
            raise file.error(start, f"must have a word and its tag, got {str(rows[0][1])[:SHOWN]}")
        word, tag = (_number(file, wanted.get(role), default, width) for role, default in (("text", 0), ("label", -1)))
        words = tuple(cells[word] for _, cells in rows)
        sentences.append(Tagged(words, tuple(cells[tag] for _, cells in rows) if width > 1 else None, start))
    texts = [word for item in sentences for word in item.words if " " in word or _is_chinese_text(word)]
    if 2 * len(texts) > sum(len(item.words) for item in sentences):
        raise InputError(f"{file.path} must have a word a line with its tag, got texts such as {texts[0][:SHOWN]!r}; "
                         "for a label a text use --task classify")
    return sentences, f"{width} columns, {_told(sentences)}" if sentences else ""


def _is_chinese_text(word: str) -> bool:
    """Whether a word is too long for one of a language that writes no spaces."""
    return len(word) > LONGEST_HAN and sum(map(is_han, word)) > LONGEST_HAN


def _sentences(file: LabelFile) -> Iterator[tuple[int, list[tuple[int, list[str]]]]]:
    """(line with which it begins, (line, cells) of its words)."""
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(file.lines(), start=1):
        cells = line.split("\t") if "\t" in line else line.split()
        cells = [cell.strip() for cell in cells]
        if not line.strip():
            if rows:
                yield rows[0][0], rows
            rows = []
            continue
        if cells[0] == DOCUMENT or (line.startswith("# ") and not rows):
            continue
        if not all(cells):
            raise file.error(number, f"must have a word and its tag, got an empty one ({line[:SHOWN]!r})")
        rows.append((number, cells))
    if rows:
        yield rows[0][0], rows


def _number(file: LabelFile, name: str | None, default: int, width: int) -> int:
    if name is None:
        return default % width
    if not name.isdigit() or not 1 <= int(name) <= width:
        raise InputError(f"column of {file.path} must be 1 to {width}, got {name!r}; CoNLL columns have no names")
    return int(name) - 1


def _from_records(file: LabelFile, wanted: Mapping[str, str], labels: bool) -> tuple[list[Tagged], str]:
    sentences: list[Tagged] = []
    words, tags = "", ""
    for line, record in file.records():
        if not words:
            words, tags = _fields(file, record, wanted, labels)
        for name in (words, tags):
            if name and not _is_list(record.get(name)):
                raise file.error(line, f"must have a list of words in {name!r}, got {str(record.get(name))[:SHOWN]!r}")
        own = tuple(str(word).strip() for word in record[words])
        if not own or not all(own):
            raise file.error(line, "must have words that are not empty, got "
                                   + ("none" if not own else f"an empty one as number {own.index('') + 1}"))
        found = tuple(str(tag) for tag in record[tags]) if tags else None
        if found is not None and len(found) != len(own):
            raise file.error(line, f"must have as many tags as words, got {len(found)} and {len(own)}")
        sentences.append(Tagged(own, found, line))
    return sentences, f"text = {words!r}, label = {tags!r}, {_told(sentences)}" if sentences else ""


def _fields(file: LabelFile, record: Mapping[str, Any], wanted: Mapping[str, str], labels: bool) -> tuple[str, str]:
    """The fields of words and of tags."""
    names = list(record)
    found = {}
    for role, usual in (("text", ("tokens", "words", *KNOWN["text"])), ("label", ("tags", *KNOWN["label"]))):
        if role in wanted:
            if wanted[role] not in names:
                choose([], names, {role: wanted[role]}, "tag", str(file.path))
            found[role] = wanted[role]
            continue
        fitting = [name for name in usual if _is_list(record.get(name))]
        if not fitting and (role == "text" or labels):
            raise InputError(f"{file.path} must have lists of {'words' if role == 'text' else 'tags'}, got fields "
                             f"{', '.join(map(repr, names))[:300]}; name them, as in --columns text=tokens,label=tags")
        found[role] = fitting[0] if fitting else ""
    return found["text"], found["label"]


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str | int) for item in value)


def _told(sentences: Sequence[Tagged]) -> str:
    tags = [tag for sentence in sentences for tag in (*(sentence.tags or ()), "O")]
    return f"{sum(len(sentence.words) for sentence in sentences):,} words, tags {scheme(tags)}"
