"""What the fast encoder knows about a tokenizer: class and normal form of each character, and the vocabulary in arrays.

The classes are not written down here: each is asked of the library, once for each character that is met, by running its
own normalizer and pre-tokenizer on that character beside a letter and a digit. So they follow the library's Unicode
tables. A character whose effect depends on its neighbours (combining marks under NFKC, Hangul letters) is INTRICATE:
the run of text around it, up to white space, is left to the library.
"""
from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polysemy.text import tokenizer_parts as parts
from polysemy.text.learn_bpe import byte_characters
from polysemy.text.trie import Trie, flatten

if TYPE_CHECKING:
    from polysemy.text.tokenizer import Tokenizer

# classes of characters; UNSEEN is what a fresh table holds
UNSEEN, SPACE, BLANK, DELETED, ALONE, LETTER, NUMBER, OTHER, INTRICATE = range(9)
# rules by which text is cut into words
BERT_RULE, GPT2_RULE, MARKED_RULE, GPT2_SPACED_RULE = range(4)  # the last: a space before the first word too
WORDPIECE, BPE, UNIGRAM = range(3)
UNKNOWN_PENALTY = 10.0  # the library's: an unknown character scores so much below the worst piece
NUM_CHARACTERS = 0x110000
JAMO = ((0x1100, 0x11FF), (0xA960, 0xA97F), (0xD7B0, 0xD7FF))


class UnsupportedError(Exception):
    """Why a tokenizer has no fast encoder, in words."""


class Characters(NamedTuple):
    """classes[c]; forms[c] is the normal form when it is one character, else -1 - (its place in pool: length, text)."""

    classes: np.ndarray
    forms: np.ndarray
    pool: np.ndarray


class Vocabulary(NamedTuple):
    """The model in arrays; fields that a kind does not use are empty."""

    model: int
    keys: np.ndarray  # trie of the pieces
    children: np.ndarray
    ids: np.ndarray  # node -> id of the piece that ends there, or -1
    inner: int  # WordPiece: node below which the `##` pieces hang
    scores: np.ndarray  # Unigram: by id
    unknown_score: float
    pairs: np.ndarray  # BPE: hash table of left << 32 | right -> rank << 32 | result
    bytes: np.ndarray  # byte-level BPE: id of each byte, else empty
    unknown: int
    fuse: bool
    longest: int  # WordPiece: words of more characters are unknown
    space: int  # code point of the space mark, or 32 in byte-level


class Describer:
    """Asks the library for the class and normal form of single characters."""

    def __init__(self, backend: Any, rule: int, decomposes: bool) -> None:
        self.normalizer, self.cut = backend.normalizer, backend.pre_tokenizer
        self.rule, self.decomposes = rule, decomposes

    def normalize(self, text: str) -> str:
        return self.normalizer.normalize_str(text) if self.normalizer is not None else text

    def words(self, text: str) -> list[str]:
        return [word for word, _ in self.cut.pre_tokenize_str(text)]

    def describe(self, ch: str) -> tuple[int, str]:
        """(class, normal form) of one character."""
        return self._in_bert(ch) if self.rule == BERT_RULE else self._in_runs(ch)

    def _in_bert(self, ch: str) -> tuple[int, str]:
        between = self.normalize(f"a{ch}a")
        words = self.words(between)
        if between == "aa":
            return DELETED, ""
        if words == ["a", "a"]:
            return SPACE, ""
        form = "".join(words)[1:-1]
        if any(unicodedata.combining(c) for c in form) or (self.decomposes and _unassigned(ch)):
            return INTRICATE, ""
        if len(words) == 1:
            return LETTER, form
        return (ALONE, form) if len(words) == 3 else (INTRICATE, "")

    def _in_runs(self, ch: str) -> tuple[int, str]:
        if self.rule == MARKED_RULE and ch == parts.SPACE_MARK:
            return SPACE, ""
        between = self.normalize(f"a{ch}a")
        form = between[1:-1]
        if form.isspace() if self.rule == MARKED_RULE else ch == " ":
            return SPACE, form
        if not form or (self.decomposes and (_depends(ch) or any(map(_depends, form)))):
            return INTRICATE, ""
        kinds = {self._run_class(c) for c in form}
        return (kinds.pop(), form) if len(kinds) == 1 else (INTRICATE, "")

    def _run_class(self, ch: str) -> int:
        if self.rule == GPT2_RULE and len(self.words(f"? {ch}?")) == 4:  # "?", " ", ch, "?"
            return BLANK
        joined = [len(self.words(other + ch)) == 1 for other in ("a", "1", "?")]
        return (LETTER, NUMBER, OTHER)[joined.index(True)] if joined.count(True) == 1 else INTRICATE


def _unassigned(ch: str) -> bool:
    return unicodedata.category(ch) == "Cn"


def _depends(ch: str) -> bool:
    """May this character combine with its neighbours, or is it unknown to Python's Unicode version?"""
    code = ord(ch)
    return (unicodedata.category(ch) in ("Mn", "Mc", "Me", "Cn") or unicodedata.combining(ch) != 0
            or any(first <= code <= last for first, last in JAMO))


