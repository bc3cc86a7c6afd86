"""The text as one long row of model ids, the form in which n-grams are counted and scored.

Id 0 is `<unk>`, id 1 the boundary of a sentence, and word i of the vocabulary is id i + 2. The boundary is one id with
two readings: as a word to be predicted it is `</s>`, as a word that stands before others it is `<s>`. Nothing else can
follow `</s>` or precede `<s>`, so the readings never meet, and every id is something that can be predicted.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polysemy.errors import InputError
from polysemy.text.vocabulary import LINE_END, UNKNOWN

UNKNOWN_ID, BOUNDARY, FIRST_WORD = 0, 1, 2
OFFSET = 2
"""model id = token of EncodedText + OFFSET; line ends and unknown words included"""
MAX_TOKENS = 2**31 - 2
LOOK = 1 << 16
"""tokens among which the end of a sentence is looked for at a time"""

assert (UNKNOWN + OFFSET, LINE_END + OFFSET) == (UNKNOWN_ID, BOUNDARY)


def to_stream(tokens: np.ndarray, allocate: Callable[..., np.ndarray] | None = None) -> np.ndarray:
    """int32 (n + 1,) or (n + 2,): a boundary, then the ids of all tokens; the last id is a boundary too.

    tokens    int32 (n,) as in EncodedText: >= 0 a word, -1 end of a line, -2 unknown
    allocate  makes the array, in memory when None
    """
    if len(tokens) == 0 or not (tokens >= 0).any():
        raise InputError("text must hold words, got none; nothing to train on")
    if len(tokens) > MAX_TOKENS - 1:
        raise InputError(f"text must hold at most {MAX_TOKENS - 1:,} words, got {len(tokens):,}; count a part of it")
    closed = int(tokens[-1] == LINE_END)
    length = len(tokens) + 2 - closed
    stream = allocate("stream", (length,), np.int32) if allocate else np.empty(length, np.int32)
    stream[0] = stream[-1] = BOUNDARY
    np.add(tokens, OFFSET, out=stream[1 : len(tokens) + 1], casting="same_kind")
    return stream


def cut_tokens(tokens: np.ndarray, limit: int) -> np.ndarray:
    """The beginning of a text as in EncodedText: whole sentences, about `limit` tokens."""
    for start in range(max(limit - 1, 0), len(tokens), LOOK):
        ends = np.flatnonzero(tokens[start : start + LOOK] == LINE_END)
        if len(ends):
            return tokens[: start + int(ends[0]) + 1]
    return tokens
