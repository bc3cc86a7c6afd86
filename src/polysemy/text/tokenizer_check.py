"""A tokenizer.json held against rules before the library sees it.

The library is fast and trusting: a damaged file can end in a panic that no `except Exception` catches, and a hostile
one in a regex that never returns or a text that grows a thousandfold. So only known parts, known patterns and
consistent vocabularies pass. Everything here is plain Python over the parsed JSON.
"""
from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from polysemy.errors import InputError
from polysemy.text.tokenizer_parts import SPACE_PATTERN, WORD_PATTERN

MAX_BYTES = 64 << 20
MAX_ENTRIES = 1 << 20
MAX_PIECE_CHARACTERS = 1024
MAX_NODES = 4096  # JSON values outside vocabulary and merges
MAX_DEPTH = 12
MAX_GROWTH = 64  # how many times longer a normalizer may make a text
MAX_WORD_CHARACTERS = 1000  # longest match is quadratic in it

NORMALIZERS = {"BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled",
               "Prepend", "Replace", "Sequence", "Strip", "StripAccents"}
PRE_TOKENIZERS = {"BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Sequence", "Split",
                  "UnicodeScripts", "Whitespace", "WhitespaceSplit"}
POST_PROCESSORS = {"BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"}
DECODERS = {"BPEDecoder", "ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Sequence", "Strip", "WordPiece"}
MODELS = ("WordPiece", "BPE", "Unigram", "WordLevel")
# patterns of widely used tokenizers, each known to run in linear time
PATTERNS = {
    WORD_PATTERN, SPACE_PATTERN, " {2,}", r"\s+", r"\s",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


@contextlib.contextmanager
def library_errors(what: str) -> Iterator[None]:
    """Turn whatever the tokenizers library raises into an InputError, its panics (a BaseException) included."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what}: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{what}: the tokenizers library gave up ({error})") from None


def parse_definition(raw: bytes, where: str) -> dict[str, Any]:
    """The checked content of a tokenizer.json; InputError with the first broken rule."""
    data = parse_json(raw, where)
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise InputError(f"{where} must be a tokenizer.json with a model, got {type(data).__name__}")
    check_definition(data, where)
    return data


def parse_json(raw: bytes, where: str) -> Any:
    """The value of a bounded JSON text that names each key once; anything else is an InputError."""
    if len(raw) > MAX_BYTES:
        raise InputError(f"{where} must be at most {MAX_BYTES >> 20} MB, got {len(raw) >> 20} MB")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where} must be JSON, got {type(error).__name__}: {error}") from error
    except _RepeatedError as error:
        raise InputError(f"{where} must name every piece and key once, got {error} twice") from error


def check_definition(data: dict[str, Any], where: str) -> None:
    """Raise InputError unless every part is known and the vocabulary is consistent."""
    for name, known in (("normalizer", NORMALIZERS), ("pre_tokenizer", PRE_TOKENIZERS),
                        ("post_processor", POST_PROCESSORS), ("decoder", DECODERS)):
        _check_part(data.get(name), name, known, where)
    _check_growth(data.get("normalizer"), where)
    _check_added(data, _check_model(data["model"], where), where)


def _check_model(model: dict[str, Any], where: str) -> dict[str, int]:
    kind = model.get("type") or _guess_type(model)
    if not isinstance(kind, str) or kind not in MODELS:
        raise InputError(f"{where}: model type must be one of {', '.join(MODELS)}, got {kind!r}")
    vocabulary = _unigram_vocabulary(model, where) if kind == "Unigram" else model.get("vocab")
    ids = _check_vocabulary(vocabulary, where)
    unknown = model.get("unk_token")
    known = isinstance(unknown, str) and unknown in ids
    if not known and (unknown is not None or kind in ("WordPiece", "WordLevel")):
        raise InputError(f"{where}: unk_token must be in the vocabulary, got {unknown!r}")
    if kind == "BPE":
        _check_merges(model, ids, where)
    if kind == "WordPiece":
        longest = model.get("max_input_chars_per_word", 100)
        if type(longest) is not int or not 0 < longest <= MAX_WORD_CHARACTERS:
            raise InputError(f"{where}: max_input_chars_per_word must be 1 to {MAX_WORD_CHARACTERS}, got {longest!r}")
    return ids


def _guess_type(model: Mapping[str, Any]) -> str | None:
    if "merges" in model:
        return "BPE"
    return "Unigram" if isinstance(model.get("vocab"), list) else "WordPiece" if "vocab" in model else None


def _check_vocabulary(vocabulary: Any, where: str) -> dict[str, int]:
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise InputError(f"{where}: vocabulary must hold pieces, got {type(vocabulary).__name__}")
    if len(vocabulary) > MAX_ENTRIES:
        raise InputError(f"{where}: vocabulary must hold at most {MAX_ENTRIES:,} pieces, got {len(vocabulary):,}")
    seen = bytearray(len(vocabulary))
    for piece, number in vocabulary.items():
        if type(number) is not int or not 0 <= number < len(seen):
            raise InputError(f"{where}: ids must be 0 to {len(seen) - 1} without holes, "
                             f"got {number!r} for {piece[:40]!r}")
        if seen[number]:
            raise InputError(f"{where}: ids must be used once, got {number} for {piece[:40]!r} and another piece")
        if len(piece) > MAX_PIECE_CHARACTERS:
            raise InputError(f"{where}: pieces must have at most {MAX_PIECE_CHARACTERS} characters, got {len(piece):,}")
        seen[number] = 1
    return vocabulary


def _unigram_vocabulary(model: Mapping[str, Any], where: str) -> dict[str, int]:
    entries = model.get("vocab")
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise InputError(f"{where}: vocabulary must be a list of at most {MAX_ENTRIES:,} [piece, score]")
    ids: dict[str, int] = {}
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
                and type(entry[1]) in (int, float) and math.isfinite(entry[1])):
            raise InputError(f"{where}: vocabulary must list [piece, finite score], got {str(entry)[:60]}")
        if entry[0] in ids:
            raise InputError(f"{where}: pieces must stand once, got {entry[0][:40]!r} twice")
        ids[entry[0]] = len(ids)
    unknown = model.get("unk_id")
    if unknown is not None and (type(unknown) is not int or not 0 <= unknown < len(ids)):
        raise InputError(f"{where}: unk_id must be an id of the vocabulary, got {unknown!r}")
    return ids


def _check_merges(model: Mapping[str, Any], ids: Mapping[str, int], where: str) -> None:
    merges = model.get("merges")
    if not isinstance(merges, list) or len(merges) > MAX_ENTRIES:
        raise InputError(f"{where}: merges must be a list of at most {MAX_ENTRIES:,} pairs")
    prefix = model.get("continuing_subword_prefix") or ""
    if not isinstance(prefix, str):
        raise InputError(f"{where}: continuing_subword_prefix must be text, got {prefix!r}")
    for number, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise InputError(f"{where}: merges must be pairs of pieces, got {str(merge)[:60]!r} as merge {number}")
        for part in (*pair, pair[0] + pair[1].removeprefix(prefix)):
            if part not in ids:
                raise InputError(f"{where}: merges must use pieces of the vocabulary, "
                                 f"got {part[:40]!r} in merge {number}")


def _check_added(data: Mapping[str, Any], ids: Mapping[str, int], where: str) -> None:
    added = data.get("added_tokens") or []
    if not isinstance(added, list) or len(added) > 10_000:
        raise InputError(f"{where}: added_tokens must be a list of at most 10,000 tokens")
    beyond: dict[int, str] = {}
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str) or not token["content"]:
            raise InputError(f"{where}: added_tokens must have a content, got {str(token)[:60]}")
        content, number = token["content"], token.get("id")
        if content in ids and number != ids[content]:
            raise InputError(f"{where}: added token {content[:40]!r} must have its id {ids[content]}, got {number!r}")
        if content not in ids:
            if type(number) is not int or number in beyond:
                raise InputError(f"{where}: added tokens must have ids of their own, "
                                 f"got {number!r} for {content[:40]!r}")
            beyond[number] = content
    for expected, number in enumerate(sorted(beyond), len(ids)):
        if number != expected:
            raise InputError(f"{where}: added tokens must go on after the vocabulary, got {beyond[number][:40]!r} at "
                             f"{number} where {expected} is next")


def _check_part(part: Any, name: str, known: set[str], where: str) -> None:
    for count, (value, depth) in enumerate(_walk(part)):
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise InputError(f"{where}: {name} must have at most {MAX_NODES} values in {MAX_DEPTH} levels")
        if not isinstance(value, dict):
            continue
        kind, pattern = value.get("type"), value.get("Regex")
        if isinstance(kind, str) and kind not in known:
            raise InputError(f"{where}: {name} must be one of {', '.join(sorted(known))}, got {kind[:40]!r}")
        if "String" in value and not (isinstance(value["String"], str) and value["String"]):
            raise InputError(f"{where}: {name} must replace or split at some text, got an empty pattern")
        if "Regex" in value and not (isinstance(pattern, str) and pattern in PATTERNS):
            raise InputError(f"{where}: {name} must use a pattern known to be safe, got {str(pattern)[:60]!r}; "
                             "other regular expressions are refused because they can run forever")


def _walk(value: Any, depth: int = 0) -> Iterator[tuple[Any, int]]:
    yield value, depth
    if depth > MAX_DEPTH:
        return
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _walk(child, depth + 1)


def _check_growth(part: Any, where: str) -> None:
    growth = 1.0
    for value, _ in _walk(part):
        if isinstance(value, dict) and value.get("type") in ("Replace", "Prepend"):
            pattern = value.get("pattern")
            old = pattern.get("String") if isinstance(pattern, dict) else None
            new = value.get("content", value.get("prepend", ""))
            growth *= max(1.0, len(str(new)) / max(1, len(old or " ")))
    if growth > MAX_GROWTH:
        raise InputError(f"{where}: normalizer must not make text more than {MAX_GROWTH} times longer, "
                         f"got up to {growth:.3g} times")


class _RepeatedError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        raise _RepeatedError(next(repr(key[:40]) for key, _ in pairs if key in seen or seen.add(key)))
    return result
