"""An encoder with the ids and offsets of the tokenizers library, some twenty times faster.

Words repeat: the pieces of each distinct word are found once and then copied (fast_kernels). Text is worked on as one
array of code points; clean-up and splitting follow tables that the library itself filled (fast_tables). Before use, the
result is held against the library on some thousand lines of the vocabulary's own pieces, of many scripts and of odd
characters; any difference, or a tokenizer of another make, and there is no fast encoder, with a reason.

Measured alternatives: a Python regular expression with a dictionary of words reaches a third of this on ids alone and
less with offsets; the package tokie is as fast but gives offsets into the normalized text, fastokens is BPE only.
`POLYSEMY_PLAIN=1` switches the fast encoder off.
"""
from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from polysemy.runtime import random_for
from polysemy.text import fast_kernels as kernels
from polysemy.text import tokenizer_parts as parts
from polysemy.text.fast_tables import (
    GPT2_RULE,
    NUM_CHARACTERS,
    Characters,
    Describer,
    Unsupported,
    rule_of,
    vocabulary_arrays,
)
from polysemy.text.tokenizer import Flat, Tokenizer, check_texts, slices
from polysemy.text.tokenizer_check import library_errors

CACHED_WORDS = 1 << 18
CHECKED_LINES = 3000
KEPT_STRETCHES = 50_000

_log = logging.getLogger("polysemy")
_known: dict[str, FastEncoder | str] = {}


def encoder_for(tokenizer: Tokenizer) -> FastEncoder | None:
    """The fast encoder of this tokenizer after its self-check, or None; `why_plain` says why. Once a process each."""
    key = tokenizer.fingerprint()
    if key not in _known:
        try:
            if os.environ.get("POLYSEMY_PLAIN") == "1":
                raise Unsupported("POLYSEMY_PLAIN=1 switches it off")
            encoder = FastEncoder(tokenizer)
            encoder.check()
            _known[key] = encoder
        except Unsupported as reason:
            _log.info("text is encoded by the plain tokenizer: %s", reason)
            _known[key] = str(reason)
    found = _known[key]
    return found if isinstance(found, FastEncoder) else None


def why_plain(tokenizer: Tokenizer) -> str | None:
    """Why `encoder_for` gives None for this tokenizer, in words; None when it gives an encoder."""
    return None if encoder_for(tokenizer) is not None else str(_known[tokenizer.fingerprint()])


