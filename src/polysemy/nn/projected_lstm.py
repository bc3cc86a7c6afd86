"""An LSTM layer whose output is projected to a smaller width, which is also what it reads back (Sak et al. 2014).

Letters in shapes: b rows, t columns, d width of the input, c cell_size, p projection_size.  A row may hold several
documents, one after the other: where `fresh` says so the layer begins anew, as if nothing had been read.

There are three ways to the same numbers: the loop of `_by_loop`, which is the definition; a loop of kernels for
training on a CPU, where several layers run in one; and torch's own function on a GPU, where nothing is clipped.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polysemy.nn import kernels


class ProjectedLSTM(nn.Module):
    """One layer that reads from left to right.

        i, f, g, o = W x + R h + b          c = sigmoid(f + 1) c + sigmoid(i) tanh(g)         h = P (sigmoid(o) tanh(c))

    The cell is float32 or better whatever the weights are.  `cell_clip` and `projection_clip` hold c and h within
    +-clip, as published ELMo does; None clips nothing.  There is one bias; the 1 of the forget gate is a constant, as
    in TensorFlow (torch.nn.LSTM has two biases and no constant).
    """

    def __init__(self, input_size: int, cell_size: int, projection_size: int, *, cell_clip: float | None = None,
                 projection_clip: float | None = None) -> None:
        super().__init__()
        self.cell_clip, self.projection_clip = cell_clip, projection_clip
        self.input_weight = nn.Parameter(torch.empty(4 * cell_size, input_size))
        self.recurrent_weight = nn.Parameter(torch.empty(4 * cell_size, projection_size))
        self.bias = nn.Parameter(torch.empty(4 * cell_size))
        self.projection_weight = nn.Parameter(torch.empty(projection_size, cell_size))

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Fill the parameters, each by the generator of its name; returns those that are done.

        Uniform with variance 1 / inputs (the matrices of a gate see input and output together), the bias 0.
        """
        for name in ("input_weight", "recurrent_weight", "projection_weight"):
            weight = getattr(self, name)
            inputs = weight.shape[1]
            if name != "projection_weight":
                inputs = self.input_weight.shape[1] + self.recurrent_weight.shape[1]
            bound = (3 / inputs) ** 0.5
            weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator(name)))
        self.bias.zero_()
        return list(self.parameters())

    def opened(self) -> Float[Tensor, "_"]:
        """The constant that keeps the forget gates open at first."""
        constant = torch.zeros_like(self.bias)
        constant.chunk(4)[1].fill_(1)
        return constant

    @property
    def clips(self) -> bool:
        """Whether anything is held within bounds."""
        return self.cell_clip is not None or self.projection_clip is not None

    def forward(self, x: Float[Tensor, "b t d"], fresh: Bool[Tensor, "b t"] | None = None) -> Float[Tensor, "b t p"]:
        """The output h after each column; `fresh` marks columns before which the state is 0 again."""
        return side_by_side([self], [x], [fresh])[0]


def side_by_side(layers: Sequence[ProjectedLSTM], inputs: Sequence[Float[Tensor, "b t d"]],
                 fresh: Sequence[Bool[Tensor, "b t"] | None]) -> list[Float[Tensor, "b t p"]]:
    """The outputs of layers of one size that know nothing of one another, each of its own input."""
    free = inputs[0].shape[1] > 0 and not any(layer.clips for layer in layers)
    narrower = all(len(layer.projection_weight) < layer.projection_weight.shape[1] for layer in layers)
    if inputs[0].is_cuda and free and narrower:  # torch tells a projection by its width alone
        return [_by_library(*each) for each in zip(layers, inputs, fresh, strict=True)]
    gates = [F.linear(x.transpose(0, 1), layer.input_weight, layer.bias + layer.opened())
             for layer, x in zip(layers, inputs, strict=True)]
    marks = [None if mark is None else mark.t() for mark in fresh]
    recurrent: list[Tensor] = [layer.recurrent_weight for layer in layers]
    projection: list[Tensor] = [layer.projection_weight for layer in layers]
    if free and kernels.for_training(*gates, *recurrent, *projection):
        from polysemy.nn.kernels.projected import steps_fit

        some = next((mark for mark in marks if mark is not None), None)
        joined = None if some is None else torch.cat([torch.zeros_like(some) if m is None else m for m in marks], 1)
        steps = _Run if steps_fit(recurrent[0], projection[0]) else _Steps
        y = steps.apply(torch.stack(gates, 1), torch.stack(recurrent), torch.stack(projection), joined)
        return [part.transpose(0, 1) for part in y.unbind(1)]  # pyright: ignore[reportOptionalMemberAccess]
    return [_by_loop(line, layer.recurrent_weight, layer.projection_weight, mark, layer.cell_clip,
                     layer.projection_clip).transpose(0, 1)
            for layer, line, mark in zip(layers, gates, marks, strict=True)]


