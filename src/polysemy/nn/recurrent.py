"""Recurrent layers: a state that is read on, token by token.

Letters in shapes: t tokens, b rows, i inputs, d hidden_size, g gates of a cell (1 or 4).  Time comes first in here, so
that what one step needs lies together.

The gates of all inputs are one product.  What remains of a step is the product with the last state, and a few numbers a
state: on a CPU a kernel does those in training (`nn/kernels/recurrent.py`), on a GPU the library of the GPU does all.
The loop of `step` is the definition.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polysemy.nn import kernels
from polysemy.nn.dropout import Dropout, drop

CellName = Literal["rnn", "lstm"]
State = tuple[Tensor, ...]
GATES = {"rnn": 1, "lstm": 4}
"""rnn has no gate but its candidate; lstm has input, forget, candidate, output, in torch's order"""


class RecurrentLayer(nn.Module):
    """One layer of a plain recurrent network (Elman 1990) or of an LSTM (Hochreiter and Schmidhuber 1997; Gers 2000).

    Equal to torch.nn.RNN (tanh) and torch.nn.LSTM with one bias instead of two that are added.  The state is (h,) or
    (h, c), each (b, d); c is float32 or better whatever the weights are.  `weight_drop` leaves out numbers of the
    recurrent matrix, the same for all rows and steps of a forward (DropConnect; Merity et al. 2018, section 2).
    """

    def __init__(self, cell: CellName, input_size: int, hidden_size: int, *, weight_drop: float = 0.0,
                 bound: float | None = None, forget_bias: float = 0.0) -> None:
        """First weights are uniform within `bound` (default hidden_size**-0.5), biases 0, that of forget as given."""
        super().__init__()
        self.cell: CellName = cell
        self.hidden_size, self.bound, self.forget_bias = hidden_size, bound or hidden_size**-0.5, forget_bias
        rows = GATES[cell] * hidden_size
        self.input_weight = nn.Parameter(torch.empty(rows, input_size))
        self.recurrent_weight = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias = nn.Parameter(torch.empty(rows))
        self.weight_drop = Dropout(weight_drop)

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Fill the parameters, each by the generator of its name; returns those that are done."""
        for name in ("input_weight", "recurrent_weight"):
            weight = getattr(self, name)
            weight.copy_(torch.empty(weight.shape).uniform_(-self.bound, self.bound, generator=generator(name)))
        self.bias.zero_()
        if self.cell == "lstm":
            self.bias.chunk(4)[1].fill_(self.forget_bias)
        return list(self.parameters())

    def start(self, rows: int, like: Tensor) -> State:
        """The state in which nothing has been read: zeros, in the format of `like` (c float32 or better)."""
        h = like.new_zeros(rows, self.hidden_size)
        return (h,) if self.cell == "rnn" else (h, _wide(h))

    def forward(self, x: Float[Tensor, "t b i"], state: State, lengths: Int[Tensor, "b"] | None = None
                ) -> tuple[Float[Tensor, "t b d"], State]:
        """The state h after each token, and the last state: after `lengths` tokens where they are given."""
        recurrent = drop(self.recurrent_weight, self.weight_drop.draw_shared(self.recurrent_weight))
        quick = x.is_cuda or not (torch.is_grad_enabled() or x.dtype == torch.bfloat16)
        if quick and lengths is None and len(x):
            return self._by_library(x, state, recurrent)
        inputs = F.linear(x, self.input_weight, self.bias)
        if self.cell == "lstm" and lengths is None and len(x) and kernels.for_training(inputs, recurrent, state[0]):
            y, h, c = _Lstm.apply(inputs, recurrent, *state)  # pyright: ignore[reportGeneralTypeIssues]
            return y, (h, c)
        outputs = []
        for place, gates in enumerate(inputs):
            new = self.step(gates + state[0] @ recurrent.t(), state)
            if lengths is not None:
                real = (place < lengths)[:, None]
                new = tuple(torch.where(real, after, before) for after, before in zip(new, state, strict=True))
            outputs.append(new[0])
            state = new
        return torch.stack(outputs) if outputs else x.new_zeros(0, x.shape[1], self.hidden_size), state

    def step(self, gates: Float[Tensor, "b gd"], state: State) -> State:
        """The next state from W x + R h + b."""
        if self.cell == "rnn":
            return (torch.tanh(gates),)
        let_in, keep, candidate, show = _wide(gates).chunk(4, 1)
        c = torch.sigmoid(keep) * state[1] + torch.sigmoid(let_in) * torch.tanh(candidate)
        return (torch.sigmoid(show) * torch.tanh(c)).to(gates.dtype), c

    def _by_library(self, x: Tensor, state: State, recurrent: Tensor) -> tuple[Tensor, State]:
        """The same by torch's own function (cuDNN on a GPU)."""
        weights = [self.input_weight, recurrent, self.bias, torch.zeros_like(self.bias)]
        # biases, layers, dropout, whether a backward may follow, two directions, b first
        settings: Any = (True, 1, 0.0, torch.is_grad_enabled(), False, False)
        first = tuple(part.to(x.dtype)[None] for part in state)
        if self.cell == "rnn":
            y, h = torch.rnn_tanh(x, first[0], weights, *settings)
            return y, (h[0],)
        y, h, c = torch.lstm(x, first, weights, *settings)
        return y, (h[0], _wide(c[0]))


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class _Lstm(torch.autograd.Function):
    """All steps of one LSTM layer; the gradient of the recurrent matrix is one product at the end."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from polysemy.nn.kernels.recurrent import lstm_steps_forward, steps_fit

        inputs, c = inputs.contiguous(), c.contiguous()
        ctx.whole = steps_fit(weight)
        gates, cells, states = (lstm_steps_forward if ctx.whole else _forward_by_products)(inputs, weight, h, c)
        ctx.save_for_backward(gates, cells, states, c, weight)
        return states[1:], states[-1].clone(), cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.recurrent import lstm_steps_backward

        gates, cells, states, c, weight = ctx.saved_tensors
        dy, dh, dc = gradients[0].contiguous(), gradients[1].float(), gradients[2].clone()
        dh = dh.clone() if dh is gradients[1] else dh
        dgates = (lstm_steps_backward if ctx.whole else _backward_by_products)(gates, cells, c, weight, dy, dh, dc)
        dweight = dgates.flatten(0, 1).t() @ states[:-1].flatten(0, 1)
        return dgates, dweight, dh.to(states.dtype), dc


def _forward_by_products(inputs: Tensor, weight: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gates, cells and states (one more: h) of all steps, torch's product and a kernel for each step."""
    from polysemy.nn.kernels.recurrent import lstm_forward

    (t, b, _), d = inputs.shape, weight.shape[1]
    gates, cells, states = torch.empty_like(inputs), c.new_empty(t, b, d), h.new_empty(t + 1, b, d)
    states[0] = h
    product, transposed, before = torch.empty_like(inputs[0]), weight.t(), c
    for read, line, opened, after, new in zip(states[:-1].unbind(), inputs.unbind(), gates.unbind(), cells.unbind(),
                                              states[1:].unbind(), strict=True):
        torch.mm(read, transposed, out=product)
        lstm_forward(line, product, before, opened, after, new)
        before = after
    return gates, cells, states


def _backward_by_products(gates: Tensor, cells: Tensor, c: Tensor, weight: Tensor, dy: Tensor, dh: Tensor, dc: Tensor
                          ) -> Tensor:
    """Gradients of the inputs of all steps; `dh` and `dc` become those of the state before the first."""
    from polysemy.nn.kernels.recurrent import lstm_backward

    dgates, carried = torch.empty_like(gates), dh.to(gates.dtype)
    for opened, after, before, change, out in zip(
            reversed(gates.unbind()), reversed(cells.unbind()), (*reversed(cells[:-1].unbind()), c),
            reversed(dy.unbind()), reversed(dgates.unbind()), strict=True):
        lstm_backward(opened, after, before, change, carried, dc, out)
        torch.mm(out, weight, out=carried)
    dh.copy_(carried)
    return dgates
