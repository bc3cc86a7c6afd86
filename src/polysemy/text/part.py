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
    compiled: bool = False  # find sentences by compiled loops, as the fast encoder finds pieces


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
    find = _compiled_starts if encoder.compiled else sentence_starts
    borders = _sentences(*find(texts), np.maximum(ends - 1, starts), splits)
    return Part(
        ids=ids.astype(encoder.dtype),
        word_starts=word_starts,
        sentence_ends=borders[0],
        document_ends=splits[1:][lengths > 0].astype(np.int64),
        document_sentence_ends=borders[1],
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


def sentence_starts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """int64: where sentences begin in the texts joined by line feeds, in order; and how many each text has."""
    starts, counts, offset = [], [], 0
    for text in texts:
        spans = sentence_spans(text)
        starts += [offset + start for start, _ in spans]
        counts.append(len(spans))
        offset += len(text) + 1
    return np.array(starts, np.int64), np.array(counts, np.int64)


def _compiled_starts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    from polysemy.text import fast_sentences

    return fast_sentences.sentence_starts(texts)


def _sentences(
    sentence_starts: np.ndarray, counts: np.ndarray, places: np.ndarray, splits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the sentences in tokens and of the documents in sentences; `places` are the characters of the pieces."""
    firsts = np.searchsorted(np.maximum.accumulate(places), sentence_starts)
    document_firsts = np.cumsum(counts) - counts
    has = counts > 0
    firsts[document_firsts[has]] = splits[:-1][has]
    firsts = np.maximum.accumulate(firsts)
    ends = np.append(firsts[1:], splits[-1]).astype(np.int64)
    filled = ends > firsts
    per_document = np.bincount(np.repeat(np.arange(len(counts)), counts)[filled], minlength=len(counts))
    return ends[filled], np.cumsum(per_document[per_document > 0])
