"""Several processes on one batch: started by torchrun with the same command, each takes every n-th row.

Batches never depend on the number of processes, and sums of losses and gradients are taken over all of them, so a run
may go on with another number.  Two ways: DDP keeps the whole model in each process; FSDP2 (`--fsdp`) keeps a part of
weights, gradients and optimizer state in each, for models that do not fit.
"""
from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from polysemy.errors import InputError
from polysemy.nn.transformer import Sublayer
from polysemy.training.outcome import InterruptError, RunError

TIMEOUT = timedelta(hours=12)  # the others wait while one prepares the text; a process that dies is noticed at once


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes of this run; alone, every method is free."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, in float64, the same on each."""
        if self.size == 1:
            return [float(value) for value in values]
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def largest(self, value: float) -> float:
        """The largest value of all processes: a signal or an error seen by one is seen by all."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.item()

    def from_first(self, value: Any) -> Any:
        """The first process's value, on all (its clock, what it found on disk)."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, on all."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    @contextlib.contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Run a block after which all processes agree: an error in one is raised in all, so that none waits forever.

        The block must not call other processes unless all of them reach that call.
        """
        failure: BaseException | None = None
        try:
            yield
        except InterruptError:
            raise
        except Exception as error:
            failure = error
        if self.size > 1:
            errors = self.gather(None if failure is None else f"{type(failure).__name__}: {failure}")
            if failure is None and any(errors):
                rank = next(number for number, error in enumerate(errors) if error)
                raise RunError(f"{what} failed in process {rank}: {errors[rank]}")
        if failure is not None:
            raise failure


@contextlib.contextmanager
def join(device: str = "cpu") -> Iterator[World]:
    """The world that torchrun's environment describes, left at the end; alone when there is none.

    Bookkeeping goes over gloo on the CPU, gradients over NCCL between GPUs (each process takes its own GPU).
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or dist.is_initialized():
        yield World(device=device) if size == 1 else World(rank=dist.get_rank(), size=size, device=_own(device))
        return
    device = _own(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo", timeout=TIMEOUT)
    try:
        yield World(rank=dist.get_rank(), size=size, device=device)
    finally:
        dist.destroy_process_group()


def spread(model: nn.Module, world: World) -> nn.Module:
    """The module to call in place of `model`: itself when alone, else one whose backward averages over processes."""
    if world.size == 1:
        return model
    # what every process computes for itself, such as the letters of ELMo's pieces, is not sent around
    rebuilt = [name for name, _ in model.named_buffers() if name not in model.state_dict()]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, rebuilt)
    return nn.parallel.DistributedDataParallel(model)


def shard(model: nn.Module, world: World, dtype: str = "float32") -> None:
    """Leave each process a part of every parameter of `model`, in place; its backward averages over processes.

    Parts stay float32 and are gathered as `dtype` for each use: a sublayer at a time, tables and heads for the whole
    forward.  Make the optimizer afterwards.
    """
    if not dist.is_initialized():
        raise InputError("--fsdp must run under torchrun, got a single process; start it with "
                         "torchrun --nproc-per-node N -m polysemy train ...")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # the states that go on are views of them; no layer changes them in place
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(world.device.split(":")[0], (world.size,))
    policy = MixedPrecisionPolicy(param_dtype=getattr(torch, dtype), reduce_dtype=torch.float32)
    for module in list(model.modules()):
        if isinstance(module, Sublayer):
            fully_shard(module, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was applied: then only its whole forward can be called, by all processes together."""
    return hasattr(model, "set_requires_gradient_sync")


def rank_rows(num_rows: int, world: World, micro_batch_size: int | None) -> list[list[int]]:
    """This process's rows of a batch, as micro-batches; equally many on every process, so that no one waits.

    Where rows run out a micro-batch is empty.
    """
    most = -(-num_rows // world.size)
    parts = -(-most // (micro_batch_size or most))
    rows = range(world.rank, num_rows, world.size)
    size = -(-most // parts)
    return [list(rows[part * size:(part + 1) * size]) for part in range(parts)]


def _own(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    index = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(index)
    return f"cuda:{index}"
