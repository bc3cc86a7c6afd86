"""Fast paths for training on a CPU: Numba kernels, each beside its plain torch twin and a test that holds them equal.

`usable` decides: tensors on a CPU, Numba installed, and POLYSEMY_PLAIN unset.  The twins are the definition, and what
every other device runs.  Nothing here is imported before a kernel is wanted.
"""
from __future__ import annotations

import functools
import importlib.util
import os

import torch
from torch import Tensor


def usable(*tensors: Tensor) -> bool:
    """Whether the kernels may serve these tensors (float32 or bfloat16 on a CPU, not while compiling a graph)."""
    return switched_on() and not torch.compiler.is_compiling() and all(
        x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) for x in tensors)


def switched_on() -> bool:
    """False under POLYSEMY_PLAIN=1 or without Numba."""
    return os.environ.get("POLYSEMY_PLAIN", "") in ("", "0") and _numba()


@functools.cache
def _numba() -> bool:
    return importlib.util.find_spec("numba") is not None
