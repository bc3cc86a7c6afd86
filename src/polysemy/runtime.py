"""Device, number format, threads, and randomness that has no state."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.errors import InputError

if TYPE_CHECKING:
    import numpy as np


def seed_for(*key: int | str) -> int:
    """A 64-bit number that depends on the whole key and nothing else, the same on every machine and run."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def random_for(*key: int | str) -> np.random.Generator:
    """A fresh generator for this key (`random_for(seed, "masking", step, row)`): never share or store it."""
    import numpy as np

    return np.random.Generator(np.random.Philox(key=seed_for(*key)))


def choose_device(name: str = "auto") -> str:
    """`cpu`, `cuda` or `cuda:N`; auto takes the first GPU that torch can use."""
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] != "cuda" or (not name.removeprefix("cuda").lstrip(":").isdigit() and name != "cuda"):
        raise InputError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if not torch.cuda.is_available():
        raise InputError(f"device must be one that torch can use, got {name!r}; no GPU was found, use --device cpu")
    return name


def choose_dtype(name: str = "auto", device: str = "cpu") -> str:
    """`float32` or `bfloat16`; auto is bfloat16 where the hardware multiplies it natively."""
    if name not in ("auto", "float32", "bfloat16"):
        raise InputError(f"dtype must be auto, float32 or bfloat16, got {name!r}")
    if name != "auto":
        return name
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Instruction-set names of this processor as Linux lists them; empty where that list is missing."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("flags", "features")):
                return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()


def available_threads() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(count: int | None = None) -> int:
    """Use `count` threads (all available cores when None) in torch and Numba; returns the count."""
    if count is None:
        count = int(os.environ.get("OMP_NUM_THREADS") or available_threads())
    if count < 1:
        raise InputError(f"threads must be at least 1, got {count}")
    os.environ["NUMBA_NUM_THREADS"] = os.environ.get("NUMBA_NUM_THREADS", str(max(count, available_threads())))
    import torch

    torch.set_num_threads(count)
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(count, int(os.environ["NUMBA_NUM_THREADS"])))
    return count


def environment() -> dict[str, Any]:
    """Versions and hardware that a result depends on, for config.json and reports."""
    from importlib import metadata

    versions = {}
    for name in ("polysemy", "torch", "numpy", "numba", "tokenizers", "safetensors"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "versions": versions,
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": available_threads(),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
