"""Fast paths for training on a CPU: Numba kernels, each beside its plain torch twin and a test that holds them equal.

The twins are the definition, and what every other device runs.  `usable` decides: tensors on a CPU, Numba installed and
POLYSEMY_PLAIN unset.  Nothing else here is imported before a kernel runs.
"""
from __future__ import annotations

import functools
import importlib.util
import os

import torch
from torch import Tensor

DTYPES = torch.float32, torch.bfloat16


def usable(*tensors: Tensor) -> bool:
    """Whether kernels may serve these tensors: float32 or bfloat16 on a CPU, not while a graph is being compiled."""
    return switched_on() and not torch.compiler.is_compiling() and all(
        x.device.type == "cpu" and x.dtype in DTYPES and type(x) in (Tensor, torch.nn.Parameter) for x in tensors)


def for_training(*tensors: Tensor) -> bool:
    """Whether kernels may serve a forward that a backward follows: usable, and all of one dtype.

    Without a gradient torch is as fast, and commands that only use a model need not load Numba.
    """
    return torch.is_grad_enabled() and len({x.dtype for x in tensors}) == 1 and usable(*tensors)


def switched_on() -> bool:
    """False under POLYSEMY_PLAIN=1 or without Numba."""
    return os.environ.get("POLYSEMY_PLAIN", "") in ("", "0") and _numba()


@functools.cache
def _numba() -> bool:
    return importlib.util.find_spec("numba") is not None
