"""A body that was trained to give one vector a text: what learns, what its folder holds, and how it is used.

The folder is a run folder whose config.json says `"task": {"kind": "Embed", ...}` beside the recipe and config of the
model it started from; its weights are those of the body alone.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from polysemy.artifact import read_folder
from polysemy.errors import InputError
from polysemy.models.carry import Carry
from polysemy.models.pretrained import WEIGHTS, PretrainingModel, know_pieces, tokenizer_of
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.task_use import reader_class
from polysemy.models.tasks import Embed, task_of
from polysemy.models.text_model import ReadAs, TextModel
from polysemy.nn.pooling import POOLINGS, Pooling, pool, pooled_places

SMALLEST = 1e-12
"""a vector shorter than this is zeros"""


class SentenceModel(nn.Module):
    """A body and how its states are pooled: what `training.embedder` trains.  It has no weights but the body's."""

    def __init__(self, body: nn.Module, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.body: Any = body
        self.pooling: Pooling = pooling
        self.carry = Carry()

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`vectors` (rows, d) in float32, neither cut nor normalized, of `ids` ... `visible`, one text a row."""
        at, lengths = pooled_places(tensors["documents"], self.pooling)
        states = None
        if hasattr(self.body, "at") and self.body.open():
            states = self.body.at(at, *(tensors[name] for name in ("ids", "positions", "segments", "documents")))
        if states is None:
            found = self.body(tensors["ids"], None, tensors["segments"], visible=tensors["visible"])
            states = found.flatten(0, 1).index_select(0, at)
        return {"vectors": pool(states, lengths, self.pooling)}


class SentenceVectors(ReadAs):
    """A sentence embedder in use: `embed` pools, cuts and normalizes as it was trained to, unless told otherwise."""

    def __init__(self, reader: TextModel, task: Embed) -> None:
        size = reader.config.model.hidden_size
        if task.dimensions is not None and task.dimensions > size:
            raise InputError(f"task.dimensions must be at most the {size} numbers of a vector, got {task.dimensions}")
        super().__init__(reader.model, reader.tokenizer, reader.config)
        self.reader, self.task, self.length = reader, task, reader.length

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The embedder of a run folder, checked before it is believed."""
        opened = read_folder(folder)
        task = task_of(opened.config.get("task"))
        if not isinstance(task, Embed):
            raise InputError(f"task must be Embed, got {type(task).__name__} in {folder}")
        config = PretrainingConfig.from_dict(opened.config.get("config", {}))
        tokenizer = tokenizer_of(opened.path, config)
        model = PretrainingModel.load(config.model, (), opened.file(WEIGHTS))
        know_pieces(model, tokenizer)
        return cls(reader_class(config)(model, tokenizer, config), task)

    def embed(self, texts: Sequence[str], *, layer: int | str = -1, pooling: str | None = None,
              pairs: Sequence[str] | None = None, batch_size: int | None = None, dimensions: int | None = None,
              normalize: bool | None = None) -> Any:
        """Vectors of texts as `TextModel.embed` gives them; what is None follows the folder's task.

        pooling     mean, cls, last, max, or token and word, which are neither cut nor normalized
        dimensions  only the first so many numbers, normalized anew; normalize: at length 1 (zeros stay zeros)

        A text longer than the model reads at once is read in windows, where sentence-transformers would cut it.
        """
        pooling = pooling or self.task.pooling
        if pooling == "max":
            if pairs is not None or layer not in (-1, self.config.model.num_layers):
                raise InputError("pooling max must go with single texts and the last layer, got pairs or another")
            vectors = largest(self.reader, texts, batch_size)
        else:
            vectors = self.reader.embed(texts, layer=layer, pooling=pooling, pairs=pairs, batch_size=batch_size)
        if pooling not in POOLINGS:
            return vectors
        dimensions = dimensions or self.task.dimensions
        return finished(vectors, dimensions, self.task.normalize if normalize is None else normalize)


def finished(vectors: np.ndarray, dimensions: int | None, normalize: bool) -> np.ndarray:
    """The first `dimensions` numbers of every vector, at length 1 if asked for; zeros stay zeros."""
    if dimensions is not None:
        if not 1 <= dimensions <= vectors.shape[1]:
            raise InputError(f"dimensions must be in 1..{vectors.shape[1]}, got {dimensions}")
        vectors = vectors[:, :dimensions]
    return unit(vectors) if normalize else np.ascontiguousarray(vectors)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Every vector at length 1, in its own type; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST)


def cosines(model: Any, first: Sequence[str], second: Sequence[str], **options: Any) -> np.ndarray:
    """The cosine of each pair of texts under any model that embeds, float32; 0 where a text has no known word.

    Every text is embedded once, however many pairs it is in; `options` go to the model's `embed`.
    """
    if len(first) != len(second):
        raise InputError(f"second must be as many texts as first, got {len(second)} and {len(first)}")
    numbers = {text: i for i, text in enumerate(dict.fromkeys([*first, *second]))}
    vectors = unit(np.asarray(model.embed(list(numbers), **options)))
    a, b = (vectors[[numbers[text] for text in texts]] for texts in (first, second))
    return (a * b).sum(1)


@torch.inference_mode()
def largest(reader: TextModel, texts: Sequence[str], batch_size: int | None = None) -> np.ndarray:
    """Max pooling: the largest value of each number over all tokens of a text, and all windows of a long one."""
    step = max(1, reader.length - reader.specials(False))
    rows, owners = [], []
    for i, encoding in enumerate(reader.encode(texts)):
        for start in range(0, max(1, len(encoding.ids)), step):
            rows.append(reader.row(encoding.ids[start:start + step]))
            owners.append(i)
    found = np.full((len(texts), reader.config.model.hidden_size), -np.inf, np.float32)
    for group, states in reader.run(rows, batch_size=batch_size):
        assert isinstance(states, Tensor)
        lengths = torch.tensor([len(rows[i].ids) for i in group], device=states.device)
        real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        array = states.float().masked_fill(~real[..., None], -torch.inf).amax(1).cpu().numpy()
        for line, i in enumerate(group):
            found[owners[i]] = np.maximum(found[owners[i]], array[line])
    return found
