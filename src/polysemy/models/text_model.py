"""What all trained models of running text share in use: texts to rows, rows through the body in groups of like length.

Texts run in groups of like length, results come in the order asked, and which texts share a group changes no number
beyond rounding.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models import engine, reading
from polysemy.models.attention_maps import AttentionMap
from polysemy.models.encoder import Encoded
from polysemy.models.engine_rows import padded_states
from polysemy.models.pretrained import PretrainingModel, open_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.runtime import choose_device, choose_dtype
from polysemy.text.tokenizer import Encoding, Tokenizer
from polysemy.text.words import is_han

GROUP_TOKENS = 4096
GROUP_ROWS = 256
UNTIED = 512
"""tokens that a model without positions (recurrent, or of a short window) is given at once"""


class Row(NamedTuple):
    """One input of the model: ids with its special tokens, and the segment of each."""

    ids: np.ndarray
    segments: np.ndarray


class TextModel:
    """Embeds texts and shows attention.  `model` is in evaluation mode; nothing here is random."""

    two_sided: ClassVar[bool] = True
    """whether a token is read with what stands on both sides, and texts may come in pairs"""

    def __init__(self, model: PretrainingModel, tokenizer: Tokenizer, config: PretrainingConfig) -> None:
        self.model, self.tokenizer, self.config = model.eval(), tokenizer, config
        position = getattr(getattr(config.model, "embedding", None), "position", None)
        self.length = min(getattr(position, "max_positions", config.training.length), config.training.length)
        """most tokens at once, special ones included: those it was trained on; more where nothing is tied to a place"""
        if getattr(config.model, "transformer", None) is None:
            self.length = max(self.length, UNTIED)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The model of a run folder, checked before it is believed."""
        return cls(*open_run(Path(folder)))

    def to(self, device: str = "auto", dtype: str = "float32") -> Self:
        """Move to a device and choose how numbers are multiplied when texts are read (docs/inference.md).

        float32    exact; the default
        bfloat16   weights are rounded to it; for GPUs
        int16      on a CPU: as fast as bfloat16 and about 50 times as near: cosines move by some 1e-6
        int8       on a CPU: twice as fast again; cosines move by some 1e-3
        auto       bfloat16 on a GPU that has it, int16 on a CPU that has it, else float32

        InputError where the model or the machine cannot; float32 weights stay what they are under int16 and int8.
        """
        if dtype not in ("auto", "float32", "bfloat16", "int16", "int8"):
            raise InputError(f"dtype must be auto, float32, bfloat16, int16 or int8, got {dtype!r}")
        place = choose_device(device)
        if dtype == "auto":
            dtype = choose_dtype("auto", place) if place != "cpu" else "auto"
        self.model.to(device=place, dtype=torch.bfloat16 if dtype == "bfloat16" else torch.float32)
        engine.choose_form(self.model.body, "float32" if dtype == "bfloat16" else dtype)
        return self

    def piece_counts(self, words: Sequence[str]) -> np.ndarray:
        """Pieces of each word as it stands in running text, int64."""
        return piece_counts(self.tokenizer, words)

    def attention(self, text: str, pair: str | None = None) -> AttentionMap:
        """What each piece of a text (or pair) looked at, in every layer and head."""
        if getattr(self.config.model, "transformer", None) is None:
            raise InputError(f"model must have attention to show it, got {self.config.recipe}, which has none")
        if pair is not None and not self.two_sided:
            raise InputError(f"pair must go with an encoder, got {self.config.recipe}; put both texts into one")
        encodings = self.encode([text] if pair is None else [text, pair])
        row = self.row(*(e.ids for e in encodings))
        if len(row.ids) > self.length:
            raise InputError(f"text must be at most {self.length} tokens for attention, got {len(row.ids)}")
        for _, shown in self.run([row], attention=True):
            weights = torch.cat(shown.weights).float().cpu().numpy()  # type: ignore[union-attr]
            return AttentionMap(self.tokenizer.pieces(row.ids), weights)
        raise AssertionError("one row gives one group")

    def embed(self, texts: Sequence[str], *, layer: int | str = -1, pooling: str = "mean",
              pairs: Sequence[str] | None = None, batch_size: int | None = None) -> Any:
        """Vectors of texts, or of text pairs, from any layer.

        pooling  mean: over all tokens, [CLS] and [SEP] included, as sentence-transformers; cls: the state at [CLS];
                 last: the state of the last token, which has read all; token: one vector a piece; word: the mean over
                 the pieces of each word of `word_spans`
        layer    0 is the embedding, -1 the last, `mean` the mean of all, `mix` what a task learned of them

        Returns float32 (texts, d), or a list of (pieces or words, d) arrays.  A long text is read in windows, a pair's
        longer part is cut at its end; token and word vectors of a pair are those of the first text, then the second.
        """
        return reading.embed(self, texts, layer, pooling, pairs, batch_size)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Pieces and offsets of each text, without [CLS] and [SEP]."""
        return self.tokenizer.encode_batch(list(texts))

    def row(self, first: np.ndarray, second: np.ndarray | None = None) -> Row:
        """The model's input for a text, or for a pair."""
        raise NotImplementedError

    def specials(self, pair: bool) -> int:
        """Special tokens around a text or a pair."""
        raise NotImplementedError

    @torch.inference_mode()
    def run(self, rows: Sequence[Row], *, batch_size: int | None = None, hidden_states: bool = False,
            attention: bool = False) -> Iterator[tuple[np.ndarray, Tensor | Encoded]]:
        """(indices into rows, states (b, t, d) or Encoded) for groups of rows of like length, padded on the right."""
        device = self.model.table.device
        quick = None
        if not hidden_states and not attention:
            quick = engine.engine_for(self.model.body, sum(len(row.ids) for row in rows))
        for group in like_lengths([len(row.ids) for row in rows], batch_size):
            if quick is not None:
                yield group, padded_states(quick, [rows[i] for i in group])
                continue
            t = max(len(rows[i].ids) for i in group)
            ids = np.full((len(group), t), self.tokenizer.pad_id if self.tokenizer.has("pad") else 0, np.int64)
            segments, visible = np.zeros_like(ids), np.zeros(ids.shape, bool)
            for line, i in enumerate(group):
                n = len(rows[i].ids)
                ids[line, :n], segments[line, :n], visible[line, :n] = rows[i].ids, rows[i].segments, True
            tensors = [torch.from_numpy(array).to(device) for array in (ids, segments, visible)]
            yield group, self.model.body(tensors[0], None, tensors[1], visible=tensors[2], hidden_states=hidden_states,
                                         attention=attention)


class ReadAs(TextModel):
    """A model whose texts are laid out as those of `reader`, which its body was pretrained with."""

    reader: TextModel

    @property
    def two_sided(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.reader.two_sided

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self.reader.encode(texts)

    def row(self, first: np.ndarray, second: np.ndarray | None = None) -> Row:
        return self.reader.row(first, second)

    def specials(self, pair: bool) -> int:
        return self.reader.specials(pair)


def like_lengths(lengths: Sequence[int], batch_size: int | None) -> Iterator[np.ndarray]:
    """Indices in groups of like length, longest first, each of bounded tokens (or of `batch_size` rows)."""
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = batch_size or max(1, min(GROUP_ROWS, GROUP_TOKENS // lengths[order[start]]))
        yield order[start:start + rows]
        start += rows


def piece_counts(tokenizer: Tokenizer, words: Iterable[str]) -> np.ndarray:
    """int64: pieces of each word after a space, or after nothing where it begins with a Chinese character."""
    texts = [word if is_han(word[:1] or " ") else f" {word}" for word in words]
    return np.array([len(encoding.ids) for encoding in tokenizer.encode_batch(texts)], np.int64)
