"""A sentencepiece `.model` file (protocol buffer) read without the sentencepiece package, Unigram only.

Layout after sentencepiece's own sentencepiece_model.proto: field 1 the pieces (1 text, 2 score, 3 type), field 2 the
trainer's settings (3 model type, 35 byte fallback), field 3 the normalizer's (2 character map, 3 dummy prefix,
4 collapse spaces). The result uses the tokenizers library's Precompiled normalizer with the file's own character map.
Scores are summed in double precision there and in single here: a few ties in ten thousand lines fall differently.
"""
from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

from polysemy.errors import InputError
from polysemy.text import tokenizer_parts as parts
from polysemy.text.tokenizer_check import MAX_ENTRIES, check_definition

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM = 1
MAX_MAP_BYTES = 4 << 20
METASPACE = {"type": "Metaspace", "replacement": parts.SPACE_MARK, "prepend_scheme": "always", "split": True}


def unigram_definition(raw: bytes, where: str, lowercase: bool | None = None) -> dict[str, Any]:
    """The tokenizer.json definition of a Unigram `.model`; lowercase None lets the pieces decide."""
    try:
        pieces, settings, character_map = _read_model(raw)
    except (ValueError, struct.error, IndexError) as error:
        raise InputError(f"{where} must be a sentencepiece model, got a damaged file ({error})") from error
    if settings.get("model_type", UNIGRAM) != UNIGRAM:
        raise InputError(f"{where} must be a Unigram model, got sentencepiece type {settings['model_type']}; "
                         "convert it with transformers to tokenizer.json")
    unknown = [number for number, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN]
    if not pieces or len(unknown) != 1:
        raise InputError(f"{where} must be a sentencepiece model with one unknown piece, got {len(pieces):,} pieces")
    names = {text: number for number, (text, _, _) in enumerate(pieces)}
    albert = "[CLS]" in names and "[MASK]" in names
    if lowercase is None:
        lowercase = albert and not any("A" <= ch <= "Z" for text, _, kind in pieces if kind == NORMAL for ch in text)
    special = [number for number, (_, _, kind) in enumerate(pieces) if kind in (UNKNOWN, CONTROL)]
    special += [names["[MASK]"]] if albert and names["[MASK]"] not in special else []
    definition: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": number, "content": pieces[number][0], "single_word": False, "lstrip": pieces[number][0] == "[MASK]",
             "rstrip": False, "normalized": False, "special": True} for number in sorted(special)],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(character_map, albert, bool(lowercase))},
        "pre_tokenizer": dict(METASPACE),
        "post_processor": _template(names) if "[CLS]" in names and "[SEP]" in names else None,
        "decoder": dict(METASPACE),
        "model": {"type": "Unigram", "unk_id": unknown[0], "byte_fallback": bool(settings.get("byte_fallback", 0)),
                  "vocab": [[text, score] for text, score, _ in pieces]},
    }
    check_definition(definition, where)
    return definition


def _normalizers(character_map: bytes, albert: bool, lowercase: bool) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if albert:  # its Python code rewrites quotes, and takes accents off together with the case
        steps += [{"type": "Replace", "pattern": {"String": quotes}, "content": '"'} for quotes in ("``", "''")]
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}] if lowercase else []
    elif lowercase:
        steps.append({"type": "Lowercase"})
    if character_map:
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(character_map).decode()})
    return [*steps, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]


def _template(names: dict[str, int]) -> dict[str, Any]:
    def token(name: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": segment}}

    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    single = [token("[CLS]", 0), first, token("[SEP]", 0)]
    return {"type": "TemplateProcessing", "single": single, "pair": [*single, second, token("[SEP]", 1)],
            "special_tokens": {name: {"id": name, "ids": [names[name]], "tokens": [name]}
                               for name in ("[CLS]", "[SEP]")}}


def _read_model(raw: bytes) -> tuple[list[tuple[str, float, int]], dict[str, int], bytes]:
    pieces: list[tuple[str, float, int]] = []
    settings: dict[str, int] = {}
    character_map = b""
    for field, value in _fields(raw):
        if field == 1 and isinstance(value, bytes):
            if len(pieces) >= MAX_ENTRIES:
                raise ValueError(f"more than {MAX_ENTRIES:,} pieces")
            entry = dict(_fields(value))
            text, score, kind = entry.get(1, b""), entry.get(2, b"\0\0\0\0"), entry.get(3, NORMAL)
            if not (isinstance(text, bytes) and isinstance(score, bytes) and isinstance(kind, int)):
                raise ValueError("a piece with fields of the wrong type")
            pieces.append((text.decode("utf-8"), struct.unpack("<f", score)[0], kind))
        elif field == 2 and isinstance(value, bytes):
            numbers = {3: "model_type", 35: "byte_fallback"}
            settings = {numbers[f]: v for f, v in _fields(value) if f in numbers and isinstance(v, int)}
        elif field == 3 and isinstance(value, bytes):
            character_map = next((v for f, v in _fields(value) if f == 2 and isinstance(v, bytes)), b"")
            if len(character_map) > MAX_MAP_BYTES:
                raise ValueError("a character map of more than 4 MB")
    return pieces, settings, character_map


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of one protocol-buffer message: varints as int, everything else as bytes."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(raw, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, at = _varint(raw, at)
        if size is None or at + size > len(raw):
            raise ValueError(f"a field at byte {at} that does not fit")
        yield tag >> 3, raw[at:at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"a number at byte {at} that does not end")
