"""Counting n-grams: a language model from one pass over the text, scored in millions of words a second.

`configure` and `fit` train one, `NgramModel.load` opens it; `arpa` reads and writes the format that others speak.
Kernels are compiled when they are first used, so importing this costs little.
"""
from polysemy.models.ngram.config import NgramConfig, configure
from polysemy.models.ngram.fitting import fit
from polysemy.models.ngram.model import NgramModel, Perplexity, WordScore

__all__ = ["NgramConfig", "NgramModel", "Perplexity", "WordScore", "configure", "fit"]
