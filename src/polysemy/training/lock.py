"""One run a folder: a lock file with process and host, told apart from the remains of a dead run."""
from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polysemy.artifact import write_json
from polysemy.errors import InputError

NAME = "lock"  # artifact.finish leaves a file of this name out of a model's file list


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; InputError when a living process has it.

    A lock is stale when its process is gone from this host, or its number now belongs to a later process.
    A lock of another host cannot be judged: it is believed, and the message says what to delete.
    """
    path, mine = folder / NAME, _identity()
    with _taking_turns(folder):
        holder = _read(path)
        if holder is not None and _alive(holder):
            raise InputError(f"folder must be free, got {folder}, where process {holder['pid']} on {holder['host']} is "
                             f"training; wait for it, or delete {path} if that run is dead")
        write_json(path, mine)
    try:
        yield
    finally:
        if _read(path) == mine:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _taking_turns(folder: Path) -> Iterator[None]:
    """A short kernel lock on the folder itself, so that two starts cannot both find a stale lock and take it."""
    try:
        import fcntl
    except ImportError:  # no such lock on Windows: the file alone decides
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node(), "started": _started(os.getpid())}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
        return found if {"pid", "host"} <= found.keys() else None
    except (OSError, ValueError, AttributeError):
        return None  # absent, or the torn remains of a crash


def _alive(holder: dict[str, Any]) -> bool:
    if holder["host"] != platform.node():
        return True
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError, ValueError):
        pass
    return _started(holder["pid"]) == holder.get("started")


def _started(pid: Any) -> str | None:
    """When a process began, as this boot's clock ticks; None where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot + ":" + Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None
