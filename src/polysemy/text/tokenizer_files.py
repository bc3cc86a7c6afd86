"""Tokenizers in the file formats of others, read into one checked tokenizer.json definition.

    tokenizer.json                        the tokenizers library, as saved here or by transformers
    vocab.txt                             BERT, DistilBERT: one piece a line
    vocab.json + merges.txt               GPT-2, RoBERTa (also under their first names encoder.json and vocab.bpe)
    *.model                               sentencepiece Unigram: ALBERT, T5, XLNet (read without the package)
each also with .gz. A folder is searched in this order. What a folder's tokenizer_config.json and
special_tokens_map.json say about casing and special tokens is honoured.
"""
from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polysemy.errors import InputError
from polysemy.text import tokenizer_parts as parts
from polysemy.text.sentencepiece_file import unigram_definition
from polysemy.text.tokenizer_check import MAX_BYTES, check_definition, library_errors, parse_definition, parse_json

BPE_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
MODEL_FILES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")


def read_tokenizer(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """(definition, name of the special token of each role) of a tokenizer file or folder."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"tokenizer must be a file or folder, got {path}, which does not exist")
    file = _find(path) if path.is_dir() else path
    settings = _settings(file.parent)
    definition = _read(file, settings)
    return definition, _roles(definition, settings)


def read_bytes(path: Path) -> bytes:
    """The content of a bounded file, unpacked when its name ends in .gz."""
    try:
        with (gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")) as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} must be readable ({error.strerror or error})") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path} must be a whole gzip file, got one that is cut or damaged ({error})") from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path} must be at most {MAX_BYTES >> 20} MB, got more")
    return raw


def _find(folder: Path) -> Path:
    names = ["tokenizer.json", "vocab.txt", *(pair[0] for pair in BPE_FILES), *MODEL_FILES]
    for name in (*names, *(f"{name}.gz" for name in names)):
        if (folder / name).is_file():
            return folder / name
    models = sorted(folder.glob("*.model"))
    if len(models) == 1:
        return models[0]
    raise InputError(f"tokenizer folder must hold tokenizer.json, vocab.txt, vocab.json with merges.txt, or one "
                     f".model, got {folder}")


def _read(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    name = file.name.removesuffix(".gz")
    raw = read_bytes(file)
    if name.endswith(".model"):
        return unigram_definition(raw, str(file), settings.get("do_lower_case"))
    if name.endswith(".txt") and name != "merges.txt":
        return _from_vocab_txt(raw, str(file), settings)
    if name.endswith(".json"):
        for vocabulary, merges in BPE_FILES:
            if name == vocabulary:
                return _from_merges(raw, read_bytes(_sibling(file, merges)), str(file), settings)
        return parse_definition(raw, str(file))
    for vocabulary, merges in BPE_FILES:
        if name == merges:
            return _from_merges(read_bytes(_sibling(file, vocabulary)), raw, str(file), settings)
    raise InputError(f"tokenizer must be tokenizer.json, vocab.txt, vocab.json, merges.txt or .model, got {file}")


def _sibling(file: Path, name: str) -> Path:
    for candidate in (file.with_name(name), file.with_name(f"{name}.gz")):
        if candidate.is_file():
            return candidate
    raise InputError(f"{file} must have {name} beside it, got none")


def _from_vocab_txt(raw: bytes, where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    from tokenizers import models

    lines = [line.removesuffix("\r") for line in _text(raw, where).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    vocabulary = {piece: number for number, piece in enumerate(lines)}
    if len(vocabulary) != len(lines):
        seen: set[str] = set()
        again = next(piece for piece in lines if piece in seen or seen.add(piece))
        raise InputError(f"{where} must hold each piece once, got {again[:40]!r} twice")
    names = {role: name for role, name in parts.SPECIAL_TOKENS["wordpiece"].items() if name in vocabulary}
    if "unk" not in names:
        raise InputError(f"{where} must be a BERT vocabulary with [UNK], got {len(lines):,} lines without it")
    lowercase = settings.get("do_lower_case", not _has_capitals(vocabulary))
    with library_errors(f"{where} must be a BERT vocabulary"):
        model = models.WordPiece(vocab=vocabulary, unk_token=names["unk"], max_input_chars_per_word=100)
        built = parts.assemble(model, "wordpiece", names, lowercase=bool(lowercase))
        return parse_definition(built.to_str().encode(), where)


def _from_merges(vocabulary_raw: bytes, merges_raw: bytes, where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    vocabulary = parse_json(vocabulary_raw, where)
    if not isinstance(vocabulary, dict):
        raise InputError(f"{where} must map pieces to ids, got {type(vocabulary).__name__}")
    lines = [line.removesuffix("\r") for line in _text(merges_raw, where).split("\n")]
    merges = [line.split(" ") for number, line in enumerate(lines) if line and not (number == 0 and line[:1] == "#"
                                                                                    and line.startswith("#version"))]
    names = {role: name for role, name in parts.SPECIAL_TOKENS["bytebpe"].items() if name in vocabulary}
    prefix_space = bool(settings.get("add_prefix_space", False))
    tokens = [{"id": vocabulary[name], "content": name, "single_word": False, "lstrip": role == "mask", "rstrip": False,
               "normalized": False, "special": True} for role, name in names.items()]
    if not names and "<|endoftext|>" in vocabulary:
        tokens = [{"id": vocabulary["<|endoftext|>"], "content": "<|endoftext|>", "single_word": False, "lstrip": False,
                   "rstrip": False, "normalized": False, "special": True}]
    processor: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": True,
                                 "use_regex": True}
    definition = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens,
        "normalizer": None, "pre_tokenizer": processor, "decoder": processor, "post_processor": processor,
        "model": {"type": "BPE", "dropout": None, "unk_token": names.get("unk"), "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocabulary, "merges": merges},
    }
    if "cls" in names and "sep" in names:
        definition["post_processor"] = {
            "type": "RobertaProcessing", "sep": [names["sep"], vocabulary[names["sep"]]],
            "cls": [names["cls"], vocabulary[names["cls"]]], "trim_offsets": True, "add_prefix_space": prefix_space}
    check_definition(definition, where)
    return definition


def _settings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            data = parse_json(read_bytes(folder / name), str(folder / name))
            if isinstance(data, dict):
                found.update(data)
    return found


def _roles(definition: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    model = definition["model"]
    known = set(model["vocab"]) if isinstance(model["vocab"], dict) else {piece for piece, _ in model["vocab"]}
    known.update(token["content"] for token in definition.get("added_tokens") or [])
    names: dict[str, str] = {}
    for role in parts.ROLES:
        said = settings.get(f"{role}_token")
        said = said.get("content") if isinstance(said, dict) else said
        options = (said, *parts.KNOWN_NAMES[role]) if isinstance(said, str) else parts.KNOWN_NAMES[role]
        found = next((name for name in options if name in known), None)
        if found is not None:
            names[role] = found
    return names


def _has_capitals(vocabulary: Mapping[str, int]) -> bool:
    return any("A" <= ch <= "Z" for piece in vocabulary if not piece.startswith(("[", "<")) for ch in piece)


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} must be UTF-8, got byte {raw[error.start]:#04x} at {error.start:,}") from error
