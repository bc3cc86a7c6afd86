"""From a file of the original to a model here, and back: `.bin`, and `.ftz`, which can be read.

Its text files, `.vec`, are those of word2vec: `polysemy.models.vector_files` reads and writes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import save_tensors
from polysemy.errors import InputError
from polysemy.models.fasttext.binary import FasttextFile, read_binary, write_binary
from polysemy.models.fasttext.classifier import FasttextClassifier
from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.labels import PREFIX
from polysemy.models.fasttext.model import TENSORS_FILE, FasttextModel
from polysemy.models.fasttext.quantized import dense
from polysemy.text.vocabulary import Vocabulary, WordConfig

MOST_BYTES = 8 << 30
"""of a dense matrix that is made to write a file"""


def read_fasttext(path: str | Path) -> FasttextModel | FasttextClassifier:
    """The model in a .bin or .ftz; quantized matrices become the floats they stand for.

    Its words are what stands between white space, in the case they have.
    """
    return from_file(read_binary(path))


def from_file(file: FasttextFile) -> FasttextModel | FasttextClassifier:
    """The model of a file that was read."""
    config = _config(file)
    words, counts = file.entries[: file.num_words], file.counts[: file.num_words]
    vocabulary = Vocabulary(words, counts, config.words, file.total)
    inputs, outputs = dense(file.input), dense(file.output)
    used = np.arange(len(inputs) - len(words), dtype=np.int32)
    if file.pruned is not None:
        used[file.pruned[:, 1]] = file.pruned[:, 0]
    for name, matrix in (("input", inputs), ("output", outputs)):
        if not np.isfinite(matrix).all():
            raise InputError(f"{file.path} must hold finite numbers, got NaN or infinity in its {name} matrix")
    if config.task == "vectors":
        return FasttextModel(config, vocabulary, inputs, outputs, used)
    labels = [label.removeprefix(PREFIX) for label in file.entries[file.num_words :]]
    return FasttextClassifier(config, vocabulary, labels, file.counts[file.num_words :], inputs, outputs, used)


def import_fasttext(path: str | Path, folder: Path) -> FasttextConfig:
    """Write the model files (not config.json) of a .bin or .ftz into an existing folder; returns its config."""
    model = read_fasttext(path)
    if isinstance(model, FasttextClassifier):
        model.save(folder)
        return model.config
    model.vocabulary.save(folder)
    save_tensors(folder / TENSORS_FILE, {
        "input": np.ascontiguousarray(model.inputs), "output": np.ascontiguousarray(model.outputs),
        "buckets": np.ascontiguousarray(model.used, np.int32),
    })
    return model.config


def write_fasttext(path: str | Path, model: FasttextModel | FasttextClassifier) -> None:
    """Write a .bin that the original and gensim open, with a row for each bucket (zeros where none was in use)."""
    if model.config.pruned:
        raise InputError("model must have all its n-grams to be written as .bin, got one from a pruned file; the file "
                         "it came from is already in the original's form")
    classify = isinstance(model, FasttextClassifier)
    words, config = model.vocabulary.words, model.config
    buckets = config.buckets if (config.longest or 0) > 0 or (classify and config.word_ngrams > 1) else 0
    if 4 * (len(words) + buckets) * config.size > MOST_BYTES:
        raise InputError(f"buckets must make a file of at most {MOST_BYTES >> 30} GB, got {buckets:,} of size "
                         f"{config.size}")
    for word in words:
        if not word or any(ch in " \n\r\t\v\f\0" for ch in word):
            raise InputError(f"words must not be empty or hold white space in a file of fastText, got {word!r}")
    inputs = np.zeros((len(words) + buckets, config.size), np.float32)
    inputs[: len(words)] = model.inputs[: len(words)]
    inputs[len(words) + model.used.astype(np.int64)] = model.inputs[len(words) :]
    labels = [PREFIX + "-".join(label.split()) for label in model.labels] if classify else []
    counts = np.concatenate([model.vocabulary.counts, model.label_counts if classify else np.zeros(0, np.int64)])
    file = FasttextFile(_settings(config, buckets), [*words, *labels], counts, len(labels), model.vocabulary.total,
                        inputs, np.asarray(model.outputs))
    write_binary(path, file)


def _config(file: FasttextFile) -> FasttextConfig:
    from_settings: dict[str, Any] = file.settings
    classify = from_settings["model"] == "classify"
    loss = from_settings["loss"]
    if (classify and loss == "negative") or (not classify and loss == "ova"):
        raise InputError(f"{file.path} must have a loss for its task, got {loss} for {from_settings['model']}")
    longest = from_settings["longest"]
    return FasttextConfig(
        task="classify" if classify else "vectors", mode="skipgram" if classify else from_settings["model"],
        loss=loss, size=from_settings["size"], window=max(from_settings["window"], 1),
        negatives=max(from_settings["negatives"], 1),
        shortest=max(from_settings["shortest"], 1), longest=longest if longest >= from_settings["shortest"] else 0,
        buckets=max(from_settings["buckets"], 1), word_ngrams=max(from_settings["word_ngrams"], 1),
        min_count=max(from_settings["min_count"], 1), subsample=max(from_settings["subsample"], 0.0),
        epochs=max(from_settings["epochs"], 1), pruned=file.pruned is not None,
        words=WordConfig(tokens="space", lowercase=False, min_count=max(from_settings["min_count"], 1)),
    )


def _settings(config: FasttextConfig, buckets: int) -> dict[str, Any]:
    classify = config.task == "classify"
    return {
        "size": config.size, "window": config.window, "epochs": config.epochs, "min_count": config.min_count,
        "negatives": config.negatives, "word_ngrams": config.word_ngrams if classify else 1, "loss": config.loss,
        "model": "classify" if classify else config.mode, "buckets": buckets,
        "shortest": config.shortest if config.longest else 0, "longest": config.longest, "update_rate": 100,
        "subsample": config.subsample,
    }
