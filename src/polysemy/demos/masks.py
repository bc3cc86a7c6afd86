"""Who may look at whom: the masks of attention as grids. A row looks, a column is looked at."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from polysemy.errors import InputError

LOOKS, HIDDEN = "■", "·"


def masks(size: int = 12, *, reach: int = 2, slots: int = 4, memory: int = 6) -> dict[str, Any]:
    """Each mask as {title, grid: rows of 0 and 1, pairs: how many 1s, note}, by name; deterministic.

    reach of the local masks to one side; slots of Linformer; memory of Transformer-XL, in positions.
    """
    for name, value, least in (("size", size, 2), ("reach", reach, 0), ("slots", slots, 1), ("memory", memory, 0)):
        if value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    at = np.arange(size)
    gap = at[:, None] - at[None, :]  # how far the key lies before the query
    long_gap = (at + memory)[:, None] - np.arange(memory + size)[None, :]
    half = math.ceil(size / 2)
    grids = {
        "full": ("full", np.ones((size, size), bool), "every position sees every other: BERT"),
        "causal": ("causal", gap >= 0, "a staircase: itself and what was before; so training can ask for every next "
                   "token at once: GPT, every decoder"),
        "packed": ("packed documents", (at[:, None] < half) == (at[None, :] < half),
                   "two documents in one row that do not see each other"),
        "local": (f"local, reach {reach}", np.abs(gap) <= reach, "neighbors only: cost grows with the length, not with "
                  "its square; layers pass on what is farther away"),
        "local causal": (f"local causal, reach {reach}", (gap >= 0) & (gap <= reach),
                         "the last few positions: what a KV cache must keep"),
        "linformer": (f"Linformer, {slots} slots", np.ones((size, slots), bool),
                      "columns are mixtures of all positions, so nothing can be hidden from the past: no causal model"),
        "memory": (f"Transformer-XL, memory {memory}", long_gap >= 0, f"the first {memory} columns are states of the "
                   "segment before, kept as they were and not trained through; nothing is compressed"),
    }
    return {name: {"title": title, "grid": grid.astype(int).tolist(), "pairs": int(grid.sum()), "note": note}
            for name, (title, grid, note) in grids.items()}


def told(found: dict[str, Any]) -> str:
    """All grids as text, one below the other."""
    blocks = []
    for mask in found.values():
        rows, columns = len(mask["grid"]), len(mask["grid"][0])
        lines = [" ".join(LOOKS if cell else HIDDEN for cell in row) for row in mask["grid"]]
        heading = f"{mask['title']}: {mask['pairs']} of {rows * columns} pairs; {mask['note']}"
        blocks.append("\n".join([heading, *lines]))
    return "\n\n".join(blocks)
