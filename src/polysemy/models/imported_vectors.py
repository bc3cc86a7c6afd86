"""Word vectors read from a file of another tool: one matrix, no settings, as a run folder of their own.

A file holds what is left of a training: no counts, no second matrix. So a cloze candidate is scored by its cosine with
the mean of the context's vectors, which is weaker than what the model itself could have said (docs/cloze.md).
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from polysemy.artifact import finish, map_tensors, new_folder, read_folder, save_tensors, write_bytes
from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.models.vector_cloze import candidates_of, contexts_of, dot_scores, with_unknown
from polysemy.models.vector_files import read_vectors
from polysemy.models.vector_search import normalized
from polysemy.models.word_vectors import WordVectors
from polysemy.text.vocabulary import Vocabulary, WordConfig

RECIPE = "vectors"
WINDOW = 10
"""words to each side that make the context of a gap"""


class ImportedVectors(WordVectors):
    """Vectors of a file, memory-mapped; the words' counts are unknown, their order is the file's."""

    def __init__(self, vocabulary: Vocabulary, vectors: np.ndarray) -> None:
        super().__init__(vocabulary.words, vectors)
        self.vocabulary = vocabulary

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open a run folder that `import_vectors` wrote."""
        run = read_folder(folder)
        tensors = map_tensors(run.file("model.safetensors"))
        if "input" not in tensors:
            raise InputError(f"model.safetensors must hold input, got {', '.join(tensors) or 'nothing'} in {folder}")
        return cls(Vocabulary.load(run.path), tensors["input"])

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates): cosine with the mean of the known words around the gap."""
        contexts = contexts_of(items, self.vocabulary, WINDOW)
        candidates = candidates_of(items, self.vocabulary)
        units = np.asarray(normalized(self.vectors))
        return with_unknown(dot_scores(contexts, candidates, units, units, mean=True), candidates)


def import_vectors(path: str | Path, folder: str | Path, format: str = "auto", *, overwrite: bool = False) -> int:
    """Write the vectors of a file (see `vector_files`) as a run folder; returns how many words it has.

    Words are looked up in small letters when the file has no capital one among them.
    """
    found = read_vectors(path, format=format)
    lowercase = all(word == word.lower() for word in found.index_to_key)
    rule = WordConfig(min_count=1, lowercase=lowercase)
    vocabulary = Vocabulary(found.index_to_key, np.zeros(len(found), np.int64), rule, 0)
    with new_folder(folder, overwrite=overwrite) as work:
        save_tensors(work / "model.safetensors", {"input": np.ascontiguousarray(found.vectors)})
        vocabulary.save(work)
        write_bytes(work / "README.md", f"# {RECIPE}\n\n{len(found):,} words, {found.vector_size} numbers each, read "
                    f"from {Path(path).name}.\n".encode())
        finish(work, {"recipe": RECIPE, "source": Path(path).name, "format_read": format,
                      "results": {"parameters": int(found.vectors.size)}})
    return len(found)
