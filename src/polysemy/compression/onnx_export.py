"""A run folder as one ONNX file with its tokenizer beside it: vectors of texts, or the answers of a fine-tuned head.

    OUT/model.onnx        inputs input_ids, attention_mask (and token_type_ids), int64 (batch, length), both sizes free
                          outputs sentence_embedding (batch, d) and last_hidden_state (batch, length, d), or logits
    OUT/tokenizer.json    and the small files that let transformers' AutoTokenizer open the folder
    OUT/polysemy.json     what the texts are put between, the task and its labels, the sha256 of the file

Rows are padded on the right.  The file is compared with torch before the folder appears (`onnx_check`).
"""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import polysemy
from polysemy.artifact import new_folder, write_bytes, write_json
from polysemy.compression.onnx_parts import FORMAT, OPSET, Graph, body_states, check_exportable, onnx
from polysemy.errors import InputError
from polysemy.models.task_use import TaskUser
from polysemy.models.tasks import Classify, Embed, Regress
from polysemy.models.text_model import TextModel

MODEL, RECORD = "model.onnx", "polysemy.json"


def to_onnx(source: str | Path, out: str | Path, *, int8: bool = False, overwrite: bool = False) -> dict[str, Any]:
    """Write the run folder `source` as a folder with one ONNX file; what was found when it was checked.

    int8  also quantize the matrices (`quantized_onnx`); the check then tells how far the outputs moved

    InputError where the body or the head cannot be written, and where ONNX Runtime's outputs are not torch's.
    """
    from polysemy.compression.onnx_check import check_onnx

    out = Path(out)
    if out.suffix == ".onnx":
        raise InputError(f"DST must be a folder, got {out}; the file in it is called {MODEL}")
    model = polysemy.load(source)
    if not isinstance(model, TextModel):
        raise InputError(f"model must be one of running text to become ONNX, got a {type(model).__name__}")
    check_exportable(model.model.body)
    content = written(model)
    report: dict[str, Any] = {"checked": check_onnx(content, model)}
    if int8:
        from polysemy.compression.quantized_onnx import quantized

        content = quantized(content)
        report |= {"int8": check_onnx(content, model, limit=None)}
    with new_folder(out, overwrite=overwrite) as work:
        write_bytes(work / MODEL, content)
        model.tokenizer.save(work)
        write_json(work / RECORD, record(model, content))
    return {**report, "megabytes": len(content) / 1e6}


def written(model: TextModel) -> bytes:
    """The ONNX file of a model, checked by onnx itself."""
    helper, kinds = onnx().helper, onnx().TensorProto
    g, body = Graph(), model.model.body
    names = ["input_ids", "attention_mask"]
    if body.embedding.segment is not None:
        names.append("token_type_ids")
    states = body_states(g, body, (names[0], names[1], names[2] if len(names) > 2 else None), model.length)
    sizes = ["batch", "length"]
    if isinstance(model, TaskUser):
        outputs = [_logits(g, model, states)]
    else:
        outputs = [("last_hidden_state", [*sizes, model.config.model.hidden_size]), _pooled(g, model, states)]
        g.add("Identity", states, name="last_hidden_state")
    inputs = [helper.make_tensor_value_info(name, kinds.INT64, sizes) for name in names]
    graph = helper.make_graph(g.nodes, model.config.recipe, inputs,
                              [helper.make_tensor_value_info(name, kinds.FLOAT, shape) for name, shape in outputs],
                              list(g.constants.values()))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=FORMAT,
                             producer_name="polysemy", producer_version=polysemy.__version__)
    onnx().checker.check_model(made)
    return made.SerializeToString()


def _pooled(g: Graph, model: TextModel, states: str) -> tuple[str, list[Any]]:
    """One vector a text, as `embed` gives it."""
    task = getattr(model, "task", None)
    task = task if isinstance(task, Embed) else Embed(pooling="mean", normalize=False)
    size = task.dimensions or model.config.model.hidden_size
    x = _of_text(g, states, task.pooling)
    if task.dimensions:
        x = g.add("Slice", x, g.constant([0], np.int64), g.constant([size], np.int64), g.constant([1], np.int64))
    if task.normalize:
        length = g.add("ReduceL2", x, g.constant([-1], np.int64), keepdims=1)
        x = g.add("Div", x, g.add("Max", length, g.constant(1e-12)))
    g.add("Identity", x, name="sentence_embedding")
    return "sentence_embedding", ["batch", size]


def _of_text(g: Graph, states: str, pooling: str | None) -> str:
    """(batch, d): the first state, the last that is not padding, or the mean or the largest of those."""
    if pooling == "cls":
        return g.add("Gather", states, g.constant(0, np.int64), axis=1)
    one, none = g.constant([1], np.int64), g.constant([-1], np.int64)
    if pooling == "last":
        last = g.add("Sub", g.add("ReduceSum", "attention_mask", one, keepdims=1), one)
        at = g.add("Concat", last, axis=1)
        return g.add("GatherND", states, at, batch_dims=1)
    seen = g.add("Cast", g.add("Unsqueeze", "attention_mask", none), to=onnx().TensorProto.FLOAT)
    if pooling == "max":
        far = g.add("Mul", g.add("Sub", g.constant(1.0), seen), g.constant(-1e30))
        return g.add("ReduceMax", g.add("Add", states, far), one, keepdims=0)
    total = g.add("ReduceSum", g.add("Mul", states, seen), one, keepdims=0)
    return g.add("Div", total, g.add("Max", g.add("ReduceSum", seen, one, keepdims=0), g.constant(1.0)))


def _logits(g: Graph, model: TaskUser, states: str) -> tuple[str, list[Any]]:
    """What the head of a task gives: (batch, outputs) for texts, (batch, length, outputs) for places."""
    whole: Any = model.model
    head, config = whole.head, whole.head_config
    if config.reading in ("mix", "apart"):
        raise InputError("head must read one state or the mean of the last layer to become ONNX, got one that reads "
                         f"{config.reading}")
    if isinstance(model.task, Classify | Regress):
        x = _of_text(g, states, {"first": "cls"}.get(config.reading, config.reading))
        if head.dense is not None:
            x = g.add("Relu" if head.form == "relu" else "Tanh", g.linear(x, head.dense))
        shape: list[Any] = ["batch"]
    else:
        x, shape = states, ["batch", "length"]
    g.add("Identity", g.linear(x, head.output), name="logits")
    return "logits", [*shape, head.output.weight.shape[0]]


def record(model: TextModel, content: bytes) -> dict[str, Any]:
    """What polysemy.json says: enough to read texts without the rest of the library."""
    empty, mark = np.zeros(0, np.int64), np.array([-1])
    single = model.row(mark)
    found: dict[str, Any] = {
        "recipe": model.config.recipe, "length": _length(model), "sha256": hashlib.sha256(content).hexdigest(),
        "single": [single.ids.tolist(), single.segments.tolist()],
        "pad": model.tokenizer.pad_id if model.tokenizer.has("pad") else 0}
    if model.two_sided:
        pair = model.row(mark, mark - 1)
        found["pair"] = [pair.ids.tolist(), pair.segments.tolist()]
    assert len(model.row(empty).ids) == len(single.ids) - 1, "texts stand between marks"
    task = getattr(model, "task", None)
    return found if task is None else found | {"task": task.to_dict()}


def _length(model: TextModel) -> int:
    """Most tokens of a row: all that the body reads, or what a task was learned from."""
    return min(model.length, getattr(model, "most", None) or model.length)
