"""From documents to what a run reads: a tokenizer, shards to train on, and a little text held out to measure by.

What is held out depends on each passage's own text (its hash), so order, repetition and further files move nothing, and
equal passages fall to one side.  A passage is a document, or a stretch of about 20,000 characters of a longer one, so
that a single book can be held out in part.
"""
from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysemy.artifact import inside, new_folder
from polysemy.errors import InputError
from polysemy.models.recipe import PretrainingConfig
from polysemy.text.corpus import Document, Documents
from polysemy.text.shards import Shards, prepare
from polysemy.text.tokenizer import Tokenizer

PASSAGE = 20_000
"""characters of a stretch of a longer document"""
RATE, LEAST = 0.01, 20
"""passages held out: one in a hundred and at least twenty, but never more than one in five"""
MANY = int(LEAST / RATE)
TOKENIZER_BYTES = 200 << 20
"""a larger corpus trains its tokenizer on a sample of about this size"""
MOST_FILES = 100
"""names of files kept in the record"""


@dataclass(frozen=True, kw_only=True)
class PreparedText:
    """A tokenized corpus."""

    tokenizer: Tokenizer
    train: Shards
    held_out: Shards | None
    """None where the text is too short to spare any"""
    source: dict[str, Any]
    """files, document rule, what the reader counted, fingerprint, folder"""

    @property
    def hash(self) -> str:
        """Equal hashes mean equal tokens, of both parts."""
        parts = [self.train.hash, self.held_out.hash if self.held_out else ""]
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def prepare_text(corpus: Documents, config: PretrainingConfig, folder: str | Path, *,
                 tokenizer: Tokenizer | None = None, held_out: Documents | None = None, unit: str = "character",
                 progress: Callable[[Any], None] | None = None) -> PreparedText:
    """Tokenize `corpus` into `folder` (kept there: a second call with the same text and tokenizer only opens it).

    `tokenizer` is trained on the training part unless given; `held_out` replaces the part held out of `corpus`.
    `unit` says what a Chinese word is (see `text.shards.prepare`, which also describes `progress`).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rest: Documents | None = held_out
    if held_out is None:
        corpus, rest = hold_out(corpus)
    if tokenizer is None:
        tokenizer = _trained(corpus, config, folder)
    train = prepare(corpus, tokenizer, folder, unit=unit, progress=progress)
    other = None if rest is None else prepare(rest, tokenizer, folder, unit=unit, progress=progress)
    source = {"folder": str(folder.resolve()), "train": _name(train), "held_out": _name(other),
              "files": [str(path.resolve()) for path in getattr(corpus, "files", [])][:MOST_FILES],
              "rule": corpus.document_rule,
              "documents": train.num_documents, "words": train.words, "tokens": train.num_tokens, "bytes": train.bytes,
              "held_out_tokens": other.num_tokens if other else 0, "report": train.report,
              "tokenizer": tokenizer.fingerprint()}
    return PreparedText(tokenizer=tokenizer, train=train, held_out=other, source=source)


def open_text(source: Mapping[str, Any], tokenizer: Tokenizer) -> PreparedText:
    """What `prepare_text` made, from its record; InputError when it is gone or was made with another tokenizer."""
    if source["tokenizer"] != tokenizer.fingerprint():
        raise InputError(f"text in {source['folder']} must be prepared with this tokenizer, got one of another")
    folder, names = Path(source["folder"]), (source["train"], source["held_out"])
    shards = [Shards.open(inside(folder, name)) if name else None for name in names]
    if shards[0] is None:
        raise InputError("text must lie in a folder to be opened again, got one that was in memory only")
    return PreparedText(tokenizer=tokenizer, train=shards[0], held_out=shards[1], source=dict(source))


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


def _name(shards: Shards | None) -> str | None:
    return shards.folder.name if shards is not None and shards.folder is not None else None


def _all_passages(corpus: Documents) -> Iterator[str]:
    for document in corpus:
        yield from passages(document.text)


def _trained(corpus: Documents, config: PretrainingConfig, folder: Path) -> Tokenizer:
    """A tokenizer trained on the corpus, or the one that was trained on the same text with the same settings before."""
    made = json.dumps([config.tokenizer.to_dict(), corpus.fingerprint(), TOKENIZER_BYTES])
    path = folder / f"tokenizer-{hashlib.sha256(made.encode()).hexdigest()[:16]}"
    if not path.exists():
        rate = TOKENIZER_BYTES / max(corpus.bytes, 1)
        texts = (text for text, _, _ in corpus if rate >= 1 or hash_of(text) % 2**32 < rate * 2**32)
        tokenizer = Tokenizer.train(texts, config.tokenizer)
        with new_folder(path) as work:
            tokenizer.save(work)
    return Tokenizer.load(path)