def _by_loop(gates: Tensor, recurrent: Tensor, projection: Tensor, fresh: Tensor | None, cell_clip: float | None,
             projection_clip: float | None) -> Tensor:
    """Outputs (t, b, p) from W x + b (t, b, 4c); `fresh` (t, b)."""
    h = gates.new_zeros(gates.shape[1], len(projection))
    c = _wide(gates.new_zeros(gates.shape[1], projection.shape[1]))
    outputs = []
    for place, line in enumerate(gates):
        if fresh is not None:
            again = fresh[place, :, None]
            h, c = h.masked_fill(again, 0), c.masked_fill(again, 0)
        let_in, keep, candidate, show = (_wide(line) + _wide(F.linear(h, recurrent))).chunk(4, -1)
        c = torch.sigmoid(keep) * c + torch.sigmoid(let_in) * torch.tanh(candidate)
        c = c if cell_clip is None else c.clamp(-cell_clip, cell_clip)
        h = F.linear((torch.sigmoid(show) * torch.tanh(c)).to(line.dtype), projection)
        h = h if projection_clip is None else h.clamp(-projection_clip, projection_clip)
        outputs.append(h)
    return torch.stack(outputs) if outputs else gates.new_zeros(0, *h.shape)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class _Steps(torch.autograd.Function):
    """The loop with kernels for what lies between the products; gradients of weights are products over all steps.

    Inputs (t, k, b, 4c) of k layers, weights (k, 4c, p) and (k, p, c), `fresh` (t, k b), outputs (t, k, b, p).
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, recurrent: Tensor, projection: Tensor, fresh: Tensor | None) -> Tensor:
        from polysemy.nn.kernels.recurrent import lstm_forward

        (t, k, b, _), (_, p, d) = inputs.shape, projection.shape
        gates, outputs, befores = torch.empty_like(inputs), inputs.new_empty(t, k, b, p), inputs.new_empty(t, k, b, p)
        shown, cells = inputs.new_empty(t, k, b, d), torch.empty(t, k * b, d)
        product, state, cell = torch.empty_like(inputs[0]), inputs.new_zeros(k, b, p), torch.zeros(k * b, d)
        feed, close, restarts = recurrent.transpose(1, 2), projection.transpose(1, 2), _restarts(fresh)
        steps = zip(inputs.flatten(1, 2), gates.flatten(1, 2), cells, shown.flatten(1, 2), shown, outputs, befores,
                    strict=True)
        flat = product.flatten(0, 1)
        for place, (line, opened, after, show, showing, output, before) in enumerate(steps):
            if place in restarts:
                state = state.flatten(0, 1).index_fill(0, restarts[place], 0).view(k, b, p)
                cell = cell.index_fill(0, restarts[place], 0)
            before.copy_(state)
            torch.bmm(state, feed, out=product)
            lstm_forward(line, flat, cell, opened, after, show)
            torch.bmm(showing, close, out=output)
            state, cell = output, after
        ctx.save_for_backward(gates, cells, shown, befores, recurrent, projection)
        ctx.restarts = restarts
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.recurrent import lstm_backward

        gates, cells, shown, befores, recurrent, projection = ctx.saved_tensors
        doutputs = gradients[0].clone(memory_format=torch.contiguous_format)
        dgates, dshown, dbefore = torch.empty_like(gates), torch.empty_like(shown[0]), torch.zeros_like(befores[0])
        dc, start, nothing = torch.zeros_like(cells[0]), torch.zeros_like(cells[0]), torch.zeros_like(dshown)
        steps = list(zip(gates, cells, [start, *cells[:-1]], dgates, doutputs, strict=True))
        for place in range(len(steps) - 1, -1, -1):
            opened, after, before, dopened, doutput = steps[place]
            doutput += dbefore
            torch.bmm(doutput, projection, out=dshown)
            rows = ctx.restarts.get(place)
            before = before if rows is None else before.index_fill(0, rows, 0)
            lstm_backward(opened.flatten(0, 1), after, before, dshown.flatten(0, 1), nothing, dc, dopened.flatten(0, 1))
            torch.bmm(dopened, recurrent, out=dbefore)
            if rows is not None:
                dbefore.flatten(0, 1)[rows] = 0
                dc[rows] = 0
        return dgates, *_weight_gradients(dgates, befores, doutputs, shown), None


class _Run(torch.autograd.Function):
    """What `_Steps` does, in one kernel."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, recurrent: Tensor, projection: Tensor, fresh: Tensor | None) -> Tensor:
        from polysemy.nn.kernels.projected import forward_steps

        gates, cells, shown, befores, outputs = forward_steps(inputs.contiguous(), recurrent, projection, fresh)
        ctx.save_for_backward(gates, cells, shown, befores, recurrent, projection, fresh)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from polysemy.nn.kernels.projected import backward_steps

        gates, cells, shown, befores, recurrent, projection, fresh = ctx.saved_tensors
        dgates, doutputs = backward_steps(gates, cells, recurrent, projection, fresh, gradients[0].float().contiguous())
        return dgates, *_weight_gradients(dgates, befores, doutputs, shown), None


