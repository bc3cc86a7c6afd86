"""Checkpoints that survive anything: complete or absent, checked before they are believed, the last few and the best.

A checkpoint is a folder `step-00001000` of safetensors and JSON files.  It is built under a temporary name, its
`manifest.json` (size and sha256 of every file) is written last, everything is flushed to disk, and one rename makes it
appear.  A folder without a manifest, or one whose files differ from it, is passed over for the one before.
"""
from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from polysemy import __version__
from polysemy.artifact import load_tensors, new_folder, read_json, sha256, write_json
from polysemy.errors import InputError

FORMAT = 1
MANIFEST = "manifest.json"
NAME = re.compile(r"step-(\d{8,})$")
WRITE_ERRORS = (OSError, InputError, SafetensorError)
"""what a full or failing disk raises, from whichever library was writing"""
log = logging.getLogger(__name__)


class NewerFormatError(InputError):
    """A checkpoint that is no damage but of another version of this program."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    step: int
    score: float | None
    """held-out loss when it was taken, lower is better"""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors saved under `name`."""
        return load_tensors(self.path / f"{name}.safetensors")

    def state(self) -> dict[str, Any]:
        """The JSON state saved beside the tensors."""
        return read_json(self.path / "state.json")

    def check(self) -> None:
        """InputError when a file is missing or not as it was written; files that the manifest does not list pass."""
        for name, entry in _manifest(self.path)["files"].items():
            file = self.path / name
            if not file.is_file() or file.stat().st_size != entry["bytes"] or sha256(file) != entry["sha256"]:
                raise InputError(f"{file} must be as it was written, got a missing, cut or altered file")


class Checkpoints:
    """The `checkpoints` folder of a run; one process at a time uses it (see `lock`)."""

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder, self.keep = folder, max(keep, 1)

    @contextlib.contextmanager
    def new(self, step: int, state: Mapping[str, Any], *, score: float | None = None) -> Iterator[Path]:
        """A folder to write files into, which becomes the checkpoint of `step` when the block ends well.

        `state` is the JSON kept beside them, `score` the held-out loss.  Errors come as raised (see WRITE_ERRORS) and
        leave every older checkpoint as it was.  Afterwards those no longer kept are let go.
        """
        with new_folder(self.folder / f"step-{step:08d}", overwrite=True) as work:
            yield work
            write_json(work / "state.json", state)
            seal(work, step=step, score=score)
        self._let_go()

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; each damaged one before it is reported.

        None when there is no checkpoint at all.  InputError when all are damaged, for starting anew would hide it.
        """
        damage = None
        for path in self._folders():
            try:
                checkpoint = _open(path)
                checkpoint.check()
                return checkpoint
            except NewerFormatError:
                raise
            except InputError as error:
                damage = error
                log.warning("checkpoint %s is damaged (%s); going back to the one before", path.name, error)
        if damage is not None:
            raise InputError(f"no checkpoint in {self.folder} is whole; to start anew remove that folder ({damage})")
        return None

    def best(self) -> Checkpoint | None:
        """The one with the lowest held-out loss, the newer of equals; None when none was scored."""
        scored = [checkpoint for checkpoint in self._complete() if checkpoint.score is not None]
        return min(scored, key=lambda checkpoint: (checkpoint.score, -checkpoint.step), default=None)

    def clean(self) -> None:
        """Remove what killed saves and removals left behind."""
        for path in self.folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def _folders(self) -> list[Path]:
        """Folders with a checkpoint's name, the newest step first."""
        found = [path for path in self.folder.glob("step-*") if NAME.match(path.name) and path.is_dir()]
        return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)

    def _complete(self) -> Iterator[Checkpoint]:
        for path in self._folders():
            try:
                yield _open(path)
            except InputError:
                continue

    def _let_go(self) -> None:
        """Remove all but the newest `keep` and the best; a removal that fails is tried again after the next save."""
        best = self.best()
        for path in self._folders()[self.keep:]:
            if best is None or path != best.path:
                try:
                    gone = path.with_name(f".{path.name}.gone")
                    os.rename(path, gone)
                    shutil.rmtree(gone)
                except OSError as error:
                    log.warning("old checkpoint %s cannot be removed (%s)", path.name, error.strerror)


def seal(folder: Path, *, step: int, score: float | None) -> None:
    """Write the manifest over all files of `folder`: the last thing written, without which nothing counts."""
    files = {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
             for path in sorted(folder.rglob("*")) if path.is_file()}
    write_json(folder / MANIFEST, {"format": FORMAT, "polysemy": __version__, "step": step, "score": score,
                                   "files": files})


def _open(path: Path) -> Checkpoint:
    manifest = _manifest(path)
    if manifest["step"] != int(path.name.removeprefix("step-")):
        raise InputError(f"{path / MANIFEST} must be of this step, got that of step {manifest['step']!r}")
    return Checkpoint(path=path, step=manifest["step"], score=manifest["score"])


def _manifest(path: Path) -> dict[str, Any]:
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or not {"format", "step", "score", "files"} <= manifest.keys():
        raise InputError(f"{path / MANIFEST} must be a checkpoint's manifest, got something else")
    if manifest["format"] != FORMAT:
        foreign = manifest.get("polysemy") != __version__  # else it is a damaged number
        raise (NewerFormatError if foreign else InputError)(
            f"checkpoint format must be {FORMAT}, got {manifest['format']!r} in {path}, written by polysemy "
            f"{manifest.get('polysemy')}; use that version")
    return manifest
