"""GloVe: words that occur together are counted once, then vectors are fitted to the logarithms of the counts."""

from polysemy.models.glove.config import GloveConfig, configure

__all__ = ["GloveConfig", "configure"]
