"""Static word vectors in the clothes of a trained encoder, so that every task and command takes them as its control.

The pieces of a text are the words that the vectors know, cut by the rule they were learned with; unknown words are left
out of everything.  There are no special tokens, no windows and no context.  A text without a known word is one token
whose vector is zeros.
"""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from polysemy.errors import InputError
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.static_body import StaticConfig
from polysemy.models.text_model import Row, TextModel
from polysemy.models.word_vectors import WordVectors
from polysemy.text import tokenizer_parts as parts
from polysemy.text.encoding import Encoding, check_texts
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.text.vocabulary import WordConfig
from polysemy.text.words import word_bounds

RECIPE = "static"
LONGEST = 2**20
"""words read at once: any text"""
MOST_WORDS = 2**20 - 2
"""rows that a tokenizer file may name"""
JOINER = "_"
"""stands between the words of a phrase"""
_TOKENS = re.compile(r"[^ \t\n\v\f\r\0]+")


class StaticText(TextModel):
    """Words to rows of a table; embeds and is fine-tuned like an encoder.  Made by `static_text`, or from a folder."""

    def __init__(self, model: PretrainingModel, tokenizer: Tokenizer, config: PretrainingConfig) -> None:
        super().__init__(model, tokenizer, config)
        assert isinstance(config.model, StaticConfig)
        self.rule = config.model.words
        self.length = LONGEST
        special = tokenizer.special_ids
        self._numbers = {word: i for i, word in enumerate(tokenizer.vocabulary) if i not in special}

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The known words of each text with their characters; of a phrase, from its first word to its last."""
        check_texts(texts, self.tokenizer.max_characters)
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        words = cut(text, self.rule)
        if self.rule.phrases:
            words = join_phrases(words, self._numbers, text, most=2**self.rule.phrases)
        found = [(number, start, end) for word, start, end in words
                 if (number := self._numbers.get(word)) is not None]
        columns = np.array(found, np.int32).reshape(-1, 3).T
        return Encoding(*(np.ascontiguousarray(column) for column in columns))

    def row(self, first: np.ndarray, second: np.ndarray | None = None) -> Row:
        """The words, of a pair those of the second text in segment 1; a token of zeros where there are none."""
        ids = np.asarray(first if second is None else np.concatenate([first, second]), np.int64)
        segments = np.zeros(len(ids), np.int64)
        segments[len(first):] = 1
        return Row(ids, segments) if len(ids) else Row(np.array([self.tokenizer.unk_id]), np.zeros(1, np.int64))

    def specials(self, pair: bool) -> int:
        """None."""
        return 0


def static_text(vectors: WordVectors) -> StaticText:
    """The words of `vectors`, the most frequent 1,048,574 of them, as a model that tasks are trained on.

    A copy: what is learned on it leaves `vectors` as they are.  Words are cut by the rule of the vectors' vocabulary;
    vectors without one are looked up in small letters unless a capital stands in them.
    """
    names = vectors.index_to_key[:MOST_WORDS]
    if not names:
        raise InputError("vectors must hold at least one word, got none")
    vocabulary: Any = getattr(vectors, "vocabulary", None)
    rule = vocabulary.config if vocabulary is not None else WordConfig(
        lowercase=all(name == name.lower() for name in names))
    tokenizer = tokenizer_of(names, rule)
    table = torch.zeros(len(names) + 2, vectors.vector_size)
    table[:len(names)] = torch.from_numpy(np.array(vectors.vectors[:len(names)], np.float32))
    body = StaticConfig(vocab_size=len(table), hidden_size=vectors.vector_size, words=rule)
    kept = TokenizerConfig(kind="space" if rule.tokens == "space" else "word", lowercase=rule.lowercase,
                           vocab_size=min(max(16, len(table)), 1_000_000))
    config = PretrainingConfig(recipe=RECIPE, model=body, heads=(), tokenizer=kept, size="none")
    model = PretrainingModel.empty(body, ())
    model.load_state_dict({"body.embedding.weight": table}, assign=True)
    return StaticText(model, tokenizer, config)


def tokenizer_of(words: Sequence[str], rule: WordConfig) -> Tokenizer:
    """A tokenizer whose id i is word i, then a token for padding and one for nothing known.

    Other readers of its file cut nearly as `rule` says, not quite: signs and letters that touch, and phrases.
    """
    from tokenizers import models

    known = set(words)
    names = {role: _free(parts.SPECIAL_TOKENS["word"][role], known) for role in ("pad", "unk")}
    ids = {word: number for number, word in enumerate([*words, *names.values()])}
    kind = "space" if rule.tokens == "space" else "word"
    built = parts.assemble(models.WordLevel(ids, names["unk"]), kind, names, lowercase=rule.lowercase)
    definition = json.loads(built.to_str())
    return Tokenizer(json.dumps(definition, ensure_ascii=False, sort_keys=True, separators=(",", ":")), names)


def _free(name: str, known: set[str]) -> str:
    while name in known:
        name = f"[{name}]"
    return name


def cut(text: str, rule: WordConfig) -> list[tuple[str, int, int]]:
    """The words of a text, known or not, as `text.vocabulary.split_words` cuts them, each with its characters."""
    if rule.tokens == "space":
        bounds = [match.span() for match in _TOKENS.finditer(text)]
    else:
        starts, stops = word_bounds(text, rule.unit)
        bounds = list(zip(starts.tolist(), stops.tolist(), strict=True))
    lower = rule.lowercase
    return [(text[start:stop].lower() if lower else text[start:stop], start, stop) for start, stop in bounds]


def join_phrases(words: Sequence[tuple[str, int, int]], known: dict[str, int], text: str, *, most: int
                 ) -> list[tuple[str, int, int]]:
    """Words of one line that stand in the vocabulary as one, `new_york`: the longest first, at most `most` parts.

    The vectors' own rule joins pairs pass by pass; the results differ where two phrases overlap.
    """
    joined: list[tuple[str, int, int]] = []
    place = 0
    while place < len(words):
        for size in range(min(most, len(words) - place), 0, -1):
            part = words[place:place + size]
            name = JOINER.join(word for word, _, _ in part)
            if size == 1 or (name in known and "\n" not in text[part[0][1]:part[-1][2]]):
                joined.append((name, part[0][1], part[-1][2]))
                place += size
                break
    return joined
