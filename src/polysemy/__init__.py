"""Polysemy: train every way of representing language on your own text, judge them alike, ship the one that fits."""
from __future__ import annotations

from pathlib import Path
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(folder: str | Path) -> Any:
    """The trained model in a run folder: an object with the capabilities of its recipe (`fill`, `embed`, ...)."""
    from polysemy.models import load_run

    return load_run(Path(folder))
