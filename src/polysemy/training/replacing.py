"""`--overwrite`: an older run makes room for a new one, and comes back unless the new one begins."""
from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from polysemy.artifact import read_json
from polysemy.errors import InputError
from polysemy.training.lock import folder_lock
from polysemy.training.record import CHECKPOINTS, NAME, empty_of_runs

MODEL = "config.json"


@contextlib.contextmanager
def replacing(folder: Path, overwrite: bool = True) -> Iterator[None]:
    """Within the block the folder is free for a new run; the old one waits beside it and goes once the new one began.

    When the block raises before a new run has left its record or its model the old one is put back.  Nothing is done
    without `overwrite`, for a folder without a run, and in all processes of torchrun but the first.  InputError for a
    folder that holds something else, or a run that is in use.
    """
    if not overwrite or int(os.environ.get("RANK", "0")) or not folder.exists() or _is_free(folder):
        yield
        return
    with folder_lock(folder):  # or somebody trains there
        pass
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.parent))
    folder.rename(aside / "run")
    try:
        yield
    finally:
        if not _has_run(folder):
            shutil.rmtree(folder, ignore_errors=True)
            (aside / "run").rename(folder)
        shutil.rmtree(aside, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    """Whether nothing is lost when a run begins in a folder; InputError when it holds what is no run."""
    if folder.is_dir() and empty_of_runs(folder):
        return True
    if not folder.is_dir() or not _has_run(folder):
        raise InputError(f"--overwrite must name a run folder, got {folder}, which holds something else; choose "
                         "another name")
    return False


def _has_run(folder: Path) -> bool:
    """Whether a run was begun in a folder, or a model of ours stands there."""
    if (folder / CHECKPOINTS / NAME).is_file():
        return True
    with contextlib.suppress(InputError, OSError):
        config = read_json(folder / MODEL)
        return isinstance(config, dict) and {"format", "recipe"} <= config.keys()
    return False