def rule_of(definition: dict[str, Any]) -> tuple[int, bool]:
    """(splitting rule, does the normalizer decompose or compose); UnsupportedError for any other make of tokenizer."""
    clean, cut, model = definition.get("normalizer"), definition.get("pre_tokenizer") or {}, definition["model"]
    if any(not token.get("special") for token in definition.get("added_tokens") or []):
        raise UnsupportedError("it has added tokens that are not special")
    if model.get("byte_fallback") or model.get("ignore_merges") or model.get("end_of_word_suffix"):
        raise UnsupportedError("its model falls back to bytes, ignores merges or marks word ends")
    if cut == {"type": "BertPreTokenizer"} and model.get("type") == "WordPiece" and clean is not None:
        if clean.get("type") == "BertNormalizer" and clean.get("clean_text"):
            stripped = clean.get("strip_accents")
            return BERT_RULE, bool(clean.get("lowercase") if stripped is None else stripped)
        raise UnsupportedError("its normalizer is not BERT's with cleaning")
    if model.get("continuing_subword_prefix") and model.get("type") == "BPE":
        raise UnsupportedError("its model marks the inside of words")
    if cut.get("type") == "ByteLevel" and model.get("type") == "BPE":
        if clean in (None, {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}) and cut.get("use_regex", True):
            return GPT2_RULE, False
        raise UnsupportedError("its byte-level text is normalized or split in another way")
    for lower in (False, True):
        ours = parts.normalizer("bpe", lower), parts.pre_tokenizer("bpe")
        if _same(clean, ours[0]) and _same(cut, ours[1]) and model.get("type") in ("BPE", "Unigram"):
            return MARKED_RULE, True
    raise UnsupportedError("its normalizer or pre-tokenizer is of another make")


def vocabulary_arrays(tokenizer: Tokenizer, definition: dict[str, Any], rule: int) -> Vocabulary:
    """The model of a supported tokenizer as arrays for the kernels."""
    model = definition["model"]
    kind = {"WordPiece": WORDPIECE, "BPE": BPE, "Unigram": UNIGRAM}[model["type"]]
    if kind == UNIGRAM:
        names = {piece: number for number, (piece, _) in enumerate(model["vocab"])}
        unknown = model["unk_id"]
    else:
        names = model["vocab"]
        unknown = names.get(model.get("unk_token"), -1)
    alphabet = byte_characters() if rule == GPT2_RULE else []
    byte_ids = np.array([names.get(ch, -1) for ch in alphabet], np.int32)
    if byte_ids.min(initial=0) < 0:
        raise UnsupportedError("its vocabulary lacks some of the 256 bytes")
    if kind != WORDPIECE and rule != GPT2_RULE and unknown < 0:
        raise UnsupportedError("it has no unknown token")
    trie, ids, inner = _trie(names, kind)
    scores = np.array([score for _, score in model["vocab"]], np.float64) if kind == UNIGRAM else _none(np.float64)
    pairs = _merge_table(model.get("merges") or [], names) if kind == BPE else np.full((2, 2), -1, np.int64)
    return Vocabulary(
        model=kind, keys=trie.keys, children=trie.children, ids=ids, inner=inner, scores=scores,
        unknown_score=float(scores.min(initial=0.0)) - UNKNOWN_PENALTY, pairs=pairs,
        bytes=byte_ids, unknown=unknown, fuse=kind == UNIGRAM or bool(model.get("fuse_unk")),
        longest=model.get("max_input_chars_per_word", 0), space=32 if rule == GPT2_RULE else ord(parts.SPACE_MARK))


def _trie(names: dict[str, int], kind: int) -> tuple[Trie, np.ndarray, int]:
    """The pieces as a tree; WordPiece's `##` pieces hang below the node of one character that no text holds."""
    inside = chr(NUM_CHARACTERS - 1)
    pieces = sorted(names, key=names.__getitem__)
    strings = [inside + piece[2:] if kind == WORDPIECE and piece.startswith("##") and len(piece) > 2 else piece
               for piece in pieces]
    text, starts = flatten([*strings, inside])
    trie = Trie(text, starts[:-1], np.diff(starts))
    by_number = np.array([*(names[piece] for piece in pieces), -1], np.int32)
    ids = np.where(trie.pieces >= 0, by_number[trie.pieces], np.int32(-1)).astype(np.int32)
    inner = int(np.flatnonzero(trie.pieces == len(pieces))[0])
    return trie, ids, inner


def _merge_table(merges: list[Any], names: dict[str, int]) -> np.ndarray:
    from polysemy.text.fast_cutting import fill_pairs

    if len(merges) >= 1 << 20:
        raise UnsupportedError("it has more than a million merges")
    split = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    lefts = np.array([names[left] for left, _ in split], np.int64)
    rights = np.array([names[right] for _, right in split], np.int64)
    results = np.array([names[left + right] for left, right in split], np.int64)
    pairs = np.full((1 << (2 * len(split) + 2).bit_length(), 2), -1, np.int64)
    fill_pairs(lefts << 32 | rights, results, pairs)
    return pairs


def _same(part: Any, built: Any) -> bool:
    return built is not None and part == json.loads(built.__getstate__())


def _none(dtype: type) -> np.ndarray:
    return np.zeros(0, dtype)
