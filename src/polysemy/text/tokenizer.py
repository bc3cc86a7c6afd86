"""One tokenizer class over the tokenizers library: train, load, save, encode with character offsets, decode.

Offsets are characters of the given text. A piece's span never includes the white space around it: the mark that stands
for a space has an empty span where the next character begins. Several pieces may share one character (its bytes in
`bytebpe`): they have the same span.

Text is text: "[MASK]" or "<s>" typed by a user is plain characters, in every kind of file, unless `special=True`.
"""
from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polysemy.artifact import write_bytes, write_json
from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.text import tokenizer_parts as parts
from polysemy.text.encoding import Encoding, Flat, check_texts, joined, slices, trim_spans
from polysemy.text.tokenizer_check import library_errors

MAX_CHARACTERS = 10_000_000
SLICE_CHARACTERS = 2_000_000  # encode_many works through so many at a time

@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Config):
    """What to train; equal text and config give an equal file."""

    kind: Literal["wordpiece", "bpe", "bytebpe", "unigram", "word", "space"] = "wordpiece"
    """how words are cut: wordpiece (BERT), bpe (characters), bytebpe (RoBERTa, GPT-2), unigram (ALBERT); not at all:
    word (words and signs), space (what stands between spaces)"""
    vocab_size: int = 8000
    """pieces at most, special tokens included; a small text gives fewer"""
    lowercase: bool | None = None
    """turn text to lower case (wordpiece: and drop accents); none: yes for wordpiece and unigram, else no"""
    min_frequency: int = 2
    """a pair seen less often is not merged (unigram has its own rule)"""
    coverage: float = 0.9999
    """share of the text's characters that get a piece of their own; the rarest become unknown (not in bytebpe)"""
    prefix_space: bool = False
    """bytebpe: treat the first word of a text like one after a space"""
    marks: bool = False
    """add [S] and [/S], which may enclose a hidden span"""
    sample_megabytes: int = 16
    """text kept in memory for training; more is sampled evenly"""

    def check(self) -> None:
        least = 256 + 7 if self.kind == "bytebpe" else 16
        if not least <= self.vocab_size <= 1_000_000:
            raise InputError(f"vocab_size must be {least} to 1000000 for {self.kind}, got {self.vocab_size}")
        if self.min_frequency < 1:
            raise InputError(f"min_frequency must be at least 1, got {self.min_frequency}")
        if not 0 < self.coverage <= 1:
            raise InputError(f"coverage must be above 0 and at most 1, got {self.coverage}")
        if not 1 <= self.sample_megabytes <= 4096:
            raise InputError(f"sample_megabytes must be 1 to 4096, got {self.sample_megabytes}")
        if self.prefix_space and self.kind != "bytebpe":
            raise InputError(f"prefix_space must be false for {self.kind}, got true; it belongs to bytebpe")

    @property
    def lowercased(self) -> bool:
        """`lowercase` with the kind's own habit filled in."""
        return self.kind in ("wordpiece", "unigram") if self.lowercase is None else self.lowercase


