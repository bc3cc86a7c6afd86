"""The fast way to read one text on a CPU: each token is one call of a compiled function (`step_kernel`).

It computes what `Encoder.advance` and the tied head compute, in float32, so that the tokens are the same; what it
cannot run is left to `PlainReader`.  Weights may be kept smaller: bfloat16 halves and int8 quarters what is read for a
token, which is what a large model waits for; the loss of each is in docs/generation.md.
"""
from __future__ import annotations

import math
import struct
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polysemy.decoding.reading import PlainReader, Predicts, Window
from polysemy.models.encoder import Encoder
from polysemy.nn import kernels
from polysemy.nn.attention import Full
from polysemy.nn.heads import NextTokenHead
from polysemy.nn.position import Learned, rotation

WORTH = 1 << 32
"""weights read over a whole text from which on it pays to load the compiler's library, unless that is there already"""
SMALL = 1 << 24
"""bytes of weights below which one thread is always taken: the others would mostly wait"""
AGAIN = 256
"""steps after which one thread and several are compared anew"""
LOSS = 4
"""steps of one thread that several may lose before they are left"""
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


def fits(model: Predicts) -> bool:
    """Whether the compiled step computes this model: a causal Encoder with full attention, in float32 on a CPU."""
    return misfit(model) is None


def misfit(model: Predicts) -> str | None:
    """Why the compiled step cannot compute this model, None where it can."""
    body = model.body
    if not isinstance(body, Encoder):
        return "the compiled step is a GPT's"
    if body.table.device.type != "cpu":
        return f"the compiled step runs on a CPU, and the model is on {body.table.device}"
    if not kernels.switched_on():
        return "there is no compiled step without Numba, beside Linux or under POLYSEMY_PLAIN=1"
    c, e = body.config.transformer, body.config.embedding
    if not isinstance(c.attention, Full):
        return f"the compiled step has full attention alone, and the model's is {type(c.attention).__name__.lower()}"
    heads = getattr(model, "heads", None)
    head = heads["next_token"] if isinstance(heads, nn.ModuleDict) and list(heads) == ["next_token"] else None
    plain = (c.causal and not c.cross_attention and not e.factor_size
             and (e.position is None or isinstance(e.position, Learned)) and isinstance(head, NextTokenHead)
             and isinstance(head.projection, nn.Identity)
             and all(kernels.usable(p) and p.is_contiguous() and p.dtype == torch.float32
                     for module in (body, head) for p in module.parameters()))
    return None if plain else "the compiled step does not compute this layout"


def reader_for(model: Predicts, size: int, window: Window, weights: str = "float32") -> CompiledReader | None:
    """The compiled reader for one text of `size` tokens, where it fits and is worth it."""
    if not fits(model):
        return None
    reads = size * sum(p.numel() for p in model.body.parameters())
    if reads < WORTH and weights == "float32" and "polysemy.decoding.step_kernel" not in sys.modules:
        return None
    return CompiledReader(model, min(size, window.length or size), weights=weights)


@dataclass(eq=False)
class Packed:
    """The weights of a model in one format, and where each is."""

    model_words: dict[str, int]
    layers: Tensor
    """int64 (layers, words of a layer)"""
    kept: list[Tensor] = field(default_factory=list)
    """tensors whose addresses are in the words"""
    made_of: tuple[int, ...] = ()


_packed: weakref.WeakKeyDictionary[Any, dict[str, Packed]] = weakref.WeakKeyDictionary()


def pack(model: Any, weights: str = "float32") -> Packed:
    """The addresses of a model's weights; matrices are converted first, unless the format is their own float32.

    Made once for a model and format, and anew when the weights have changed.
    """
    state = tuple(number for p in model.parameters()
                  for number in (p.data_ptr(), 0 if p.is_inference() else p._version))
    known = _packed.setdefault(model, {})
    if weights not in known or known[weights].made_of != state:
        known[weights] = _pack(model, weights, state)
    return known[weights]


