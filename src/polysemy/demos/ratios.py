"""Ratios of co-occurrence probabilities in the text that a GloVe was trained on, by counts and by its vectors."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polysemy
from polysemy.artifact import read_folder
from polysemy.errors import InputError
from polysemy.text.corpus import Corpus
from polysemy.text.encoded import encode
from polysemy.text.portions import hold_out


def ratios(folder: str | Path, first: str, second: str, probes: Sequence[str]) -> list[dict[str, Any]]:
    """A row a probe (see `models.glove.ratios.cooccurrence_ratios`); the training text is counted once more.

    InputError when the model is no GloVe, a word is unknown, or the files it was trained on are gone or have changed.
    """
    record = read_folder(folder).config
    if record["recipe"] != "glove":
        raise InputError(f"model must be a glove, got {folder}, a {record['recipe']}; train one: polysemy train glove")
    from polysemy.models.glove.counting import count_pairs
    from polysemy.models.glove.ratios import cooccurrence_ratios

    model = polysemy.load(folder)
    for word in (first, second, *probes):
        model.get_vector(word)  # an unknown word is an error that names a near one, before the text is read
    files = [Path(name) for name in record["text"]["files"]]
    if not files or not all(file.is_file() for file in files):
        raise InputError(f"text that {folder} was trained on must still be there, got "
                         f"{next((str(file) for file in files if not file.is_file()), 'no files')}")
    whole = Corpus(files, document=record["text"]["rule"])
    corpus = next((part for part in (hold_out(whole)[0], whole) if part.fingerprint() == record["text_hash"]), None)
    if corpus is None:
        raise InputError(f"text that {folder} was trained on must be what it was, got files that have changed, or more "
                         "of them than its record names")
    text = encode(corpus, model.config.word_config)  # the same text: the same words with the same numbers
    counts = count_pairs(text.tokens, len(model), window=model.config.window)
    return cooccurrence_ratios(model, counts, first, second, probes)
