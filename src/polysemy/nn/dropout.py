"""Dropout whose mask is a function of keys, not of a generator's state.

Whether a number stays depends on (seed, step, how many dropouts ran before in this forward, the global number of its
row in the run, its column, its place in the vector) and nothing else.  So micro-batches, ranks, packing and a resumed
run all give the same bits.  A training step runs its forward inside

    with dropout_key(seed, step, batch.rows):
        loss = ...

and each micro-batch does so with its own rows.  Where the rate is 0, or in evaluation, no key is needed.

The mask: 32-bit numbers are mixed by the finalizer of MurmurHash3 (Appleby 2011, public domain); a number stays when
the upper 24 bits of mix(key of its token and this call ^ its place) reach rate * 2**24.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polysemy.errors import InputError
from polysemy.nn import kernels
from polysemy.nn.limits import check_rate
from polysemy.runtime import seed_for

COLUMN = 0x9E3779B1
CALL = 0x85157AF5
BITS = 24


class Step:
    """What dropout knows of the forward that is running."""

    def __init__(self, rows: Tensor, shared: int = 0) -> None:
        self.rows = rows
        """(b,) int32, a key for each row of the batch"""
        self.shared = shared
        """a signed 32-bit key of what all rows share: weights"""
        self.tokens: Tensor | None = None
        """(n,) int32, the keys of the tokens that run through the layers as a flat list; None while they are (b, t)"""
        self.calls = 0

    def next_call(self) -> int:
        self.calls += 1
        return self.calls

    def token_keys(self, num_columns: int) -> Int[Tensor, "b t"]:
        """A key for each of the columns 0 .. num_columns - 1 of each row."""
        columns = torch.arange(num_columns, dtype=torch.int32, device=self.rows.device)
        return mix(self.rows[:, None] ^ (columns * _signed(COLUMN)))


_step: ContextVar[Step | None] = ContextVar("dropout_step", default=None)


@contextmanager
def dropout_key(seed: int, step: int, rows: Sequence[int] | np.ndarray | Tensor) -> Iterator[Step]:
    """Key the forward that runs inside; `rows` are the global numbers (b,) of the batch's rows in the run."""
    numbers = np.asarray(rows.cpu() if isinstance(rows, Tensor) else rows)
    device = rows.device if isinstance(rows, Tensor) else None
    shared = _signed(seed_for(seed, "dropout", step, "shared") & 0xFFFFFFFF)
    token = _step.set(Step(torch.from_numpy(row_keys(seed, step, numbers)).to(device), shared))
    try:
        yield _step.get()  # pyright: ignore[reportReturnType]
    finally:
        _step.reset(token)


def row_keys(seed: int, step: int, rows: np.ndarray) -> np.ndarray:
    """int32 keys (b,) of global rows: SplitMix64 (Steele et al. 2014) over a hash of seed and step."""
    z = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed_for(seed, "dropout", step))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32).view(np.int32)


def current_step() -> Step:
    """The running step; InputError when training dropout runs outside of `dropout_key`."""
    step = _step.get()
    if step is None:
        raise InputError("dropout must be keyed while training, got none; run the forward inside "
                         "polysemy.nn.dropout.dropout_key(seed, step, rows), or call model.eval()")
    return step


def flatten(columns: int, tokens: Int[Tensor, "n"]) -> None:
    """From here on this forward runs on a flat list of `tokens`, flat places in rows of `columns` columns."""
    step = _step.get()
    if step is not None:
        step.tokens = step.token_keys(columns).flatten()[tokens]


def only(at: Int[Tensor, "k"]) -> None:
    """From here on this forward runs on the tokens `at` of its flat list alone."""
    step = _step.get()
    if step is not None and step.tokens is not None:
        step.tokens = step.tokens[at]


@contextmanager
def cut_rows(origins: Int[Tensor, "p"], numbers: Int[Tensor, "p"]) -> Iterator[None]:
    """Within the block the forward runs on other rows: row i is part number `numbers[i]` of the row `origins[i]`."""
    step = _step.get()
    if step is None:
        yield
        return
    whole = step.rows
    step.rows = mix(whole[origins.to(whole.device)] ^ (numbers.to(whole.device, torch.int32) + 1) * _signed(COLUMN))
    try:
        yield
    finally:
        step.rows = whole


def running_step() -> Step | None:
    """What dropout knows of the forward that is running; None outside of `dropout_key`."""
    return _step.get()


@contextmanager
def part_of(step: Step | None, at: Tensor) -> Iterator[None]:
    """Within the block a forward of its own runs on the rows `at` of `step`, which drops there what `step` would."""
    token = _step.set(None if step is None else Step(step.rows[at.to(step.rows.device)], step.shared))
    try:
        yield
    finally:
        _step.reset(token)


