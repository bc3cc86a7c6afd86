"""Training a tokenizer on a stream of texts: bounded memory, and the same file from the same text.

The stream is read once. Up to `sample_megabytes` are kept: all of it, or pieces of text chosen by a hash of their
number, so that the choice depends on the text alone. Characters too rare to deserve an id are left out, so that the
vocabulary never grows beyond what was asked.

Byte-level and character BPE and WordPiece are learnt by the tokenizers library. Its WordPiece trainer numbers the `##x`
characters in the order of a hash table, which also decides ties: they are given to it in a fixed order. Its Unigram
trainer sums in such an order and cannot be fixed from outside, so that one is our own (`unigram_training`).
"""
from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from polysemy.errors import InputError
from polysemy.runtime import seed_for
from polysemy.text import tokenizer_parts as parts
from polysemy.text.tokenizer_check import library_errors

if TYPE_CHECKING:
    from polysemy.text.tokenizer import TokenizerConfig

PIECE_CHARACTERS = 100_000  # longer texts are sampled in parts of this size
WORD_CHARACTERS = 256  # longer runs without a space are cut: merging inside them is quadratic
ALPHABET_SHARE = 0.75  # of the vocabulary, at most, for single characters
NUM_CHARACTERS = 0x110000
ASCII_FROM = 512  # vocabularies of this size always hold the printable ASCII characters, seen or not


def train_definition(texts: Iterable[str], config: TokenizerConfig) -> tuple[str, dict[str, str], list[str]]:
    """(tokenizer.json text, name of each role, notes for the user) learnt from the texts."""
    sample, notes = take_sample(texts, config.sample_megabytes << 20)
    if not any(map(str.strip, sample)):
        raise InputError("texts must hold something to train a tokenizer on, got nothing but white space")
    names = parts.SPECIAL_TOKENS[config.kind]
    marks = parts.MARKS if config.marks else ()
    specials = [*names.values(), *marks]
    if config.kind not in parts.WHOLE:
        sample = [_cut_words(text) for text in sample]
    model, dropped = _train_within_size(sample, config, specials)
    with library_errors("tokenizer could not be put together"):
        built = parts.assemble(model, config.kind, names, lowercase=config.lowercased, prefix_space=config.prefix_space,
                               marks=marks)
    size = built.get_vocab_size()
    if size <= len(specials):
        raise InputError("texts must hold something to train a tokenizer on, got no letter, digit or sign")
    if dropped:
        notes.append(f"{dropped:,} rare characters have no piece of their own and become {names['unk']}")
    if size < config.vocab_size:
        notes.append(f"vocabulary has {size:,} pieces, {config.vocab_size:,} were asked: the text gives no more")
    return built.to_str(), names, notes


def _train_within_size(sample: list[str], config: TokenizerConfig, specials: list[str]) -> tuple[Any, int]:
    """(model, number of characters left out); ever fewer characters are kept until the vocabulary fits its size."""
    if config.kind in parts.WHOLE:
        return whole_words(sample, config, specials), 0
    if config.kind == "bytebpe":
        return _train_model(sample, config, specials), 0
    limit = int(ALPHABET_SHARE * (config.vocab_size - len(specials)))
    while limit > 0:
        kept, dropped = drop_rare(sample, config.coverage, limit, keep=ascii_characters(config))
        model = _train_model(kept, config, specials)
        if model is not None:
            return model, dropped
        limit = limit * 3 // 4
    raise InputError(f"vocab_size must leave room for the characters of the text, got {config.vocab_size}")


def whole_words(sample: list[str], config: TokenizerConfig, specials: list[str]) -> Any:
    """A model that knows the most frequent words, ids by falling frequency (ties by the words themselves)."""
    from tokenizers import models

    clean, cut = parts.normalizer(config.kind, config.lowercased), parts.pre_tokenizer(config.kind)
    counts: Counter[str] = Counter()
    for text in sample:
        shown = text if clean is None else clean.normalize_str(text)
        counts.update(shown.split() if config.kind == "space" else (word for word, _ in cut.pre_tokenize_str(shown)))
    found = sorted((-count, word) for word, count in counts.items()
                   if count >= config.min_frequency and word not in specials)
    words = [*specials, *(word for _, word in found[:config.vocab_size - len(specials)])]
    return models.WordLevel({word: number for number, word in enumerate(words)}, parts.SPECIAL_TOKENS["word"]["unk"])


