"""Token ids on disk or in memory, with document, sentence and word starts: what every trainer reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polysemy.errors import InputError
from polysemy.text.corpus import Documents
from polysemy.text.manifest import MANIFEST, read_manifest
from polysemy.text.preparing import Progress, prepare_folder
from polysemy.text.store import ARRAYS

if TYPE_CHECKING:
    from polysemy.text.tokenizer import Tokenizer


def prepare(
    corpus: Documents,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    processes: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    unit: str = "character",
) -> Shards:
    """Read, split, tokenize and store a corpus once; later calls with the same text and tokenizer only open it.

    The shards lie in `folder/<key>`, the key being a hash of the text's content, the tokenizer and the rules: another
    text or tokenizer gets another folder, equal ones share one. Killed and started again, it keeps what is finished.
    The result does not depend on the number of processes (default: one for each core, one for a small text).

    unit says what a Chinese word is for `word_starts`: "character" or "word" (needs jieba). progress is called after
    each part of a million characters. Bad text, no text, or text that changes meanwhile: InputError.
    """
    path = prepare_folder(corpus, tokenizer, Path(folder), processes=processes, progress=progress, unit=unit)
    return Shards.open(path)


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """The narrowest unsigned type that holds every id of the vocabulary: uint16 or uint32, little-endian."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


