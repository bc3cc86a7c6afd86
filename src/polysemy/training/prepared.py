"""From documents to what a run reads: a tokenizer, shards to train on, and a little text held out to measure by."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysemy.artifact import inside, new_folder
from polysemy.errors import InputError
from polysemy.models.recipe import PretrainingConfig
from polysemy.text.corpus import Documents
from polysemy.text.portions import hash_of, hold_out
from polysemy.text.shards import Shards, prepare
from polysemy.text.tokenizer import Tokenizer
from polysemy.training.characters import check_characters

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
    check_characters(train.report.get("invalid", 0), train.report.get("characters", 0))
    other = None if rest is None else prepare(rest, tokenizer, folder, unit=unit, progress=progress)
    files = [str(path.resolve()) for path in getattr(corpus, "files", [])]
    source = {"folder": str(folder.resolve()), "train": _name(train), "held_out": _name(other),
              "files": files[:MOST_FILES], "num_files": len(files), "rule": corpus.document_rule,
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


def _name(shards: Shards | None) -> str | None:
    return shards.folder.name if shards is not None and shards.folder is not None else None


def _trained(corpus: Documents, config: PretrainingConfig, folder: Path) -> Tokenizer:
    """A tokenizer trained on the corpus, or the one that was trained on the same text with the same settings before."""
    made = json.dumps([config.tokenizer.to_dict(), corpus.fingerprint(), TOKENIZER_BYTES])
    path = folder / f"tokenizer-{hashlib.sha256(made.encode()).hexdigest()[:16]}"
    if not path.exists():
        rate = TOKENIZER_BYTES / max(corpus.bytes, 1)
        texts = (text for text, _, _ in corpus if rate >= 1 or hash_of(text) % 2**32 < rate * 2**32)
        tokenizer = Tokenizer.train(texts, config.tokenizer)
        check_characters(corpus.report.invalid, corpus.report.characters)
        with new_folder(path) as work:
            tokenizer.save(work)
    return Tokenizer.load(path)
