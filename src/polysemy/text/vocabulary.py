"""The words of a text with their counts: what models of words number their rows by.

Word 0 is the most frequent; words of equal count stand in the order of their UTF-8 bytes, so the numbers depend on the
text alone and not on the order of reading, threads or blocks. A vocabulary cuts new text by the rule it was made with.

On disk: `vocabulary.tsv`, a line `word TAB count` each, and `vocabulary.json` with the rule and the running words.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from polysemy.artifact import read_json, write_bytes, write_json
from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.text.words import word_bounds

if TYPE_CHECKING:
    from polysemy.text.phrases import Phrases

LINE_END = -1
"""Stands in a row of word numbers where a line, which is a sentence, ends."""
UNKNOWN = -2
"""Stands in a row of word numbers for a word that is not in the vocabulary."""
MAX_WORDS = 2**31 - 1
MOST_PASSES = 8
WORDS_FILE, RULE_FILE = "vocabulary.tsv", "vocabulary.json"


@dataclass(frozen=True, kw_only=True)
class WordConfig(Config):
    """What a word is, and which words are kept."""

    tokens: Literal["words", "space"] = "words"
    """words: letters of one script or digits, without punctuation; space: whatever stands between white space"""
    lowercase: bool = True
    """count Bank and bank as one word, written in small letters"""
    unit: Literal["character", "word"] = "character"
    """with tokens=words: is a Chinese word one character, or what the segmenter (jieba, extra zh) cuts out"""
    min_count: int = 5
    """words seen less often are not in the vocabulary"""
    max_words: int = 0
    """keep only that many of the most frequent words (0: no limit)"""
    keep_unknown: bool = False
    """leave a mark in the encoded text where a word that is not in the vocabulary stood, instead of nothing"""
    phrases: int = 0
    """passes that join words which often stand together into one, new_york (0: none)"""

    def check(self) -> None:
        if not 0 <= self.phrases <= MOST_PASSES:
            raise InputError(f"phrases must be 0..{MOST_PASSES} passes, got {self.phrases}")
        if self.min_count < 1:
            raise InputError(f"min_count must be at least 1, got {self.min_count}")
        if not 0 <= self.max_words <= MAX_WORDS:
            raise InputError(f"max_words must be 0 (no limit) or up to {MAX_WORDS:,}, got {self.max_words}")


def check_min_count(words: WordConfig, min_count: int | None, usual: int = WordConfig.min_count) -> None:
    """Refuse a `words.min_count` that a model's own `min_count`, by default `usual`, would pass over in silence."""
    if words.min_count not in (WordConfig.min_count, usual, min_count):
        raise InputError(f"words.min_count must be left out, got {words.min_count}; set min_count={words.min_count}")


