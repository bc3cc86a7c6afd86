"""How a Transformer is told the order of its words: four ways, their formulas and what each of them promises."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch

from polysemy.errors import InputError
from polysemy.nn.position import Rotary, rotation, sinusoid

SHIFTS = (0, 1, 4, 16, 64)
"""distances at which sinusoids and turned vectors are compared"""
PLACES = (0, 7, 100)
"""positions of the first of two"""


def positions(size: int = 64, length: int = 128) -> dict[str, Any]:
    """The sinusoids (length, size), and products of two positions at SHIFTS from each of PLACES; deterministic.

    `sinusoid` are products of the position vectors; `rotary` of one query and one key, turned by their positions:
    along a row (one shift, several places) all numbers are equal, for both say distance and not place.
    """
    if size < 2 or size % 2:
        raise InputError(f"size must be an even number from 2 on, got {size}")
    if length < 2:
        raise InputError(f"length must be at least 2, got {length}")
    table = sinusoid(torch.arange(length), size)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, size, generator=generator, dtype=torch.float64)
    rows = [{"shift": shift,
             "sinusoid": [_product(place, place + shift, size) for place in PLACES],
             "rotary": [_turned(query, place) @ _turned(key, place + shift) for place in PLACES]} for shift in SHIFTS]
    return {"size": size, "length": length, "places": list(PLACES), "table": table.tolist(),
            "norms": sorted({round(float(norm), 9) for norm in table.square().sum(1)}),
            "rows": [{name: [float(x) for x in value] if isinstance(value, list) else value
                      for name, value in row.items()} for row in rows],
            "plain": float(query @ key), "shift_error": shift_error(size)}


def shift_error(size: int, shift: int = 5, length: int = 200) -> float:
    """How far PE(p + shift) is from a fixed matrix times PE(p), at most: a rotation of each pair of columns."""
    table = sinusoid(torch.arange(length + shift), size).numpy()
    angles = shift * 10_000.0 ** (-np.arange(0, size, 2) / size)
    sines, cosines = table[:length, 0::2], table[:length, 1::2]
    moved = np.stack([sines * np.cos(angles) + cosines * np.sin(angles),
                      cosines * np.cos(angles) - sines * np.sin(angles)], -1).reshape(length, size)
    return float(np.abs(moved - table[shift:]).max())


def told(found: dict[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Sentences, and a row a shift: the products from each place, first of sinusoids and then of turned vectors."""
    lines = [
        f"sinusoids, {found['size']} wide: every position has squared length {found['norms'][0]:g}, half the width",
        f"a step of 5 is one fixed rotation of them, to within {found['shift_error']:.0e}",
        f"rotary turns one query and one key (product {found['plain']:.3f} unturned) by their positions",
        "a number depends on the distance alone: each row says the same thing at every place",
    ]
    rows = [(str(row["shift"]), *(f"{value:.3f}" for name in ("sinusoid", "rotary") for value in row[name]))
            for row in found["rows"]]
    return lines, rows


def _product(one: int, other: int, size: int) -> torch.Tensor:
    first, second = sinusoid(torch.tensor([one, other]), size)
    return first @ second


def _turned(x: torch.Tensor, position: int) -> torch.Tensor:
    found = rotation(Rotary(), torch.tensor([[position]]), len(x), torch.float64)
    return found.turn(x[None, None, None])[0, 0, 0]
