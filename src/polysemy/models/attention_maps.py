"""What a model looked at, as numbers: averages over heads and layers, rollout, pieces put together into words.

Letters in shapes: l layers, h heads, t queries (pieces that ask), s keys (pieces that are asked).
A weight says how much of a value flows into a state in one head; it does not say why the model answered as it did.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from polysemy.errors import InputError


class AttentionMap(NamedTuple):
    """What each piece of a text looked at."""

    pieces: list[str]
    weights: np.ndarray
    """(layers, heads, t, s) float32; row i says how piece i spread its attention"""
    keys: list[str] | None = None
    """what was looked at, where that is not `pieces` themselves: another text, a memory, slots of Linformer"""

    @property
    def asked(self) -> list[str]:
        """The names of the keys."""
        return self.pieces if self.keys is None else self.keys

    @property
    def square(self) -> bool:
        """Whether pieces look at one another, so that layers can be chained."""
        return self.keys is None


class Span(NamedTuple):
    """Pieces start..stop (stop left out) that make one word."""

    text: str
    start: int
    stop: int


def check(found: AttentionMap) -> AttentionMap:
    """The map itself; InputError unless weights (l, h, t, s) fit the pieces and lie in 0..1."""
    shape, wanted = found.weights.shape, (len(found.pieces), len(found.asked))
    if len(shape) != 4 or shape[2:] != wanted or 0 in shape:
        raise InputError(f"weights must have shape (layers, heads, {wanted[0]}, {wanted[1]}) with none of them 0, got "
                         f"{shape}")
    if not np.isfinite(found.weights).all() or found.weights.min() < 0 or found.weights.max() > 1 + 1e-3:
        raise InputError("weights must be numbers in 0..1, got others; give them after the softmax")
    return found


def average(weights: np.ndarray) -> np.ndarray:
    """(..., heads, t, s) -> (..., t, s): the mean over heads; rows add up to what they did."""
    return weights.mean(-3)


def rollout(weights: np.ndarray) -> np.ndarray:
    """(l, h, t, t) -> (t, t): what of each input flows into each last state (Abnar and Zuidema 2020, section 3).

    The mean over heads A stands beside the residual connection as A/2 + I/2, rows made to add up to 1; layers are
    multiplied, the last at the left.  It takes weights for flow and passes over the feed-forward parts.
    """
    if weights.shape[-1] != weights.shape[-2]:
        raise InputError(f"weights must be square for rollout, got {weights.shape[-2]} queries and {weights.shape[-1]} "
                         "keys; choose a layer")
    size = weights.shape[-1]
    flow = np.eye(size)
    for layer in average(weights.astype(np.float64)):
        mixed = (layer + np.eye(size)) / 2
        flow = (mixed / mixed.sum(-1, keepdims=True)) @ flow
    return flow.astype(np.float32)


def merge(weights: np.ndarray, queries: Sequence[Span], keys: Sequence[Span]) -> np.ndarray:
    """(..., t, s) -> (..., words, words): summed over the keys of a word, averaged over its queries.

    So a row adds up to what it did (Clark et al. 2019, section 4.1).
    """
    summed = np.add.reduceat(weights, [span.start for span in keys], axis=-1)
    sizes = np.array([span.stop - span.start for span in queries], weights.dtype)
    return np.add.reduceat(summed, [span.start for span in queries], axis=-2) / sizes[:, None]


def in_words(found: AttentionMap, queries: Sequence[Span], keys: Sequence[Span] | None = None) -> AttentionMap:
    """The map of words: `queries` cover the pieces without a hole, `keys` those that are asked (None: the same)."""
    if (keys is None) != found.square:
        raise InputError(f"keys must be given when and only when the map has its own, got {keys!r}")
    merged = merge(found.weights, queries, queries if keys is None else keys)
    return AttentionMap([span.text for span in queries], merged, None if keys is None else [s.text for s in keys])


def choose(found: AttentionMap, layer: int | str = "mean", head: int | str = "mean") -> np.ndarray:
    """(t, s): one layer (from 1; -1 the last), the `mean` of all or `rollout`; one head (from 1) or their `mean`."""
    layers, heads = found.weights.shape[:2]
    chosen_head = head if head == "mean" else number("head", head, heads)
    if layer == "rollout":
        if head != "mean":
            raise InputError(f"head must be mean with layer rollout, got {head}; rollout joins all heads")
        if not found.square:
            raise InputError("layer must be a number or mean, got rollout; rollout needs pieces that look at one "
                             "another, and these look at something else")
        return rollout(found.weights)
    if layer == "mean":
        part = found.weights.mean(0)
    else:
        part = found.weights[number("layer", layer, layers)]
    return average(part) if isinstance(chosen_head, str) else part[chosen_head]


def number(name: str, value: int | str, count: int) -> int:
    """The index behind 1..count or -1..-count; InputError says what may be given."""
    words = "mean or rollout" if name == "layer" else "mean"
    try:
        given = int(value)
    except ValueError as error:
        raise InputError(f"{name} must be a number, {words}, got {value!r}") from error
    if not 1 <= abs(given) <= count:
        raise InputError(f"{name} must be 1 to {count}, {words}, got {given}; -1 is the last")
    return given - 1 if given > 0 else count + given


def strongest(weights: np.ndarray, top: int = 3) -> list[list[tuple[int, float]]]:
    """For each query of (t, s) the `top` keys it looks at most, as (index, weight); keys it may not see are left out.

    Equal weights stand in the order of the text.
    """
    order = np.argsort(-weights, axis=-1, kind="stable")[:, :top]
    return [[(int(j), float(row[j])) for j in chosen if row[j] > 0]
            for row, chosen in zip(weights, order, strict=True)]


def unseen(weights: np.ndarray) -> np.ndarray:
    """(l, h, t, s) -> bool (t, s): where no head of any layer puts any weight, as behind a mask."""
    return np.logical_not(weights.any(axis=(0, 1)))


def causal(weights: np.ndarray) -> bool:
    """Whether no query looks past its own place, the last query standing at the last key."""
    t, s = weights.shape[-2:]
    return s >= t > 1 and bool(unseen(weights)[np.triu_indices(t, s - t + 1, s)].all())


def attention_of(model: Any, text: str, pair: str | None = None) -> AttentionMap:
    """The checked map of a loaded model; InputError for a model that has none and for a text without words."""
    recipe = getattr(getattr(model, "config", None), "recipe", type(model).__name__)
    if not hasattr(model, "attention"):
        raise InputError(f"model must have attention, got {recipe}, which has none")
    for name, given in (("text", text), ("pair", pair)):
        if given is not None and not given.strip():
            raise InputError(f"{name} must hold at least one word, got an empty text")
    found: AttentionMap = model.attention(text) if pair is None else model.attention(text, pair)
    if not found.weights.size:
        raise InputError(f"model must have attention, got {recipe}, which has none")
    transformer = getattr(getattr(getattr(model, "config", None), "model", None), "transformer", None)
    kind = getattr(transformer, "attention", None)
    if type(kind).__name__ == "Linformer" and found.weights.min() < 0:
        raise InputError("model must look at its pieces one by one, got Linformer, which looks at mixtures of all of "
                         "them: what it makes of a piece may be negative and adds up to nothing")
    return check(found)
