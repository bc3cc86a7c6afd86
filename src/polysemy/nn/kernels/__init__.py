"""Fast paths for training on a CPU: Numba kernels, each beside its plain torch twin and a test that holds them equal.

The twins are the definition, and what every other device runs.  `usable` decides: tensors on a CPU under Linux, Numba
installed and POLYSEMY_PLAIN unset.  Nothing else here is imported before a kernel runs.

launch      run a compiled function on torch's own threads         numbers    bfloat16, exp, log, random bits
norm        x + dropout(y + bias), layer norm, and both at once    activation activation(x + bias)
attention   inside the pieces of a flat list (tile, arrange)       table      gradient of rows that were looked up
cross_entropy  logits to losses and gradients in place             update     AdamW, LAMB
"""
from __future__ import annotations

import functools
import importlib.util
import os
import sys

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
    """False under POLYSEMY_PLAIN=1, without Numba, or where torch's threads are not to be had (other than Linux)."""
    return os.environ.get("POLYSEMY_PLAIN", "") in ("", "0") and _numba()


@functools.cache
def _numba() -> bool:
    return sys.platform.startswith("linux") and importlib.util.find_spec("numba") is not None