def _pack(model: Any, weights: str, state: tuple[int, ...]) -> Packed:
    body: Encoder = model.body
    head: NextTokenHead = model.heads["next_token"]
    kept: list[Tensor] = []

    def at(tensor: Tensor | None) -> int:
        if tensor is None:
            return 0
        kept.append(tensor.detach())
        return tensor.data_ptr()

    def stored(matrix: Tensor) -> tuple[int, int]:
        values, scales = converted(matrix.detach(), weights)
        return at(values), at(scales)

    rows = []
    for block in body.transformer.blocks():
        attention: Any = block.attention.inner
        feed_forward: Any = block.feed_forward.inner
        rows.append([*stored(attention.qkv.weight), at(attention.qkv.bias), *stored(attention.output.weight),
                     at(attention.output.bias), at(block.attention.norm.weight), at(block.attention.norm.bias),
                     *stored(feed_forward.up.weight), at(feed_forward.up.bias), *stored(feed_forward.down.weight),
                     at(feed_forward.down.bias), at(block.feed_forward.norm.weight), at(block.feed_forward.norm.bias)])
    e, last = body.embedding, body.transformer.final_norm
    position: Any = e.position
    table = None if position is None else position.table.weight[position.offset:]
    matrix, scales = stored(head.matrix(body.table))
    return Packed({
        "table": at(body.table), "positions": at(table),
        "segment": at(None if e.segment is None else e.segment.weight),
        "embedding_norm_weight": at(getattr(e.norm, "weight", None)),
        "embedding_norm_bias": at(getattr(e.norm, "bias", None)),
        "final_norm_weight": at(getattr(last, "weight", None)), "final_norm_bias": at(getattr(last, "bias", None)),
        "head": matrix, "head_scales": scales, "head_bias": at(head.bias),
    }, torch.tensor(rows, dtype=torch.int64), kept, state)


def converted(matrix: Tensor, weights: str) -> tuple[Tensor, Tensor | None]:
    """(the matrix in a format, a float32 scale for each row or None); int8 has 127 steps up to a row's largest."""
    if weights == "float32":
        return matrix, None
    if weights == "bfloat16":
        return matrix.bfloat16().contiguous(), None
    scales = matrix.abs().amax(1).clamp(min=1e-30) / 127
    return (matrix / scales[:, None]).round().to(torch.int8).contiguous(), scales.contiguous()


class Pace:
    """One thread or several, whichever does a step faster now.

    Threads that meet many times a step lose where other programs want the same cores, and these come and go; so both
    are tried, again after every AGAIN steps, and several are left once they have lost more than LOSS steps of one.
    Which one it is changes no bit of the result.
    """

    def __init__(self, most: int) -> None:
        self.most = self.best = most
        self.steps, self.seconds, self.lost = 0, {1: math.inf, most: math.inf}, 0.0

    def threads(self) -> int:
        """For the next step."""
        place = self.steps % AGAIN
        self.steps += 1
        if place == 0:
            self.seconds, self.lost = dict.fromkeys(self.seconds, math.inf), 0.0
        return (1, self.most)[place % 2] if place < 4 else self.best

    def took(self, threads: int, seconds: float) -> None:
        """How long a step was."""
        if (self.steps - 1) % AGAIN < 4:
            self.seconds[threads] = min(self.seconds[threads], seconds)
            self.best = min(self.seconds, key=lambda count: self.seconds[count])
        elif threads > 1:
            self.lost = max(0.0, self.lost + seconds - self.seconds[1])
            if self.lost > LOSS * self.seconds[1]:
                self.best = 1


