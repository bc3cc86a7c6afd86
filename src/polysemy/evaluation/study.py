"""Split and questions of one corpus in one folder, made once and taken up again by whoever comes later."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polysemy.errors import InputError
from polysemy.evaluation.cloze_items import ClozeConfig, ClozeSet, PieceCounts, load_items, save_items
from polysemy.evaluation.cloze_making import make_items
from polysemy.evaluation.split import Split, split_corpus
from polysemy.text.words import is_han

if TYPE_CHECKING:
    from polysemy.text.corpus import Documents
    from polysemy.text.tokenizer import Tokenizer

ITEMS = "cloze.jsonl"


def prepare_cloze(corpus: Documents, folder: str | Path, config: ClozeConfig | None = None,
                  tokenizer: Tokenizer | None = None) -> tuple[Split, ClozeSet]:
    """The split of a corpus and its cloze questions, in `folder/split` and `folder/cloze.jsonl`.

    What is there already and was made from the same text, settings and tokenizer is taken as it is. `tokenizer` is the
    one that the rungs share; it must have been trained on the split's train part.
    """
    split = split_corpus(corpus, Path(folder) / "split")
    return split, prepare_items(split, Path(folder) / ITEMS, config, tokenizer)


def prepare_items(split: Split, path: str | Path, config: ClozeConfig | None = None,
                  tokenizer: Tokenizer | None = None) -> ClozeSet:
    """The questions of a split in one file; made unless the file holds those of the same text and settings."""
    path, config = Path(path), config or ClozeConfig()
    source = f"{split.fingerprint} {tokenizer.fingerprint() if tokenizer is not None else 'whole words'}"
    if path.is_file():
        try:
            old = load_items(path)
        except InputError:
            old = None
        if old is not None and old.config == config and old.source == source:
            return old
    made = make_items(split, config, None if tokenizer is None else pieces_of(tokenizer), source=source)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_items(made, path)
    return made


def pieces_of(tokenizer: Tokenizer) -> PieceCounts:
    """A function that counts the pieces of words as they stand inside a text, after a space or a Han sentence."""

    def count(words: Sequence[str]) -> np.ndarray:
        before = ["。" if word and is_han(word[0]) else "a " for word in words]
        _, _, ends, splits = tokenizer.encode_many([lead + word for lead, word in zip(before, words, strict=True)])
        mine = (ends > np.repeat([len(lead) for lead in before], np.diff(splits))).astype(np.int64)
        return np.add.reduceat(np.append(mine, 0), splits[:-1]) * (np.diff(splits) > 0)

    return count
