"""How far back a gradient reaches: a plain recurrent network, an LSTM and attention, fresh and after short training.

The state after T more inputs depends on the first input through T steps of a recurrent network, so the derivative is a
product of T matrices, which shrinks or grows like a power of T (Bengio, Simard and Frasconi 1994; Hochreiter 1991). The
LSTM adds to its cell instead of replacing it; attention has one step whatever the distance.

The task: eight symbols, drawn evenly; after `distance` more symbols say which was the first. Nothing but memory helps.

The T steps also wait for each other, where attention makes all states of a text in a few large products. So one text
alone leaves part of a processor unused in a recurrent network, and more texts at once cost less each; with attention
one long text is enough. All times are of one thread: what more cores would give is not measured.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from polysemy.errors import InputError
from polysemy.runtime import seed_for

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

KINDS = ("rnn", "lstm", "attention")
NAMES = {"rnn": "RNN", "lstm": "LSTM", "attention": "attention"}
DISTANCES = (1, 2, 5, 10, 20, 30, 50, 70, 100)
LENGTHS = (16, 64, 256, 1024)
TAKES, SECONDS = 3, 0.02
"""each pass is measured so often at least, and for so long; the least counts"""
TOGETHER = 16
"""texts side by side"""
SYMBOLS = 8
ROWS = 64
RATES = {"rnn": 1e-3, "lstm": 3e-3, "attention": 3e-3}

Kind = Literal["rnn", "lstm", "attention"]


def vanish(*, lag: int = 50, steps: int = 200, distances: Sequence[int] = DISTANCES, size: int = 64,
           lengths: Sequence[int] = LENGTHS, seed: int = 0) -> dict[str, Any]:
    """What the demonstration measures, as plain values; the same for a seed but for `speed` and `together`.

    gradient   {"fresh", "trained"} -> {kind: ||d h_T / d x_0|| for T in distances}, Frobenius norm
    accuracy   {kind: share right at each of `asked`}, after `steps` steps with distances 1..lag drawn anew each step
    speed      {"forward", "both"} -> {kind: CPU seconds for one text of each of `lengths`}, one thread; both: forward
               and backward of a loss on all states
    together   {kind: how many times the tokens a second of one text TOGETHER texts give}, forward, the longest
    """
    if lag < 1 or steps < 1 or size < 4 or size % 4:
        raise InputError(f"lag and steps must be at least 1 and size a multiple of 4, got {lag}, {steps} and {size}")
    if not distances or min(distances) < 1:
        raise InputError(f"distances must be at least 1, got {list(distances)}")
    if not lengths or min(lengths) < 1:
        raise InputError(f"lengths must be at least 1, got {list(lengths)}")
    asked = [distance for distance in distances if distance <= lag] or [lag]
    found: dict[str, Any] = {"lag": lag, "steps": steps, "distances": list(distances), "asked": asked,
                             "chance": 1 / SYMBOLS, "gradient": {"fresh": {}, "trained": {}}, "accuracy": {},
                             "lengths": list(lengths), "speed": {"forward": {}, "both": {}}, "together": {}}
    for kind in KINDS:
        model = Recall(kind, size, max(lag, *distances) + 1, seed)
        found["gradient"]["fresh"][kind] = [gradient_norm(model, distance, seed) for distance in distances]
        train(model, lag, steps, seed)
        found["gradient"]["trained"][kind] = [gradient_norm(model, distance, seed) for distance in distances]
        found["accuracy"][kind] = [accuracy(model, distance, seed) for distance in asked]
        for passes, times in found["speed"].items():
            times[kind] = [cpu_seconds(model, length, passes == "both") for length in lengths]
        many, one = (cpu_seconds(model, max(lengths), False, rows) for rows in (TOGETHER, 1))
        found["together"][kind] = TOGETHER * one / many
    return found


class Recall:
    """A table of symbols, one layer of the kind, a linear layer that says which symbol was the first."""

    def __init__(self, kind: Kind, size: int, length: int, seed: int) -> None:
        from torch import nn

        self.kind = kind
        self.body: Any = _attention(size, length, seed) if kind == "attention" else _recurrent(kind, size, seed)
        self.table: Any = self.body.embedding if kind == "attention" else nn.Embedding(SYMBOLS, size)
        self.output = nn.Linear(size, SYMBOLS)
        self.modules = nn.ModuleList([self.body, self.table, self.output])
        if kind != "attention":
            _fill(self.table.weight, 1.0, seed, kind, "table")
        _fill(self.output.weight, size**-0.5, seed, kind, "output")
        _fill(self.output.bias, 0.0, seed, kind, "bias")

    def states(self, vectors: Tensor) -> Tensor:
        """(b, t, d) inputs -> (b, t, d): the state after each of them."""
        if self.kind != "attention":
            return self.body(vectors)[0]
        from polysemy.nn.attention import Visibility

        return self.body.transformer(vectors, Visibility(causal=True), None)

    def last(self, vectors: Tensor) -> Tensor:
        """(b, t, d) inputs -> (b, d): the state after the last of them."""
        return self.states(vectors)[:, -1]

    def answer(self, ids: Tensor) -> Tensor:
        """(b, t) symbols -> (b, SYMBOLS) logits of the first."""
        return self.output(self.last(self.table(ids)))


def gradient_norm(model: Recall, distance: int, seed: int = 0) -> float:
    """||d h_T / d x_0|| in the mean square over rows: for random v of unit variance, E |v J|^2 is the square of it."""
    import torch

    ids = _symbols(distance, seed, "gradient", distance)
    vectors = model.table(ids).detach().requires_grad_()
    last = model.last(vectors)
    random = torch.randn(last.shape, generator=_generator(seed, "projection", distance))
    grad, = torch.autograd.grad(last, vectors, random)
    return float(grad[:, 0].double().square().sum(-1).mean().sqrt())


def train(model: Recall, lag: int, steps: int, seed: int = 0) -> None:
    """Adam, gradients cut at norm 1; each step has a distance of its own."""
    import torch

    parameters = list(model.modules.parameters())
    optimizer = torch.optim.Adam(parameters, RATES[model.kind])
    for step in range(steps):
        ids = _symbols(1 + seed_for(seed, "distance", step) % lag, seed, "train", step)
        loss = torch.nn.functional.cross_entropy(model.answer(ids), ids[:, 0])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


def accuracy(model: Recall, distance: int, seed: int = 0, rows: int = 512) -> float:
    """Share of fresh rows whose first symbol is said after `distance` more."""
    import torch

    ids = _symbols(distance, seed, "test", distance, rows=rows)
    with torch.no_grad():
        return float((model.answer(ids).argmax(-1) == ids[:, 0]).float().mean())


def cpu_seconds(model: Recall, length: int, backward: bool, rows: int = 1) -> float:
    """Of the states of texts, and with `backward` of the gradients too: one thread, the least of several."""
    import torch

    vectors = torch.randn((rows, length, model.output.in_features), generator=_generator("speed", length))
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        while len(times) <= TAKES or sum(times[1:]) < SECONDS:  # the first finds its memory and does not count
            start = time.process_time()
            with torch.set_grad_enabled(backward):
                states = model.states(vectors)
            if backward:
                states.square().sum().backward()
            times.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
        model.modules.zero_grad()
    return min(times[1:])


def told(found: dict[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """(sentences, rows: distance, gradient of each kind fresh and trained, accuracy of each) for people."""
    rows = []
    for i, distance in enumerate(found["distances"]):
        norms = [f"{found['gradient'][when][kind][i]:.1e}" for when in ("fresh", "trained") for kind in KINDS]
        right = [f"{100 * found['accuracy'][kind][found['asked'].index(distance)]:.0f} %"
                 if distance in found["asked"] else "" for kind in KINDS]
        rows.append((str(distance), *norms, *right))
    last = {kind: found["gradient"]["fresh"][kind][-1] / found["gradient"]["fresh"][kind][0] for kind in KINDS}
    lines = [
        f"from distance {found['distances'][0]} to {found['distances'][-1]} the fresh gradient falls to "
        + ", ".join(f"{last[kind]:.0e} ({NAMES[kind]})" for kind in KINDS) + " of what it was",
        f"after {found['steps']} steps, which symbol was {found['asked'][-1]} places before (chance "
        f"{100 * found['chance']:.0f} %): "
        + ", ".join(f"{NAMES[kind]} {100 * found['accuracy'][kind][-1]:.0f} %" for kind in KINDS),
        *_speeds(found),
    ]
    return lines, rows


def _speeds(found: dict[str, Any]) -> list[str]:
    """A small table, a line a pass and length, and what one text leaves idle."""
    lines = ["one text on one thread, milliseconds of processor time (tokens a second):",
             f"  {'':22}{'tokens':>6}" + "".join(f"{NAMES[kind]:>20}" for kind in KINDS)]
    for passes, name in (("forward", "forward"), ("both", "forward and backward")):
        for i, length in enumerate(found["lengths"]):
            took = [found["speed"][passes][kind][i] for kind in KINDS]
            cells = [f"{1000 * seconds:.2f} ({length / seconds:,.0f})" for seconds in took]
            lines.append(f"  {name:22}{length:>6,}" + "".join(f"{cell:>20}" for cell in cells))
    lines.append(f"{TOGETHER} texts of {max(found['lengths']):,} at once, forward: "
                 + ", ".join(f"{found['together'][kind]:.1f} times ({NAMES[kind]})" for kind in KINDS)
                 + " the tokens a second of one: places that wait for each other leave part of a processor unused")
    return lines


def _recurrent(kind: Kind, size: int, seed: int) -> nn.Module:
    """Weights uniform within size**-0.5, biases 0 but 1 at the forget gate (Jozefowicz et al. 2015)."""
    import torch
    from torch import nn

    body = (nn.RNN if kind == "rnn" else nn.LSTM)(size, size, batch_first=True)
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            _fill(parameter, 0.0 if name.startswith("bias") else size**-0.5, seed, kind, name)
        if kind == "lstm":
            body.get_parameter("bias_ih_l0")[size:2 * size] = 1.0
    return body


def _attention(size: int, length: int, seed: int) -> nn.Module:
    from polysemy.models.encoder import Encoder, EncoderConfig
    from polysemy.nn.embedding import EmbeddingConfig
    from polysemy.nn.initialization import initialize
    from polysemy.nn.position import Learned
    from polysemy.nn.transformer import TransformerConfig

    transformer = TransformerConfig(hidden_size=size, num_layers=1, num_heads=4, intermediate_size=2 * size,
                                    causal=True, norm="pre", initializer="xavier", dropout=0.0, attention_dropout=0.0)
    embedding = EmbeddingConfig(vocab_size=SYMBOLS, position=Learned(max_positions=length), dropout=0.0)
    body = Encoder(EncoderConfig(embedding=embedding, transformer=transformer))
    initialize(body, transformer, seed)
    return body


def _fill(parameter: Tensor, bound: float, *key: int | str) -> None:
    import torch

    with torch.no_grad():
        parameter.uniform_(-bound, bound, generator=_generator(*key)) if bound else parameter.zero_()


def _symbols(distance: int, *key: int | str, rows: int = ROWS) -> Tensor:
    """(rows, distance + 1) symbols: the one to remember and what comes after it."""
    import torch

    return torch.randint(SYMBOLS, (rows, distance + 1), generator=_generator(*key))


def _generator(*key: int | str) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed_for("demo vanish", *key) >> 1)
