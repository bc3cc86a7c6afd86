"""Pieces of reading and writing Hugging Face folders that all kinds of model share."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from polysemy.artifact import check_safetensors, inside, load_tensors, read_json, write_json
from polysemy.errors import InputError
from polysemy.models.encoder import EncoderConfig
from polysemy.models.pretrained import WEIGHTS, PretrainingModel
from polysemy.models.recipe import PretrainingConfig
from polysemy.nn.position import Learned
from polysemy.text.tokenizer import Tokenizer

SMALLEST_VOCABULARY = 300  # a config of any kind of tokenizer accepts it
TASK_CLASSES = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


def encoder_of(config: PretrainingConfig) -> EncoderConfig:
    """The body's config where it is a Transformer, which all classes here are; else an InputError."""
    if not isinstance(config.model, EncoderConfig):
        raise InputError("recipe must be gpt or one of the BERT family for a class of transformers to fit, got "
                         f"{config.recipe}; keep it as a run folder")
    return config.model


def setting(theirs: dict[str, Any], name: str, default: Any) -> Any:
    """A setting of their config.json; InputError when it is not of the type of its default, which stands for null."""
    value = theirs.get(name)
    if value is not None and not isinstance(value, type(default)) and not (isinstance(default, float) and
                                                                           type(value) is int):
        raise InputError(f"{name} must be {type(default).__name__}, got {value!r} in config.json")
    return default if value is None else value


def task_class(theirs: dict[str, Any]) -> str:
    """The kind of task class that their config.json is of, one of TASK_CLASSES; '' where it is of none."""
    names = theirs.get("architectures")
    found = [ending for name in names or () for ending in TASK_CLASSES if str(name).endswith(ending)] if isinstance(
        names, list) else []
    return found[0] if found else ""


def read_tensors(source: Path) -> dict[str, Tensor]:
    """All tensors of a folder: one safetensors file, or the several that an index lists; a pickle is refused."""
    index = source / "model.safetensors.index.json"
    if (source / WEIGHTS).is_file() or not index.is_file():
        pickles = [path for path in source.glob("*.bin") if path.is_file()]
        if not (source / WEIGHTS).is_file():
            check_safetensors(pickles[0] if pickles else source / WEIGHTS)  # says what is wrong
        return load_tensors(source / WEIGHTS)
    listed = read_json(index).get("weight_map", {})
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(listed.values())):
        tensors |= load_tensors(inside(source, name))
    return tensors


def check_shapes(source: Path, model: PretrainingModel, ours: dict[str, Tensor]) -> None:
    """InputError unless each tensor of the model is there with its shape."""
    for name, tensor in model.state_dict().items():
        if ours[name].shape != tensor.shape:
            raise InputError(f"{name} must have shape {list(tensor.shape)} by config.json, got "
                             f"{list(ours[name].shape)} in {source}")


def tokenizer_for(source: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer of a folder, whose pieces the model must have vectors for."""
    tokenizer = Tokenizer.load(source)
    if tokenizer.vocab_size > vocab_size:
        raise InputError(f"tokenizer must have at most vocab_size {vocab_size} pieces, got {tokenizer.vocab_size} in "
                         f"{source}")
    return tokenizer


def tell_tokenizer(path: Path, config: PretrainingConfig, *, segments: bool = False, left: bool = False) -> None:
    """Write what their tokenizer must know of the model: its segments, the side of padding, the longest text."""
    model = encoder_of(config)
    names = ["token_type_ids"] if segments and model.embedding.num_segments > 1 else []
    position, length = model.embedding.position, config.training.length
    longest = min(position.max_positions, length) if isinstance(position, Learned) else length
    write_json(path, {**read_json(path), **({"padding_side": "left"} if left else {}), "model_max_length": longest,
                      "model_input_names": ["input_ids", *names, "attention_mask"]})