class FastEncoder:
    """Same ids and spans as `Tokenizer.encode_many`; can be pickled to worker processes, which skip the check.

    Not for use by several threads at once. Takes about 60 MB when its cache of words is full.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        definition = json.loads(tokenizer._plain.to_str())
        self._rule, decomposes = rule_of(definition)
        self._prefix = self._rule == GPT2_RULE and bool(definition["pre_tokenizer"].get("add_prefix_space"))
        self._describer = Describer(tokenizer._plain, self._rule, decomposes)
        self._vocabulary = vocabulary_arrays(tokenizer, definition, self._rule)
        self._characters = Characters(np.zeros(NUM_CHARACTERS, np.uint8), np.zeros(NUM_CHARACTERS, np.int32),
                                      np.zeros(0, np.int64))
        self._cache = _new_cache(CACHED_WORDS)
        self._scratch = _new_scratch(4 * kernels.LONGEST_MERGED)
        self._stretches: dict[str, np.ndarray] = {}
        self._pieces_per_character = 0.5

    def __reduce__(self) -> tuple[Any, ...]:
        return FastEncoder, (self.tokenizer,)

    def encode_many(self, texts: Sequence[str]) -> Flat:
        """ids, starts, ends (int32, all texts one after the other) and row_splits (int64, len(texts) + 1)."""
        check_texts(texts, self.tokenizer.max_characters)
        characters = sum(map(len, texts))
        output = _new_output(int(characters * self._pieces_per_character) + 64)
        splits = np.zeros(len(texts) + 1, np.int64)
        row = 0
        for some in slices(texts):
            output = self._encode_slice(some, splits[row:row + len(some) + 1], output)
            row += len(some)
        total = int(splits[-1])
        self._pieces_per_character = max(0.2, 1.1 * total / max(characters, 1))
        if self.tokenizer._forbidden[output.ids[:total]].any():
            return self.tokenizer.encode_many(texts)
        return output.ids[:total], output.starts[:total], output.ends[:total], splits

    def check(self, lines: Sequence[str] | None = None) -> None:
        """Raise Unsupported unless ids and spans equal the library's on the lines (by default a fixed mixture)."""
        lines = list(check_lines(self.tokenizer)) if lines is None else lines
        ours, theirs = self.encode_many(lines), self.tokenizer.encode_many(lines)
        if all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
            return
        for line in lines:
            one, other = self.encode_many([line]), self.tokenizer.encode_many([line])
            if not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)):
                raise Unsupported(f"it differs from the tokenizers library on {line[:60]!r}")
        raise Unsupported("it differs from the tokenizers library on the lines of the self-check taken together")

    def _encode_slice(self, texts: Sequence[str], splits: np.ndarray, output: kernels.Output) -> kernels.Output:
        """Write the pieces of the texts after those in `output`, which may grow, and their ends to splits[1:]."""
        bounds = np.concatenate([[0], np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))])
        with library_errors("text must be valid Unicode"):
            codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        intricate = self._learn(codes)
        given = self._given(codes, texts, bounds, intricate) if intricate and self._rule != GPT2_RULE else _no_given()
        output.state[1] = 0
        row = 0
        while row < len(texts):
            if self._prefix and not texts[row][:1].strip():
                status = kernels.LEAVE_ROW
            else:
                last = row + 1 if self._prefix else len(texts)
                row, status = kernels.encode_rows(self._rule, codes, bounds[:last + 1], row, self._characters,
                                                  self._vocabulary, self._cache, self._scratch, given, output, splits)
            if status == kernels.FULL:
                output = _grown(output)
            elif status == kernels.LEAVE_ROW:
                output = self._by_library(texts[row], output)
                row += 1
                splits[row] = output.state[0]
                while output.state[1] < len(given.firsts) and given.firsts[output.state[1]] < bounds[row]:
                    output.state[1] += 1
        return output

    def _learn(self, codes: np.ndarray) -> int:
        """Ask the library about characters met for the first time; the number of intricate ones in the text."""
        unseen = np.zeros(4096, np.uint32)
        while True:
            count, intricate = kernels.survey(codes, self._characters.classes, unseen)
            if not count:
                return intricate
            pool = self._characters.pool.tolist()
            for code in np.unique(unseen[:min(count, len(unseen))]).tolist():
                kind, form = self._describer.describe(chr(code))
                self._characters.classes[code] = kind
                self._characters.forms[code] = ord(form) if len(form) == 1 else -1 - len(pool)
                if len(form) != 1:
                    pool += [len(form), *map(ord, form)]
            self._characters = self._characters._replace(pool=np.array(pool, np.int64))

    def _given(self, codes: np.ndarray, texts: Sequence[str], bounds: np.ndarray, most: int) -> kernels.Given:
        """The stretches between white space that hold the (at most `most`) intricate characters, by the library."""
        rows, firsts, stops = (np.zeros(most, np.int64) for _ in range(3))
        count = kernels.intricate_stretches(codes, self._characters.classes, bounds, rows, firsts, stops)
        rows, firsts, stops = rows[:count], firsts[:count], stops[:count]
        found = [self._stretch(texts[row][first:stop]) for row, first, stop in zip(
            rows.tolist(), (firsts - bounds[rows]).tolist(), (stops - bounds[rows]).tolist(), strict=True)]
        splits = np.concatenate([[0], np.cumsum([len(pieces) for pieces in found])]).astype(np.int64)
        return kernels.Given(firsts, stops, splits, np.concatenate(found))

    def _stretch(self, text: str) -> np.ndarray:
        if text not in self._stretches:
            if len(self._stretches) >= KEPT_STRETCHES:
                self._stretches.clear()
            ids, starts, ends, _ = self.tokenizer.encode_many([text])
            self._stretches[text] = np.stack([ids, starts, ends], axis=1)
        return self._stretches[text]

    def _by_library(self, text: str, output: kernels.Output) -> kernels.Output:
        ids, starts, ends, _ = self.tokenizer.encode_many([text])
        at = int(output.state[0])
        while at + len(ids) > len(output.ids):
            output = _grown(output)
        for column, values in ((output.ids, ids), (output.starts, starts), (output.ends, ends)):
            column[at:at + len(ids)] = values
        output.state[0] = at + len(ids)
        return output


