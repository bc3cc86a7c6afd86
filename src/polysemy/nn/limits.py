"""How large a config may be, so that a wrong number is refused before anything is allocated."""
from __future__ import annotations

from polysemy.errors import InputError

LIMITS: dict[str, tuple[int, int]] = {
    "vocab_size": (1, 2**24), "hidden_size": (1, 2**16), "factor_size": (1, 2**16), "intermediate_size": (1, 2**20),
    "num_layers": (1, 1024), "num_heads": (1, 1024), "num_segments": (0, 1024), "max_positions": (1, 2**20),
    "offset": (0, 2**20), "reach": (1, 2**20), "length": (1, 2**20), "rank": (1, 2**16),
    "memory": (0, 2**20),
}


def check_size(name: str, value: int | None) -> None:
    """InputError unless `value` lies within the limits of that name; None stands for "not used" and passes."""
    low, high = LIMITS[name]
    if value is not None and not low <= value <= high:
        raise InputError(f"{name} must be in {low}..{high}, got {value}")


def check_rate(name: str, value: float) -> None:
    """InputError unless `value` is in 0..1, 1 excluded."""
    if not 0 <= value < 1:
        raise InputError(f"{name} must be at least 0 and below 1, got {value}")
