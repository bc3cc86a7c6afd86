"""Compile loops with Numba and keep the machine code on disk, so that it is made once per machine.

A loop that is unrolled over a size is made by a function of that size: `made = kernel(make)`, `made(128)`. The sizes
are the only thing the loop may close over, for Numba tells kept code apart by them.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import njit

FAST = {"contract", "nsz", "arcp", "reassoc"}
"""what LLVM may do to floats: other orders of a sum, fused multiply-add; NaN and infinity stay what they are"""


def compiled(function: Callable[..., Any], *, fast: bool = True, **options: Any) -> Any:
    """The function as machine code that runs without the interpreter's lock; compiled when first called.

    `fast=False` keeps every float operation as written, so that results are the same bits on every machine of a kind.
    """
    settings: Any = numba.config
    folder, before = _cache_folder(Path(function.__code__.co_filename).parent), settings.CACHE_DIR
    try:
        settings.CACHE_DIR = str(folder)
        return njit(nogil=True, cache=folder is not None, fastmath=FAST if fast else False, error_model="numpy",
                    **options)(function)
    finally:
        settings.CACHE_DIR = before


def exactly(function: Callable[..., Any]) -> Any:
    """`compiled` with every float operation as written."""
    return compiled(function, fast=False)


def inlined(function: Callable[..., Any]) -> Any:
    """A small function whose machine code is made with the loop that calls it."""
    return njit(nogil=True, error_model="numpy")(function)


def kernel(make: Callable[..., Callable[..., Any]]) -> Callable[..., Any]:
    """From a function of sizes that makes a loop: the compiled loop for these sizes, one for each set of sizes."""
    @functools.cache
    def made(*sizes: int) -> Any:
        return compiled(make(*sizes))

    return functools.wraps(make)(made)


@functools.cache
def _cache_folder(package: Path) -> Path | None:
    """Where machine code is kept: beside the sources, or else in the user's cache; None where neither can be written.

    Its name is a hash of the loops' package and of what they call, for Numba itself does not see when another file has
    changed.
    """
    here = Path(__file__).parent
    folders = {here, here.parent / "word2vec", package}
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for folder in sorted(folders) for path in sorted(folder.glob("*.py")))
    ).hexdigest()[:16]
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    for base in (here / "__pycache__", Path(home).expanduser() / "polysemy"):
        folder = base / f"vectors-{digest}"
        with contextlib.suppress(OSError, RuntimeError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return None