class Shards:
    """A corpus as token ids. Immutable; the arrays are memory maps when the shards come from a folder.

    Token offsets are global: 0 is the first token of the corpus and `num_tokens` one past the last.

    document_starts      int64 (num_documents + 1): document d holds the tokens [.. [d], .. [d+1])
    sentence_starts      int64 (num_sentences + 1): the same for sentences; a sentence never crosses a document
    document_sentences   int64 (num_documents + 1): document d holds the sentences [.. [d], .. [d+1])
    vocab_size, bytes (UTF-8 bytes of the text), words (words of the text, see `polysemy.text.words`)
    hash                 hexadecimal key of text + tokenizer + rules; equal hashes mean equal ids
    folder               where the shards lie, or None in memory
    report               what the reader counted (replaced bytes, skipped lines ...), empty in memory
    No document and no sentence is empty.
    """

    def __init__(self, arrays: dict[str, np.ndarray], facts: dict[str, Any], folder: Path | None = None) -> None:
        self._ids = arrays["ids"]
        self._word_starts = arrays["word_starts"]
        self.sentence_starts = arrays["sentence_starts"]
        self.document_starts = arrays["document_starts"]
        self.document_sentences = arrays["document_sentences"]
        self.vocab_size: int = facts["vocab_size"]
        self.bytes: int = facts["bytes"]
        self.words: int = facts["words"]
        self.hash: str = facts["hash"]
        self.report: dict[str, Any] = facts.get("report", {})
        self.folder = folder

    @property
    def num_tokens(self) -> int:
        return len(self._ids)

    @property
    def num_sentences(self) -> int:
        return len(self.sentence_starts) - 1

    @property
    def num_documents(self) -> int:
        return len(self.document_starts) - 1

    def ids(self, start: int, stop: int) -> np.ndarray:
        """The token ids [start, stop) as a new int32 array."""
        return self._ids[start:stop].astype(np.int32)

    def word_starts(self, start: int, stop: int) -> np.ndarray:
        """For the tokens [start, stop): does the piece begin a word? bool, a new array.

        False means that the piece goes on with the word (or the character) of the piece before it. Punctuation is no
        word, so each of its pieces stands alone: True. A document's first piece is always True.
        """
        return np.array(self._word_starts[start:stop], dtype=bool)

    def __repr__(self) -> str:
        return f"Shards({self.num_tokens:,} tokens, {self.num_sentences:,} sentences, {self.num_documents:,} documents)"

    def __reduce__(self) -> Any:
        # A memory map would be pickled as its content; a folder is opened again instead.
        if self.folder is not None:
            return (Shards.open, (str(self.folder),))
        return (Shards, (self._arrays(), self._facts()))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "ids": self._ids,
            "word_starts": self._word_starts,
            "sentence_starts": self.sentence_starts,
            "document_starts": self.document_starts,
            "document_sentences": self.document_sentences,
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "vocab_size": self.vocab_size,
            "bytes": self.bytes,
            "words": self.words,
            "hash": self.hash,
            "report": self.report,
        }

    @classmethod
    def open(cls, folder: str | Path) -> Shards:
        """Open finished shards: a folder made by `prepare`, or the folder given to it if that holds just one.

        The arrays are memory-mapped. A file that was cut, changed or removed since it was written raises InputError.
        """
        folder = _finished(Path(folder))
        facts = read_manifest(folder)
        counts = {
            "ids": facts["num_tokens"], "word_starts": facts["num_tokens"],
            "sentence_starts": facts["num_sentences"] + 1, "document_starts": facts["num_documents"] + 1,
            "document_sentences": facts["num_documents"] + 1,
        }
        types = dict.fromkeys(ARRAYS, np.dtype("<i8")) | {
            "ids": id_dtype(facts["vocab_size"]), "word_starts": np.dtype(bool)}
        arrays = {}
        for name, file in ARRAYS.items():
            path = folder / file
            size = path.stat().st_size if path.is_file() else 0
            if file not in facts["files"] or size != counts[name] * types[name].itemsize or not size:
                raise InputError(f"{path} must hold {counts[name]:,} entries as shards.json says, got {size:,} bytes; "
                                 "delete the folder and prepare the text again")
            arrays[name] = np.memmap(path, types[name], "r")
        return cls(arrays, facts, folder)

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Sequence[Sequence[int]]],
        vocab_size: int,
        word_starts: Sequence[Sequence[Sequence[bool]]] | None = None,
    ) -> Shards:
        """Shards in memory from documents of sentences of ids, for tests and small texts.

        word_starts has the same nesting and says which pieces begin a word; without it every piece does. `bytes`
        counts one byte a token, as there is no text, and `words` the word starts.
        """
        sentences = [sentence for document in documents for sentence in document]
        lengths = np.array([len(sentence) for sentence in sentences], np.int64)
        counts = np.array([len(document) for document in documents], np.int64)
        if not len(counts) or counts.min() < 1 or lengths.min() < 1:
            raise InputError(
                f"documents must be non-empty lists of non-empty sentences, got {len(documents)} documents "
                "with an empty one among them"
            )
        ids = np.array([token for sentence in sentences for token in sentence], np.int64)
        if ids.min() < 0 or ids.max() >= vocab_size:
            raise InputError(f"ids must be from 0 to {vocab_size - 1}, got {ids.min()} to {ids.max()}")
        starts = np.ones(len(ids), bool)
        if word_starts is not None:
            starts = np.array([start for document in word_starts for sentence in document for start in sentence], bool)
            if len(starts) != len(ids):
                raise InputError(f"word_starts must have one entry a token, got {len(starts)} for {len(ids)} tokens")
        sentence_starts = np.concatenate([[0], np.cumsum(lengths)])
        document_sentences = np.concatenate([[0], np.cumsum(counts)])
        arrays = {
            "ids": ids.astype(id_dtype(vocab_size)),
            "word_starts": starts,
            "sentence_starts": sentence_starts,
            "document_starts": sentence_starts[document_sentences],
            "document_sentences": document_sentences,
        }
        digest = hashlib.sha256(str(vocab_size).encode())
        for array in arrays.values():
            digest.update(array.tobytes())
        facts = {"vocab_size": vocab_size, "bytes": len(ids), "words": int(starts.sum()), "hash": digest.hexdigest()}
        return cls(arrays, facts)


def _finished(folder: Path) -> Path:
    """The folder that holds shards.json: this one or the only one below it."""
    if (folder / MANIFEST).is_file():
        return folder
    found = sorted(folder.glob(f"*/{MANIFEST}")) if folder.is_dir() else []
    if len(found) == 1:
        return found[0].parent
    if found:
        names = ", ".join(path.parent.name for path in found[:5])
        raise InputError(f"shards must be one folder, got {folder} with {len(found)} of them ({names}); name one")
    why = "which was not finished; prepare it again, it goes on" if folder.name.endswith(".unfinished") or \
        (folder.is_dir() and list(folder.glob("*.unfinished"))) else "which holds none"
    raise InputError(f"shards must be a folder made by preparing a text, got {folder}, {why}")
