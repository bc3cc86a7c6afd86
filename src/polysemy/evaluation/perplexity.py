"""How likely a model holds held-out text: perplexity and bits per byte, or their pseudo forms.

A causal model multiplies the probability of each token given those before it: a probability of the text, from which
perplexity and bits per byte follow; the latter compare across tokenizers that keep every character (an unknown-word
token hides bytes). A masked model can only be asked for each token given *all* others. The product of these is no
probability of the text (they do not sum to one over texts), it is smaller in perplexity, and long words become cheap
when their other pieces are seen. It is called pseudo here, compares among masked models with one tokenizer, and never
with a causal model.
"""
from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from polysemy.capability import Score, ScoresText
from polysemy.errors import InputError

PSEUDO = ("each token predicted from both sides: not a probability of the text; compares only among masked models with "
          "one tokenizer")
WORDS = ("words and ends of lines alone were predicted: punctuation, capital letters and words outside the vocabulary "
         "hide bytes, so there are no bits per byte")

UNKNOWN = ("some words are unknown to the tokenizer and hide what stands there, so there are no bits per byte; with "
           "tokenizer.kind=bytebpe there are")


@runtime_checkable
class KnowsWords(Protocol):
    """A causal model of a closed vocabulary of words, which can leave unknown ones out."""

    def perplexity(self, texts: Sequence[str]) -> Any: ...


def perplexity(model: ScoresText, texts: Sequence[str], *,
               progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Summed scores of some texts, as plain values.

    For a causal model: perplexity (a token), word_perplexity, bits_per_byte. For a masked one: pseudo_perplexity,
    pseudo_word_perplexity, pseudo_bits_per_byte, and bits_per_byte None, with a note. For a model of words also
    perplexity_without_oov and the number of unknown words, and no bits per byte. Texts without tokens are left
    out; InputError where none is left. progress, if given, is called with (done, all).
    """
    scores: list[Score] = []
    for number, text in enumerate(texts, 1):
        score = model.score(text)
        if score.tokens:
            scores.append(score)
        if progress is not None:
            progress(number, len(texts))
    if not scores:
        raise InputError(f"texts must hold tokens to score, got none in {len(texts)} texts")
    pseudo = scores[0].pseudo
    total = math.fsum(score.log_probability for score in scores)
    if math.isnan(total):
        raise InputError("scores must be numbers, got NaN; the model's weights are damaged")
    tokens, words, size = (sum(getattr(score, name) for score in scores) for name in ("tokens", "words", "bytes"))
    prefix = "pseudo_" if pseudo else ""
    result: dict[str, Any] = {
        f"{prefix}perplexity": _exp(-total / tokens), f"{prefix}word_perplexity": _exp(-total / max(words, 1)),
        f"{prefix}bits_per_byte": _finite(-total / math.log(2) / max(size, 1))}
    unknown = sum(score.unknown for score in scores)
    if unknown:
        result |= {"bits_per_byte": None, "unknown": unknown, "note": UNKNOWN}
    if pseudo:
        result |= {"bits_per_byte": None, "note": PSEUDO}
    elif isinstance(model, KnowsWords):
        apart = model.perplexity(texts)
        result |= {"perplexity_without_oov": apart.without_unknown, "oov": apart.unknown, "bits_per_byte": None,
                   "note": WORDS}
    digest = hashlib.sha256("\n".join(texts).encode("utf-8", "replace")).hexdigest()
    return {**result, "text_hash": digest, "log_probability": _finite(total), "tokens": tokens, "words": words,
            "bytes": size, "texts": len(scores), "pseudo": pseudo}


def _exp(value: float) -> float | None:
    return math.exp(value) if value < 700 else None  # None in JSON: larger than any float, or infinite


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