class Drop(NamedTuple):
    """One dropout of one forward: the key of each vector, and the rate."""

    keys: Tensor
    rate: float

    @property
    def threshold(self) -> int:
        """A number stays when its 24 random bits are at least this."""
        return round(self.rate * 2**BITS)

    @property
    def factor(self) -> float:
        """What the numbers that stay are multiplied by."""
        return 1 / (1 - self.threshold / 2**BITS)


class Dropout(nn.Module):
    """Zero each number with probability `rate` and scale the rest by 1 / (1 - rate), in training only.

    Takes (b, t, d) states, (b, d) pooled states, (b, h, t, s) attention weights, or the (n, d) flat list of tokens that
    `Step.tokens` describes.  The rate is exact to 2**-24.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        check_rate("dropout", rate)
        self.rate = rate

    def extra_repr(self) -> str:
        return f"rate={self.rate}"

    def active(self) -> bool:
        return self.training and self.rate > 0

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return drop(x, self.draw(x))

    def draw(self, x: Tensor) -> Drop | None:
        """The keys of the vectors x[..., :] for this call, which counts one call up; None when nothing is dropped."""
        if not self.active():
            return None
        step = current_step()
        keys = mix(_tokens(step, x) ^ _signed(step.next_call() * CALL & 0xFFFFFFFF))
        if x.dim() == 4:  # (b, h, t): a head and a column make one place
            heads = torch.arange(x.shape[1], dtype=torch.int32, device=x.device) << 16
            keys = keys[:, None, :] ^ heads[None, :, None]
        return Drop(keys, self.rate)

    def draw_shared(self, weight: Float[Tensor, "n d"]) -> Drop | None:
        """The same for the rows of a weight: one mask for the whole batch, however it is cut."""
        if not self.active():
            return None
        step = current_step()
        call = torch.tensor(step.shared ^ _signed(step.next_call() * CALL & 0xFFFFFFFF), dtype=torch.int32)
        places = torch.arange(len(weight), dtype=torch.int32, device=weight.device) * _signed(COLUMN)
        return Drop(mix(places ^ mix(call).to(weight.device)), self.rate)

    def draw_tokens(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t"] | None:
        """A factor for each token, 0 or that of what stays, the same wherever a token stands in its row."""
        if not self.active():
            return None
        step = current_step()
        rows = mix(step.rows ^ _signed(step.next_call() * CALL & 0xFFFFFFFF)).to(ids.device)
        what = Drop(mix(rows[:, None] ^ ids.to(torch.int32) * _signed(COLUMN)), self.rate)
        return keep(what, 1)[..., 0] * what.factor


def drop(x: Float[Tensor, "*shape"], what: Drop | None) -> Float[Tensor, "*shape"]:
    """x with what is to be dropped set to 0 and the rest scaled up."""
    return x if what is None else _Drop.apply(x, what)  # pyright: ignore[reportReturnType]


def _tokens(step: Step, x: Tensor) -> Tensor:
    if x.dim() == 2 and step.tokens is not None and len(step.tokens) == len(x):
        return step.tokens
    if x.dim() < 2 or len(x) != len(step.rows):
        raise InputError(f"rows of dropout_key must be as many as the batch has, got {len(step.rows)} for {len(x)}")
    columns = {2: 1, 3: x.shape[1], 4: x.shape[-2]}[x.dim()]
    keys = step.token_keys(columns).to(x.device)
    return keys[:, 0] if x.dim() == 2 else keys


def keep(what: Drop, num_columns: int) -> Bool[Tensor, "*shape"]:
    """Which numbers of vectors of `num_columns` stay: the definition that the kernels follow."""
    columns = torch.arange(num_columns, dtype=torch.int32, device=what.keys.device)
    return _shift(mix(what.keys[..., None] ^ columns), 32 - BITS) >= what.threshold


def mix(h: Tensor) -> Tensor:
    """Spread every bit of 32-bit numbers over all of them (int32, wrapping around)."""
    h = (h ^ _shift(h, 16)) * _signed(0x85EBCA6B)
    h = (h ^ _shift(h, 13)) * _signed(0xC2B2AE35)
    return h ^ _shift(h, 16)


def _shift(h: Tensor, count: int) -> Tensor:
    """Shift right as if unsigned."""
    return (h >> count) & ((1 << (32 - count)) - 1)


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


class _Drop(torch.autograd.Function):
    """Mask and scale; the backward computes the mask again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, what: Drop) -> Tensor:
        ctx.save_for_backward(what.keys)
        ctx.rate = what.rate
        return _masked(x, what)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _masked(gradients[0], Drop(ctx.saved_tensors[0], ctx.rate)), None


def _masked(x: Tensor, what: Drop) -> Tensor:
    if not kernels.usable(x):
        return torch.where(keep(what, x.shape[-1]), x * what.factor, 0)
    from polysemy.nn.kernels.dropout import dropout_rows

    x = x.contiguous()
    out = torch.empty_like(x)
    dropout_rows(x.view(-1, x.shape[-1]), out, what.keys.contiguous(), what.threshold, what.factor)
    return out
