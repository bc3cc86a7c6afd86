"""Keep freed memory in the process, or give it back: the one where it is needed again at once, the other where not.

A training step frees and takes the same large blocks again and again.  GNU's allocator hands blocks of more than 32 MB,
and all free memory at the end of its heap, back to the system, and the next step pays for every page anew.  What lies
between blocks in use it keeps: after a text was read, that is a tenth of the text.
"""
from __future__ import annotations

import ctypes
import sys
from typing import Any

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell GNU's allocator to keep what is freed, from now on; False where there is another allocator."""
    mallopt = _gnu("mallopt")
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1) and mallopt(M_TOP_PAD, 64 << 20))


def give_back_memory() -> bool:
    """Give the system what is free now; False where nothing was, or where there is another allocator."""
    trim = _gnu("malloc_trim")
    if trim is None:
        return False
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return bool(trim(0))


def _gnu(name: str) -> Any:
    """A function of GNU's allocator; None where it is not there."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
