"""Shuffled sentences into their likeliest order, by what the sentence-order head says of every pair."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from polysemy.errors import InputError

if TYPE_CHECKING:
    from polysemy.models.text_encoder import TextEncoder

EXACT = 8
MAX_SENTENCES = 200


def order(encoder: TextEncoder, sentences: Sequence[str]) -> list[int]:
    """Indices of `sentences` in the best order: exact up to 8 sentences, insertion and exchanges beyond."""
    if len(sentences) > MAX_SENTENCES:
        raise InputError(f"sentences must be at most {MAX_SENTENCES}, got {len(sentences)}; order paragraphs apart")
    if len(sentences) < 2:
        return list(range(len(sentences)))
    return best_order(pair_scores(encoder, sentences))


@torch.inference_mode()
def pair_scores(encoder: TextEncoder, sentences: Sequence[str]) -> np.ndarray:
    """(n, n) natural log-odds that i comes before j rather than after: both readings of a pair are heard.

    Where the two do not fit, the end of the first and the beginning of the second are kept, next to their border.
    """
    encodings = encoder.encode(sentences)
    n = len(sentences)
    room = encoder.length - encoder.specials(True)
    places = [(i, j) for i in range(n) for j in range(n) if i != j]
    rows = []
    for i, j in places:
        first, second = encodings[i].ids, encodings[j].ids
        a = min(len(first), max(room // 2, room - len(second)))
        rows.append(encoder.row(first[len(first) - a:], second[:room - a]))
    odds = np.zeros((n, n))
    head = encoder.model.heads["pair"]
    for group, states in encoder.run(rows):
        assert isinstance(states, Tensor)
        at = np.arange(len(group)) * states.shape[1]
        logits = head(states, states.new_tensor(at).long()).double().cpu().numpy()
        for line, index in enumerate(group):
            odds[places[index]] = logits[line, 0] - logits[line, 1]  # label 0 is "in order"
    return (odds - odds.T) / 2


def best_order(before: np.ndarray) -> list[int]:
    """The order with the largest sum of before[a, b] / distance over its pairs; neighbors count most.

    Ties go to the order that comes first among permutations (exact) or that is found first.
    """
    n = len(before)
    if n <= EXACT:
        orders = _all_orders(n)
        return orders[int(np.argmax(_values(before, orders)))].tolist()
    found: list[int] = []
    for new in np.argsort(-before.sum(1), kind="stable").tolist():  # those that come before most others first
        tries = np.array([[*found[:i], new, *found[i:]] for i in range(len(found) + 1)])
        found = tries[int(np.argmax(_values(before, tries)))].tolist()
    return _improved(before, found)


@functools.cache
def _all_orders(n: int) -> np.ndarray:
    return np.array(list(permutations(range(n))))


def _improved(before: np.ndarray, order: list[int], rounds: int = 10) -> list[int]:
    """Move single sentences and reverse stretches (2-opt) as long as that helps."""
    n = len(order)
    value = _values(before, np.array([order]))[0]
    for _ in range(rounds):
        start = value
        for i in range(n):
            rest = [*order[:i], *order[i + 1:]]
            moves = [[*rest[:j], order[i], *rest[j:]] for j in range(n)]
            turns = [[*order[:i], *order[i:j][::-1], *order[j:]] for j in range(i + 2, n + 1)]
            tries = np.array(moves + turns)
            values = _values(before, tries)
            best = int(np.argmax(values))
            if values[best] > value + 1e-9:
                order, value = tries[best].tolist(), values[best]
        if value <= start + 1e-9:
            break
    return order


def _values(before: np.ndarray, orders: np.ndarray) -> np.ndarray:
    n = orders.shape[1]
    total = np.zeros(len(orders))
    for distance in range(1, n):
        total += before[orders[:, :-distance], orders[:, distance:]].sum(1) / distance
    return total