class Tokenizer:
    """A trained tokenizer. Made by `train` or `load`; immutable; can be pickled to worker processes.

    `roles` names the special tokens by what they do (pad, unk, cls, sep, mask; RoBERTa's <s> is cls, </s> is sep);
    `notes` holds sentences about the training that a user should see.
    """

    def __init__(self, definition: str, roles: Mapping[str, str], notes: Sequence[str] = ()) -> None:
        self.definition = definition
        self.roles = dict(roles)
        self.notes = tuple(notes)
        self.max_characters = MAX_CHARACTERS
        self._plain = _backend(definition, plain=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self.definition, self.roles, self.notes)

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig | None = None) -> Tokenizer:
        """Learn a tokenizer from a stream of texts in one pass and bounded memory.

        Nothing but white space is an InputError; too little text for vocab_size is a note.
        """
        from polysemy.text.tokenizer_training import train_definition

        definition, roles, notes = train_definition(texts, config or TokenizerConfig())
        return cls(_canonical(json.loads(definition)), roles, notes)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a folder or file: tokenizer.json, BERT's vocab.txt, GPT-2's vocab.json + merges.txt, a .model.

        A damaged or hostile file is an InputError, found before the library or the machine suffers from it.
        """
        from polysemy.text.tokenizer_files import read_tokenizer

        definition, roles = read_tokenizer(path)
        return cls(_canonical(definition), roles)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and the two small files that let transformers' AutoTokenizer open the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        special = {f"{role}_token": name for role, name in self.roles.items()}
        segments = [] if self.roles.get("mask") == "<mask>" else ["token_type_ids"]  # RoBERTa has none
        config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", **special,
                                  "clean_up_tokenization_spaces": False, "model_max_length": 10**9,
                                  "model_input_names": ["input_ids", *segments, "attention_mask"]}
        write_bytes(folder / "tokenizer.json", (self.definition + "\n").encode())
        write_json(folder / "tokenizer_config.json", config)
        write_json(folder / "special_tokens_map.json", special)

    # text to ids

    def encode(self, text: str, *, special: bool = False) -> Encoding:
        """Ids and spans of one text, without [CLS] and [SEP].

        With special=True the names of special tokens in the text become those tokens, for text written by us.
        """
        return Encoding(*self.encode_many([text], special=special)[:3])

    def encode_batch(self, texts: Sequence[str], *, special: bool = False) -> list[Encoding]:
        """`encode` of each text."""
        ids, starts, ends, splits = self.encode_many(texts, special=special)
        return [Encoding(ids[a:b], starts[a:b], ends[a:b])
                for a, b in zip(splits[:-1].tolist(), splits[1:].tolist(), strict=True)]

    def encode_many(self, texts: Sequence[str], *, special: bool = False) -> Flat:
        """All texts in four flat arrays: ids, starts, ends (int32) and row_splits (int64, len(texts) + 1)."""
        check_texts(texts, self.max_characters)
        return joined([self._encode_slice(piece, special) for piece in slices(texts, SLICE_CHARACTERS)])

    def _encode_slice(self, texts: Sequence[str], special: bool) -> Flat:
        backend = self._special if special else self._plain
        with library_errors("text must be valid Unicode that the tokenizer can read"):
            encodings = backend.encode_batch(list(texts), add_special_tokens=False)
        splits = np.concatenate([[0], np.cumsum([len(encoding) for encoding in encodings])]).astype(np.int64)
        total = int(splits[-1])
        ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), np.int32, total)
        edges = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in encodings))
        spans = np.fromiter(edges, np.int32, 2 * total).reshape(-1, 2)
        starts, ends = trim_spans(texts, spans[:, 0].copy(), spans[:, 1].copy(), splits, self._marks_spaces)
        blank = self._blank[ids]
        ends[blank] = starts[blank]
        if not special and self._forbidden[ids].any():
            return self._as_characters(texts, ids, starts, ends, splits)
        return ids, starts, ends, splits

    def _as_characters(self, texts: Sequence[str], ids: np.ndarray, starts: np.ndarray, ends: np.ndarray,
                       splits: np.ndarray) -> Flat:
        """Replace special tokens that the model itself read out of plain text by one piece for each character."""
        rows: list[list[tuple[int, int, int]]] = []
        for row, text in enumerate(texts):
            pieces: list[tuple[int, int, int]] = []
            for at in range(int(splits[row]), int(splits[row + 1])):
                start, end = int(starts[at]), int(ends[at])
                if not self._forbidden[ids[at]]:
                    pieces.append((int(ids[at]), start, end))
                    continue
                for place in range(start, end):
                    number = self._plain.token_to_id(text[place])
                    pieces.append((self.unk_id if number is None else number, place, place + 1))
            rows.append(pieces)
        flat = np.array([piece for pieces in rows for piece in pieces], np.int32).reshape(-1, 3)
        lengths = [len(pieces) for pieces in rows]
        columns = (np.ascontiguousarray(flat[:, column]) for column in range(3))
        return *columns, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)  # type: ignore[return-value]

    # ids to text

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        """The text of the ids; special tokens are left out unless `special`."""
        with library_errors("ids must be decodable"):
            return self._plain.decode(self._checked(ids), skip_special_tokens=not special)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The name of each id as it stands in the vocabulary (`##ness`)."""
        return [self.vocabulary[number] for number in self._checked(ids)]

    def readable(self, ids: Iterable[int]) -> list[str]:
        """The name of each id as people read it: bytes of `bytebpe` as characters where they make whole ones.

        A space before a word stays a mark (Ġ).
        """
        names = self.pieces(ids)
        if self.kind != "bytebpe":
            return names
        shown = []
        for number, name in zip(ids, names, strict=True):
            text = name if int(number) in self.special_ids else self.decode([int(number)])
            whole = text and "\N{REPLACEMENT CHARACTER}" not in text
            shown.append(f"Ġ{text[1:]}" if whole and text[0] == " " else text if whole else name)
        return shown

    def _checked(self, ids: Iterable[int]) -> list[int]:
        numbers = [int(number) for number in ids]
        for number in numbers:
            if not 0 <= number < self.vocab_size:
                raise InputError(f"ids must be 0 to {self.vocab_size - 1}, got {number}")
        return numbers

    # the vocabulary

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every piece, by id."""
        names = [""] * self.vocab_size
        for piece, number in self._plain.get_vocab(with_added_tokens=True).items():
            names[number] = piece
        return tuple(names)

    @functools.cached_property
    def vocab_size(self) -> int:
        return self._plain.get_vocab_size(with_added_tokens=True)

    @functools.cached_property
    def kind(self) -> str:
        """wordpiece, bpe, bytebpe, unigram, word or space."""
        return _kind(json.loads(self.definition))

    def id_of(self, piece: str) -> int | None:
        """The id of a piece, or None."""
        return self._plain.token_to_id(piece)

    def has(self, role: str) -> bool:
        """Is there a special token for this role (pad, unk, cls, sep, mask)?"""
        return role in self.roles

    @property
    def pad_id(self) -> int:
        return self._role("pad")

    @property
    def unk_id(self) -> int:
        return self._role("unk")

    @property
    def cls_id(self) -> int:
        return self._role("cls")

    @property
    def sep_id(self) -> int:
        return self._role("sep")

    @property
    def mask_id(self) -> int:
        return self._role("mask")

    def _role(self, role: str) -> int:
        number = self._plain.token_to_id(self.roles[role]) if role in self.roles else None
        if number is None:
            raise InputError(f"tokenizer must have a {role} token, got one with {', '.join(self.roles) or 'none'}")
        return number

    @property
    def marks(self) -> tuple[int, int]:
        """Ids of [S] and [/S]; InputError when the tokenizer was made without them."""
        numbers = [self._plain.token_to_id(name) for name in parts.MARKS]
        if None in numbers:
            raise InputError("tokenizer must have the tokens [S] and [/S], got one without; train it with marks=true")
        return numbers[0], numbers[1]  # type: ignore[return-value]

    @functools.cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens, the unknown one included."""
        added = {number for number, token in self._plain.get_added_tokens_decoder().items() if token.special}
        return frozenset(added | {self._role(role) for role in self.roles})

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        """Ids (int64, ascending) that stand for text: no special tokens and none of BERT's [unused0]."""
        return np.array([number for number, piece in enumerate(self.vocabulary)
                         if number not in self.special_ids and not re.fullmatch(r"\[unused\d+\]", piece)], np.int64)

    def fingerprint(self) -> str:
        """sha256 of all that decides the ids; equal before saving and after loading."""
        return hashlib.sha256(self.definition.encode()).hexdigest()

    @functools.cached_property
    def _special(self) -> Any:
        return _backend(self.definition, plain=False)

    @functools.cached_property
    def _forbidden(self) -> np.ndarray:
        table = np.zeros(self.vocab_size, bool)
        table[list(self.special_ids)] = True
        if "unk" in self.roles:
            table[self.unk_id] = False
        return table

    @functools.cached_property
    def _blank(self) -> np.ndarray:
        """True for pieces that stand for white space alone and have no span."""
        marks = parts.SPACE_MARK if self._marks_spaces else "Ġ" if self.kind == "bytebpe" else ""
        return np.array([bool(marks) and piece.strip(marks) == "" for piece in self.vocabulary])

    @functools.cached_property
    def _marks_spaces(self) -> bool:
        return '"Metaspace"' in json.dumps(json.loads(self.definition).get("pre_tokenizer"))


def _backend(definition: str, plain: bool) -> Any:
    import tokenizers

    with library_errors("tokenizer.json must be one that the tokenizers library can read"):
        backend = tokenizers.Tokenizer.from_str(definition)
        backend.encode_special_tokens = plain
        backend.post_processor = None  # special tokens are the caller's, and spans are trimmed here
    return backend


def _canonical(definition: dict[str, Any]) -> str:
    """The definition as one stable text, with what would cut, pad or vary the output switched off."""
    definition["truncation"] = definition["padding"] = None
    if "dropout" in definition["model"]:
        definition["model"]["dropout"] = None
    return json.dumps(definition, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _kind(definition: Mapping[str, Any]) -> str:
    model = definition["model"].get("type")
    if model == "WordLevel":
        return "space" if (definition.get("pre_tokenizer") or {}).get("type") == "WhitespaceSplit" else "word"
    if model == "BPE":
        return "bytebpe" if '"ByteLevel"' in json.dumps(definition.get("pre_tokenizer")) else "bpe"
    return "unigram" if model == "Unigram" or isinstance(definition["model"]["vocab"], list) else "wordpiece"
