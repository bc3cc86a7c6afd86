"""Which layers each parameter of a body serves: what freezing and rates by depth go by."""
from __future__ import annotations

import re
from typing import Any

from polysemy.models.recipe import BodyConfig

LISTS = r"(?:transformer\.)?(attention|cross_attention|feed_forward|layers|forward_layers|backward_layers|biases)"
_NUMBERED = re.compile(rf"body\.{LISTS}\.(\d+)\.")
_BEFORE = re.compile(r"body\.(embedding|token|output|characters)\b")
_THROUGHOUT = re.compile(r"body\.transformer\.projection\b")


def layers_of(name: str, config: BodyConfig) -> tuple[int, int]:
    """(low, high): the parameter serves the layers low + 1 .. high, counted from 1.

    (0, 0) for what comes before the layers; (n, n + 1) for what comes after all n of them: final norm, mix, head.
    A sublayer that several layers share serves them all, from the lowest to the highest.
    """
    count = config.num_layers
    if found := _NUMBERED.match(name):
        kind, number = found[1], int(found[2])
        copies = _copies(kind, config)
        return -(-number * count // copies), -(-(number + 1) * count // copies)
    if _BEFORE.match(name):
        return 0, 0
    if _THROUGHOUT.match(name):
        return 0, count
    if name.startswith("body.inner."):  # NNLM's one layer
        return 0, 1
    return count, count + 1


def _copies(kind: str, config: Any) -> int:
    """How many modules the list `kind` has."""
    transformer = getattr(config, "transformer", None)
    if kind == "biases":
        return config.num_layers if config.untied else 1
    if transformer is None or kind not in ("attention", "cross_attention", "feed_forward"):
        return config.num_layers
    return transformer.copies("feed_forward" if kind == "feed_forward" else "attention")
