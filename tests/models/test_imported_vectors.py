"""Vectors of other tools become run folders."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import polysemy
from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.models.imported_vectors import import_vectors

WORDS = ["river", "boat", "money", "loan"]
ROWS = np.array([[1, 0.1], [0.9, 0.2], [0.1, 1], [0.2, 0.9]], np.float32)


def written(path: Path, words: list[str]) -> Path:
    path.write_text("".join(f"{word} {row[0]} {row[1]}\n" for word, row in zip(words, ROWS, strict=True)))
    return path


def test_a_file_becomes_a_folder_with_equal_vectors(tmp_path: Path) -> None:
    assert import_vectors(written(tmp_path / "v.txt", WORDS), tmp_path / "run", "glove") == 4
    model = polysemy.load(tmp_path / "run")
    assert model.index_to_key == WORDS
    np.testing.assert_array_equal(model.vectors, ROWS)
    assert not model.vectors.flags.writeable  # mapped, not copied


def test_gaps_are_filled_by_cosine_with_the_context(tmp_path: Path) -> None:
    import_vectors(written(tmp_path / "v.txt", WORDS), tmp_path / "run", "glove")
    item = ClozeItem(left="The River has a ", right=".", candidates=("boat", "loan", "unheard"))
    scores = polysemy.load(tmp_path / "run").cloze_scores([item])[0]
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    np.testing.assert_allclose(scores[:2], [unit[1] @ unit[0], unit[3] @ unit[0]], rtol=1e-5)
    assert scores[2] == min(scores[:2]) - 1


def test_capital_letters_in_the_file_are_kept_apart(tmp_path: Path) -> None:
    import_vectors(written(tmp_path / "v.txt", ["River", *WORDS[1:]]), tmp_path / "run", "glove")
    assert polysemy.load(tmp_path / "run").vocabulary.split("River boat") == ["River", "boat"]


def test_a_bad_file_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("4000000000 300\n")
    with pytest.raises(InputError):
        import_vectors(tmp_path / "v.txt", tmp_path / "run")
    assert not (tmp_path / "run").exists()
