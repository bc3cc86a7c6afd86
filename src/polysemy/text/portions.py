"""Which part of a corpus is held out: a little text to measure by, the same for every model trained on that corpus.

What is held out depends on each passage's own text (its hash), so order, repetition and further files move nothing, and
equal passages fall to one side.  A passage is a document, or a stretch of about 20,000 characters of a longer one, so
that a single book can be held out in part.
"""
from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Iterator
from pathlib import Path

from polysemy.text.corpus import Document, Documents

PASSAGE = 20_000
"""characters of a stretch of a longer document"""
RATE, LEAST = 0.01, 20
"""passages held out: one in a hundred and at least twenty, but never more than one in five"""
MANY = int(LEAST / RATE)


class Portion:
    """The passages of a corpus on one side of a threshold of their hash, as documents of their own.

    Neighboring passages of one document stay together.
    """

    def __init__(self, corpus: Documents, threshold: int, *, held_out: bool) -> None:
        self.corpus, self.threshold, self.held_out = corpus, threshold, held_out
        self.report = corpus.report

    def __iter__(self) -> Iterator[Document]:
        number = itertools.count()
        for document in self.corpus:
            self.report = self.corpus.report
            for text in self._runs(document.text):
                yield Document(text, document.name, next(number))

    def _runs(self, text: str) -> Iterator[str]:
        sides = ((passage, (hash_of(passage) < self.threshold) == self.held_out) for passage in passages(text))
        for wanted, group in itertools.groupby(sides, key=lambda side: side[1]):
            if wanted and (joined := "".join(passage for passage, _ in group).strip()):
                yield joined

    @property
    def document_rule(self) -> str:
        """The corpus's."""
        return self.corpus.document_rule

    @property
    def bytes(self) -> int:
        """Of the whole corpus."""
        return self.corpus.bytes

    @property
    def files(self) -> list[Path]:
        """The corpus's."""
        return getattr(self.corpus, "files", [])

    def fingerprint(self) -> str:
        """Of the corpus and of this side of the threshold."""
        side = f"{self.corpus.fingerprint()}:{self.threshold}:{self.held_out}"
        return hashlib.sha256(side.encode()).hexdigest()


def hold_out(corpus: Documents) -> tuple[Documents, Portion | None]:
    """The part to train on and the part to measure by; the whole and None when fewer than ten passages are there."""
    hashes = [hash_of(passage) for passage in itertools.islice(_all_passages(corpus), MANY)]
    if len(hashes) == MANY:
        threshold = int(RATE * 2**64)
    else:
        wanted = min(LEAST, len(hashes) // 5)
        if wanted < 2:
            return corpus, None
        threshold = heapq.nsmallest(wanted, hashes)[-1] + 1
        if threshold > sorted(hashes)[len(hashes) // 2]:  # mostly copies of one passage
            return corpus, None
    return Portion(corpus, threshold, held_out=False), Portion(corpus, threshold, held_out=True)


def passages(text: str) -> Iterator[str]:
    """A text in stretches of about PASSAGE characters, cut after a line or, failing that, after a space or anywhere."""
    start = 0
    while len(text) - start > 1.5 * PASSAGE:
        stop = start + PASSAGE
        for separator in ("\n", " "):
            place = text.find(separator, stop, stop + PASSAGE // 4)
            if place >= 0:
                stop = place + 1
                break
        yield text[start:stop]
        start = stop
    yield text[start:]


def hash_of(text: str) -> int:
    """64 bits of the text alone."""
    return int.from_bytes(hashlib.blake2b(text.strip().encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _all_passages(corpus: Documents) -> Iterator[str]:
    for document in corpus:
        yield from passages(document.text)
