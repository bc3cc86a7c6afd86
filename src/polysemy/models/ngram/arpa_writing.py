"""Writes a model as an ARPA file, which KenLM, SRILM, Kaldi and others read: log10, tabs, a blank line a section."""
from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polysemy.artifact import flush
from polysemy.errors import InputError
from polysemy.models.ngram.stream import BOUNDARY, UNKNOWN_ID

if TYPE_CHECKING:
    from polysemy.models.ngram.model import NgramModel
    from polysemy.models.ngram.trie import Trie

SPECIAL = ("<unk>", "<s>", "</s>")
ZERO = -99.0
"""what stands for the logarithm of 0 in this format, and for the probability of <s>, which is never predicted"""
ROWS = 1 << 16


def write_arpa(model: NgramModel, path: str | Path, rename: Mapping[str, str] | None = None) -> None:
    """Write the model; a name that ends in .gz is packed. The file appears when it is whole.

    rename  other names for words; a word of the text that is written `<unk>`, `<s>` or `</s>` needs one, since there
            these are marks, and so does a word with white space of other kinds in it
    """
    path, trie = Path(path), model.trie
    if trie.absolute or trie.missing:
        raise InputError(f"smoothing must be kneser_ney or maximum_likelihood for an ARPA file, got "
                         f"{model.config.smoothing}, which no table of back-offs can hold")
    names = _names(model, rename or {})
    work = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with gzip.open(work, "wb") if path.suffix == ".gz" else open(work, "wb") as file:
            for part in _parts(trie, names):
                file.write(part.encode())
        flush(work)
        os.replace(work, path)
    except OSError as error:
        raise InputError(f"{path} must be writable ({error.strerror})") from error
    finally:
        work.unlink(missing_ok=True)


def _names(model: NgramModel, rename: Mapping[str, str]) -> list[str]:
    words = [rename.get(word, word) for word in model.vocabulary.words]
    for word in words:
        if word in SPECIAL:
            raise InputError(f"word must not be {word} in an ARPA file, where it is a mark; give rename={{...}}")
        if len(word.encode().split()) != 1 or "\0" in word:
            raise InputError(f"word must hold no white space in an ARPA file, got {word!r}; give rename={{...}}")
    if rename and len(set(words)) != len(words):
        raise InputError("rename must leave all words different, got two alike")
    return [SPECIAL[0], SPECIAL[1], *words]


def _parts(trie: Trie, names: list[str]) -> Iterator[str]:
    sizes = trie.sizes.tolist()
    counts = [sizes[0] + 1, *sizes[1:]]
    yield "\\data\\\n" + "".join(f"ngram {k}={count}\n" for k, count in enumerate(counts, 1))
    start = 0
    for order, count in enumerate(sizes, 1):
        yield f"\n\\{order}-grams:\n"
        if order == 1:
            log = min(0.0, max(ZERO, float(trie.probabilities[BOUNDARY])))
            yield f"{log:.9g}\t{SPECIAL[2]}" + ("\t0\n" if trie.order > 1 else "\n")
        for first in range(start, start + count, ROWS):
            yield _lines(trie, names, order, np.arange(first, min(first + ROWS, start + count)))
        start += count
    yield "\n\\end\\\n"


def _lines(trie: Trie, names: list[str], order: int, nodes: np.ndarray) -> str:
    logs = np.clip(trie.probabilities[nodes], ZERO, 0.0)
    columns = trie.spell(nodes, order)
    if order == 1:
        logs = np.where(nodes == BOUNDARY, ZERO, logs)
    last = [names[0], SPECIAL[2] if order > 1 else SPECIAL[1], *names[2:]]
    words = [" ".join([*(names[i] for i in row[:-1]), last[row[-1]]]) for row in columns.tolist()]
    if order == trie.order:
        return "".join(f"{log:.9g}\t{text}\n" for log, text in zip(logs.tolist(), words, strict=True))
    weights = np.maximum(trie.backoffs[nodes], ZERO).tolist()
    return "".join(f"{log:.9g}\t{text}\t{weight:.9g}\n" for log, text, weight in
                   zip(logs.tolist(), words, weights, strict=True))


assert (UNKNOWN_ID, BOUNDARY) == (0, 1), "the first two names stand for these"
