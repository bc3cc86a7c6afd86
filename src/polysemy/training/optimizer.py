"""AdamW and LAMB with float32 masters, clipping and decay groups; learning-rate schedules over the budget's fraction.

The loop of a step is

    for micro_batch in ...:
        loss.backward()
        optimizer.accumulate()        # only where there are several: adds up in float32
    update = optimizer.step(rate_factor(fraction, "linear", warmup_rate))

With `dtype="bfloat16"` the model's parameters become bfloat16 working copies; masters and moments are float32.  On a
CPU the update is one pass over memory (`nn/kernels/update.py`) that clips, updates and writes the working copies; the
torch code here is its twin and what GPUs run.  Same threads, same bits.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.nn import kernels

Schedule = Literal["linear", "cosine", "inverse_sqrt", "constant"]


def rate_factor(fraction: float, schedule: Schedule = "linear", warmup_rate: float = 0.06) -> float:
    """What to multiply the peak learning rate by when `fraction` (0..1) of the budget is done.

    All climb in a straight line over the first `warmup_rate` of the budget.  Then linear and cosine fall to 0 at its
    end, inverse_sqrt falls as (warmup_rate / fraction)**0.5 (Vaswani et al. 2017), constant stays.
    """
    if fraction < warmup_rate:
        return fraction / warmup_rate
    done = min((fraction - warmup_rate) / max(1 - warmup_rate, 1e-12), 1.0)
    match schedule:
        case "linear":
            return 1 - done
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "inverse_sqrt":
            start = max(warmup_rate, 0.01)
            return (start / max(fraction, start)) ** 0.5
        case "constant":
            return 1.0
    raise InputError(f"schedule must be linear, cosine, inverse_sqrt or constant, got {schedule!r}")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Config):
    """How weights move."""

    kind: Literal["adamw", "lamb"] = "adamw"
    """adamw (Loshchilov and Hutter 2019) or lamb (You et al. 2020, algorithm 2), both with bias correction"""
    learning_rate: float = 1e-3
    """peak; each step multiplies it by its factor"""
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    weight_decay: float = 0.01
    """on matrices and tables; never on biases and norms"""
    clip: float = 1.0
    """largest norm of the whole gradient; 0 switches clipping off"""

    def check(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if not self.learning_rate > 0 or not self.epsilon > 0:
            raise InputError(f"learning_rate and epsilon must be above 0, got {self.learning_rate} and {self.epsilon}")
        if self.weight_decay < 0 or self.clip < 0:
            raise InputError(f"weight_decay and clip must not be negative, got {self.weight_decay} and {self.clip}")


@dataclass(frozen=True)
class Update:
    """What one step did."""

    norm: float
    """of the whole gradient before clipping"""
    applied: bool
    """False when the norm was not finite: then nothing at all was changed, but gradients are gone"""
    clipped: bool
    """the gradient was longer than allowed"""


class Slot:
    """One parameter with its float32 master (the parameter itself, unless that is bfloat16) and moments."""

    def __init__(self, name: str, parameter: nn.Parameter, master: Tensor, decays: bool, factor: float = 1.0,
                 started: int = 0) -> None:
        self.name, self.parameter, self.master, self.decays = name, parameter, master, decays
        self.factor, self.started = factor, started
        self.first, self.second = torch.zeros_like(master), torch.zeros_like(master)
        self.sum: Tensor | None = None

    @property
    def work(self) -> Tensor:
        """The working copy, or the master where there is none."""
        return _local(self.parameter.detach())

    def gradient(self) -> Tensor:
        """Fresh; zeros for a parameter that took no part."""
        grad = None if self.parameter.grad is None else _local(self.parameter.grad)
        return torch.zeros_like(self.work) if grad is None else grad.contiguous()


class Optimizer:
    """Moves a model's weights.  Parameters that several modules share are one.

    A parameter whose factor is 0 is frozen: it needs no gradient, has no moments and keeps its bits, until `thaw`.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig, *, dtype: str = "float32",
                 reduce: Callable[[np.ndarray], np.ndarray] | None = None,
                 factors: Mapping[str, float] | None = None, undecayed: Collection[str] = ()) -> None:
        """`dtype` of the working weights.  `reduce` adds sums of squares up over processes that hold shards.

        `factors` multiply the learning rate, by parameter name; 1 for those not named.  `undecayed` are names of
        matrices without weight decay: rows of a table that no text has had then cost next to nothing.
        """
        if dtype not in ("float32", "bfloat16"):
            raise InputError(f"dtype must be float32 or bfloat16, got {dtype!r}")
        self.config, self.reduce, self.undecayed = config, reduce or (lambda sums: sums), frozenset(undecayed)
        self.steps = 0
        work = torch.bfloat16 if dtype == "bfloat16" else torch.float32
        self.slots: list[Slot] = []
        self.frozen: dict[str, tuple[nn.Parameter, Tensor]] = {}
        for name, parameter in model.named_parameters():
            factor = (factors or {}).get(name, 1.0)
            if not factor >= 0:
                raise InputError(f"factor of {name} must not be negative, got {factor}")
            master: Tensor = _local(parameter.detach()).to(torch.float32)
            if work != torch.float32:
                master = master.clone()
                parameter.data = parameter.data.to(work)
            if parameter.requires_grad and factor:
                self.slots.append(Slot(name, parameter, master, self._decays(name, parameter), factor))
            else:
                parameter.requires_grad_(False)
                self.frozen[name] = parameter, master
        self._table: Any = None

    def thaw(self, factors: Mapping[str, float]) -> None:
        """Let frozen parameters learn from now on, each at its factor; their moments and bias corrections start now."""
        for name, factor in factors.items():
            parameter, master = self.frozen.pop(name)
            parameter.requires_grad_(True)
            self.slots.append(Slot(name, parameter, master, self._decays(name, parameter), factor, self.steps))
        self._table = None

    def _decays(self, name: str, parameter: nn.Parameter) -> bool:
        return parameter.dim() >= 2 and name not in self.undecayed

    # --- a step

    @torch.no_grad()
    def accumulate(self) -> None:
        """Move the gradients of one micro-batch into float32 sums."""
        for slot in self.slots:
            grad = slot.parameter.grad
            if grad is not None:
                slot.sum = _local(grad).float().contiguous() if slot.sum is None else slot.sum.add_(_local(grad))
                slot.parameter.grad = None

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> Update:
        """Clip, update by `factor` times the peak learning rate, and drop the gradients."""
        gradients = self._gradients()
        fast = kernels.usable(*gradients, *(slot.work for slot in self.slots))
        norm = float(np.sqrt(self.reduce(self._squares(gradients, fast)).sum()))
        limit = self.config.clip
        scale = min(1.0, limit / (norm + 1e-6)) if limit else 1.0
        finite = math.isfinite(norm)
        if finite:
            self.steps += 1
            move = self._move_fast if fast else self._move
            move(gradients, scale, self.config.learning_rate * factor)
            if fast:  # tell whoever keeps copies of weights (models.engine): the kernel's writing is unseen by torch
                torch.autograd.graph.increment_version([slot.parameter for slot in self.slots])
        self.zero_grad()
        return Update(norm=norm, applied=finite, clipped=finite and scale < 1)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for slot in self.slots:
            slot.parameter.grad = slot.sum = None

    # --- what a checkpoint holds

    def state_dict(self) -> dict[str, Tensor]:
        """Plain tensors, not copies: masters, moments and the step count; nothing of what is frozen."""
        state = {"steps": torch.tensor(self.steps)}
        for slot in self.slots:
            state |= {f"master.{slot.name}": slot.master, f"first.{slot.name}": slot.first,
                      f"second.{slot.name}": slot.second}
            if slot.started:
                state[f"started.{slot.name}"] = torch.tensor(slot.started)
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the state over, and with it the model's weights; InputError when it is another model's."""
        for slot in self.slots:
            slot.started = int(state.get(f"started.{slot.name}", 0))
        expected = self.state_dict()
        if state.keys() != expected.keys() or any(state[k].shape != expected[k].shape for k in expected):
            wrong = sorted(state.keys() ^ expected.keys()) or [name for name, tensor in expected.items()
                                                               if state[name].shape != tensor.shape]
            raise InputError(f"optimizer state must be of this model, got a difference at {wrong[0]}")
        self.steps = int(state["steps"])
        for slot in self.slots:
            for part, tensor in (("master", slot.master), ("first", slot.first), ("second", slot.second)):
                tensor.copy_(state[f"{part}.{slot.name}"])
            slot.work.copy_(slot.master)

    def masters(self) -> dict[str, Tensor]:
        """The float32 weights by parameter name, not copies; those that are frozen are not among them."""
        return {slot.name: slot.master for slot in self.slots}

    def corrections(self) -> tuple[np.ndarray, np.ndarray]:
        """The two bias corrections of each slot, float64: 1 - beta ** (updates since it began)."""
        updates = np.array([self.steps - slot.started for slot in self.slots], np.float64)
        return 1 - self.config.beta1**updates, 1 - self.config.beta2**updates

    @torch.no_grad()
    def refresh(self) -> None:
        """Take masters anew from the model after something else has changed its weights."""
        for slot in self.slots:
            slot.master.copy_(slot.work)

    def _gradients(self) -> list[Tensor]:
        """One dtype for all: float32 where micro-batches were added up."""
        if any(slot.sum is not None for slot in self.slots):
            self.accumulate()
            return [torch.zeros_like(slot.master) if slot.sum is None else slot.sum for slot in self.slots]
        return [slot.gradient() for slot in self.slots]

    def _squares(self, gradients: list[Tensor], fast: bool) -> np.ndarray:
        """Sum of squares of each tensor's gradient, float64."""
        if not fast:
            return torch.stack([g.double().pow(2).sum() for g in gradients]).cpu().numpy()
        from polysemy.nn.kernels.update import Table, square_sums

        if self._table is None:
            self._table = Table([slot.master.numel() for slot in self.slots])
        self._table.address([gradients, *([getattr(slot, name) for slot in self.slots] for name in
                                          ("master", "first", "second", "work"))])
        return square_sums(self._table, gradients[0].dtype)

    # --- the twin: plain torch

    def _move(self, gradients: list[Tensor], scale: float, rate: float) -> None:
        c = self.config
        directions = []
        for slot, gradient, correct1, correct2 in zip(self.slots, gradients, *map(np.ndarray.tolist,
                                                      self.corrections()), strict=True):
            g = gradient.float() * scale
            slot.first.lerp_(g, 1 - c.beta1)
            slot.second.mul_(c.beta2).addcmul_(g, g, value=1 - c.beta2)
            direction = (slot.first / correct1) / (slot.second.sqrt() / correct2**0.5 + c.epsilon)
            directions.append(direction.add_(slot.master, alpha=c.weight_decay if slot.decays else 0.0))
        trust = np.ones(len(directions))
        if c.kind == "lamb":
            squares = (np.array([float(x.double().pow(2).sum()) for x in tensors]) for tensors in
                       ([slot.master for slot in self.slots], directions))
            trust = self._trust(*squares)
        for slot, direction, ratio in zip(self.slots, directions, trust, strict=True):
            slot.master.add_(direction, alpha=-rate * slot.factor * float(ratio))
            if slot.work.dtype != torch.float32:
                slot.work.copy_(slot.master)

    def _trust(self, masters: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """LAMB's ratio of norms for each tensor; 1 for biases and norms and where a norm is 0."""
        p, u = np.sqrt(self.reduce(masters)), np.sqrt(self.reduce(directions))
        free = np.array([slot.decays for slot in self.slots])
        return np.where(free & (p > 0) & (u > 0), p / np.where(u > 0, u, 1), 1.0)

    # --- the fast path

    def _move_fast(self, gradients: list[Tensor], scale: float, rate: float) -> None:
        from polysemy.nn.kernels import update

        c, table, work = self.config, self._table, self.slots[0].work.dtype
        correct1, correct2 = self.corrections()
        decay = np.array([c.weight_decay if slot.decays else 0.0 for slot in self.slots])
        rates = rate * np.array([slot.factor for slot in self.slots])
        table.set_factors(3, correct2**-0.5)
        if c.kind == "adamw":
            table.set_factors(0, 1 - rates * decay)
            table.set_factors(1, rates / correct1)
            update.adamw(table, gradients[0].dtype, work, scale, c.beta1, c.beta2, c.epsilon)
            return
        table.set_factors(0, decay)
        table.set_factors(2, 1 / correct1)
        squares = update.lamb_directions(table, gradients[0].dtype, scale, c.beta1, c.beta2, c.epsilon)
        table.set_factors(1, rates * self._trust(*squares))
        update.lamb_apply(table, work, c.epsilon)


def _local(tensor: Tensor) -> Tensor:
    """This process's shard of a distributed tensor; any other tensor as it is."""
    to_local = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()
