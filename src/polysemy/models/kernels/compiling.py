"""Compile loops with Numba and keep the machine code on disk, so that it is made once per machine.

A loop that is unrolled over a size is made by a function of that size: `made = kernel(make)`, `made(128)`. The sizes
are the only thing the loop may close over, for Numba tells kept code apart by them.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

from polysemy.machine_code import FAST, code_folder, kept_in

HERE = Path(__file__).parent


def compiled(function: Callable[..., Any], *, fast: bool = True, **options: Any) -> Any:
    """The function as machine code that runs without the interpreter's lock; compiled when first called.

    `fast=False` keeps every float operation as written, so that results are the same bits on every machine of a kind.
    """
    package = Path(function.__code__.co_filename).parent
    folder = code_folder(*dict.fromkeys((package, HERE, HERE.parent / "word2vec")))
    with kept_in(folder):
        return njit(nogil=True, cache=folder is not None, fastmath=FAST if fast else False, error_model="numpy",
                    **options)(function)


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
