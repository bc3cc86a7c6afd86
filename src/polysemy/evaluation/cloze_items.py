"""Cloze questions: a gap in held-out text and sixteen words, one of which stood there; made once, asked of all models.

docs/cloze.md says why each rule is as it is. The questions of a study lie in one file (JSON lines, a header first); its
hash stands in every result, so results with different questions cannot be compared by mistake.
"""
from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import write_bytes
from polysemy.capability import ClozeItem
from polysemy.config import Config
from polysemy.errors import InputError

FORMAT = 1
MAX_LINE_BYTES = 1 << 20
PieceCounts = Callable[[Sequence[str]], Any]
"""Numbers of pieces of words, each as it stands inside a text, under the tokenizer that the rungs share."""


@dataclass(frozen=True, kw_only=True)
class ClozeConfig(Config):
    """How cloze questions are made."""

    test_items: int = 5_000
    """questions that give the scores"""
    dev_items: int = 2_000
    """questions that the calibration is fitted on"""
    per_paragraph: int = 2
    """most questions from one paragraph"""
    context_words: int = 64
    """most words of context on each side, within the document"""
    min_count: int = 5
    """rarest word asked or offered, in occurrences in the training text"""
    num_candidates: int = 16
    """the right word and the wrong ones together"""
    unit: str = "character"
    """what a Han word is: character, or word for a segmenter's (extra zh)"""
    seed: int = 0
    """other seeds ask other questions"""

    def check(self) -> None:
        for name, least in (("test_items", 50), ("dev_items", 50), ("per_paragraph", 1), ("context_words", 1),
                            ("min_count", 1), ("num_candidates", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.unit not in ("character", "word"):
            raise InputError(f"unit must be character or word, got {self.unit!r}")


QUICK = ClozeConfig(test_items=2_000, dev_items=1_000)
"""The quick mode: intervals are 1.6 times as wide."""


@dataclass(frozen=True, kw_only=True)
class Question(ClozeItem):
    """A cloze item with where it came from; `document` counts the documents of its part."""

    paragraph: int = 0
    rank: int = 1
    """frequency rank of the right word in the training text, 1 the most frequent"""
    widened: float = 1.0
    """largest rank over smallest among its possible candidates; up to 1.25 as a rule, more where words are few"""

    def blind(self) -> ClozeItem:
        """The item as a model gets it: without the answer."""
        return ClozeItem(left=self.left, right=self.right, candidates=self.candidates, document=self.document,
                         band=self.band, log_frequency=self.log_frequency, pieces=self.pieces, primary=self.primary)


@dataclass(frozen=True, kw_only=True)
class ClozeSet:
    """The questions of a study."""

    dev: tuple[Question, ...]
    test: tuple[Question, ...]
    bands: tuple[str, ...]
    """names of the frequency bands, most frequent first, by rank of the right word"""
    config: ClozeConfig
    source: str = ""
    """fingerprint of the split and the tokenizer they were made with"""

    @property
    def hash(self) -> str:
        """sha256 over all questions."""
        return _hash(_lines(self.dev, "dev") + _lines(self.test, "test"))

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1.0 / self.config.num_candidates

    def describe(self) -> str:
        """One line to print."""
        widened = sum(question.widened > 1.25 + 1e-9 for question in self.test)
        mixed = sum(not question.primary for question in self.test)
        counts = np.bincount([question.band for question in self.test], minlength=len(self.bands))
        bands = ", ".join(f"{name}: {count:,}" for name, count in zip(self.bands, counts.tolist(), strict=True))
        return (f"cloze: {len(self.test):,} test and {len(self.dev):,} dev questions; by rank {bands}; candidates from "
                f"a wider range of ranks in {widened:,}, with different numbers of pieces in {mixed:,}")


def save_items(items: ClozeSet, path: str | Path) -> None:
    """Write the questions as JSON lines, atomically."""
    lines = _lines(items.dev, "dev") + _lines(items.test, "test")
    header = {"format": FORMAT, "kind": "cloze", "seed": items.config.seed, "hash": _hash(lines),
              "bands": list(items.bands), "dev": len(items.dev), "test": len(items.test),
              "config": items.config.to_dict(), "source": items.source}
    write_bytes(path, "".join(f"{line}\n" for line in [_json(header), *lines]).encode())


def load_items(path: str | Path) -> ClozeSet:
    """Read questions; InputError where the file is none of ours, cut or altered."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cloze items must be a readable file, got {path} ({error})") from error
    if not lines or any(len(line) > MAX_LINE_BYTES for line in lines):
        raise InputError(f"cloze items must be a JSON-lines file that polysemy wrote, got {path}")
    try:
        header, parts = json.loads(lines[0]), {"dev": [], "test": []}
        if header.get("kind") != "cloze" or header.get("format") != FORMAT:
            raise InputError(f"cloze items must be of format {FORMAT}, got {path}; make them anew")
        for line in lines[1:]:
            row = json.loads(line)
            parts[row.pop("part")].append(Question(**_tuples(row)))
        made = ClozeSet(dev=tuple(parts["dev"]), test=tuple(parts["test"]), bands=tuple(header["bands"]),
                        config=ClozeConfig.from_dict(header["config"]), source=header["source"])
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"cloze items must be JSON lines that polysemy wrote, got {path} ({error})") from error
    if _hash(lines[1:]) != header["hash"]:
        raise InputError(f"cloze items must be as they were written, got another hash in {path}; it was cut or altered")
    return made


def _lines(questions: Sequence[Question], part: str) -> list[str]:
    names = [field.name for field in dataclasses.fields(Question)]
    return [_json({"part": part, **{name: getattr(question, name) for name in names}}) for question in questions]


def _json(value: Any) -> str:
    # U+2028 and its like would be line ends for `splitlines`
    return json.dumps(value, ensure_ascii=False).translate({0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"})


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def _hash(lines: Sequence[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
