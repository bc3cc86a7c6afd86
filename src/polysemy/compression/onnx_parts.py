"""A graph of ONNX operators under construction, and the body of an encoder or GPT written with it.

Written by hand, and not traced, so that nothing of an example input can stay in it: sizes of batch and length are read
from the input when it runs (Shape, Range, Reshape with 0), weights that layers share are stored once, and the operators
are those that ONNX Runtime fuses (opset 20).
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models.encoder import Encoder
from polysemy.nn.attention import Full
from polysemy.nn.position import Learned, Rotary, Sinusoidal, rotation, sinusoid

OPSET, FORMAT = 20, 9
HIDDEN = -1e9
"""added to the scores of keys that may not be seen: their weight is 0 in float32"""


def onnx() -> Any:
    """The package, or a line that says how to get it."""
    try:
        import onnx
    except ImportError:
        raise InputError("onnx must be installed for this, got none; install the extra: pip install polysemy[onnx]"
                         ) from None
    return onnx


class Graph:
    """Nodes and constants in order; names of values are numbered."""

    def __init__(self) -> None:
        self.helper, self.numpy_helper = onnx().helper, onnx().numpy_helper
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._known: dict[Any, str] = {}
        self._kept: list[Any] = []

    def add(self, operator: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any) -> Any:
        """A node; the name of its output, or a list of them."""
        number = len(self.nodes)
        made = [name or f"{operator.lower()}_{number}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(self.helper.make_node(operator, list(inputs), made, name=f"n{number}", **attributes))
        return made[0] if outputs == 1 else made

    def constant(self, value: Any, kind: Any = np.float32) -> str:
        """An initializer; equal small ones exist once."""
        array = np.asarray(value, kind)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size < 16 else None
        if key is None or key not in self._known:
            name = f"c{len(self.constants)}"
            self.constants[name] = self.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            if key is None:
                return name
            self._known[key] = name
        return self._known[key]

    def weight(self, tensor: Tensor, *, turned: bool = False) -> str:
        """A parameter, stored once however often it is used; `turned` for what stands on the right of a MatMul."""
        key = tensor.data_ptr(), tuple(tensor.shape), turned
        if key not in self._known:
            array = tensor.detach().float().cpu()
            self._known[key] = self.constant((array.t() if turned else array).contiguous().numpy())
            self._kept.append(tensor)
        return self._known[key]

    def linear(self, x: str, linear: Any) -> str:
        """x W^T + b."""
        x = self.add("MatMul", x, self.weight(linear.weight, turned=True))
        return x if linear.bias is None else self.add("Add", x, self.weight(linear.bias))

    def norm(self, x: str, norm: Any) -> str:
        """Layer norm over the last dimension; nothing where there is none."""
        if not hasattr(norm, "weight"):
            return x
        return self.add("LayerNormalization", x, self.weight(norm.weight), self.weight(norm.bias), axis=-1,
                        epsilon=float(norm.eps))

    def activation(self, x: str, name: str) -> str:
        """One of the project's four."""
        if name == "relu":
            return self.add("Relu", x)
        if name == "quick_gelu":
            return self.add("Mul", x, self.add("Sigmoid", self.add("Mul", x, self.constant(1.702))))
        return self.add("Gelu", x, approximate="tanh" if name == "gelu_tanh" else "none")


def check_exportable(body: Any) -> None:
    """InputError for a body that has no graph here."""
    if not isinstance(body, Encoder) or not isinstance(body.config.transformer.attention, Full):
        kind = type(body).__name__ if not isinstance(body, Encoder) else "Transformer with another attention than full"
        raise InputError(f"model must be an encoder or GPT with full attention to become ONNX, got a {kind}")


def body_states(g: Graph, body: Encoder, inputs: tuple[str, str, str | None], longest: int) -> str:
    """The last states (batch, length, d) of right-padded rows; inputs: ids, mask (1 at tokens), segments or None."""
    ids, mask, segments = inputs
    c = body.config.transformer
    length = g.add("Gather", g.add("Shape", ids), g.constant(1, np.int64))
    places = g.add("Range", g.constant(0, np.int64), length, g.constant(1, np.int64))
    x = _embedded(g, body, ids, segments, places, longest)
    seen = g.add("Cast", g.add("Unsqueeze", mask, g.constant([1, 2], np.int64)), to=onnx().TensorProto.FLOAT)
    hidden = g.add("Mul", g.add("Sub", g.constant(1.0), seen), g.constant(HIDDEN))
    if c.causal:
        later = g.add("Less", g.add("Unsqueeze", places, g.constant([1], np.int64)),
                      g.add("Unsqueeze", places, g.constant([0], np.int64)))
        future = g.add("Mul", g.add("Cast", later, to=onnx().TensorProto.FLOAT), g.constant(HIDDEN))
        hidden = g.add("Add", hidden, future)
    turns = _turns(g, c, places, longest)
    for block in body.transformer.blocks():
        x = _sublayer(g, x, block.attention, c.norm, lambda y, inner: _attention(g, y, inner, c, hidden, turns))
        x = _sublayer(g, x, block.feed_forward, c.norm, lambda y, inner: g.linear(
            g.activation(g.linear(y, inner.up), c.activation), inner.down))
    return g.norm(x, body.transformer.final_norm)


