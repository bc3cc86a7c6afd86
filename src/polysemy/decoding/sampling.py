"""From logits to the next token: settings, what they do to the distribution, and a draw that depends on nothing else.

The order is that of transformers' generate: repetition penalty on the raw logits, then temperature, then top-k, then
top-p, then the draw.
"""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.runtime import seed_for

FIRST_BOUND = 1 / 256
"""probability above which the top-p tokens are looked for at first"""


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(Config):
    """How much to write, and how to choose each token."""

    tokens: int = 100
    """new tokens at most"""
    temperature: float = 1.0
    """logits are divided by it: below 1 the likely becomes likelier"""
    top_k: int | None = None
    """only so many of the likeliest tokens may come (those as likely as the last of them too); none: all"""
    top_p: float = 1.0
    """only the likeliest tokens whose probabilities reach this sum may come, the one that crosses it included"""
    repetition_penalty: float = 1.0
    """above 1: what the text holds already becomes less likely (Keskar et al. 2019)"""
    greedy: bool = False
    """always the likeliest token; temperature, top-k, top-p and seed then mean nothing"""
    seed: int = 0
    weights: Literal["float32", "bfloat16", "int8"] = "float32"
    """format in which the compiled step of a single text reads the weights; smaller is faster and loses a little"""

    def check(self) -> None:
        if self.tokens < 1:
            raise InputError(f"tokens must be at least 1, got {self.tokens}")
        if self.temperature <= 0:
            raise InputError(f"temperature must be above 0, got {self.temperature}; for the likeliest token each time "
                             "set greedy")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.repetition_penalty <= 0:
            raise InputError(f"repetition_penalty must be above 0, got {self.repetition_penalty}")


def penalized(logits: np.ndarray, seen: Sequence[int] | np.ndarray, penalty: float) -> np.ndarray:
    """(v,) logits with those of `seen` tokens divided by the penalty where positive, multiplied where negative."""
    if penalty == 1 or not len(seen):
        return logits
    result, at = logits.copy(), np.unique(np.asarray(seen, np.int64))
    result[at] = np.where(result[at] < 0, result[at] * penalty, result[at] / penalty)
    return result


def distribution(logits: np.ndarray, settings: GenerationConfig) -> tuple[np.ndarray, np.ndarray]:
    """(ids, probabilities) float64 of the tokens that may come, after temperature, top-k and top-p.

    With top-k or top-p from the likeliest to the least, equal ones by id; else all by id.  -inf never comes.
    """
    scores = logits.astype(np.float64) / settings.temperature
    limited = settings.top_k is not None and settings.top_k < len(scores)
    if limited:
        assert settings.top_k is not None
        least = np.partition(scores, len(scores) - settings.top_k)[len(scores) - settings.top_k]
        ids = np.flatnonzero(scores >= least)
        scores = scores[ids]
    else:
        ids = np.arange(len(scores))
    mass = np.exp(scores - scores.max())
    mass /= mass.sum()
    if settings.top_p < 1:
        kept = _likeliest(mass, settings.top_p)
        ids, mass = ids[kept], mass[kept]
        return ids, mass / mass.sum()
    if limited:
        order = np.argsort(-mass, kind="stable")
        return ids[order], mass[order]
    return ids, mass


def _likeliest(mass: np.ndarray, top_p: float) -> np.ndarray:
    """The fewest tokens, likeliest first, whose probabilities reach `top_p`.

    They are among those above a bound whose sum is more than that, so few are sorted: sorting all is slow.
    """
    bound, least = FIRST_BOUND, (1 - top_p) / len(mass) / 2
    while bound > least:
        best = np.flatnonzero(mass >= bound)
        if mass[best].sum() > top_p:
            return best[_cut(mass[best], top_p)]
        bound /= 8
    return _cut(mass, top_p)


def _cut(mass: np.ndarray, top_p: float) -> np.ndarray:
    order = np.argsort(-mass, kind="stable")
    before = np.cumsum(mass[order]) - mass[order]
    return order[:max(1, int(np.count_nonzero(before < top_p)))]


def choose(logits: np.ndarray, settings: GenerationConfig, seen: Sequence[int] | np.ndarray, *key: int | str) -> int:
    """The next token after `seen`: the likeliest (the first of equal ones), or one that `key` and the seed fix."""
    return pick(logits, settings, seen, (seed_for(settings.seed, "generate", *key) >> 11) * 2.0**-53)


def pick(logits: np.ndarray, settings: GenerationConfig, seen: Sequence[int] | np.ndarray, share: float) -> int:
    """`choose` with the draw given: the first token at which the probabilities sum up to more than `share`, 0..1."""
    scores = penalized(logits, seen, settings.repetition_penalty)
    if settings.greedy:
        return int(scores.argmax())
    ids, mass = distribution(scores, settings)
    sums = np.cumsum(mass)
    return int(ids[min(int(np.searchsorted(sums, share * sums[-1], side="right")), len(ids) - 1)])


def row_keys(prompts: Sequence[Sequence[int] | np.ndarray]) -> list[tuple[str, int]]:
    """What makes the draws of each row its own: the prompt, and how often the same one stood before it.

    So a row's text does not depend on what else is written at the same time, and a prompt given twice goes on in two
    ways.
    """
    times: dict[str, int] = {}
    keys = []
    for prompt in prompts:
        digest = hashlib.blake2b(np.asarray(prompt, np.int64).tobytes(), digest_size=8).hexdigest()
        keys.append((digest, times.get(digest, 0)))
        times[digest] = times.get(digest, 0) + 1
    return keys
