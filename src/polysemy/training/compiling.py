"""torch.compile where it works, plain PyTorch where it does not (no C++ compiler, an operation it cannot take)."""
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

log = logging.getLogger(__name__)


def compiled(module: Callable[..., Any]) -> Callable[..., Any]:
    """`module` compiled at its first call; when that fails, a warning says why and the plain module goes on."""
    fast: Callable[..., Any] | None = torch.compile(module, dynamic=True)

    def call(*inputs: Any) -> Any:
        nonlocal fast
        if fast is not None:
            try:
                return fast(*inputs)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                if not type(error).__module__.startswith("torch._"):
                    raise
                log.warning("torch.compile is not used (%s); training goes on without it", str(error).splitlines()[0])
                fast = None
        return module(*inputs)

    return call
