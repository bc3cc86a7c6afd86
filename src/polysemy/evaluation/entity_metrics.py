"""How many named entities were found whole: strict precision, recall and F1 by seqeval, whatever the tags' scheme.

Tags come as IOB2 (every entity begins with B-), IOB1 (B- only between neighbors of one type), BIOES or BILOU. All are
turned into IOB2 first; which one it is, the gold tags tell, and predictions are read by the same rules. An entity
counts when its type and both of its ends are right. A prediction that breaks its scheme (I- after O in IOB2, B- without
an E- in BIOES) is no entity, which is what seqeval calls its strict mode.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from polysemy.errors import InputError

Scheme = Literal["IOB1", "IOB2", "BIOES"]
OUTSIDE = "O"
ENDS, SINGLES = ("E", "L"), ("S", "U")
PREFIXES = ("B", "I", *ENDS, *SINGLES)


def entity_scores(found: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> dict[str, float]:
    """{precision, recall, f1} of entities, each in 0..1, over all rows together (micro average).

    found, gold: a row of tags for each text, of equal lengths. Zero where nothing was found or nothing was to be found.
    """
    metrics, iob2 = _seqeval()
    scheme = scheme_of(gold)
    right, given = ([to_iob2(row, scheme) for row in tags] for tags in (gold, found))
    names = ("precision", "recall", "f1")
    if all(tag == OUTSIDE for row in (*right, *given) for tag in row):
        return dict.fromkeys(names, 0.0)
    values = metrics.precision_recall_fscore_support(right, given, average="micro", scheme=iob2, zero_division=0)
    return {name: float(value) for name, value in zip(names, values, strict=False)}


def has_entities(labels: Iterable[str]) -> bool:
    """Whether labels mark entities (O, B-PER, I-PER ...) and not one class a word (noun, verb ...)."""
    kinds = {label for label in labels if label != OUTSIDE}
    return bool(kinds) and all(_split(label)[0] in PREFIXES for label in kinds)


def scheme_of(rows: Iterable[Sequence[str]]) -> Scheme:
    """BIOES where a tag ends or is alone; IOB1 where an I- begins an entity; else IOB2."""
    scheme: Scheme = "IOB2"
    for row in rows:
        before = ("", "")
        for tag in row:
            prefix, kind = _split(tag)
            if prefix in ENDS or prefix in SINGLES:
                return "BIOES"
            if prefix == "I" and (before[0] not in ("B", "I") or before[1] != kind):
                scheme = "IOB1"
            before = (prefix, kind)
    return scheme


def to_iob2(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same entities as IOB2 tags. What breaks BIOES becomes O; what breaks IOB2 stays for seqeval to refuse."""
    if scheme == "IOB2":
        return list(tags)
    if scheme == "BIOES":
        return _from_bioes(tags)
    made, before = [], ("", "")
    for tag in tags:
        prefix, kind = _split(tag)
        begins = prefix == "I" and (before[0] not in ("B", "I") or before[1] != kind)
        made.append(f"B-{kind}" if begins else tag)
        before = (prefix, kind)
    return made


def _from_bioes(tags: Sequence[str]) -> list[str]:
    made, start, kind = [OUTSIDE] * len(tags), -1, ""
    for place, tag in enumerate(tags):
        prefix, here = _split(tag)
        if prefix in SINGLES:
            made[place], start = f"B-{here}", -1
        elif prefix == "B":
            start, kind = place, here
        elif prefix in ENDS and start >= 0 and here == kind:
            made[start:place + 1] = [f"B-{kind}"] + [f"I-{kind}"] * (place - start)
            start = -1
        elif prefix != "I" or here != kind:
            start = -1
    return made


def _split(tag: str) -> tuple[str, str]:
    """(prefix, type) of a tag; a tag without a prefix is all prefix."""
    prefix, _, kind = tag.partition("-")
    return prefix, kind


def _seqeval() -> tuple[Any, Any]:
    """(its strict metrics, its scheme IOB2)."""
    try:
        from seqeval.metrics import v1
        from seqeval.scheme import IOB2
    except ImportError as error:
        raise InputError("seqeval must be installed to score entities, got none; "
                         'pip install "polysemy[tasks]"') from error
    return v1, IOB2
