"""Loops compiled by Numba, whose machine code is kept on disk, so that it is made once per machine.

Importing this file imports Numba, which takes a second: import it where loops are defined, and those inside functions.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import extending, types

FAST = {"contract", "nsz", "arcp", "reassoc"}
"""what LLVM may do to floats: other orders of a sum, fused multiply-add; NaN and infinity stay what they are"""
LINE = 64
"""bytes of a line of the cache"""
MARKS = (b"machine_code", b"numba", b"compiling import")
"""one of them stands in every file that defines loops"""
njit: Any = numba.njit
intrinsic: Any = extending.intrinsic
"""an instruction given in LLVM's own words; untyped, for what it makes is called without its first argument"""


def compiled(function: Any = None, *, signature: tuple[str, ...] = (), **options: Any) -> Any:
    """The function as machine code that runs without the interpreter's lock, compiled when first called.

    With a `signature` for these types alone, and at once.  `options` are those of `numba.njit`; without a function a
    decorator that has them.
    """
    if function is None:
        return functools.partial(compiled, signature=signature, **options)
    folder = code_folder(Path(function.__code__.co_filename).parent)
    with kept_in(folder):
        return njit(*signature, nogil=True, cache=folder is not None, **options)(function)


@contextlib.contextmanager
def kept_in(folder: Path | None) -> Iterator[None]:
    """Within the block Numba keeps what it compiles in that folder."""
    settings: Any = numba.config
    before = settings.CACHE_DIR
    try:
        settings.CACHE_DIR = str(folder or before)
        yield
    finally:
        settings.CACHE_DIR = before


@functools.cache
def code_folder(*packages: Path) -> Path | None:
    """Where the machine code of a package is kept: beside its sources, or else in the user's cache; None if nowhere.

    The folder's name is a hash of the files that define loops in the package and in those it calls, for Numba itself
    does not see when another file has changed.  NUMBA_CACHE_DIR names another place.
    """
    sources = [path.read_bytes() for package in packages for path in sorted(package.glob("*.py"))]
    digest = hashlib.sha256(b"".join(source for source in sources if any(mark in source for mark in MARKS)))
    given: Any = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "polysemy"
    for base in [Path(given)] if given else [packages[0] / "__pycache__", home]:
        folder = base / f"{packages[0].name}-{digest.hexdigest()[:16]}"
        with contextlib.suppress(OSError, RuntimeError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return None


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the line of the cache at an address that will be read soon; any address will do."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic("llvm.prefetch", [place], ir.FunctionType(
            ir.VoidType(), [place, word, word, word]))
        builder.call(function, [builder.inttoptr(values[0], place), word(0), word(3), word(1)])
        return context.get_dummy_value()
    return types.void(types.uint64), code
