"""The small JSON file that makes a folder of arrays a folder of shards, and the check of the arrays against it."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polysemy.artifact import flush, inside, read_json, sha256, write_json
from polysemy.errors import InputError

FORMAT = 1
MANIFEST = "shards.json"
CHECKED = "checked.json"
COUNTS = ("vocab_size", "num_tokens", "num_sentences", "num_documents", "bytes", "words")


def write_manifest(folder: Path, facts: Mapping[str, Any], files: list[str]) -> None:
    """Flush the files and describe them, with size and sha256, in shards.json."""
    listed = {}
    for name in files:
        flush(folder / name)
        listed[name] = {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
    write_json(folder / MANIFEST, {"format": FORMAT, **facts, "files": listed})
    _remember(folder, files)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The facts of a shards folder, after every listed file was found to be as it was written.

    A file is read and hashed again only when its size or time is not that of the last check, so opening is quick and a
    change behind our back is found all the same.
    """
    facts = read_json(folder / MANIFEST)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else facts
        raise InputError(f"format of {folder / MANIFEST} must be {FORMAT}, got {found!r}; prepare the text again")
    if any(type(facts.get(name)) is not int or facts[name] < 0 for name in COUNTS):
        raise InputError(f"{folder / MANIFEST} must hold the counts {', '.join(COUNTS)}; prepare the text again")
    files = facts.get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise InputError(f"{folder / MANIFEST} must list its files; prepare the text again")
    checked = _checked_before(folder)
    stale = False
    for name, entry in files.items():
        path = inside(folder, name)
        if not path.is_file() or path.stat().st_size != entry.get("bytes"):
            size = f"{path.stat().st_size:,} bytes" if path.is_file() else "nothing"
            raise InputError(f"{path} must have {entry.get('bytes')} bytes, got {size}; it was cut or removed, "
                             "delete the folder and prepare the text again")
        if checked.get(name) != _stamp(path):
            stale = True
            if sha256(path) != entry.get("sha256"):
                raise InputError(f"{path} must be as it was written, but its sha256 is another; it was changed, "
                                 "delete the folder and prepare the text again")
    if stale:
        _remember(folder, list(files))
    return facts


def _stamp(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


def _remember(folder: Path, files: list[str]) -> None:
    try:
        write_json(folder / CHECKED, {name: _stamp(folder / name) for name in files})
    except OSError:
        return  # a read-only folder is hashed at each opening


def _checked_before(folder: Path) -> dict[str, Any]:
    try:
        stamps = json.loads((folder / CHECKED).read_bytes())
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}
