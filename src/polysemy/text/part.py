"""From the texts of some documents to ids with word, sentence and document borders: the work of one process."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from polysemy.text.sentences import sentence_spans
from polysemy.text.words import word_flags


class Encodes(Protocol):
    """A `Tokenizer` or its faster twin."""

    def encode_many(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]: ...


class Encoder(NamedTuple):
    """What a worker needs beside the texts."""

    tokenizer: Encodes
    unit: str
    dtype: str


class Part(NamedTuple):
    """Some documents of a corpus as arrays; borders are counted from the beginning of the part.

    ids (tokens); word_starts bool (tokens); sentence_ends int64 (sentences), in tokens; document_ends int64
    (documents), in tokens; document_sentence_ends int64 (documents), in sentences; bytes of UTF-8 and words of text.
    No sentence and no document is empty.
    """

    ids: np.ndarray
    word_starts: np.ndarray
    sentence_ends: np.ndarray
    document_ends: np.ndarray
    document_sentence_ends: np.ndarray
    bytes: int
    words: int


def encode_part(encoder: Encoder, texts: Sequence[str]) -> Part:
    """Tokenize documents as wholes (so that a piece may know what stands before it) and cut them into sentences.

    A piece belongs to the sentence in which it ends, and begins a word if our own rule (`polysemy.text.words`) says so
    of the character where it begins.
    """
    ids, starts, ends, splits = encoder.tokenizer.encode_many(texts)
    joined = "\n".join(texts)
    offsets = np.cumsum([0, *(len(text) + 1 for text in texts)])
    lengths = np.diff(splits)
    base = np.repeat(offsets[:-1], lengths)
    starts, ends = starts + base, ends + base
    begins, inside = word_flags(joined, encoder.unit)
    word_starts = _word_starts(starts, begins, inside)
    first = splits[:-1][lengths > 0]
    word_starts[first] = True
    sentence_ends, document_sentence_ends = _sentences(texts, offsets, np.maximum(ends - 1, starts), splits)
    return Part(
        ids=ids.astype(encoder.dtype),
        word_starts=word_starts,
        sentence_ends=sentence_ends,
        document_ends=splits[1:][lengths > 0].astype(np.int64),
        document_sentence_ends=document_sentence_ends,
        bytes=len(joined.encode()) - len(texts) + 1,
        words=int(begins.sum()),
    )


def _word_starts(starts: np.ndarray, begins: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """False for a piece that begins within a word, or at the same character as the piece before it."""
    if not len(starts):
        return np.zeros(0, bool)
    at = np.minimum(starts, len(begins) - 1)
    result = begins[at] | ~inside[at]
    result[1:] &= starts[1:] != starts[:-1]
    return result


def _sentences(
    texts: Sequence[str], offsets: np.ndarray, places: np.ndarray, splits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the sentences in tokens and of the documents in sentences; `places` are the characters of the pieces."""
    counts = np.empty(len(texts), np.int64)
    sentence_starts: list[int] = []
    for number, (text, offset) in enumerate(zip(texts, offsets.tolist(), strict=False)):
        spans = sentence_spans(text)
        counts[number] = len(spans)
        sentence_starts += [offset + start for start, _ in spans]
    firsts = np.searchsorted(np.maximum.accumulate(places), np.array(sentence_starts, np.int64))
    document_firsts = np.cumsum(counts) - counts
    has = counts > 0
    firsts[document_firsts[has]] = splits[:-1][has]
    firsts = np.maximum.accumulate(firsts)
    ends = np.append(firsts[1:], splits[-1]).astype(np.int64)
    filled = ends > firsts
    per_document = np.bincount(np.repeat(np.arange(len(texts)), counts)[filled], minlength=len(texts))
    return ends[filled], np.cumsum(per_document[per_document > 0])
