"""What a model does not read of what it is given: words it does not know, and what lies before its window.

Each answer is a sentence for people, or None where all is read.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHOWN, LONGEST = 5, 30
"""unknown words shown, and characters of each"""


def unknown_words(model: Any, texts: Sequence[str], name: str) -> str | None:
    """Which words (of a tokenizer that cuts words: pieces) have no number of their own; `name`: "prompt" or "text"."""
    unit, total, unknown = _known_and_not(model, texts)
    named = f"the {name}{'s' * (len(texts) > 1)}"
    if not total:
        return f"{named} held no word that the model can read" if any(text.strip() for text in texts) else None
    if not unknown:
        return None
    different = list(dict.fromkeys(word if len(word) <= LONGEST else f"{word[:LONGEST]}..." for word in unknown))
    shown = ", ".join(different[:SHOWN]) + (f" and {len(different) - SHOWN} more" if len(different) > SHOWN else "")
    are = "is" if len(unknown) == 1 else "are"
    return f"{len(unknown)} of {total} {unit} of {named} {are} unknown to the model: {shown}"


def _known_and_not(model: Any, texts: Sequence[str]) -> tuple[str, int, list[str]]:
    """(what is counted, how many there are, those unknown, in order)."""
    if not hasattr(model, "tokenizer"):
        words = [word for text in texts for line in text.split("\n") for word in model.vocabulary.split(line)]
        return "words", len(words), [word for word in words if word not in model.vocabulary]
    tokenizer = model.tokenizer
    rows = tokenizer.encode_batch(texts)
    number = tokenizer.unk_id if tokenizer.has("unk") else None
    unknown = [text[start:end] for text, row in zip(texts, rows, strict=True)
               for found, start, end in zip(*(part.tolist() for part in row), strict=True) if found == number]
    return "words" if tokenizer.kind in ("word", "space") else "pieces", sum(len(row.ids) for row in rows), unknown


def beyond_window(model: Any, prompts: Sequence[str]) -> str | None:
    """How much is read of the first prompt that a sliding window cuts; `model` is a LanguageModel."""
    from polysemy.decoding.reading import window_of
    from polysemy.decoding.text import prompt_ids

    window = window_of(model.model.body, model.length)
    counts = [len(prompt_ids(model.tokenizer, prompt)) for prompt in prompts]
    cut = [row for row, count in enumerate(counts) if window.start(count)]
    if not cut or not window.slides:
        return None
    row = cut[0]
    name = "the prompt" if len(prompts) == 1 else f"prompt {row + 1}"
    others = f"; so with {len(cut) - 1} more of {len(prompts)} prompts" if len(cut) > 1 else ""
    return (f"the last {counts[row] - window.start(counts[row])} of {counts[row] - 1} tokens of {name} are read: "
            f"the model's window holds {window.length}{others}")
