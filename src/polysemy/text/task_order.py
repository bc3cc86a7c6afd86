"""The order in which an epoch of a task shows its rows: random, with rows of like length in one batch.

All is a function of (rows, batch size, seed, epoch).  Examples that share a text stay out of each other's batch where
they can: with the other examples of a batch as negatives, such a one would be a false negative.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from polysemy.runtime import random_for
from polysemy.text.task_rows import TaskRows

BLOCK = 50
"""batches whose rows are sorted by length together"""
MOST_SWAPS = 100
"""swaps that are looked for in a block, so that data of nothing but one text take no time"""

Keys = Sequence[frozenset[int]] | None


def epoch_order(rows: TaskRows, size: int, seed: int, epoch: int) -> np.ndarray:
    """All units once: a head that fills up the last batch of the epoch before, whole batches, a tail.

    The order of the batches is random, and so is which rows of like length share one.
    """
    n, keys = rows.num_units, shared_texts(rows)
    random = random_for("task batches", seed, epoch)
    order = random.permutation(n)
    head_size, tail_size = _ends(n, size, epoch)
    tail = _pick(order[::-1], tail_size, keys, set())
    before = set()
    if keys is not None and head_size and epoch:
        last = random_for("task batches", seed, epoch - 1).permutation(n)
        before = _texts(_pick(last[::-1], _ends(n, size, epoch - 1)[1], keys, set()), keys)
    head = _pick(order[~np.isin(order, tail)], head_size, keys, before)
    whole = order[~np.isin(order, np.concatenate([head, tail]))]
    groups: list[np.ndarray] = []
    for start in range(0, len(whole), BLOCK * size):
        block = whole[start:start + BLOCK * size]
        block = block[np.argsort(rows.unit_lengths[block], kind="stable")]
        groups += list(block.reshape(-1, size)) if keys is None else _apart(block.tolist(), size, keys)
    shuffled = [groups[i] for i in random.permutation(len(groups))]
    return np.concatenate([head, *shuffled, tail])


def shared_texts(rows: TaskRows) -> Keys:
    """For each unit those of its texts that other units have too; None where there are none."""
    if rows.kind != "embed":
        return None
    owners = np.repeat(np.arange(rows.num_units), np.diff(rows.units))
    pairs = np.unique(np.stack([rows.texts, owners], 1), axis=0)
    texts, counts = np.unique(pairs[:, 0], return_counts=True)
    shared = set(texts[counts > 1].tolist())
    if not shared:
        return None
    found: list[set[int]] = [set() for _ in range(rows.num_units)]
    for text, owner in pairs.tolist():
        if text in shared:
            found[owner].add(text)
    return [frozenset(own) for own in found]


def _ends(n: int, size: int, epoch: int) -> tuple[int, int]:
    """Units of an epoch before its first whole batch and after its last one."""
    head = min(-epoch * n % size, n)
    return head, (n - head) % size


def _pick(order: np.ndarray, count: int, keys: Keys, used: set[int]) -> np.ndarray:
    """The first so many units that share no text with each other or with `used`, or any where there are too few."""
    if keys is None or not count:
        return order[:count]
    chosen, others, used = [], [], set(used)
    for unit in order.tolist():
        if len(chosen) == count:
            break
        if keys[unit] & used:
            others.append(unit)
        else:
            chosen.append(unit)
            used |= keys[unit]
    return np.array((chosen + others)[:count], np.int64)


def _texts(units: Iterable[int], keys: Sequence[frozenset[int]]) -> set[int]:
    return {text for unit in units for text in keys[int(unit)]}


def _apart(block: list[int], size: int, keys: Sequence[frozenset[int]]) -> list[np.ndarray]:
    """Groups in about the order given, none with two units that share a text where that can be had."""
    groups: list[list[int]] = []
    waiting: list[int] = []
    at = 0
    for _ in range(len(block) // size):
        group, used, still = [], set(), []
        for unit in waiting:
            if len(group) < size and not keys[unit] & used:
                group.append(unit)
                used |= keys[unit]
            else:
                still.append(unit)
        waiting = still
        while len(group) < size and at < len(block):
            unit, at = block[at], at + 1
            if keys[unit] & used:
                waiting.append(unit)
            else:
                group.append(unit)
                used |= keys[unit]
        missing = size - len(group)
        group, waiting = group + waiting[:missing], waiting[missing:]
        groups.append(group)
    _swap(groups, keys)
    return [np.array(group, np.int64) for group in groups]


def _swap(groups: list[list[int]], keys: Sequence[frozenset[int]]) -> None:
    """Exchange units that still share a text with their group for units of other groups, the nearest first."""
    tries = 0
    for number in reversed(range(len(groups))):  # what could not be placed gathered at the end
        group = groups[number]
        for place in range(len(group)):
            others = _texts(group[:place] + group[place + 1:], keys)
            if not keys[group[place]] & others:
                continue
            tries += 1
            if tries > MOST_SWAPS:
                return
            found = _partner(groups, number, group[place], others, keys)
            if found is not None:
                other, at = found
                group[place], groups[other][at] = groups[other][at], group[place]


def _partner(groups: list[list[int]], number: int, unit: int, others: set[int], keys: Sequence[frozenset[int]]
             ) -> tuple[int, int] | None:
    """Where in another group a unit stands that fits here, while this one fits there."""
    for other in sorted(range(len(groups)), key=lambda place: abs(place - number)):
        if other == number:
            continue
        for at, candidate in enumerate(groups[other]):
            if not keys[candidate] & others:
                rest = groups[other][:at] + groups[other][at + 1:]
                if not keys[unit] & _texts(rest, keys):
                    return other, at
    return None
