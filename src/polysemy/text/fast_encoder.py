"""An encoder with the ids and offsets of the tokenizers library, some ten times faster.

Words repeat: the pieces of each distinct word are found once and then copied (fast_kernels). Text is worked on as one
array of code points; clean-up and splitting follow tables that the library itself filled (fast_tables). Before use, the
result is held against the library on some thousand lines of the vocabulary's own pieces, of many scripts and of odd
characters; any difference, or a tokenizer of another make, and there is no fast encoder, with a reason.

Measured beside it (benchmarks/encode_text.py; MB per CPU-second, English, first meeting, ours 24): a Python regular
expression with a dictionary of words 5.6, with offsets 2.7; the packages tokie 14 to 80 and fastokens (BPE only) 104,
which give no offsets into the text and, tokie, other ids for Unigram and for our normalizer.
`POLYSEMY_PLAIN=1` switches the fast encoder off.
"""
from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from polysemy.text import fast_kernels as kernels
from polysemy.text.encoding import Flat, check_texts, slices
from polysemy.text.fast_cache import Cache
from polysemy.text.fast_check import check_lines
from polysemy.text.fast_cutting import LONGEST_MERGED, Scratch
from polysemy.text.fast_tables import (
    GPT2_RULE,
    GPT2_SPACED_RULE,
    NUM_CHARACTERS,
    Characters,
    Describer,
    UnsupportedError,
    rule_of,
    vocabulary_arrays,
)
from polysemy.text.pages import pages
from polysemy.text.tokenizer import Tokenizer
from polysemy.text.tokenizer_check import library_errors

CACHED_WORDS = 1 << 18
SLICE_CHARACTERS = 500_000
KEPT_STRETCHES = 50_000
MOST_KNOWN = 8  # encoders kept by `encoder_for`

_log = logging.getLogger("polysemy")
_known: dict[str, FastEncoder | str] = {}


def encoder_for(tokenizer: Tokenizer) -> FastEncoder | None:
    """The fast encoder of this tokenizer after its self-check, or None; `why_plain` says why. Once a process each."""
    key = tokenizer.fingerprint()
    if key not in _known:
        if len(_known) >= MOST_KNOWN:
            del _known[next(iter(_known))]
        try:
            if os.environ.get("POLYSEMY_PLAIN") == "1":
                raise UnsupportedError("POLYSEMY_PLAIN=1 switches it off")
            encoder = FastEncoder(tokenizer)
            encoder.check()
            _known[key] = encoder
        except UnsupportedError as reason:
            _log.info("text is encoded by the plain tokenizer: %s", reason)
            _known[key] = str(reason)
    found = _known[key]
    return found if isinstance(found, FastEncoder) else None


def why_plain(tokenizer: Tokenizer) -> str | None:
    """Why `encoder_for` gives None for this tokenizer, in words; None when it gives an encoder."""
    return None if encoder_for(tokenizer) is not None else str(_known[tokenizer.fingerprint()])