def check_lines(tokenizer: Tokenizer, count: int = CHECKED_LINES) -> Iterator[str]:
    """Lines that try an encoder: its own pieces joined in all ways, many scripts, odd spaces and characters."""
    random = random_for("encoder check")
    pieces = [piece.removeprefix("##").replace(parts.SPACE_MARK, " ").replace("Ġ", " ") for piece in tokenizer.vocabulary]
    yield from ODD_LINES
    blocks = [(first, last) for first, last in SCRIPTS]
    for number in range(count - len(ODD_LINES)):
        words = []
        for choice in random.integers(0, 10, random.integers(1, 24)).tolist():
            if choice < 6:
                words.append(pieces[random.integers(len(pieces))])
            elif choice < 8:
                first, last = blocks[number % len(blocks)]
                words.append("".join(map(chr, random.integers(first, last + 1, random.integers(1, 9)).tolist())))
            elif choice < 9:
                words.append(ODD_PARTS[random.integers(len(ODD_PARTS))])
            else:
                words.append("".join(map(chr, random.integers(32, 127, random.integers(1, 12)).tolist())))
            words.append(("", " ", " ", " ", "\n", "  ")[random.integers(6)])
        yield "".join(words)


SCRIPTS = ((0x00, 0x7F), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
           (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF),
           (0x2000, 0x206F), (0x2070, 0x20BF), (0x2100, 0x218F), (0x2200, 0x22FF), (0x2460, 0x24FF), (0x2580, 0x25FF),
           (0x2E80, 0x2FDF), (0x3000, 0x303F), (0x3040, 0x30FF), (0x3100, 0x33FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
           (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFEFF), (0xFF00, 0xFFEF), (0x10000, 0x103FF), (0x1D400, 0x1D7FF),
           (0x1F300, 0x1FAFF), (0x20000, 0x2FA1F), (0xE0000, 0xE01EF))
ODD_PARTS = ("don't", "I'LL", "'re", "we've", "[MASK]", "<s>", "</s>", "<unk>", "[UNK]", "<|endoftext|>", "...", "--", "\t",
             "\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u0000", "\u001c", "e\u0301", "n\u0303\u0323", "İ", "ß", "ﬁ",
             "½", "①", "…", "™", "K", "Å", "가", "\u1100\u1161", "한국어", "हिन्दी", "ภาษา", "עִבְרִית", "👩‍👩‍👧", "🇩🇪",
             "我喜欢北京。", "１２３", "ＡＢＣ", "▁", "Ġ", "##", "##ing", "a" * 101, "x" * 60, "1234567890", "٣", "ǆ", "ﷺ")
ODD_LINES = ("", " ", "  ", "\n", "\n\n", " \n", "\n a", " a", "  a", "a ", "a  ", "a \n", "▁", "▁a", "a▁b", "'", "''s", " 's",
             "'s", "!'s", "a's b", "\u0301", " \u0301a", "a\u0301", "\u0301 a", "\u0000", "\u0000a", "a\u0000", "a\u00a0b",
             "\u3000a", "##a", "# #a", "中", "中a", "a中", "a 中 b", ".a.", ". a .", "\ud7a3", "½", " ½ ", "x½y", "'S", "'LL",
             "İ", "ΑΣ", "ΑΣ Σ", "\U0001f600", "\t\t", "a\t\tb", "a \t b", "\u2028", "a\u2028b", "\u0085", "\u001f", "\u00ad")


def _new_cache(words: int) -> kernels.Cache:
    return kernels.Cache(np.full(2 * words, -1, np.int32), np.zeros(words, np.uint64), np.zeros((words, 4), np.int64),
                         np.zeros(8 * words, np.uint32), np.zeros((4 * words, 3), np.int32), np.zeros(3, np.int64))


def _new_scratch(size: int) -> kernels.Scratch:
    integers = [np.zeros(size + 2, np.int64) for _ in range(7)]
    return kernels.Scratch(*integers, np.zeros(size + 2, np.int32), np.zeros(size + 2, np.float64),
                           np.zeros((size + 2, 3), np.int32))


def _new_output(size: int) -> kernels.Output:
    return kernels.Output(np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int32),
                          np.zeros(2, np.int64))


def _grown(output: kernels.Output) -> kernels.Output:
    wider = [np.concatenate([column, np.empty_like(column)]) for column in (output.ids, output.starts, output.ends)]
    return kernels.Output(*wider, output.state)


def _no_given() -> kernels.Given:
    none = np.zeros(0, np.int64)
    return kernels.Given(none, none, np.zeros(1, np.int64), np.zeros((0, 3), np.int32))
