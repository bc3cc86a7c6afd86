"""Preparing a corpus once for every later run: parallel, resumable, atomic, keyed by what goes in."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polysemy.artifact import flush
from polysemy.errors import InputError
from polysemy.runtime import available_threads
from polysemy.text.corpus import Documents
from polysemy.text.manifest import FORMAT, MANIFEST, write_manifest
from polysemy.text.part import Encoder, Encodes, encode_part
from polysemy.text.processes import Workers, started
from polysemy.text.store import ARRAYS, JOURNAL, PartStore, growing
from polysemy.text.words import unit_key

if TYPE_CHECKING:
    from polysemy.text.tokenizer import Tokenizer

PART_CHARACTERS = 1_000_000
RULES_VERSION = 1  # another number whenever sentences, words or documents are found differently
SMALL_BYTES = 2_000_000  # below it starting processes and compiling the fast encoder cost more than they bring
WORKERS_IMPORT = ("polysemy.text.fast_encoder", "polysemy.text.fast_sentences")  # which takes them a second


@dataclass(frozen=True)
class Progress:
    """How far preparing is; `reused` parts were finished by an earlier run."""

    documents: int
    tokens: int
    bytes: int
    parts: int
    reused: int


def key_of(corpus: Documents, tokenizer: Tokenizer, unit: str) -> str:
    """Hex sha256 of all that the ids and borders depend on."""
    parts = [FORMAT, RULES_VERSION, PART_CHARACTERS, corpus.fingerprint(), tokenizer.fingerprint(),
             unit_key(unit)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def prepare_folder(
    corpus: Documents,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    processes: int | None,
    progress: Callable[[Progress], None] | None,
    unit: str,
) -> Path:
    """The finished folder `folder/<key>` for this text and tokenizer, made unless it is there."""
    if processes is not None and processes < 1:
        raise InputError(f"processes must be at least 1, got {processes}")
    key = key_of(corpus, tokenizer, unit)
    final = folder / key[:16]
    if (final / MANIFEST).is_file():
        return final
    with _lock(folder):
        if (final / MANIFEST).is_file():
            return final
        work = folder / f"{key[:16]}.unfinished"
        small = corpus.bytes < SMALL_BYTES
        dtype = "<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4"
        count = processes or (1 if small else available_threads())
        imports = () if small or os.environ.get("POLYSEMY_PLAIN") == "1" else WORKERS_IMPORT
        with started(count, imports) as workers, growing(work, int(dtype[-1])) as store:
            encodes, why = (tokenizer, "plain: the text is small") if small else _fast(tokenizer)
            _fill(store, corpus, Encoder(encodes, unit, dtype, encodes is not tokenizer), workers, progress)
        totals = store.totals
        if not totals.tokens:
            raise InputError("corpus must give at least one piece, got none from "
                             f"{totals.bytes:,} bytes; the tokenizer knows none of its characters")
        facts = {
            "hash": key, "vocab_size": tokenizer.vocab_size, "dtype": dtype, "unit": unit,
            "tokenizer": tokenizer.fingerprint(), "corpus": corpus.fingerprint(),
            "document_rule": corpus.document_rule, "num_tokens": totals.tokens, "num_sentences": totals.sentences,
            "num_documents": totals.documents, "bytes": totals.bytes, "words": totals.words,
            "report": {**corpus.report.to_dict(), "encoder": why},
        }
        (work / JOURNAL).unlink()
        write_manifest(work, facts, list(ARRAYS.values()))
        os.rename(work, final)
        flush(folder)
    return final


def _fast(tokenizer: Tokenizer) -> tuple[Encodes, str]:
    """The fast encoder where it proves equal to the plain one, else the tokenizer itself; and what was chosen, why."""
    from polysemy.text.fast_encoder import encoder_for, why_plain

    encoder = encoder_for(tokenizer)
    return (tokenizer, f"plain: {why_plain(tokenizer)}") if encoder is None else (encoder, "fast")


def _fill(
    store: PartStore,
    corpus: Documents,
    encoder: Encoder,
    workers: Workers,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Append all parts that the store does not have yet."""
    reused = store.totals.parts
    texts = (part for number, part in enumerate(_parts(corpus)) if number >= reused)
    for part in workers.map(encode_part, encoder, texts):
        store.append(part)
        if progress is not None:
            totals = store.totals
            progress(Progress(totals.documents, totals.tokens, totals.bytes, totals.parts, reused))


def _parts(corpus: Documents) -> Iterator[list[str]]:
    """Lists of documents of about PART_CHARACTERS characters; they depend on the corpus alone."""
    texts: list[str] = []
    size = 0
    for text, _, _ in corpus:
        texts.append(text)
        size += len(text) + 1
        if size >= PART_CHARACTERS:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One preparation at a time in a folder; a second one waits, then finds the work done. A death frees it."""
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(folder / ".lock", "ab"))
        except OSError as error:
            raise InputError(f"shards folder must be writable, got {folder} ({error.strerror})") from error
        with contextlib.suppress(ImportError):  # no such lock on Windows: two runs at once must use two folders
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
