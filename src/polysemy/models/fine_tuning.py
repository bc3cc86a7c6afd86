"""One way to open every trained model that gives vectors, for whoever goes on from it."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from polysemy.artifact import read_folder
from polysemy.errors import InputError
from polysemy.models.text_model import TextModel


def opened(folder: str | Path) -> TextModel:
    """The model of any run folder as one that reads text: encoders, language models, models fine-tuned before.

    Word vectors become a model of one table (`static_text`).  InputError for a recipe without vectors: counts of words,
    classifiers.
    """
    from polysemy.models import load_run

    found: Any = load_run(Path(folder))
    if isinstance(found, TextModel):
        return found
    from polysemy.models.word_vectors import WordVectors

    if isinstance(found, WordVectors):
        from polysemy.models.static_text import static_text

        return static_text(found)
    recipe = read_folder(folder, verify=False).recipe
    raise InputError(f"model must be one that gives vectors to be fine-tuned, got a {recipe} in {folder}")
