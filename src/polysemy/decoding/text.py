"""Text in, text out, while it is being written: pieces that can be printed as they come."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from polysemy.decoding.autoregressive import Token, write
from polysemy.decoding.reading import Predicts
from polysemy.decoding.sampling import GenerationConfig
from polysemy.decoding.written import Ended, Text
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


def write_texts(model: Predicts, tokenizer: Tokenizer, texts: Sequence[Text], settings: GenerationConfig,
                length: int | None = None) -> Iterator[tuple[int, str]]:
    """What `model` writes after each prompt, all at once: (row, piece) as pieces come; `texts` hold what there is.

    A text ends at the mark of the next document, which is not part of it.  A prompt that the model cannot read is an
    error at once, before the first piece.
    """
    prompts = [prompt_ids(tokenizer, text.prompt) for text in texts]
    events = write(model, prompts, settings, stop=(tokenizer.sep_id,), banned=unwanted(tokenizer), length=length)
    return _pieces(events, texts, [Unfolding(tokenizer, ids.tolist()) for ids in prompts])


def _pieces(events: Iterator[Token], texts: Sequence[Text], unfolding: Sequence[Unfolding]
            ) -> Iterator[tuple[int, str]]:
    for event in events:
        text = texts[event.row]
        if event.id is None:
            text.ended = event.ended
            piece = unfolding[event.row].finish()
        else:
            text.ids.append(event.id)
            piece = unfolding[event.row].add(event.id)
        if piece:
            text.pieces.append(piece)
            yield event.row, piece


class Stream(Iterator[str]):
    """`write_texts` for one prompt: the pieces, as they come; `ended` says why there are no more."""

    def __init__(self, model: Predicts, tokenizer: Tokenizer, prompt: str, settings: GenerationConfig,
                 length: int | None = None) -> None:
        self.text = Text(prompt)
        self._pieces = write_texts(model, tokenizer, [self.text], settings, length)

    @property
    def ids(self) -> list[int]:
        """Tokens written so far."""
        return self.text.ids

    @property
    def ended(self) -> Ended | None:
        return self.text.ended

    def __next__(self) -> str:
        return next(self._pieces)[1]


def stream(model: Predicts, tokenizer: Tokenizer, prompt: str, settings: GenerationConfig,
           length: int | None = None) -> Stream:
    """What `model` writes after `prompt`, piece by piece: `for piece in stream(...): print(piece, end="")`."""
    return Stream(model, tokenizer, prompt, settings, length)
