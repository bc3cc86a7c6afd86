"""What a run was started with, kept beside its checkpoints: what may change when it goes on, and what may not."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polysemy.artifact import read_json, write_json
from polysemy.errors import InputError
from polysemy.training.lock import NAME as LOCK

NAME, CHECKPOINTS = "run.json", "checkpoints"
FIXED = ("config.recipe", "config.heads", "config.tokenizer", "config.model")
"""settings that decide the shape of the weights or the meaning of ids"""
FREE = ("dropout", "attention_dropout")
"""settings inside of those that do not"""
DESCRIBES = ("environment", "text", "tokenizer")
MACHINE = ("dtype", "processes", "threads")
"""where it runs, which a run that is done does not care about"""
MISSING = "nothing"


def check_run_folder(folder: Path, *, model: bool = False) -> bool:
    """Whether a run was begun in an output folder; InputError for a file, or for a folder that holds something else.

    With `model` a finished model counts as a run too: who asks looks at what it is.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise InputError(f"output folder must be a folder, got the file {folder}")
    begun = (folder / CHECKPOINTS / NAME).is_file() or (model and (folder / "config.json").is_file())
    if not begun and (others := _others(folder)):
        raise InputError(f"output folder must be new, empty or hold a run to go on with, got {folder} with "
                         f"{min(others)}; choose another name")
    return begun


def empty_of_runs(folder: Path) -> bool:
    """Whether a folder is empty, or holds no more than what a run makes before it begins."""
    names = {path.name for path in folder.iterdir()}
    return not names or (CHECKPOINTS in names and not _others(folder) and not (folder / CHECKPOINTS / NAME).is_file())


def _others(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCK, "text", CHECKPOINTS}


def done_before(folder: Path, part: str) -> Mapping[str, Any] | None:
    """What the finished run in an output folder was started with, as config.json keeps it under `part`; None without.

    InputError when the model there came about otherwise.
    """
    if not (folder / "config.json").is_file():
        return None
    config = read_json(folder / "config.json")
    found = config.get(part) if isinstance(config, dict) else None
    if not isinstance(found, dict):
        raise InputError(f"output folder must be new or empty, got {folder}, which holds a model; choose another name")
    return found


def refuse_another(folder: Path, old: Mapping[str, Any], record: Mapping[str, Any], names: Mapping[str, str],
                   settings: str) -> None:
    """InputError when the run in the folder began with another value of one of `names` (key: what to call it) or with
    other settings, which the records keep under the key `settings`."""
    for key, name in names.items():
        if old.get(key) != record[key]:
            raise InputError(f"{name} must be that of the run in {folder}, got another; use a new output folder")
    before = old.get(settings, {})
    for key, value in json.loads(json.dumps(record[settings])).items():
        if before.get(key) != value:
            raise InputError(f"{key} must be {before.get(key)} as in the run in {folder}, got {value}; use a new "
                             "output folder")


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Keep what the run was started with, or goes on with."""
    write_json(folder / NAME, record)


def changes_of(folder: Path, record: Mapping[str, Any], *, start: str = "model that --from names",
               new_text: str = ", or go on with new text by --from {} -o NEW") -> list[str]:
    """Where the record differs from the one that is there, if any is: each change as `key: old -> new`.

    InputError when the text or tokenizer is another one, or when a setting changed that shapes the model: it names the
    key.  Everything else (learning rate, steps, batch size ...) may change; the run is then not the one it would have
    been, which is why the changes are returned to be shown.  `start` and `new_text` are the command's own words for the
    model that it began with and for how it learns from new text.
    """
    if not (folder / NAME).exists():
        return []
    old = read_json(folder / NAME)
    for key, what in (("text_hash", "text"), ("tokenizer", "tokenizer"), ("start", start)):
        if old.get(key) != record.get(key):
            raise InputError(f"{what} must be the one that the run in {folder.parent} began with, got another; use a "
                             f"new output folder{new_text.format(folder.parent)}")
    before, now = dict(_flat(old)), dict(_flat(record))
    changes = []
    for key in sorted(before.keys() | now.keys()):
        was, becomes = before.get(key, MISSING), now.get(key, MISSING)
        if was == becomes or key.startswith(DESCRIBES) or (was == MISSING and key.startswith("config.")):
            continue  # a setting that the record lacks came with another kind, which is told, or a later version
        if key.startswith(FIXED) and not key.endswith(FREE):
            raise InputError(f"{key.removeprefix('config.')} must stay {was!r} when a run goes on, got {becomes!r}; "
                             "use a new output folder, or the old value")
        changes.append(f"{key.removeprefix('config.')}: {was} -> {becomes}")
    return changes


def refuse_when_done(folder: Path, changes: Sequence[str]) -> None:
    """InputError when a run that has nothing left to do is called with other settings: they would have no effect."""
    asked = [change for change in changes if not change.startswith(MACHINE)]
    if asked:
        raise InputError(f"settings must be those of the run in {folder}, which is done, got {'; '.join(asked)}; use "
                         "a new output folder, or a larger budget to go on")


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, value
