"""Texts through a Transformer in use: a flat list without padding, all layers in one compiled call.

What it computes is what `Encoder.forward` computes without gradients; what it cannot compute is left to torch.  Texts
are dealt to threads as jobs of whole texts; one text alone is shared by all threads.

float32  sums in another order than torch's, nothing else
int16    matrices and what meets them as 16-bit numbers, about 14 bits of which count; cosines with float32 differ by
         some 1e-6 (bfloat16, with 8 bits, by 4e-5)
int8     cosines differ by some 1e-3; docs/inference.md says what each costs and brings
"""
from __future__ import annotations

import math
import struct
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models.encoder import Encoder
from polysemy.nn import kernels
from polysemy.nn.attention import Full
from polysemy.nn.local import Local
from polysemy.nn.position import Learned, rotation
from polysemy.runtime import cpu_flags

FORMATS = ("float32", "int16", "int8")
JOB_TOKENS = 96
"""tokens of a job at least, where there are enough: its numbers stay in the second cache"""
STRETCH = 64
"""tokens embedded at a time: their numbers stay in the first cache"""
FAR = 1 << 40
WORTH = 1 << 36
"""weights times tokens from which on it pays to load the compiler's library, unless that is there already"""
TOGETHER = 1 << 24
"""weights of all layers from which on several threads share one text; below, they would mostly wait"""


def fits(body: Any) -> bool:
    """Whether the compiled way computes this body: an Encoder with full or local attention, float32, on a CPU."""
    if not isinstance(body, Encoder) or not kernels.usable(body.table) or body.table.dtype != torch.float32:
        return False
    c = body.config.transformer
    return ({"avx512f", "avx512bw"} <= cpu_flags() and isinstance(c.attention, Full | Local)
            and not c.cross_attention and c.head_size % 16 == 0
            and all(p.dtype == torch.float32 and p.device.type == "cpu" for p in body.parameters()))


def multiplies(form: str) -> bool:
    """Whether this processor has the instructions of a format."""
    return form == "float32" or "avx512_vnni" in cpu_flags()


def loaded() -> bool:
    """Whether the compiled code is in this process already."""
    return "polysemy.nn.kernels.encoder_step" in sys.modules