def take_sample(texts: Iterable[str], limit: int) -> tuple[list[str], list[str]]:
    """At most `limit` UTF-8 bytes of the texts in their order, with a note when some were left out.

    Which parts stay depends on their number alone (a hash), never on a generator's state.
    """
    kept: list[tuple[int, int, str]] = []  # a heap: the part with the highest hash leaves first
    total = seen = 0
    full = False
    for number, part in enumerate(_parts(texts)):
        size = _bytes(part)
        seen += size
        total += size
        if not full and total > limit:
            full = True
            kept = [(-seed_for("tokenizer sample", n), n, text) for _, n, text in kept]
            heapq.heapify(kept)
        if not full:
            kept.append((0, number, part))
            continue
        heapq.heappush(kept, (-seed_for("tokenizer sample", number), number, part))
        while total > limit and len(kept) > 1:
            total -= _bytes(heapq.heappop(kept)[2])
    notes = [f"tokenizer was trained on a sample of {total / 2**20:,.0f} of {seen / 2**20:,.0f} MB"] if full else []
    return [text for _, _, text in sorted(kept, key=lambda item: item[1])], notes


def ascii_characters(config: TokenizerConfig) -> str:
    """The characters that get a piece even when the text lacks them: printable ASCII, where there is room for it."""
    if config.vocab_size < ASCII_FROM or config.kind == "bytebpe":
        return ""
    return "".join(ch for ch in map(chr, range(33, 127)) if not (config.lowercased and ch.isupper()))


def drop_rare(sample: list[str], coverage: float, limit: int, keep: str = "") -> tuple[list[str], int]:
    """The texts with rare characters replaced by a space, and how many characters that were.

    The most frequent characters that cover a share `coverage` of the text stay, at most `limit`, and those of `keep`.
    """
    counts = np.zeros(NUM_CHARACTERS, np.int64)
    for block in _blocks(sample):
        counts += np.bincount(_codes(block), minlength=NUM_CHARACTERS)
    counts[[ord(" "), ord("\n"), ord("\t"), ord("\r")]] = 0
    found = np.flatnonzero(counts)
    order = found[np.lexsort((found, -counts[found]))]
    covered = np.cumsum(counts[order])
    needed = int(np.searchsorted(covered, coverage * covered[-1])) + 1 if len(order) else 0
    rare = np.setdiff1d(order[min(needed, limit):], [ord(ch) for ch in (keep + keep.upper())])
    if not len(rare):
        return sample, 0
    is_rare = np.zeros(NUM_CHARACTERS, bool)
    is_rare[rare] = True
    return [_replace(text, is_rare) for text in sample], len(rare)


def _train_model(sample: list[str], config: TokenizerConfig, specials: list[str]) -> Any:
    """The trained model, or None when its single characters alone pass the size that was asked."""
    if config.kind == "unigram":
        from polysemy.text.unigram_training import train_unigram

        return train_unigram(sample, config, specials)
    if config.kind == "wordpiece":
        return _train_wordpiece(sample, config, specials)
    built = _run_library(sample, config, specials)
    return built.model if built.get_vocab_size() <= config.vocab_size else None


