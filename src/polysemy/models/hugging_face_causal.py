"""Run folders of causal models to and from what AutoModelForCausalLM opens."""
from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from polysemy.artifact import new_folder, read_json, save_tensors, write_bytes, write_json
from polysemy.errors import InputError
from polysemy.models import gpt
from polysemy.models.encoder import EncoderConfig
from polysemy.models.hugging_face_causal_names import (
    LAYOUTS,
    causal_body,
    causal_config,
    causal_kind,
    marked_in_front,
    to_our_tensors,
    to_their_tensors,
)
from polysemy.models.hugging_face_files import (
    SMALLEST_VOCABULARY,
    check_shapes,
    encoder_of,
    read_tensors,
    setting,
    tell_tokenizer,
    tokenizer_for,
)
from polysemy.models.pretrained import WEIGHTS, PretrainingModel, finite
from polysemy.models.recipe import PretrainingConfig
from polysemy.nn.position import Learned
from polysemy.text.tokenizer import Tokenizer

Read = tuple[PretrainingModel, Tokenizer, PretrainingConfig, tuple[str, ...]]


def write_causal(model: PretrainingModel, tokenizer: Tokenizer, config: PretrainingConfig, out: str | Path,
                 overwrite: bool) -> tuple[str, ...]:
    """The folder that AutoModelForCausalLM opens; texts begin with the mark there, as documents did in training."""
    body = encoder_of(config)
    kind = causal_kind(body)
    tensors = to_their_tensors(kind, body, model.state_dict())
    settings = causal_config(kind, config, tokenizer)
    with new_folder(out, overwrite=overwrite) as work:
        tokenizer.save(work)
        tell_tokenizer(work / "tokenizer_config.json", config, left=True)  # generation goes on at the right
        definition = marked_in_front(read_json(work / "tokenizer.json"), tokenizer)
        write_bytes(work / "tokenizer.json", (json.dumps(definition, ensure_ascii=False) + "\n").encode())
        save_tensors(work / WEIGHTS, tensors)
        write_json(work / "config.json", settings)
    if kind == "gpt2":
        return ()
    return (f"{config.recipe} is written as {LAYOUTS[kind].architecture}, the class for " + (
        "rotary positions" if kind == "gpt_neox" else "norms after the sublayers"),)


def read_causal(source: Path, kind: str, theirs: dict[str, Any]) -> Read:
    """Model, tokenizer, config and notes of a folder with a causal model."""
    body = causal_body(kind, partial(setting, theirs))
    tokenizer = tokenizer_for(source, body.vocab_size)
    model = PretrainingModel.empty(body, ("next_token",))
    try:
        ours = to_our_tensors(kind, body, read_tensors(source))
    except KeyError as error:
        raise InputError(f"{source} must hold the tensor {error.args[0]}, which its config.json asks for") from None
    check_shapes(source, model, ours)
    model.load_state_dict(finite(source, ours), assign=True)
    config = imported_config(kind, theirs, body)
    learned = config.tokenizer.replace(kind=tokenizer.kind, vocab_size=max(tokenizer.vocab_size, SMALLEST_VOCABULARY))
    return model.eval(), tokenizer, config.replace(tokenizer=learned), ()


def imported_config(kind: str, theirs: dict[str, Any], body: EncoderConfig) -> PretrainingConfig:
    """The recipe of a causal body that was read from their files."""
    config: PretrainingConfig = gpt.configure("base", "ladder" if kind == "gpt_neox" else "paper")
    longest = body.embedding.position.max_positions if isinstance(body.embedding.position, Learned) else setting(
        theirs, "max_position_embeddings", 2048)
    return config.replace(model=body, size="imported", training=config.training.replace(length=longest))