def split_words(text: str, config: WordConfig) -> list[str]:
    """The words of a text by the rule of the config, in order; the plain form of what the scanner does.

    Each word is lower-cased by itself (`str.lower`), after cutting. White space is that of ASCII, and NUL: a no-break
    space or U+3000 is part of a token of "space", and no part of a word of "words".
    """
    if config.tokens == "space":
        words = [token.decode() for token in text.encode("utf-8", "replace").replace(b"\0", b" ").split()]
    else:
        starts, stops = word_bounds(text, config.unit)
        words = [text[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    return [word.lower() for word in words] if config.lowercase else words


class Vocabulary:
    """Words with their numbers and counts.

    words    in the order of their numbers, each once, without tab or line feed
    counts   (len(words),) whole numbers: how often each word was read
    config   the rule by which text is cut into words
    total    running words of the text, also those that are not in the vocabulary
    phrases  how words are joined after cutting, where the config asks for phrases
    """

    def __init__(self, words: Sequence[str], counts: np.ndarray, config: WordConfig, total: int,
                 phrases: Phrases | None = None) -> None:
        self.phrases = phrases
        self.words = list(words)
        self.counts = np.asarray(counts, np.int64)
        self.config = config
        self.total = int(total)
        if self.counts.shape != (len(self.words),):
            raise InputError(f"counts must be one for each of {len(self.words):,} words, got {self.counts.shape}")
        if len(self.counts) and self.counts.min() < 0:
            raise InputError(f"counts must be at least 0, got {self.counts.min()}")

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        numbers = {word: number for number, word in enumerate(self.words)}
        if len(numbers) != len(self.words):
            twice = next(word for number, word in enumerate(self.words) if numbers[word] != number)
            raise InputError(f"words must be different, got {twice!r} twice")
        return numbers

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} words of {self.total:,} running words)"

    def index(self, word: str) -> int:
        """The number of a word, taken as it stands; KeyError when it has none."""
        return self._numbers[word]

    def find(self, word: str) -> int:
        """The number of a word, -1 when it has none."""
        return self._numbers.get(word, -1)

    def split(self, text: str) -> list[str]:
        """The words of one line by this vocabulary's rule, known or not, with its phrases joined."""
        words = split_words(text, self.config)
        return words if self.phrases is None else self.phrases.join(words)

    def ids(self, text: str) -> np.ndarray:
        """int32: the numbers of the words of a text, -2 for an unknown one and -1 between lines that have words."""
        get = self._numbers.get
        found: list[int] = []
        for line in text.split("\n"):
            words = self.split(line)
            if words:
                if found:
                    found.append(LINE_END)
                found.extend(get(word, UNKNOWN) for word in words)
        return np.array(found, np.int32)

    def save(self, folder: str | Path) -> None:
        """Write the two files into an existing folder."""
        for word in self.words:
            if not word or "\t" in word or "\n" in word:
                raise InputError(f"words must not be empty or hold a tab or line feed, got {word!r}")
        lines = [f"{word}\t{count}\n" for word, count in zip(self.words, self.counts.tolist(), strict=True)]
        try:
            data = "".join(lines).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"words must be valid Unicode, got one with {error.object[error.start]!r}") from error
        write_bytes(Path(folder) / WORDS_FILE, data)
        write_json(Path(folder) / RULE_FILE, {"words": len(self), "total": self.total, "rule": self.config.to_dict()})
        if self.phrases is not None:
            self.phrases.save(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Vocabulary:
        """Read what `save` wrote; a file that is damaged or lies about its words raises InputError."""
        path = Path(folder) / WORDS_FILE
        facts = read_json(Path(folder) / RULE_FILE)
        if not isinstance(facts, dict) or not all(type(facts.get(name)) is int for name in ("words", "total")):
            raise InputError(f"{Path(folder) / RULE_FILE} must hold words, total and rule, got something else")
        config = WordConfig.from_dict(facts.get("rule", {}))
        try:
            lines = path.read_bytes().decode().split("\n")
        except OSError as error:
            raise InputError(f"{path} must be readable ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path} must be UTF-8, got byte 0x{error.object[error.start]:02x} at {error.start:,}"
                             ) from error
        if lines.pop() != "" or len(lines) != facts["words"]:
            raise InputError(f"{path} must have {facts['words']:,} whole lines, got {len(lines):,}; "
                             "it was cut or altered")
        words, counts = [], np.empty(len(lines), np.int64)
        for row, line in enumerate(lines):
            word, tab, count = line.partition("\t")
            if not word or not tab or not (count.isascii() and count.isdigit()) or len(count) > 18:
                raise InputError(f"{path} must have a word, a tab and a count on each line, got line {row + 1}: "
                                 f"{line[:80]!r}")
            words.append(word)
            counts[row] = int(count)
        vocabulary = cls(words, counts, config, facts["total"], _phrases(folder) if config.phrases else None)
        vocabulary.find("")  # numbers the words, which refuses one that stands twice
        return vocabulary


def _phrases(folder: str | Path) -> Phrases:
    from polysemy.text.phrases import Phrases

    return Phrases.load(folder)