class CompiledReader:
    """Reads one text of at most `capacity` tokens: the prompt by the plain way, then token by token."""

    def __init__(self, model: Any, capacity: int, *, weights: str = "float32", threads: int | None = None) -> None:
        from polysemy.decoding.products import multiplies_integers
        from polysemy.decoding.step_kernel import META

        self.plain, self.weights, self.packed = PlainReader(model), weights, pack(model, weights)
        c, e = model.body.config.transformer, model.body.config.embedding
        size = BYTES[weights] * sum(p.numel() for p in model.parameters())
        self.parts = threads or (1 if size < SMALL else min(torch.get_num_threads(), c.num_heads))
        self.pace = Pace(self.parts) if self.parts > 1 and threads is None else None
        heads, width = c.num_heads, c.head_size
        self.keys, self.values = (torch.zeros(c.num_layers, heads, capacity, width) for _ in range(2))
        self.scratch = {name: torch.zeros(size) for name, size in (
            ("logits", e.vocab_size), ("context", c.hidden_size), ("outer", c.hidden_size),
            ("inner", c.intermediate_size))}
        self.meeting = torch.zeros(16, dtype=torch.int64)
        self.turns = self._turns(c, capacity)
        layout = 0 if c.distance is None else 1 if c.distance.layout == "half" else 2
        words: dict[str, int | float] = {
            "hidden_size": c.hidden_size, "heads": heads, "inner_size": c.intermediate_size, "layers": c.num_layers,
            "vocab_size": e.vocab_size, "capacity": capacity, "place": 0, "token": 0, "norm_first": c.norm == "pre",
            "activation": kernels_kind(c.activation), "rotary": layout,
            "factor": width**-0.5 if c.scale == "sqrt" else 1.0, "norm_eps": float(c.norm_eps),
            "embedding_eps": float(e.norm_eps), "token_scale": c.hidden_size**0.5 if e.scale_tokens else 1.0,
            "cosine": self.turns[0].data_ptr(), "sine": self.turns[1].data_ptr(), "keys": self.keys.data_ptr(),
            "values": self.values.data_ptr(), "meeting": self.meeting.data_ptr(),
            "table_of_layers": self.packed.layers.data_ptr(),
            "integers": weights == "int8" and multiplies_integers(c.hidden_size, c.intermediate_size),
            **self.packed.model_words, **{name: tensor.data_ptr() for name, tensor in self.scratch.items()}}
        self.meta = torch.tensor([_bits(words[name]) for name in META], dtype=torch.int64)
        self._meta, self._place, self._token = self.meta.numpy(), META.index("place"), META.index("token")
        self._capacity, self._logits = capacity, self.scratch["logits"].numpy()[None]

    @staticmethod
    def _turns(c: Any, capacity: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines (capacity, e / 2) of rotary positions."""
        if c.distance is None:
            return torch.zeros(0), torch.zeros(0)
        turns = rotation(c.distance, torch.arange(capacity)[None], c.head_size, torch.float32)
        return turns.cosine[0, 0].contiguous(), turns.sine[0, 0].contiguous()

    def start(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """(1, v) logits after one row; its keys and values are taken over from the plain way."""
        assert len(rows) == 1, "the compiled step reads one text"
        logits = self.plain.start(rows)
        assert self.plain.state is not None
        count = len(rows[0])
        for layer in range(len(self.keys)):
            self.keys[layer, :, :count] = self.plain.state[1 + 2 * layer][0]
            self.values[layer, :, :count] = self.plain.state[2 + 2 * layer][0]
        self.plain.state = None
        self._meta[self._place] = count - 1
        return logits

    def advance(self, ids: np.ndarray) -> np.ndarray:
        """(1, v) logits after one more token; the array is used again by the next call."""
        from polysemy.decoding.step_kernel import run_step

        self._meta[self._place] += 1
        self._meta[self._token] = ids[0]
        assert self._meta[self._place] < self._capacity, "there is no room for more keys"
        parts = self.pace.threads() if self.pace else self.parts
        begun = time.perf_counter()
        if not run_step(self.weights, self.meta, self.meeting, parts):
            self.parts, self.pace = 1, None  # the threads cannot run side by side here
            run_step(self.weights, self.meta, self.meeting, 1)
        if self.pace:
            self.pace.took(parts, time.perf_counter() - begun)
        return self._logits

    def keep(self, rows: np.ndarray) -> None:
        """One row stays one row."""
        assert rows.tolist() == [0]


def kernels_kind(activation: str) -> int:
    """The number by which kernels know an activation."""
    from polysemy.decoding.step_kernel import ACTIVATIONS

    return ACTIVATIONS[activation]


def _bits(value: float) -> int:
    """A float as the bits of float64; a whole number as it is."""
    return struct.unpack("q", struct.pack("d", value))[0] if isinstance(value, float) else int(value)
