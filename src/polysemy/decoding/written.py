"""A text while it is being written: what every writer fills, and what is kept when it is stopped."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Ended = Literal["tokens", "stop", "limit"]
"""why a text ended: as many tokens as asked for; a stop token came; the model has no position for more"""


@dataclass(eq=False)
class Text:
    """A prompt and what stands after it so far."""

    prompt: str
    pieces: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    """new tokens, numbered as the model does; the last ones may not show in `pieces` yet"""
    ended: Ended | None = None
    """None while more may come"""

    def __str__(self) -> str:
        return self.prompt + "".join(self.pieces)
