"""fastText: word vectors made of character n-grams, and a fast classifier of documents."""

from polysemy.models.fasttext.config import FasttextConfig, configure

__all__ = ["FasttextConfig", "configure"]