def _sublayer(g: Graph, x: str, sublayer: Any, norm: str, inside: Any) -> str:
    if norm == "pre":
        return g.add("Add", x, inside(g.norm(x, sublayer.norm), sublayer.inner))
    return g.norm(g.add("Add", x, inside(x, sublayer.inner)), sublayer.norm)


def _embedded(g: Graph, body: Encoder, ids: str, segments: str | None, places: str, longest: int) -> str:
    e, module = body.config.embedding, body.embedding
    x = g.add("Gather", g.weight(module.token.weight), ids)
    size = module.token.weight.shape[1]
    if e.scale_tokens:
        x = g.add("Mul", x, g.constant(size**0.5))
    match e.position:
        case Learned():
            position: Any = module.position
            x = g.add("Add", x, g.add("Gather", g.constant(position.table.weight[e.position.offset:].detach().numpy()),
                                      places))
        case Sinusoidal():
            table = sinusoid(torch.arange(longest) + e.position.offset, size, e.position.layout).float()
            x = g.add("Add", x, g.add("Gather", g.constant(table.numpy()), places))
    if module.segment is not None and segments is not None:
        x = g.add("Add", x, g.add("Gather", g.weight(module.segment.weight), segments))
    x = g.norm(x, module.norm)
    return g.linear(x, module.widen) if e.factor_size else x


def _turns(g: Graph, c: Any, places: str, longest: int) -> tuple[str, str] | None:
    """Cosines and sines (length, e / 2) of rotary positions."""
    if not isinstance(c.distance, Rotary):
        return None
    found = rotation(c.distance, torch.arange(longest)[None], c.head_size, torch.float32)
    cosine, sine = (g.add("Gather", g.constant(table[0, 0].numpy()), places) for table in (found.cosine, found.sine))
    return cosine, sine


def _attention(g: Graph, x: str, inner: Any, c: Any, hidden: str, turns: tuple[str, str] | None) -> str:
    heads = g.add("Reshape", g.linear(x, inner.qkv), g.constant([0, 0, 3, c.num_heads, c.head_size], np.int64))
    parts = g.add("Split", g.add("Transpose", heads, perm=[2, 0, 3, 1, 4]), outputs=3, axis=0, num_outputs=3)
    q, k, v = (g.add("Squeeze", part, g.constant([0], np.int64)) for part in parts)
    if turns is not None:
        q, k = (_turned(g, part, turns, c.distance.layout) for part in (q, k))
    scores = g.add("MatMul", q, g.add("Transpose", k, perm=[0, 1, 3, 2]))
    scores = g.add("Add", g.add("Mul", scores, g.constant(float(inner.factor))), hidden)
    context = g.add("MatMul", g.add("Softmax", scores, axis=-1), v)
    context = g.add("Reshape", g.add("Transpose", context, perm=[0, 2, 1, 3]), g.constant([0, 0, -1], np.int64))
    return g.linear(context, inner.output)


def _turned(g: Graph, x: str, turns: tuple[str, str], layout: str) -> str:
    """Each pair of coordinates turned by its angle."""
    cosine, sine = turns
    neighbors = layout == "interleaved"
    axis, one = -1, g.constant([-1], np.int64)
    if neighbors:
        pairs = g.add("Reshape", x, g.constant([0, 0, 0, -1, 2], np.int64))
        a, b = (g.add("Squeeze", part, one) for part in g.add("Split", pairs, outputs=2, axis=axis, num_outputs=2))
    else:
        a, b = g.add("Split", x, outputs=2, axis=axis, num_outputs=2)
    first = g.add("Sub", g.add("Mul", a, cosine), g.add("Mul", b, sine))
    second = g.add("Add", g.add("Mul", a, sine), g.add("Mul", b, cosine))
    if not neighbors:
        return g.add("Concat", first, second, axis=-1)
    both = g.add("Concat", g.add("Unsqueeze", first, one), g.add("Unsqueeze", second, one), axis=-1)
    return g.add("Reshape", both, g.constant([0, 0, 0, -1], np.int64))
