"""Train, dev and test text from one corpus: by the hash of each document, with what they share taken out.

A document's part depends on its text alone, so the order of the files, a repeated run or added documents move nothing,
and equal documents always fall into the same part. Passages of dev and test that also stand in train are removed from
train (duplicates.py), and those of test from dev. Memory follows the held-out text, at most 32 MB each.
"""
from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from polysemy.artifact import new_folder, read_json, sha256, write_json
from polysemy.errors import InputError
from polysemy.evaluation.duplicates import RunIndex, without_shared
from polysemy.evaluation.sections import cut_text

if TYPE_CHECKING:
    from polysemy.text.corpus import Corpus, Documents

FORMAT = 1
PARTS = ("train", "dev", "test")
DEV_FROM, TEST_FROM, HELD_OUT_SHARE = 0.8, 0.9, 0.1
HELD_OUT_BYTES = 32 << 20
"""No more of dev and of test than this, each: more questions than anybody asks, and a bound on memory."""
LARGEST_SHARE = 0.02
"""A document that is more of the corpus than this is cut at paragraphs, so that one book can be split too."""
SECTION_BYTES = (1_000, 20_000)
MOST_REMOVED = 0.5
"""Text so repetitive (logs, forms) that more than this would go stays as it is, and the report says so."""
BATCH_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Split:
    """Three text files, one document a block (blank lines between documents, a line a paragraph), and their sizes."""

    folder: Path
    fingerprint: str
    counts: dict[str, dict[str, int]]
    """documents, words and bytes of each part"""
    overlap: dict[str, Any]
    """what train and the held-out text shared, and what became of it"""
    cut_documents: int
    """documents that were too large a part of the corpus and were cut at paragraphs"""

    @property
    def train(self) -> Path:
        return self.folder / "train.txt"

    @property
    def dev(self) -> Path:
        return self.folder / "dev.txt"

    @property
    def test(self) -> Path:
        return self.folder / "test.txt"

    def corpus(self, part: str = "train") -> Corpus:
        """One part as a corpus, for training or scoring."""
        from polysemy.text.corpus import Corpus

        if part not in PARTS:
            raise InputError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
        return Corpus([self.folder / f"{part}.txt"], document="blank-line")

    def describe(self) -> list[str]:
        """Lines to print: sizes, overlap, and what was done about it."""
        sizes = ", ".join(f"{part} {self.counts[part]['words']:,} words in {self.counts[part]['documents']:,} documents"
                          for part in PARTS)
        shared = self.overlap
        found = (f"train shared runs of {shared['run']} with dev or test in {shared['documents']:,} documents: "
                 f"{shared['words']:,} words ({shared['share']:.2%}), {shared['copies']:,} documents whole")
        fate = f"removed from {shared.get('removed_from', 'train')}" if shared["removed"] else \
            "left in train, for else too little would remain: scores also reward recall of repeated text"
        lines = [f"split: {sizes}", f"overlap: {found}; {fate}"]
        if self.cut_documents:
            lines.append(f"{self.cut_documents:,} large documents were cut at paragraphs to be split")
        return lines


def split_corpus(corpus: Documents, folder: str | Path) -> Split:
    """Split a corpus 80/10/10 into `folder`; a folder made before from the same text is taken as it is.

    Deterministic. Raises InputError where there is too little text to hold some out.
    """
    folder, fingerprint = Path(folder), f"{FORMAT}:{corpus.document_rule}:{corpus.fingerprint()}"
    made = _reuse(folder, fingerprint)
    if made is not None:
        return made
    with new_folder(folder, overwrite=(folder / "split.json").is_file()) as work:
        with open(work / "spool", "w+b") as spool:
            pieces, cut = _gather((document.text for document in corpus), spool)
            facts = _write_parts(work, spool, pieces)
        (work / "spool").unlink()
        files = {f"{part}.txt": sha256(work / f"{part}.txt") for part in PARTS}
        split = Split(folder=folder, fingerprint=fingerprint, cut_documents=cut, **facts)
        write_json(work / "split.json", {**_plain(split), "files": files})
    return split


def open_split(folder: str | Path) -> Split:
    """A split made before, its files checked against their recorded sha256."""
    folder = Path(folder)
    facts = read_json(folder / "split.json")
    try:
        files = facts.pop("files")
        split = Split(folder=folder, **facts)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / 'split.json'} must be one that polysemy wrote ({error})") from error
    for name in (f"{part}.txt" for part in PARTS):
        if not (folder / name).is_file() or sha256(folder / name) != files.get(name):
            raise InputError(f"{folder / name} must be as it was written; remove {folder} to split anew")
    return split


def _reuse(folder: Path, fingerprint: str) -> Split | None:
    if not (folder / "split.json").is_file():
        return None
    try:
        made = open_split(folder)
    except InputError as error:
        print(f"split anew: {error}", file=sys.stderr)
        return None
    return made if made.fingerprint == fingerprint else None


def _plain(split: Split) -> dict[str, Any]:
    return {name: value for name, value in asdict(split).items() if name != "folder"}


PIECE = np.dtype([("offset", np.int64), ("size", np.int64), ("number", np.uint64), ("document", np.int64)])
"""Where a document, or a section of a large one, lies in the spool file, and the hash of its text."""