class Engine:
    """The layers of one body in one format, with copies of its weights; `current` tells whether these still hold."""

    def __init__(self, body: Encoder, form: str = "float32") -> None:
        from polysemy.nn.kernels.encoder_step import META
        from polysemy.nn.kernels.panels import CODES

        assert fits(body), "ask fits() first"
        self.embedding, self.form = body.embedding, form
        self.watched = tuple(p for p in body.parameters() if not p.is_inference())
        self.made_of = self._state(body)
        c = self.config = body.config.transformer
        self.tables, self.epsilon = self._tables(), np.float32(body.embedding.config.norm_eps)
        self.kept: list[Any] = []
        self.layers = np.array(self._layers(body), np.int64)
        self.reach = c.attention.reach if isinstance(c.attention, Local) else FAR
        last = body.transformer.final_norm
        words: dict[str, int | float] = {
            "form": CODES[form], "hidden_size": c.hidden_size, "heads": c.num_heads, "inner_size": c.intermediate_size,
            "norm_first": int(c.norm == "pre"), "activation": _kind(c.activation),
            "rotary": 0 if c.distance is None else 1 if c.distance.layout == "half" else 2,
            "factor": c.head_size**-0.5 if c.scale == "sqrt" else 1.0, "epsilon": float(c.norm_eps),
            "behind": self.reach, "ahead": 0 if c.causal else self.reach,
            "table_of_layers": self.layers.ctypes.data}
        self.meta = np.array([_bits(words.get(name, 0)) for name in META], np.int64)
        self.places = {name: place for place, name in enumerate(META)}
        self.final = self._at(getattr(last, "weight", None)), self._at(getattr(last, "bias", None))
        self.turns = (np.zeros((0, 1), np.float32),) * 2
        self.scratch = np.zeros(0, np.float32)
        self.size = sum(p.numel() for p in body.transformer.parameters())

    def current(self, body: Encoder) -> bool:
        """Whether the weights of the body are still those that were copied."""
        return kernels.switched_on() and self._state(body) == self.made_of

    def _state(self, body: Encoder) -> list[int]:
        """Where the table is, for all tensors move together, and how often each was changed."""
        return [id(body.table), body.table.data_ptr(), *[p._version for p in self.watched]]

    def _at(self, tensor: Tensor | np.ndarray | None) -> int:
        """The address of a float32 array, which is kept alive."""
        if tensor is None:
            return 0
        array = tensor.detach().contiguous().numpy() if isinstance(tensor, Tensor) else tensor
        self.kept.append(array)
        return array.ctypes.data

    def _layers(self, body: Encoder) -> list[list[int]]:
        from polysemy.nn.kernels.panels import packed

        known: dict[int, list[int]] = {}

        def matrix(linear: Any) -> list[int]:
            if id(linear) not in known:  # shared layers are stored once
                parts = packed(linear.weight.detach().contiguous().numpy(), self.form)
                known[id(linear)] = [*map(self._at, parts), self._at(linear.bias)]
            return known[id(linear)]

        rows = []
        for block in body.transformer.blocks():
            attention: Any = block.attention.inner
            feed: Any = block.feed_forward.inner
            norms = [self._at(tensor) for norm in (block.attention.norm, block.feed_forward.norm)
                     for tensor in (norm.weight, norm.bias)]
            rows.append([number for linear in (attention.qkv, attention.output, feed.up, feed.down)
                         for number in matrix(linear)] + norms)
        return rows

    @torch.inference_mode()
    def states(self, ids: np.ndarray, segments: np.ndarray, lengths: Sequence[int] | np.ndarray,
               layer: int | None = None) -> np.ndarray:
        """(n, d) float32: states of the tokens of texts laid end to end, after `layer` layers (all by default).

        ids, segments (n,) int64; lengths of the texts.  Which texts run together changes no bit of float32.
        """
        ends = np.cumsum(lengths)
        pieces = np.stack([ends - lengths, lengths], 1).astype(np.int64)
        positions = np.arange(len(ids)) - np.repeat(pieces[:, 0], pieces[:, 1])
        x = self._embedded(ids, positions, segments)
        layers = len(self.layers) if layer is None else layer
        if layers:
            self._run(x, pieces, positions, layers)
        return x.numpy()

    def _embedded(self, ids: np.ndarray, positions: np.ndarray, segments: np.ndarray) -> Tensor:
        """(n, d) what the first layer reads; the common kind by NumPy, where a call costs a tenth of torch's."""
        tables = self.tables
        if tables is None or int(positions.max()) >= len(tables[1]):  # torch says what is wrong
            return self.embedding(*(torch.from_numpy(a) for a in (ids, positions, segments))).contiguous()
        token, position, segment, weight, shift = tables
        x = np.empty((len(ids), token.shape[1]), np.float32)
        for start in range(0, len(ids), STRETCH):
            here = slice(start, start + STRETCH)
            line = token[ids[here]]
            line += position[positions[here]]
            line += segment[segments[here]]
            line -= line.mean(1, keepdims=True)
            line /= np.sqrt(np.einsum("nd,nd->n", line, line)[:, None] / line.shape[1] + self.epsilon)
            line *= weight
            np.add(line, shift, out=x[here])
        return torch.from_numpy(x)

    def _tables(self) -> tuple[np.ndarray, ...] | None:
        """Token, position and segment vectors, weight and shift of their norm; None for another kind of embedding."""
        e, module = self.embedding.config, self.embedding
        if not isinstance(e.position, Learned) or not e.norm or e.factor_size or e.scale_tokens:
            return None
        position: Any = module.position
        found = [module.token.weight, position.table.weight[e.position.offset:], module.norm.weight, module.norm.bias]
        token, position, weight, shift = (tensor.detach().numpy() for tensor in found)
        segment = np.zeros((1, token.shape[1]), np.float32) if module.segment is None else (
            module.segment.weight.detach().numpy())
        return token, position, segment, weight, shift

    def _run(self, x: Tensor, pieces: np.ndarray, positions: np.ndarray, layers: int) -> None:
        from polysemy.nn.kernels.encoder_step import encode, scratch_floats

        threads = torch.get_num_threads()
        together = len(pieces) == 1 and threads > 1 and self.size >= TOGETHER
        jobs = _jobs(pieces, 1 if together else threads)
        parts = threads if together else min(threads, len(jobs) - 1)
        whole = layers == len(self.layers)
        most = int(np.add.reduceat(pieces[:, 1], jobs[:-1]).max())
        c = self.config
        size = scratch_floats(c.hidden_size, c.intermediate_size, most)
        if len(self.scratch) < parts * size + 16:
            self.scratch = np.zeros(parts * size + 16, np.float32)
        cosine, sine = self._turns(int(pieces[:, 1].max()))
        meeting = np.zeros(16, np.int64)
        words = {
            "layers": layers, "final_weight": self.final[0] if whole else 0,
            "final_shift": self.final[1] if whole else 0, "cosine": cosine.ctypes.data, "sine": sine.ctypes.data,
            "states": x.data_ptr(), "positions": positions.ctypes.data, "pieces": pieces.ctypes.data,
            "jobs": jobs.ctypes.data, "num_jobs": len(jobs) - 1, "together": int(together),
            "meeting": meeting.ctypes.data, "scratch": self.scratch.ctypes.data, "scratch_size": size,
            "most_tokens": most, "longest": int(pieces[:, 1].max()), "num_pieces": len(pieces)}
        before = x.clone() if together else x
        meta = self.meta.copy()
        for name, value in words.items():
            meta[self.places[name]] = value
        encode(torch.from_numpy(meta), parts)
        if together and meeting[8]:  # the threads could not all run at once
            x.copy_(before)
            meta[self.places["together"]], meeting[:] = 0, 0
            encode(torch.from_numpy(meta), 1)

    def _turns(self, count: int) -> tuple[np.ndarray, ...]:
        """Cosines and sines (positions, e / 2) of rotary positions."""
        c = self.config
        if c.distance is not None and len(self.turns[0]) < count:
            found = rotation(c.distance, torch.arange(1 << (count - 1).bit_length())[None], c.head_size, torch.float32)
            self.turns = found.cosine[0, 0].contiguous().numpy(), found.sine[0, 0].contiguous().numpy()
        return self.turns