def _weight_gradients(dgates: Tensor, befores: Tensor, doutputs: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Of the recurrent matrices (k, 4c, p) and the projections (k, p, c), over all steps at once."""
    return (_by_layer(dgates).transpose(1, 2) @ _by_layer(befores),
            _by_layer(doutputs).transpose(1, 2) @ _by_layer(shown))


def _by_layer(x: Tensor) -> Tensor:
    """(k, t b, .) of (t, k, b, .)."""
    return x.transpose(0, 1).flatten(1, 2)


def _restarts(fresh: Tensor | None) -> dict[int, Tensor]:
    """The rows that begin anew at each column after the first, where there are any."""
    if fresh is None:
        return {}
    return {place: fresh[place].nonzero()[:, 0] for place in fresh[1:].any(1).nonzero()[:, 0].add(1).tolist()}


def _by_library(layer: ProjectedLSTM, x: Tensor, fresh: Tensor | None) -> Tensor:
    """The same by torch's own function (cuDNN on a GPU), which takes the documents of all rows as a packed batch."""
    weights = [layer.input_weight, layer.recurrent_weight, layer.bias, layer.opened(), layer.projection_weight]
    p, c = layer.projection_weight.shape
    order, sizes = _packing(x, fresh)
    first = x.new_zeros(1, int(sizes[0]), p), x.new_zeros(1, int(sizes[0]), c)
    data = x.flatten(0, 1)[order]
    settings: Any = (True, 1, 0.0, torch.is_grad_enabled(), False)  # biases, layers, dropout, training, two directions
    y, _, _ = torch.lstm(data, sizes, first, weights, *settings)
    return torch.empty_like(y).index_copy(0, order, y).view(*x.shape[:2], p)


def _packing(x: Tensor, fresh: Tensor | None) -> tuple[Tensor, Tensor]:
    """Flat places of all columns by step within their document, longest document first; how many have each step."""
    b, t = x.shape[:2]
    begins = torch.zeros(b, t, dtype=torch.bool) if fresh is None else fresh.cpu().clone()
    begins[:, 0] = True
    starts = begins.flatten().nonzero()[:, 0]
    lengths = torch.diff(starts, append=torch.tensor([b * t]))
    lengths, ranks = lengths.sort(descending=True, stable=True)
    starts, steps = starts[ranks], torch.arange(int(lengths[0]))
    has = steps[:, None] < lengths
    order = (starts + steps[:, None])[has]
    return order.to(x.device), has.sum(1)
