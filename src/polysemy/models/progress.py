"""What a trainer of counts or word vectors says about itself while it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A moment of training: part done in 0..1, running words read so far (all passes), loss where it is known."""

    done: float
    words: int
    loss: float | None = None