def _run_library(sample: list[str], config: TokenizerConfig, specials: list[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    common: dict[str, Any] = {"vocab_size": config.vocab_size, "min_frequency": config.min_frequency,
                              "show_progress": False, "special_tokens": specials,
                              "initial_alphabet": list(ascii_characters(config))}
    if config.kind == "bytebpe":
        common["initial_alphabet"] = sorted(pre_tokenizers.ByteLevel.alphabet())
    unknown = parts.SPECIAL_TOKENS[config.kind]["unk"]
    if config.kind == "wordpiece":
        model: Any = models.WordPiece(unk_token=unknown, max_input_chars_per_word=100)
        trainer: Any = trainers.WordPieceTrainer(**common, continuing_subword_prefix="##")
    else:
        model = models.BPE(unk_token=unknown)
        trainer = trainers.BpeTrainer(**common)
    built = Tokenizer(model)
    clean = parts.normalizer(config.kind, config.lowercased)
    if clean is not None:
        built.normalizer = clean
    built.pre_tokenizer = parts.pre_tokenizer(config.kind, config.prefix_space)
    with library_errors("tokenizer could not be trained"):
        built.train_from_iterator(sample, trainer, length=len(sample))
    return built


def _train_wordpiece(sample: list[str], config: TokenizerConfig, specials: list[str]) -> Any:
    """WordPiece whose `##x` characters are numbered in a fixed order; repeated until the library adds no other."""
    from tokenizers import models

    inner = {"##" + ch for ch in _inner_characters(sample, config)}
    inner |= {"##" + ch for ch in ascii_characters(config) if ch.isalnum()}
    while True:
        built = _run_library(sample, config, [*specials, *sorted(inner)])
        ids = built.get_vocab()
        missed = {piece for piece in ids if _is_inner(piece)} - inner
        if not missed:
            break
        inner |= missed
    if len(ids) > config.vocab_size:
        return None
    place = {name: number for number, name in enumerate(specials)}
    order = sorted(ids, key=lambda piece: (place.get(piece, len(place)), len(piece) > 1, not _is_inner(piece),
                                           ids[piece]))
    return models.WordPiece(vocab={piece: number for number, piece in enumerate(order)},
                            unk_token=parts.SPECIAL_TOKENS["wordpiece"]["unk"], max_input_chars_per_word=100)


def _is_inner(piece: str) -> bool:
    return len(piece) == 3 and piece.startswith("##")


def _inner_characters(sample: list[str], config: TokenizerConfig) -> set[str]:
    """Normalized characters that follow another one inside a word."""
    clean, cut = parts.normalizer(config.kind, config.lowercased), parts.pre_tokenizer(config.kind)
    assert clean is not None
    blocks = list(_blocks(sample))
    found = np.unique(np.concatenate([np.unique(_codes(block)) for block in blocks]))
    forms: list[str] = []  # what each becomes inside a word; empty for spaces, punctuation and Chinese
    for code in found.tolist():
        words = cut.pre_tokenize_str(clean.normalize_str("a" + chr(code)))
        forms.append(words[0][0][1:] if len(words) == 1 else "")
    joins = np.array([form != "" for form in forms])
    numbers = np.zeros(NUM_CHARACTERS, np.int32)
    numbers[found] = np.arange(len(found))
    follows = np.zeros(len(found), bool)
    for block in blocks:
        codes = numbers[_codes(block)]
        follows[codes[1:][joins[codes[:-1]] & joins[codes[1:]]]] = True
    after = {ch for form, inside in zip(forms, follows.tolist(), strict=True) if inside for ch in form}
    return after | {ch for form in forms for ch in form[1:]}


def _parts(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"texts must be strings, got {type(text).__name__}")
        start = 0
        while len(text) - start > PIECE_CHARACTERS:
            space = text.rfind(" ", start + 1, start + PIECE_CHARACTERS)
            stop = space if space > 0 else start + PIECE_CHARACTERS
            yield text[start:stop]
            start = stop
        yield text[start:]


def _blocks(sample: list[str], characters: int = 1 << 22) -> Iterator[str]:
    """The texts joined by spaces into few large strings."""
    block: list[str] = []
    size = 0
    for text in sample:
        block.append(text)
        size += len(text)
        if size >= characters:
            yield " ".join(block)
            block, size = [], 0
    yield " ".join(block)


def _cut_words(text: str) -> str:
    return re.sub(rf"(\S{{{WORD_CHARACTERS}}})(?=\S)", r"\1 ", text)


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _replace(text: str, unwanted: np.ndarray) -> str:
    codes = _codes(text)
    hit = unwanted[codes]
    return np.where(hit, np.uint32(32), codes).tobytes().decode("utf-32-le") if hit.any() else text


def _bytes(text: str) -> int:
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InputError(f"texts must be valid Unicode, got a lone surrogate at character {error.start:,}; "
                         "read the file with errors='replace'") from error
