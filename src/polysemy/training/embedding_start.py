"""Where the token table of a new model begins: at random, at right angles, or at word vectors learned before.

    random   as the body draws it
    onehot   no row is nearer to one than to another: of v rows of e numbers, v <= e, those of the identity; else blocks
             of e rows, each block at right angles within itself
    a folder of word vectors: a piece that is a word takes the word's vector; a piece of longer words the mean over the
             words it is in, weighted by how often they were seen; a piece that is a word in small letters that word's;
             any other stays as it was drawn

Vectors are freed of their mean and turned onto the width of the table: onto their directions of largest variance
(PCA) where they are longer, along random directions at right angles where they are shorter, which keeps all distances.
Whatever the start, the table keeps the standard deviation with which it was drawn, so only directions differ.

The other weights, the data and their order are the same for all: what a start can change is how many steps a loss
takes.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polysemy.errors import InputError
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.word_vectors import WordVectors
from polysemy.runtime import random_for
from polysemy.text.tokenizer import Tokenizer
from polysemy.text.words import is_han

RANDOM, ONEHOT = "random", "onehot"
MOST_WORDS = 200_000
"""words, the most frequent, that pieces take their vectors from"""


def vectors_to_start(config: PretrainingConfig, *, new: bool = True) -> WordVectors | None:
    """The word vectors that `config.embedding.init` names; None for random and onehot.

    InputError where it names something else, and for a model that is not `new`: it has its vectors already.
    """
    init = config.embedding.init
    if init != RANDOM and not new:
        raise InputError(f"embedding.init must be random for a model that goes on from another, got {init}")
    if init in (RANDOM, ONEHOT):
        return None
    import polysemy

    try:
        found = polysemy.load(init)
    except InputError as error:
        raise InputError(f"embedding.init must be random, onehot or a folder of word vectors, got {init} ({error})"
                         ) from error
    if not isinstance(found, WordVectors):
        raise InputError(f"embedding.init must be random, onehot or a folder of word vectors, got {init}, "
                         f"which holds a {type(found).__name__}")
    return found


@torch.no_grad()
def start_table(model: PretrainingModel, tokenizer: Tokenizer, init: str, vectors: WordVectors | None = None,
                seed: int = 0) -> float:
    """Fill the token table of a new model in place by `init`; returns the share of pieces that were given a vector.

    A function of the model's own first table, the vectors, the tokenizer and `seed`.
    """
    if init == RANDOM:
        return 0.0
    table = table_that_reads(model.body)
    before = table.detach().float().cpu().numpy()
    count, width = before.shape
    if vectors is None:
        rows, known = right_angles(count, width, seed), np.ones(count, bool)
    else:
        found, known = piece_vectors(tokenizer, vectors)
        found, known = np.pad(found, ((0, count - len(found)), (0, 0))), np.pad(known, (0, count - len(known)))
        if not known.any():
            raise InputError("embedding.init must be vectors of words that the text has, got none in common with it")
        rows = np.zeros_like(before)
        rows[known] = turned(found[known], width, seed)
    scale = before.std() / max(float(np.sqrt(np.square(rows[known]).mean())), 1e-12)
    after = np.where(known[:, None], rows * scale, before).astype(np.float32)
    table.copy_(torch.from_numpy(after))
    return float(known.mean())


def table_that_reads(body: Any) -> Tensor:
    """The table by which token ids become vectors; InputError of a body that reads characters."""
    for owner, name in ((getattr(body, "embedding", None), "token"), (body, "token"), (body, "embedding")):
        found = getattr(owner, name, None)
        if isinstance(found, nn.Embedding):
            return found.weight
    raise InputError("embedding.init must be random for a model that reads characters, which has no table of tokens")


def right_angles(count: int, width: int, seed: int) -> np.ndarray:
    """float32 (count, width), rows of length 1: the identity where it fits, else blocks of random orthogonal rows."""
    if count <= width:
        return np.eye(count, width, dtype=np.float32)
    blocks = [_orthogonal(width, width, seed, block) for block in range(-(-count // width))]
    return np.concatenate(blocks)[:count]


def turned(vectors: np.ndarray, width: int, seed: int) -> np.ndarray:
    """float32 (n, width): vectors without their mean, along their first principal axes or random ones."""
    x = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    size = x.shape[1]
    if size <= width:
        return (x @ _orthogonal(size, width, seed, 0)).astype(np.float32)
    values, axes = np.linalg.eigh(x.T @ x)
    axes = axes[:, np.argsort(-values)[:width]]
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(width)])  # the sign of an axis is nobody's choice
    return (x @ axes).astype(np.float32)


def piece_vectors(tokenizer: Tokenizer, vectors: WordVectors) -> tuple[np.ndarray, np.ndarray]:
    """(float32 (pieces, size), bool (pieces,)): a vector for every piece that is, or is in, a known word."""
    words = vectors.index_to_key[:MOST_WORDS]
    texts = [word if is_han(word[:1] or " ") else f" {word}" for word in words]
    ids, _, _, splits = tokenizer.encode_many(texts)
    lengths = np.diff(splits)
    values = np.asarray(vectors.vectors[:len(words)], np.float64)
    counts = np.ones(len(words)) if vectors.counts is None else np.maximum(vectors.counts[:len(words)], 1)
    total = np.zeros((tokenizer.vocab_size, values.shape[1]))
    weight = np.zeros(tokenizer.vocab_size)
    owners = np.repeat(np.arange(len(words)), lengths)
    inside = lengths[owners] > 1
    np.add.at(total, ids[inside], values[owners[inside]] * counts[owners[inside], None])
    np.add.at(weight, ids[inside], counts[owners[inside]])
    total /= np.maximum(weight, 1)[:, None]
    whole = np.flatnonzero(lengths == 1)[::-1]  # the most frequent word is written last and stays
    pieces = ids[splits[whole]]
    total[pieces], weight[pieces] = values[whole], 1
    for number in tokenizer.ordinary_ids[weight[tokenizer.ordinary_ids] == 0].tolist():
        place = vectors.key_to_index.get(tokenizer.decode([number]).strip().lower())
        if place is not None:
            total[number], weight[number] = vectors.vectors[place], 1
    special = np.zeros(len(weight), bool)
    special[list(tokenizer.special_ids)] = True
    return total.astype(np.float32), (weight > 0) & ~special


def _orthogonal(rows: int, columns: int, seed: int, number: int) -> np.ndarray:
    """(rows, columns), rows <= columns, at right angles and of length 1."""
    drawn = random_for(seed, "embedding start", number).normal(size=(columns, rows))
    q, r = np.linalg.qr(drawn)
    return (q * np.sign(np.diag(r))).T.astype(np.float32)