def tidy(text: str) -> str:
    """A document as it is written: one paragraph a line, no blank line, no space at either end of a line."""
    return "\n".join(filter(None, map(str.strip, text.splitlines())))


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _gather(texts: Iterable[str], spool: BinaryIO) -> tuple[np.ndarray, int]:
    """Write all documents to the spool file; PIECE rows, and how many documents were too large and were cut."""
    sizes, numbers = array("Q"), array("Q")
    for text in texts:
        data = tidy(text).encode("utf-8", "replace")
        if data:
            spool.write(data)
            sizes.append(len(data))
            numbers.append(_number(data))
    pieces = np.zeros(len(sizes), PIECE)
    pieces["size"], pieces["number"], pieces["document"] = sizes, numbers, np.arange(len(sizes))
    pieces["offset"] = np.cumsum(pieces["size"]) - pieces["size"]
    total = int(pieces["size"].sum())
    large = pieces["size"] > max(LARGEST_SHARE * total, SECTION_BYTES[0])
    limit = min(max(total // 200, SECTION_BYTES[0]), SECTION_BYTES[1])
    sections: list[tuple[int, int, int, int]] = []
    for offset, size, _, document in pieces[large].tolist():
        data = _read(spool, offset, size)
        sections += ((offset + start, stop - start, _number(data[start:stop]), document)
                     for start, stop in cut_text(data, limit))
    pieces = np.concatenate([pieces[~large], np.array(sections, PIECE)])
    return pieces[np.argsort(pieces["offset"], kind="stable")], int(large.sum())


def _part_of(pieces: np.ndarray) -> np.ndarray:
    """int8 (pieces,): 0 train, 1 dev, 2 test."""
    share = min(HELD_OUT_SHARE, HELD_OUT_BYTES / max(int(pieces["size"].sum()), 1))
    at = pieces["number"].astype(np.float64) / 2.0**64
    part = np.zeros(len(at), np.int8)
    part[(at >= DEV_FROM) & (at < DEV_FROM + share)] = 1
    part[(at >= TEST_FROM) & (at < TEST_FROM + share)] = 2
    return part


def _write_parts(work: Path, spool: BinaryIO, pieces: np.ndarray) -> dict[str, Any]:
    part = _part_of(pieces)
    for number, name in ((0, "train"), (1, "dev"), (2, "test")):
        if not (part == number).any():
            raise InputError(f"corpus must hold enough text to keep some for the test, got {len(part):,} documents and "
                             f"{int(pieces['size'].sum()):,} bytes, of which none fell to {name}; add text")
    counts, chosen = {}, {number: np.flatnonzero(part == number) for number in range(3)}
    for number in (1, 2):
        _, first = np.unique(pieces["number"][chosen[number]], return_index=True)
        chosen[number] = chosen[number][np.sort(first)]
    counts["test"], _ = _write(work / "test.txt", _documents(spool, pieces, chosen[2]), RunIndex([]))
    counts["dev"], in_dev = _write(work / "dev.txt", _documents(spool, pieces, chosen[1]),
                                   RunIndex.of_files([work / "test.txt"]))
    index = RunIndex.of_files([work / "test.txt", work / "dev.txt"])
    counts["train"], found = _write(work / "train.txt", _documents(spool, pieces, chosen[0]), index)
    checked = counts["train"]["words"] + found["words"]
    removed = found["words"] <= MOST_REMOVED * checked
    if not removed:
        counts["train"], _ = _write(work / "train.txt", _documents(spool, pieces, chosen[0]), RunIndex([]))
    overlap = {"run": "13 words or 20 Han characters", **found, "checked_words": checked,
               "share": found["words"] / max(checked, 1), "removed": removed, "dev_words": in_dev["words"]}
    return {"counts": {name: counts[name] for name in PARTS}, "overlap": overlap}


def _write(path: Path, documents: Iterable[str], index: RunIndex) -> tuple[dict[str, int], dict[str, int]]:
    """Write documents without what they share with the index; what was written, and what was found."""
    counts = {"documents": 0, "words": 0, "bytes": 0}
    found = {"documents": 0, "words": 0, "copies": 0}
    with open(path, "wb") as file:
        for batch in batches(documents):
            left = without_shared(batch, index)
            kept = [text for text in left.kept if text]
            counts["bytes"] += file.write("".join(f"{text}\n\n" for text in kept).encode())
            counts["documents"] += len(kept)
            counts["words"] += left.words - left.shared_words
            found["documents"] += left.touched
            found["words"] += left.shared_words
            found["copies"] += left.copies
    return counts, found


def batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Documents in lists of about BATCH_BYTES characters."""
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _documents(spool: BinaryIO, pieces: np.ndarray, chosen: np.ndarray) -> Iterator[str]:
    """The texts of some pieces; neighbors that were cut from one document are joined again."""
    ends = pieces["offset"][chosen] + pieces["size"][chosen]
    same = (pieces["document"][chosen[1:]] == pieces["document"][chosen[:-1]]) & (np.diff(chosen) == 1)
    first = np.flatnonzero(np.concatenate([[True], ~same]))
    last = np.concatenate([first[1:], [len(chosen)]]) - 1
    for start, stop in zip(pieces["offset"][chosen[first]].tolist(), ends[last].tolist(), strict=True):
        yield _read(spool, start, stop - start).decode("utf-8").strip()


def _read(spool: BinaryIO, offset: int, size: int) -> bytes:
    spool.seek(offset)
    return spool.read(size)
