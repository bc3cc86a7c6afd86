"""Texts into vectors: windows over long texts, states of any layer, pooled by text, piece or word."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models import engine
from polysemy.models.encoder import Encoded
from polysemy.models.engine_rows import flat_states
from polysemy.nn.mix_head import MixHead
from polysemy.text.row_form import cut_pair
from polysemy.text.tokenizer import Encoding
from polysemy.text.words import word_spans

if TYPE_CHECKING:
    from polysemy.models.text_model import Row, TextModel

POOLINGS = ("mean", "cls", "last", "token", "word")
OF_TEXTS = ("mean", "cls", "last")


def embed(encoder: TextModel, texts: Sequence[str], layer: int | str, pooling: str, pairs: Sequence[str] | None,
          batch_size: int | None) -> Any:
    """See `TextModel.embed`."""
    if isinstance(texts, str):
        raise InputError("texts must be a list of texts, got one text; put it into a list")
    if pooling not in POOLINGS:
        raise InputError(f"pooling must be {' | '.join(POOLINGS)}, got {pooling!r}")
    if pairs is not None and len(pairs) != len(texts):
        raise InputError(f"pairs must be as many as texts, got {len(pairs)} and {len(texts)}")
    if pooling == "cls" and not encoder.two_sided:
        raise InputError("pooling must be mean, last, token or word for a model that reads from left to right, got cls")
    if pairs is not None and not encoder.two_sided:
        raise InputError(f"pairs must go with an encoder, got {encoder.config.recipe}; put both texts into one")
    learned = getattr(encoder.model, "mix", None) if layer == "mix" else None
    index = learned or _layer(layer, encoder.config.model.num_layers)
    encodings = encoder.encode(texts)
    others = None if pairs is None else encoder.encode(pairs)
    rows, owners, spans = windows(encoder, encodings, others)
    found = _vectors(encoder, rows, spans, index, pooling, batch_size)
    size = encoder.config.model.hidden_size
    if pooling in OF_TEXTS:
        return _of_texts(found, rows, owners, len(texts), len(found[0]) if found else size, pooling)
    parts: list[list[np.ndarray]] = [[] for _ in texts]
    for owner, vectors in zip(owners, found, strict=True):
        parts[owner].append(vectors)
    tokens = [np.concatenate(part) for part in parts]
    if pooling == "token":
        return tokens
    if pairs is None or others is None:
        return [_of_words(vectors, [text], [encoding], [len(encoding.ids)])
                for vectors, text, encoding in zip(tokens, texts, encodings, strict=True)]
    return [_of_words(tokens[i], [texts[i], pairs[i]], [encodings[i], others[i]], spans[i]) for i in range(len(texts))]


def _layer(layer: int | str, num_layers: int) -> int | None:
    """Index into the layers; None for their mean."""
    count = num_layers + 1
    if layer in ("mean", "mix"):  # a mix that no task has learned is the mean
        return None
    if not isinstance(layer, int) or not -count <= layer < count:
        raise InputError(f"layer must be 0..{count - 1}, -{count}..-1, mean or mix, got {layer!r}")
    return layer % count


def windows(encoder: TextModel, encodings: Sequence[Encoding], others: Sequence[Encoding] | None
             ) -> tuple[list[Row], list[int], list[tuple[int, int]]]:
    """Rows, the text that each belongs to, and how many pieces of first and second text each shows."""
    rows, owners, spans = [], [], []
    for i, encoding in enumerate(encodings):
        if others is not None:
            a, b = cut_pair(len(encoding.ids), len(others[i].ids), encoder.length - encoder.specials(True))
            rows.append(encoder.row(encoding.ids[:a], others[i].ids[:b]))
            owners.append(i)
            spans.append((a, b))
            continue
        step = encoder.length - encoder.specials(False)
        for start in range(0, max(1, len(encoding.ids)), step):
            piece = encoding.ids[start:start + step]
            rows.append(encoder.row(piece))
            owners.append(i)
            spans.append((len(piece), 0))
    return rows, owners, spans


@torch.inference_mode()
def _vectors(encoder: TextModel, rows: Sequence[Row], spans: Sequence[tuple[int, int]], layer: int | MixHead | None,
             pooling: str, batch_size: int | None) -> list[np.ndarray]:
    """Per row: the sum of its states (mean), its first state (cls), or the states of its pieces."""
    found: list[Any] = [None] * len(rows)
    last, edge = encoder.config.model.num_layers, min(1, encoder.specials(False))  # static vectors have no marks
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(layer, int):
        quick = engine.engine_for(encoder.model.body, sum(len(row.ids) for row in rows))
        if quick is not None:
            return _flat_vectors(quick, rows, spans, None if layer == last else layer, pooling, edge)
    for group, shown in encoder.run(rows, batch_size=batch_size, hidden_states=layer != last):
        states = _states(shown, layer)
        if pooling == "mean":
            lengths = torch.tensor([len(rows[i].ids) for i in group], device=states.device)
            real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
            states = (states * real[..., None]).sum(1)
        elif pooling in ("cls", "last"):
            ends = [0 if pooling == "cls" else len(rows[i].ids) - 1 for i in group]
            states = states[torch.arange(len(group), device=states.device), torch.tensor(ends, device=states.device)]
        array = states.cpu().numpy()
        for line, i in enumerate(group):
            if pooling in OF_TEXTS:
                found[i] = array[line]
            else:
                a, b = spans[i]
                second = len(rows[i].ids) - edge - b
                found[i] = np.concatenate([array[line, edge:edge + a], array[line, second:second + b]])
    return found


def _flat_vectors(quick: engine.Engine, rows: Sequence[Row], spans: Sequence[tuple[int, int]], layer: int | None,
                  pooling: str, edge: int) -> list[np.ndarray]:
    """`_vectors` by the compiled way; `edge` is how many marks stand around a row."""
    found: list[Any] = [None] * len(rows)
    for group, states in flat_states(quick, rows, layer):
        ends = np.cumsum([len(rows[i].ids) for i in group])
        starts = np.concatenate([[0], ends[:-1]])
        if pooling == "mean":
            picked = np.add.reduceat(states, starts, axis=0)
        else:
            picked = states[starts if pooling == "cls" else ends - 1]
        for line, i in enumerate(group.tolist()):
            if pooling in OF_TEXTS:
                found[i] = picked[line]
            else:
                a, b = spans[i]
                first, second = starts[line] + edge, ends[line] - edge - b
                found[i] = np.concatenate([states[first:first + a], states[second:second + b]])
    return found


def _states(shown: Tensor | Encoded, layer: int | MixHead | None) -> Tensor:
    if isinstance(shown, Tensor):
        return shown.float()
    if isinstance(layer, MixHead):
        return layer.mixed(shown.layers).float()
    if layer is not None:
        return shown.layers[layer].float()
    widths = sorted({part.shape[-1] for part in shown.layers})
    if len(widths) > 1:
        told = " and ".join(map(str, widths))
        raise InputError(f"layers must be of one width for their mean, got {told}; choose one layer")
    return torch.stack(shown.layers).float().mean(0)


def _of_texts(vectors: Sequence[np.ndarray], rows: Sequence[Row], owners: Sequence[int], count: int, size: int,
              pooling: str) -> np.ndarray:
    """Windows of one text averaged by their tokens; the first window counts alone for cls, the last one for last."""
    total, weight = np.zeros((count, size), np.float32), np.zeros((count, 1), np.float32)
    for owner, vector, row in zip(owners, vectors, rows, strict=True):
        if pooling == "cls" and weight[owner]:
            continue
        if pooling == "last":
            total[owner], weight[owner] = vector, 1
            continue
        total[owner] += vector
        weight[owner] += 1 if pooling == "cls" else len(row.ids)
    return total / np.maximum(weight, 1)


def _of_words(vectors: np.ndarray, texts: Sequence[str], encodings: Sequence[Encoding],
              kept: Sequence[int]) -> np.ndarray:
    """The mean over the pieces that touch each word; a word without a piece gets zeros."""
    result, begin = [], 0
    for text, encoding, count in zip(texts, encodings, kept, strict=True):
        starts, ends = encoding.starts[:count], encoding.ends[:count]
        for start, stop in word_spans(text):
            touching = np.flatnonzero((starts < stop) & (ends > start))
            if len(touching):
                result.append(vectors[begin + touching].mean(0))
            else:
                result.append(np.zeros(vectors.shape[1], np.float32))
        begin += count
    return np.stack(result) if result else np.zeros((0, vectors.shape[1]), np.float32)
