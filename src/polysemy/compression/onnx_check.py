"""Is an ONNX file the model it was made of?  Its outputs against torch's, at several shapes."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch

from polysemy.compression.onnx_session import session_of
from polysemy.errors import InputError
from polysemy.models.text_model import TextModel
from polysemy.runtime import random_for

LIMIT = 1e-4
"""largest difference of an output from torch's, in units of the largest output, or of 1 where that is less"""


@torch.inference_mode()
def check_onnx(content: bytes, model: TextModel, limit: float | None = LIMIT) -> dict[str, Any]:
    """{shapes, largest_difference, cosine (the least)} over rows of random pieces, some of them padded.

    Batch 1 and length 1 and the longest text are among the shapes.  InputError beyond `limit`.
    """
    session = session_of(content, threads=torch.get_num_threads())
    inputs = [one.name for one in session.get_inputs()]
    outputs = [one.name for one in session.get_outputs()]
    worst, cosine = 0.0, 1.0
    shapes = sorted({(1, 1), (1, 7), (3, 5), (2, model.length)})
    for batch, length in shapes:
        arrays = _rows(model, batch, length)
        found = dict(zip(outputs, session.run(None, {name: arrays[name] for name in inputs}), strict=True))
        seen = arrays["attention_mask"] > 0
        for name, wanted in _wanted(model, arrays, outputs).items():
            ours = found[name]
            if wanted.shape != ours.shape:
                raise InputError(f"output {name} must be of shape {wanted.shape}, got {ours.shape}; the ONNX file is "
                                 "not this model")
            if wanted.ndim == 3:  # what stands at padding means nothing
                wanted, ours = wanted[seen], ours[seen]
            worst = max(worst, float(np.abs(ours - wanted).max() / max(1.0, float(np.abs(wanted).max()))))
            if wanted.shape[-1] > 8:
                lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(wanted, axis=-1)
                cosine = min(cosine, float(((ours * wanted).sum(-1) / np.maximum(lengths, 1e-30)).min()))
    if limit is not None and not worst <= limit:
        raise InputError(f"outputs of ONNX Runtime must be within {limit:g} of torch's, got {worst:.2g}; "
                         "nothing was written")
    return {"shapes": shapes, "largest_difference": worst, "cosine": cosine}


def _rows(model: TextModel, batch: int, length: int) -> dict[str, np.ndarray]:
    """Random ids; the last row half padded."""
    ids = random_for("onnx", batch, length).integers(0, model.tokenizer.vocab_size, (batch, length))
    mask = np.ones_like(ids)
    if batch > 1:
        mask[-1, (length + 1) // 2:] = 0
    segments = np.zeros_like(ids)
    if getattr(getattr(model.config.model, "embedding", None), "num_segments", 0) > 1:
        segments[:, length // 2:] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def _wanted(model: Any, arrays: dict[str, np.ndarray], outputs: list[str]) -> dict[str, np.ndarray]:
    """What torch gives for the same rows, by name of the output."""
    ids, mask, segments = (torch.from_numpy(arrays[name]) for name in ("input_ids", "attention_mask",
                                                                      "token_type_ids"))
    visible = mask > 0
    states = model.model.body(ids, None, segments, visible=visible)
    if outputs == ["logits"]:
        whole = model.model
        if not whole.head.__class__.__name__.startswith("Classify"):
            return {"logits": whole.head(states.flatten(0, 1)).unflatten(0, ids.shape).numpy()}
        tensors = {"ids": ids, "positions": torch.arange(ids.shape[1]).expand(ids.shape), "segments": segments,
                   "documents": visible.long() - 1}
        return {"logits": whole.logits(tensors).numpy()}
    task = getattr(model, "task", None)
    pooled = _pooled(states, visible, getattr(task, "pooling", "mean"))
    pooled = pooled[:, :getattr(task, "dimensions", None)]
    if getattr(task, "normalize", False):
        pooled = torch.nn.functional.normalize(pooled, dim=-1)
    return {"last_hidden_state": states.numpy(), "sentence_embedding": pooled.numpy()}


def _pooled(states: torch.Tensor, visible: torch.Tensor, pooling: str) -> torch.Tensor:
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states)), visible.sum(1) - 1]
    if pooling == "max":
        return states.masked_fill(~visible[..., None], -torch.inf).amax(1)
    return (states * visible[..., None]).sum(1) / visible.sum(1, keepdim=True)