_known: weakref.WeakKeyDictionary[Any, dict[str, Engine]] = weakref.WeakKeyDictionary()
_forms: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
_work: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def choose_form(body: Any, form: str) -> None:
    """Let a body be computed in a format (of FORMATS, or auto) from now on; InputError where that cannot be.

    auto is int16 where this processor multiplies it and the compiled way fits, else float32.
    """
    if form not in ("auto", "float32") and not (fits(body) and multiplies(form)):
        raise InputError(f"dtype must be auto or float32 for this model and processor, got {form}, which needs an "
                         "encoder or GPT with heads of 16, 32, ... and a CPU with AVX-512 VNNI")
    _forms[body] = form


def engine_for(body: Any, tokens: int) -> Engine | None:
    """The engine of a body for so many more tokens; None where torch is to do it.

    Loading the compiler's library takes a second, so float32 and auto ask for it once there has been work worth it.
    """
    if not isinstance(body, Encoder) or torch.is_grad_enabled() or body.training:
        return None
    asked = _forms.get(body, "float32")
    form = ("int16" if multiplies("int16") else "float32") if asked == "auto" else asked
    known = _known.setdefault(body, {})
    if form in known and known[form].current(body):
        return known[form]
    if not fits(body):
        return None
    if asked in ("auto", "float32") and not loaded():
        _work[body] = _work.get(body, 0) + tokens * sum(p.numel() for p in body.transformer.parameters())
        if _work[body] < WORTH:
            return None
    known[form] = Engine(body, form)
    return known[form]


def _jobs(pieces: np.ndarray, threads: int) -> np.ndarray:
    """Where each job begins among the pieces, and the end: about JOB_TOKENS tokens a job, fewer to keep all busy."""
    wanted = min(JOB_TOKENS, math.ceil(int(pieces[:, 1].sum()) / threads))
    found, tokens = [0], 0
    for i, count in enumerate(pieces[:, 1].tolist()):
        if tokens and tokens + count > wanted:
            found.append(i)
            tokens = 0
        tokens += count
    return np.array([*found, len(pieces)], np.int64)


def _kind(activation: str) -> int:
    from polysemy.nn.kernels.activation import KINDS

    return KINDS[activation]


def _bits(value: float) -> int:
    """A float as the bits of float64; a whole number as it is."""
    return struct.unpack("q", struct.pack("d", value))[0] if isinstance(value, float) else int(value)
