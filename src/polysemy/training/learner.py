"""What learns, and how it goes to disk and back: model, optimizer and processes put together."""
from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from polysemy.artifact import save_tensors
from polysemy.models.carry import merged
from polysemy.models.recipe import TrainingConfig
from polysemy.objectives.pretraining import LossSums
from polysemy.runtime import choose_dtype
from polysemy.training.checkpoint import Checkpoint
from polysemy.training.compiling import compiled
from polysemy.training.distributed import World, is_sharded, shard, spread
from polysemy.training.optimizer import Optimizer, OptimizerConfig

CARRY, LAYOUT = "carry.safetensors", "layout"
log = logging.getLogger(__name__)


class Objective(Protocol):
    """What is minimized: `objectives.pretraining.Pretraining` or `objectives.task.TaskObjective`."""

    weights: Any
    """of each loss in the total, by name"""

    def tensors(self, batch: Any, device: str | torch.device = "cpu") -> dict[str, Tensor]:
        """What the model is given of a batch."""
        ...

    def counts(self, batch: Any) -> dict[str, float]:
        """Targets of each loss in a batch."""
        ...

    def losses(self, model: LossSums, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sums of losses by name."""
        ...

    def total(self, sums: Mapping[str, Tensor], counts: Mapping[str, float]) -> Tensor:
        """What is minimized, from the sums of a part of the batch and the counts of the whole."""
        ...

    def means(self, sums: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        """Mean loss a target by name."""
        ...


@dataclass(kw_only=True)
class Learner:
    """A model in training: the loop calls `module`, evaluations call `model` (the same weights)."""

    model: Any
    """a module with `carry`, such as PretrainingModel or TaskModel"""
    module: LossSums
    """the model, spread over processes and compiled as asked; its backward averages over processes"""
    objective: Any
    """an `Objective`"""
    optimizer: Optimizer
    world: World
    seed: int
    """of dropout"""
    dtype: str
    """of weights and activations at work"""
    layout: tuple[int, int] = (0, 0)
    """rows and columns of a batch, which decide where streams lie in the text"""
    compiles: bool = False

    @classmethod
    def make(cls, model: nn.Module, objective: Objective, config: TrainingConfig, *, world: World | None = None,
             seed: int = 0, sharded: bool = False, factors: Mapping[str, float] | None = None,
             undecayed: Collection[str] = ()) -> Learner:
        """Place `model` on its device and spread it over the processes: whole in each, or in parts with `sharded`.

        `factors` multiply the learning rate by parameter name; 0 freezes, and keeps a parameter out of checkpoints.
        `undecayed`: names of matrices without weight decay.
        """
        world = world or World()
        dtype = choose_dtype(config.dtype, world.device)
        model.to(world.device)
        settings = OptimizerConfig(kind=config.optimizer, learning_rate=config.learning_rate, beta1=config.beta1,
                                   beta2=config.beta2, epsilon=config.epsilon, weight_decay=config.weight_decay,
                                   clip=config.clip)
        if sharded:
            shard(model, world, dtype)
            optimizer = Optimizer(model, settings, reduce=lambda sums: np.asarray(world.sum(sums.tolist())),
                                  factors=factors, undecayed=undecayed)
            module: Any = model
        else:
            optimizer = Optimizer(model, settings, dtype=dtype, factors=factors, undecayed=undecayed)
            module = spread(model, world)
        return cls(model=model, module=compiled(module) if config.compile else module, objective=objective,
                   optimizer=optimizer, world=world, seed=seed, dtype=dtype,
                   layout=(config.batch_size, config.length), compiles=config.compile)

    def thaw(self, factors: Mapping[str, float]) -> None:
        """Let frozen parameters learn from the next step on, by these factors of the learning rate."""
        self.optimizer.thaw(factors)
        if self.world.size > 1 and not self.sharded:  # what averages gradients was told which there are
            module = spread(self.model, self.world)
            self.module = compiled(module) if self.compiles else module

    @property
    def sharded(self) -> bool:
        """Whether each process holds a part of the weights only."""
        return is_sharded(self.model)

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint holds, not copies: float32 weights by parameter name, moments, number of updates."""
        state = self.optimizer.state_dict()
        if self.sharded:
            # not the model's own: between forward and backward it shows whole parameters
            parameters = {slot.name: slot.parameter for slot in self.optimizer.slots}
            state = {name: _as_part(tensor, parameters.get(name.partition(".")[2])) for name, tensor in state.items()}
        return {name.removeprefix("master."): tensor for name, tensor in state.items()}

    def carried(self) -> dict[str, Tensor]:
        """What the model carries from batch to batch, of all processes; every process calls this."""
        return merged(self.world.gather(self.model.carry.tensors()))

    def write(self, folder: Path, carried: dict[str, Tensor] | None = None) -> None:
        """Save into a checkpoint's folder; with sharded weights every process calls this and writes its part."""
        tensors = self.tensors()
        if carried and self.world.first:
            save_tensors(folder / CARRY, carried | {LAYOUT: torch.tensor(self.layout)})
        if self.sharded:
            from torch.distributed.checkpoint import HuggingFaceStorageWriter, save

            save(tensors, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
            return
        names = set(self.optimizer.masters())
        save_tensors(folder / "model.safetensors", {name: t for name, t in tensors.items() if name in names})
        save_tensors(folder / "optimizer.safetensors", {name: t for name, t in tensors.items() if name not in names})

    def read(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint, whether it was written whole or in parts, by however many processes."""
        if self.sharded or not (checkpoint.path / "model.safetensors").exists():
            from torch.distributed.checkpoint import HuggingFaceStorageReader, load

            found = {name: tensor.clone() for name, tensor in self.tensors().items()}
            load(found, storage_reader=HuggingFaceStorageReader(str(checkpoint.path)), no_dist=self.world.size == 1)
            found = {name: _called(tensor, "to_local") for name, tensor in found.items()}
        else:
            found = checkpoint.tensors("model") | checkpoint.tensors("optimizer")
        carried = checkpoint.tensors("carry") if (checkpoint.path / CARRY).exists() else {}
        if carried and tuple(carried.pop(LAYOUT, torch.zeros(2)).tolist()) != self.layout:
            log.warning("rows of another size than before: streams of text begin anew")
            carried = {}
        self.model.carry.load(carried, self.world.device)
        masters = self.optimizer.masters()
        self.optimizer.load_state_dict({f"master.{name}" if name in masters else name: tensor
                                        for name, tensor in found.items()})

    def weights(self) -> dict[str, Tensor]:
        """The whole float32 weights on the CPU, for a model folder; every process calls this."""
        masters = self.optimizer.masters()
        found = {name: tensor for name, tensor in self.tensors().items() if name in masters}
        for name, (parameter, master) in self.optimizer.frozen.items():
            found[name] = _as_part(master, parameter) if self.sharded else master
        return {name: _called(tensor, "full_tensor").detach().float().cpu().contiguous()
                for name, tensor in found.items()}

    def finite(self) -> bool:
        """Whether every weight is a number; the same answer on all processes."""
        own = torch.stack([master.isfinite().all() for master in self.optimizer.masters().values()]).all()
        return self.world.largest(float(not own)) == 0


def _called(tensor: Tensor, method: str) -> Tensor:
    """`tensor.method()` of a distributed tensor; any other tensor as it is."""
    return getattr(tensor, method)() if hasattr(tensor, method) else tensor


def _as_part(tensor: Tensor, parameter: nn.Parameter | None) -> Tensor:
    """A shard of the optimizer as a part of the whole, like its parameter."""
    from torch.distributed.tensor import DTensor

    if not isinstance(parameter, DTensor):
        return tensor
    return DTensor.from_local(tensor, parameter.device_mesh, parameter.placements, run_check=False,
                              shape=parameter.shape, stride=parameter.stride())
