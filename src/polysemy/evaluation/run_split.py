"""The text that a training run held out, as a split of its own: for judging a run folder without further data.

A run holds out one passage in a hundred by its hash (text/portions.py), so the same files give the same passages
again.  What they share with the training text is taken out of them: training is over, so the test has to give way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import inside, new_folder, read_json
from polysemy.errors import InputError
from polysemy.evaluation.duplicates import RunIndex, runs_of_blocks, without_shared
from polysemy.evaluation.fingerprints import words_of
from polysemy.evaluation.split import Split, batches, tidy
from polysemy.models import RECIPES
from polysemy.text.corpus import Corpus, Documents
from polysemy.text.documents import RULES
from polysemy.text.manifest import MANIFEST
from polysemy.text.portions import hash_of, hold_out
from polysemy.training.words import MOST_FILES


def split_of_run(record: Mapping[str, Any], folder: Path) -> Split:
    """Train (to count words in), dev and test text of a run's config.json record, written into `folder`.

    InputError when the files are gone, are too many to be named in the record, have changed (as far as the record can
    tell) or held nothing out: then `--data` must name text to judge on.
    """
    corpus = _corpus_of(record)
    train, held_out = hold_out(corpus)
    _check_same(record, corpus, train)
    if held_out is None:
        raise InputError(f"text must be long enough for some to be held out, got {train.bytes:,} bytes; use --data")
    blocks = [block for document in held_out if (block := tidy(document.text))]
    with new_folder(folder) as work:
        counts = {"train": _Counts()}
        seen = _write(work / "train.txt", (tidy(document.text) for document in train), _index(blocks), counts["train"])
        left = without_shared(blocks, RunIndex([seen]))
        kept = [block for block in left.kept if block]
        halves = {
            name: [block for block in kept if hash_of(block) % 2 == half] for half, name in enumerate(("dev", "test"))
        }
        for name, half in halves.items():
            counts[name] = _Counts()
            _write(work / f"{name}.txt", half, RunIndex([]), counts[name])
    overlap = {
        "removed_from": "the held-out text",
        "run": "13 words or 20 Han characters",
        "documents": left.touched,
        "words": left.shared_words,
        "copies": left.copies,
        "checked_words": left.words,
        "share": left.shared_words / max(left.words, 1),
        "removed": True,
        "dev_words": 0,
    }
    return Split(
        folder=folder,
        fingerprint=f"held out of {record.get('text_hash', '')}",
        overlap=overlap,
        cut_documents=0,
        counts={name: asdict(count) for name, count in counts.items()},
    )


def _corpus_of(record: Mapping[str, Any]) -> Corpus:
    """The text that a record names, whole; InputError when it cannot be had."""
    text = record.get("text") or {}
    files = [Path(name) for name in text.get("files", ())]
    if not files or not all(file.is_file() for file in files):
        raise InputError(
            "text that the run was trained on must still be there to judge it by what was held out, got "
            f"{next((str(f) for f in files if not f.is_file()), 'none')}; name other text with --data"
        )
    if text.get("num_files", len(files)) > len(files):
        raise InputError(f"text that the run was trained on must be at most {len(files)} files to be found again, got "
                         f"{text['num_files']:,}, of which the record names the first; name text with --data")
    rule = text.get("rule", "auto")
    return Corpus(files, document=rule if rule in RULES else "auto")


def _check_same(record: Mapping[str, Any], corpus: Corpus, train: Documents) -> None:
    """Refuse text that has changed since the run, or of which the run held nothing out."""
    known = _fingerprint_of(record)
    if known is None or known == train.fingerprint():
        return
    if known == corpus.fingerprint():
        raise InputError("text must have been held out of the run to judge it by, got a run that read the whole of its "
                         "text; name other text with --data")
    many = f" or is only a part (a record names {MOST_FILES} files)" if len(corpus.files) >= MOST_FILES else ""
    raise InputError(f"text that the run was trained on must be as it was then, got {corpus.files[0]}"
                     f"{' ...' * (len(corpus.files) > 1)}, which has changed since{many}; name other text with --data")


def _fingerprint_of(record: Mapping[str, Any]) -> str | None:
    """The fingerprint of what the run read, None where its record does not tell.

    Counts and static vectors keep it as their text_hash; of a tokenized text the folder of its shards knows it, as long
    as that is there.
    """
    recipe = RECIPES.get(str(record.get("recipe")))
    if recipe is not None and recipe.fit:
        return record.get("text_hash")
    text = record.get("text") or {}
    if not text.get("folder") or not text.get("train"):
        return None
    manifest = inside(Path(text["folder"]), text["train"]) / MANIFEST
    return read_json(manifest).get("corpus") if manifest.is_file() else None


@dataclass
class _Counts:
    documents: int = 0
    words: int = 0
    bytes: int = 0


def _index(blocks: list[str]) -> RunIndex:
    return RunIndex([runs_of_blocks(part).numbers for part in batches(blocks)])


def _write(path: Path, texts: Iterable[str], index: RunIndex, counts: _Counts) -> np.ndarray:
    """Write documents between blank lines and count them; returns the runs of `index` that were met on the way."""
    met: list[np.ndarray] = [np.zeros(0, np.uint64)]
    with open(path, "wb") as file:
        for part in batches(_filled(texts)):
            counts.bytes += file.write("".join(f"{text}\n\n" for text in part).encode())
            counts.documents += len(part)
            counts.words += len(words_of("\n\n".join(part)))
            if len(index):
                numbers = runs_of_blocks(part).numbers
                met.append(np.unique(numbers[index.holds(numbers)]))
    return np.unique(np.concatenate(met))


def _filled(texts: Iterable[str]) -> Iterator[str]:
    return (text for text in texts if text)