class FastEncoder:
    """Same ids and spans as `Tokenizer.encode_many`; can be pickled to worker processes, which skip the check.

    Threads take turns. Takes some 60 MB when its cache of words is full.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        definition = json.loads(tokenizer._plain.to_str())
        self._rule, decomposes = rule_of(definition)
        spaced = self._rule == GPT2_RULE and bool(definition["pre_tokenizer"].get("add_prefix_space"))
        self._kernel_rule = GPT2_SPACED_RULE if spaced else self._rule
        self._describer = Describer(tokenizer._plain, self._rule, decomposes)
        self._vocabulary = vocabulary_arrays(tokenizer, definition, self._rule)
        self._characters = Characters(np.zeros(NUM_CHARACTERS, np.uint8), np.zeros(NUM_CHARACTERS, np.int32),
                                      np.zeros(0, np.int64))
        self._cache = _new_cache(CACHED_WORDS)
        self._scratch = _new_scratch(4 * LONGEST_MERGED)
        self._stretches: dict[str, np.ndarray] = {}
        self._pieces_per_character = 0.5
        self._turn = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return FastEncoder, (self.tokenizer,)

    def encode_many(self, texts: Sequence[str]) -> Flat:
        """ids, starts, ends (int32, all texts one after the other) and row_splits (int64, len(texts) + 1)."""
        check_texts(texts, self.tokenizer.max_characters)
        with self._turn:
            return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> Flat:
        characters = sum(map(len, texts))
        output = _new_output(int(characters * self._pieces_per_character) + 64)
        splits = np.zeros(len(texts) + 1, np.int64)
        row = done = 0
        for some in slices(texts, SLICE_CHARACTERS):
            output = self._encode_slice(some, splits[row:row + len(some) + 1], output)
            row, done = row + len(some), done + sum(map(len, some))
            written = int(output.state[0])
            output = _with_room(output, written + int(1.1 * written * (characters - done) / max(done, 1)))
        total = int(splits[-1])
        self._pieces_per_character = max(0.2, 1.1 * total / max(characters, 1))
        if self.tokenizer._forbidden[output.ids[:total]].any():
            return self.tokenizer.encode_many(texts)
        return output.ids[:total], output.starts[:total], output.ends[:total], splits

    def check(self, lines: Sequence[str] | None = None) -> None:
        """Raise UnsupportedError unless ids and spans equal the library's on the lines (by default a fixed mixture)."""
        lines = list(check_lines(self.tokenizer)) if lines is None else lines
        ours, theirs = self.encode_many(lines), self.tokenizer.encode_many(lines)
        if all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
            return
        for line in lines:
            one, other = self.encode_many([line]), self.tokenizer.encode_many([line])
            if not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)):
                raise UnsupportedError(f"it differs from the tokenizers library on {line[:60]!r}")
        raise UnsupportedError("it differs from the tokenizers library on the lines of the self-check taken together")

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
            row, status = kernels.encode_rows(self._kernel_rule, codes, bounds, row, self._characters,
                                              self._vocabulary, self._cache, self._scratch, given, output, splits)
            if status == kernels.FULL:
                output = _with_room(output, 2 * len(output.ids))
            elif status == kernels.LEAVE_ROW:
                output = self._by_library(texts[int(row)], output)
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
        edges = zip(rows.tolist(), (firsts - bounds[rows]).tolist(), (stops - bounds[rows]).tolist(), strict=True)
        found = [self._stretch(str(texts[row][first:stop])) for row, first, stop in edges]
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
        output = _with_room(output, at + len(ids))
        for column, values in ((output.ids, ids), (output.starts, starts), (output.ends, ends)):
            column[at:at + len(ids)] = values
        output.state[0] = at + len(ids)
        return output


def _new_cache(words: int) -> Cache:
    return Cache(np.full(2 * words, -1, np.int32), pages(8 * words, np.uint64).reshape(-1, 8),
                         np.zeros(4 * words, np.uint32), np.zeros((4 * words, 3), np.int32), np.zeros(3, np.int64))


def _new_scratch(size: int) -> Scratch:
    def integers() -> np.ndarray:
        return np.zeros(size + 2, np.int64)

    return Scratch(form=integers(), origin=integers(), symbols=integers(), starts=integers(), ends=integers(),
                           following=integers(), preceding=integers(), orders=np.zeros(size + 2, np.int32),
                           values=np.zeros(size + 2, np.float64), pieces=np.zeros((size + 2, 3), np.int32))


def _new_output(size: int) -> kernels.Output:
    return kernels.Output(np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int32),
                          np.zeros(2, np.int64))


def _with_room(output: kernels.Output, size: int) -> kernels.Output:
    """The output with room for `size` pieces."""
    if size <= len(output.ids):
        return output

    def wider(column: np.ndarray) -> np.ndarray:
        new = np.empty(size, column.dtype)
        new[:len(column)] = column
        return new

    return kernels.Output(wider(output.ids), wider(output.starts), wider(output.ends), output.state)


def _no_given() -> kernels.Given:
    none = np.zeros(0, np.int64)
    return kernels.Given(none, none, np.zeros(1, np.int64), np.zeros((0, 3), np.int32))
