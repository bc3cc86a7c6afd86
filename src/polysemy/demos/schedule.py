"""The progressive learning rate: it climbs while the moments of the optimizer are young, then falls to the end."""
from __future__ import annotations

from typing import Any, get_args

from polysemy.errors import InputError
from polysemy.training.optimizer import Schedule, rate_factor

SHOWN = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
"""parts of the budget in the table"""


def schedule(warmup_rate: float = 0.1, points: int = 200) -> dict[str, Any]:
    """Factors of the peak rate over the budget, by schedule (linear, cosine, inverse_sqrt, constant); deterministic."""
    if not 0 <= warmup_rate < 1:
        raise InputError(f"warmup_rate must be at least 0 and below 1, got {warmup_rate}")
    if points < 2:
        raise InputError(f"points must be at least 2, got {points}")
    places = [i / (points - 1) for i in range(points)]
    return {"warmup_rate": warmup_rate, "fractions": places,
            "factors": {name: [rate_factor(place, name, warmup_rate) for place in places]
                        for name in get_args(Schedule)},
            "rows": [{"fraction": place, **{name: rate_factor(place, name, warmup_rate) for name in get_args(Schedule)}}
                     for place in SHOWN]}


def told(found: dict[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """(lines, rows of the table)."""
    lines = [f"learning rate as part of its peak: up over the first {100 * found['warmup_rate']:g} % of the budget, "
             "then as the schedule says; fine-tuning takes linear"]
    names = [name for name in found["rows"][0] if name != "fraction"]
    return lines, [(f"{row['fraction']:.0%}", *(f"{row[name]:.3f}" for name in names)) for row in found["rows"]]
