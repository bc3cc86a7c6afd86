"""Plain recurrent language model (Elman 1990; Mikolov et al. 2010): one tanh, no gates, so that memory fades.

The body of `lstm` with the other cell and the same sizes: what the gates are for is the difference between the two.
"""
from __future__ import annotations

from polysemy.models.lstm import recurrent
from polysemy.models.recipe import PretrainingConfig

DEVIATIONS = (
    "paper: Zaremba's settings with a plain cell; Mikolov's model has one sigmoid layer, classes of words in the "
    "output and plain gradient descent.",
    "ladder: the output is tied to the token table.",
)


def configure(size: str = "mini", preset: str = "ladder", vocab_size: int | None = None) -> PretrainingConfig:
    """The published recipe (`paper`) or that of the ladder, at one of `lstm.RECURRENT_SIZES`."""
    return recurrent("rnn", "rnn", size, preset, vocab_size)
