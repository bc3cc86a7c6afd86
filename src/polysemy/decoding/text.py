"""Text in, text out, while it is being written: pieces that can be printed as they come."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from polysemy.decoding.autoregressive import Ended, write
from polysemy.decoding.reading import Predicts
from polysemy.decoding.sampling import GenerationConfig
from polysemy.text.tokenizer import Tokenizer

BROKEN = "\N{REPLACEMENT CHARACTER}"
"""what the bytes of half a character decode to"""


class Unfolding:
    """Text of a growing list of ids, given out in pieces whose sum is the text of all.

    A piece is held back while it ends in half a character (byte-level pieces may be single bytes of one).
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        self.tokenizer, self.ids = tokenizer, list(before)
        self.first, self.given = max(0, len(self.ids) - 8), len(self.ids)

    def add(self, number: int) -> str:
        """The text that this id makes certain, which may be empty."""
        self.ids.append(number)
        return self._since(hold=True)

    def finish(self) -> str:
        """What was held back."""
        return self._since(hold=False)

    def _since(self, hold: bool) -> str:
        # words join differently at a beginning, so a few ids before the new ones are decoded with them
        before, now = self.tokenizer.decode(self.ids[self.first:self.given]), self.tokenizer.decode(
            self.ids[self.first:])
        if len(now) <= len(before) or (hold and now.endswith(BROKEN)):
            return ""
        self.first, self.given = self.given, len(self.ids)
        return now[len(before):]


def prompt_ids(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """The ids of a text as a document begins: the mark, then its pieces; the mark alone for an empty text."""
    return np.concatenate([[tokenizer.sep_id], tokenizer.encode(text).ids]).astype(np.int64)


def unwanted(tokenizer: Tokenizer) -> frozenset[int]:
    """Special tokens, which no text holds, but for the mark that ends a text."""
    return tokenizer.special_ids - {tokenizer.sep_id}


class Stream(Iterator[str]):
    """Pieces of the text that a model writes after `prompt`, as they come; `ended` says why there are no more.

    It ends at the mark of the next document, which is not part of the text.  Bad settings and a prompt that the model
    cannot read are errors at once, before the first piece.
    """

    def __init__(self, model: Predicts, tokenizer: Tokenizer, prompt: str, settings: GenerationConfig,
                 length: int | None = None) -> None:
        ids = prompt_ids(tokenizer, prompt)
        self.ended: Ended | None = None
        self.ids: list[int] = []
        """tokens written so far"""
        self._text = Unfolding(tokenizer, ids.tolist())
        self._events = write(model, [ids], settings, stop=(tokenizer.sep_id,), banned=unwanted(tokenizer),
                             length=length)

    def __next__(self) -> str:
        for event in self._events:
            if event.id is None:
                self.ended = event.ended
                rest = self._text.finish()
            else:
                self.ids.append(event.id)
                rest = self._text.add(event.id)
            if rest:
                return rest
        raise StopIteration


def stream(model: Predicts, tokenizer: Tokenizer, prompt: str, settings: GenerationConfig,
           length: int | None = None) -> Stream:
    """What `model` writes after `prompt`, piece by piece: `for piece in stream(...): print(piece, end="")`."""
    return Stream(model, tokenizer, prompt, settings, length)
