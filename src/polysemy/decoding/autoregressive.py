"""Writing on, token by token: one loop for every causal model, over what the model calls its state.

A row's text depends on its prompt, the settings and how often the same prompt stood before it, never on the other rows.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polysemy.decoding.reading import PlainReader, Predicts, Reader, Window, window_of
from polysemy.decoding.sampling import GenerationConfig, choose, row_keys
from polysemy.decoding.written import Ended
from polysemy.errors import InputError

ROWS = 64
"""rows written at once; more are written in groups"""


class Continuation(NamedTuple):
    """What was written after one prompt."""

    ids: list[int]
    """without the stop token"""
    ended: Ended


class Token(NamedTuple):
    """One event of `write`: a new token of a row, or with id None the row's end."""

    row: int
    id: int | None
    ended: Ended | None = None


@dataclass(eq=False)
class _Row:
    number: int
    text: list[int]
    prompt_size: int
    key: tuple[str, int]

    def context(self, window: Window) -> np.ndarray:
        return np.array(self.text[window.start(len(self.text)):], np.int64)


def generate(model: Predicts, prompts: Sequence[np.ndarray | Sequence[int]], settings: GenerationConfig, *,
             stop: Collection[int] = (), banned: Collection[int] = (), length: int | None = None,
             on_token: Callable[[int, int], None] | None = None) -> list[Continuation]:
    """What the model writes after each prompt.

    stop      a row ends when one of these tokens comes
    banned    tokens that never come
    length    most tokens read at once, those the model was trained on (see `window_of`)
    on_token  called with (row, id) for each new token, as it comes

    A prompt is a list of ids, at least one: an empty text begins with the mark of a document.
    """
    written: list[list[int]] = [[] for _ in prompts]
    ends: list[Ended] = ["tokens"] * len(prompts)
    for event in write(model, prompts, settings, stop=stop, banned=banned, length=length):
        if event.id is None:
            assert event.ended is not None
            ends[event.row] = event.ended
            continue
        written[event.row].append(event.id)
        if on_token is not None:
            on_token(event.row, event.id)
    return [Continuation(*pair) for pair in zip(written, ends, strict=True)]


def write(model: Predicts, prompts: Sequence[np.ndarray | Sequence[int]], settings: GenerationConfig, *,
          stop: Collection[int] = (), banned: Collection[int] = (), length: int | None = None,
          reader: Reader | None = None) -> Iterator[Token]:
    """`generate` as it happens: an event for each token and for the end of each row.

    `reader` is the way to read; without it the fastest that fits.  Settings and prompts are checked before the first
    event is asked for.
    """
    window = window_of(model.body, length)
    keys = row_keys(prompts)
    rows = []
    for number, prompt in enumerate(prompts):
        ids = np.asarray(prompt, np.int64)
        if not len(ids):
            raise InputError("prompt must hold at least one token, got none; begin with the mark of a document")
        vocab_size = model.body.table.shape[0]
        if ids.min() < 0 or ids.max() >= vocab_size:
            raise InputError(f"prompt must hold ids of 0..{vocab_size - 1}, got {int(ids.min())}..{int(ids.max())}")
        window.check(ids, "prompt" if len(prompts) == 1 else f"prompt {number + 1}")
        rows.append(_Row(number, ids.tolist(), len(ids), keys[number]))
    never = np.array(sorted(banned), np.int64)
    return _all_groups(model, rows, settings, frozenset(stop), never, window, reader)


def _all_groups(model: Predicts, rows: list[_Row], settings: GenerationConfig, stop: frozenset[int],
                never: np.ndarray, window: Window, reader: Reader | None) -> Iterator[Token]:
    for first in range(0, len(rows), ROWS):
        by = reader or _reader_for(model, rows, settings, window)
        yield from _group(by, rows[first:first + ROWS], settings, stop, never, window)


def _reader_for(model: Predicts, rows: Sequence[_Row], settings: GenerationConfig, window: Window) -> Reader:
    """The compiled reader for a single text alone: were a last group of one read by it, --weights would show there."""
    if len(rows) == 1:
        from polysemy.decoding.compiled import reader_for

        fast = reader_for(model, rows[0].prompt_size + settings.tokens, window, settings.weights)
        if fast is not None:
            return fast
    return PlainReader(model)


def _group(reader: Reader, rows: list[_Row], settings: GenerationConfig, stop: frozenset[int], never: np.ndarray,
           window: Window) -> Iterator[Token]:
    """The rows together; each leaves when it ends."""
    logits = reader.start([row.context(window) for row in rows])
    while rows:
        going, ids = [], []
        for line, row in enumerate(rows):
            token, ended = _next(logits[line], row, settings, stop, never, window)
            if token is not None:
                yield Token(row.number, token)
            if ended is None:
                going.append(line)
                ids.append(row.text[-1])
            else:
                yield Token(row.number, None, ended)
        if len(going) < len(rows):
            rows = [rows[line] for line in going]
            if not rows:
                return
            reader.keep(np.array(going))
        if any(window.start(len(row.text)) != window.start(len(row.text) - 1) for row in rows):
            logits = reader.start([row.context(window) for row in rows])
        else:
            logits = reader.advance(np.array(ids, np.int64))


def _next(logits: np.ndarray, row: _Row, settings: GenerationConfig, stop: frozenset[int], never: np.ndarray,
          window: Window) -> tuple[int | None, Ended | None]:
    """(the token that comes, unless it is a stop token; why the row ends with it, if it does)."""
    if len(never):
        logits = logits.copy()
        logits[never] = -np.inf
    seen = row.text if settings.repetition_penalty != 1 else ()
    token = choose(logits, settings, seen, *row.key, len(row.text) - row.prompt_size)
    if token in stop:
        return None, "stop"
    row.text.append(token)
    if len(row.text) - row.prompt_size >= settings.tokens:
        return token, "tokens"
    if not window.slides and window.length is not None and len(row.text) > window.length:
        return token, "limit"
    return token, None
