"""Run folders to and from the layout of Hugging Face transformers: config.json, model.safetensors, tokenizer files.

No transformers import: names and settings are written as that library reads them, and tests hold outputs equal.
A pre-norm body is their Esm when its positions are rotary (preset ladder) and their RobertaPreLayerNorm when they are
learned, whatever our recipe is called.  Causal models are in hugging_face_causal.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from polysemy.artifact import new_folder, read_folder, read_json, save_tensors, write_json
from polysemy.errors import InputError
from polysemy.models import RECIPES, resolve
from polysemy.models.encoder import EncoderConfig
from polysemy.models.hugging_face_causal import Read, read_causal, write_causal
from polysemy.models.hugging_face_causal_names import LAYOUTS
from polysemy.models.hugging_face_files import (
    SMALLEST_VOCABULARY,
    check_shapes,
    encoder_of,
    read_tensors,
    setting,
    task_class,
    tell_tokenizer,
    tokenizer_for,
)
from polysemy.models.hugging_face_names import FAMILIES, Family, their_groups, to_ours, to_theirs
from polysemy.models.pretrained import WEIGHTS, PretrainingModel, finite, open_run, write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.nn.attention import Full
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.position import Learned, Rotary
from polysemy.nn.transformer import ActivationName, TransformerConfig
from polysemy.text.segments import FullSentences
from polysemy.text.tokenizer import Tokenizer

CLASSES = {"bert": ("BertForPreTraining", "BertForMaskedLM", "BertModel"),
           "roberta": ("RobertaForMaskedLM", "RobertaForMaskedLM", "RobertaModel"),
           "roberta-prelayernorm": ("RobertaPreLayerNormForMaskedLM", "RobertaPreLayerNormForMaskedLM",
                                    "RobertaPreLayerNormModel"),
           "esm": ("EsmForMaskedLM", "EsmForMaskedLM", "EsmModel"),
           "albert": ("AlbertForPreTraining", "AlbertForMaskedLM", "AlbertModel"),
           "distilbert": ("DistilBertForMaskedLM", "DistilBertForMaskedLM", "DistilBertModel")}
ROTARY: dict[str, Any] = {"position_embedding_type": "rotary", "emb_layer_norm_before": True, "token_dropout": False}
"""the settings under which their Esm computes our pre-norm body with rotary positions"""
ESM_DEFAULTS: dict[str, Any] = {"position_embedding_type": "absolute", "emb_layer_norm_before": False,
                                "token_dropout": False}
ACTIVATIONS: dict[ActivationName, str] = {"gelu": "gelu", "gelu_tanh": "gelu_new", "quick_gelu": "quick_gelu",
                                          "relu": "relu"}
THEIR_ACTIVATIONS: dict[str, ActivationName] = {
    **{theirs: ours for ours, theirs in ACTIVATIONS.items()}, "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh", "gelu_python": "gelu"}


def to_hugging_face(folder: str | Path, out: str | Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write the run `folder` as a folder that AutoModel, AutoModelForMaskedLM and AutoTokenizer open.

    Returns a sentence for each thing that their library has no place for.
    """
    task = read_folder(folder, verify=False).config.get("task")
    if isinstance(task, dict) and task.get("kind") != "Embed":
        from polysemy.models.hugging_face_tasks import write_task

        return write_task(Path(folder), out, overwrite=overwrite)
    return write_hugging_face(*open_run(Path(folder)), out, overwrite=overwrite)


def write_hugging_face(model: PretrainingModel, tokenizer: Tokenizer, config: PretrainingConfig, out: str | Path, *,
                       overwrite: bool = False) -> tuple[str, ...]:
    """The same from a model in memory; of a causal one only the body is written, and tied tables."""
    if "next_token" in config.heads:
        return write_causal(model, tokenizer, config, out, overwrite)
    body = encoder_of(config)
    kind = family_of(body, tuple(config.heads))
    heads = [name for name in config.heads if name != "span_boundary"]
    tensors = to_theirs(FAMILIES[kind], body, heads, model.state_dict(), tokenizer.pad_id)
    with new_folder(out, overwrite=overwrite) as work:
        tokenizer.save(work)
        tell_tokenizer(work / "tokenizer_config.json", config, segments=FAMILIES[kind].segments)
        save_tensors(work / WEIGHTS, tensors)
        write_json(work / "config.json", their_config(kind, config, tokenizer))
    return _left_behind(kind, config)


def _left_behind(kind: str, config: PretrainingConfig) -> tuple[str, ...]:
    notes = ["the span-boundary head stays behind: no class of transformers has it"] * ("span_boundary" in config.heads)
    if kind == "roberta-prelayernorm" and config.recipe != "roberta":
        notes.append(f"{config.recipe} is written as RobertaPreLayerNorm, the class for norms before sublayers")
    if kind != "esm":
        return tuple(notes)
    notes.append(f"{config.recipe} is written as Esm, the class for rotary positions and norms before sublayers")
    if "pair" in config.heads:
        notes.append("the pair head stays behind: Esm has none")
    num_segments = encoder_of(config).embedding.num_segments
    if num_segments:
        notes.append("the vector of segment 0 is added to the token table: states and probabilities stay equal, the "
                     "masked-LM logits of a place all move by one number")
    if num_segments > 1:
        notes.append("the vectors of further segments stay behind: Esm reads a pair of texts as one segment")
    return tuple(notes)


def from_hugging_face(source: str | Path, out: str | Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write a Hugging Face folder as a run folder that `polysemy.load` opens; returns notes on what is lost."""
    theirs = read_json(Path(source) / "config.json") if (Path(source) / "config.json").is_file() else None
    if isinstance(theirs, dict) and task_class(theirs):
        from polysemy.models.hugging_face_tasks import convert_task

        return convert_task(Path(source), out, theirs, overwrite=overwrite)
    model, tokenizer, config, lost = read_hugging_face(source)
    write_run(out, model, tokenizer, config, overwrite=overwrite)
    return lost


def read_hugging_face(source: str | Path) -> Read:
    """Model, tokenizer, config and a sentence for each thing that stays behind; InputError when it does not fit.

    A config without pairs has segments FullSentences; its size is called `imported`.
    """
    source = Path(source)
    if not (source / "config.json").is_file():
        raise InputError(f"source must be a folder with config.json, got {source}")
    theirs = read_json(source / "config.json")
    kind = theirs.get("model_type") if isinstance(theirs, dict) else None
    if kind in LAYOUTS:
        return read_causal(source, kind, theirs)
    if kind not in FAMILIES:
        raise InputError(f"model_type must be {' | '.join((*FAMILIES, *LAYOUTS))}, got {kind!r} in "
                         f"{source}/config.json")
    body = our_config(kind, theirs)
    tensors = with_prefix(FAMILIES[kind], read_tensors(source))
    heads = _heads_in(FAMILIES[kind], tensors)
    untied = "masked_lm" in heads and theirs.get("tie_word_embeddings") is False
    if untied:
        heads = tuple(head for head in heads if head != "masked_lm")
    tokenizer = tokenizer_for(source, body.vocab_size)
    model = PretrainingModel.empty(body, heads)
    try:
        ours = to_ours(FAMILIES[kind], body, heads, tensors)
    except KeyError as error:
        raise InputError(f"{source} must hold the tensor {error.args[0]}, which its config.json asks for") from None
    check_shapes(source, model, ours)
    model.load_state_dict(finite(source, ours), assign=True)
    lost = []
    if untied:
        lost.append("its output layer has a table of its own (tie_word_embeddings is false), which no recipe here has: "
                    "the model can embed, but not fill, score or answer cloze items")
    elif "masked_lm" not in heads:
        lost.append("there is no masked-LM head in it: the model can embed, but not fill, score or answer cloze items")
    if "pair" not in heads and any("pooler" in name for name in tensors):
        lost.append("the pooler stays behind: it belongs to a pair head that is not there")
    config = recipe_config(kind, theirs, body, heads)
    learned = config.tokenizer.replace(kind=tokenizer.kind, vocab_size=max(tokenizer.vocab_size, SMALLEST_VOCABULARY))
    return model.eval(), tokenizer, config.replace(tokenizer=learned), tuple(lost)


def family_of(config: EncoderConfig, heads: Sequence[str]) -> str:
    """The model_type whose class computes exactly this body; InputError when there is none."""
    c, e = config.transformer, config.embedding
    learned = isinstance(e.position, Learned) and c.distance is None
    rotary = e.position is None and c.distance is not None and c.distance.layout == "half" and c.norm == "pre"
    plain = e.norm and not e.scale_tokens and not c.causal and c.scale == "sqrt" and e.norm_eps == c.norm_eps
    plain = plain and isinstance(c.attention, Full)
    if not plain or not (learned or rotary):
        raise InputError("model must have learned positions (or rotary ones of layout half, with norm pre), one "
                         "norm_eps, a norm on its embedding, scale sqrt and two-sided, full attention for a class of "
                         "transformers to fit, got another; keep it as a run folder")
    if c.norm == "pre":
        if e.factor_size or c.activation != "gelu":
            raise InputError("model must be post-norm, or have activation gelu and no factor_size, for a class of "
                             "transformers to fit, got a pre-norm one; train it with --preset paper")
        return "esm" if rotary else "roberta-prelayernorm"
    if e.factor_size:
        return "albert"
    if isinstance(e.position, Learned) and e.position.offset:
        return "roberta"
    unsegmented = e.num_segments == 0 and "pair" not in heads
    return "distilbert" if unsegmented and c.norm_eps == 1e-12 and c.activation in ("gelu", "relu") else "bert"


def their_config(kind: str, config: PretrainingConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """Their config.json."""
    body = encoder_of(config)
    c, e = body.transformer, body.embedding
    offset = tokenizer.pad_id + 1 if kind.startswith("roberta") else 0
    positions = e.position.max_positions if isinstance(e.position, Learned) else config.training.length
    whole = "masked_lm" in config.heads
    architecture = CLASSES[kind][0 if "pair" in config.heads and whole else 1 if whole else 2]
    result: dict[str, Any] = {
        "model_type": kind, "architectures": [architecture], "dtype": "float32", "polysemy_recipe": config.recipe,
        "vocab_size": e.vocab_size, "max_position_embeddings": positions + offset,
        "pad_token_id": tokenizer.pad_id, "bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id,
        "tie_word_embeddings": True}
    if kind == "distilbert":
        return {**result, "dim": c.hidden_size, "n_layers": c.num_layers, "n_heads": c.num_heads,
                "hidden_dim": c.intermediate_size, "activation": ACTIVATIONS[c.activation], "dropout": c.dropout,
                "attention_dropout": c.attention_dropout, "sinusoidal_pos_embds": False}
    result |= {"hidden_size": c.hidden_size, "num_hidden_layers": c.num_layers, "num_attention_heads": c.num_heads,
               "intermediate_size": c.intermediate_size, "hidden_dropout_prob": c.dropout,
               "attention_probs_dropout_prob": c.attention_dropout, "layer_norm_eps": c.norm_eps}
    if c.distance is not None:
        return {**result, **ROTARY, "rope_theta": c.distance.base, "mask_token_id": tokenizer.mask_id}
    result |= {"hidden_act": ACTIVATIONS[c.activation], "type_vocab_size": max(1, e.num_segments)}
    if kind == "albert":
        result |= {"embedding_size": e.factor_size, "num_hidden_groups": their_groups(body),
                   "inner_group_num": 1}
    return result


def our_config(kind: str, theirs: dict[str, Any]) -> EncoderConfig:
    """Our body from their config.json; settings that they leave out have the defaults of their library."""
    get = partial(setting, theirs)
    if kind == "esm":
        return _rotary_config(theirs)
    if get("position_embedding_type", "absolute") != "absolute" or get("inner_group_num", 1) != 1:
        raise InputError("position_embedding_type must be absolute and inner_group_num 1, got "
                         f"{theirs.get('position_embedding_type')!r} and {theirs.get('inner_group_num')!r}")
    distil, albert = kind == "distilbert", kind == "albert"
    act = get("activation" if distil else "hidden_act", "gelu_new" if albert else "gelu")
    if act not in THEIR_ACTIVATIONS:
        raise InputError(f"hidden_act must be {' | '.join(THEIR_ACTIVATIONS)}, got {act!r} in config.json")
    sizes = {"hidden_size": get("dim", 768) if distil else get("hidden_size", 4096 if albert else 768),
             "num_layers": get("n_layers", 6) if distil else get("num_hidden_layers", 12),
             "num_heads": get("n_heads", 12) if distil else get("num_attention_heads", 64 if albert else 12),
             "intermediate_size": get("hidden_dim", 3072) if distil
             else get("intermediate_size", 16_384 if albert else 3072)}
    dropout = get("dropout" if distil else "hidden_dropout_prob", 0.0 if albert else 0.1)
    offset = get("pad_token_id", 1) + 1 if kind.startswith("roberta") else 0
    eps = 1e-12 if distil else get("layer_norm_eps", 1e-12)
    return EncoderConfig(
        embedding=EmbeddingConfig(
            vocab_size=get("vocab_size", 30_000 if albert else 50_265 if offset else 30_522),
            dropout=dropout, norm_eps=eps,
            position=Learned(max_positions=get("max_position_embeddings", 512) - offset, offset=offset),
            factor_size=get("embedding_size", 128) if albert else None,
            num_segments=0 if distil else get("type_vocab_size", 2)),
        transformer=TransformerConfig(
            **sizes, activation=THEIR_ACTIVATIONS[act], norm="pre" if kind == "roberta-prelayernorm" else "post",
            norm_eps=eps, num_groups=get("num_hidden_groups", 1) if albert else None, dropout=dropout,
            attention_dropout=get("attention_dropout" if distil else "attention_probs_dropout_prob",
                                  0.0 if albert else 0.1)))


def _rotary_config(theirs: dict[str, Any]) -> EncoderConfig:
    """Our body of an Esm, whose activation is GELU whatever its config says, and which drops nothing of its input."""
    get = partial(setting, theirs)
    found = {name: get(name, default) for name, default in ESM_DEFAULTS.items()}
    if found != ROTARY:
        raise InputError("an esm must have " + ", ".join(f"{name} {value!r}" for name, value in ROTARY.items())
                         + f" in config.json, got {', '.join(repr(value) for value in found.values())}")
    eps = get("layer_norm_eps", 1e-12)
    return EncoderConfig(
        embedding=EmbeddingConfig(vocab_size=get("vocab_size", 0), position=None, dropout=0.0, norm_eps=eps),
        transformer=TransformerConfig(
            hidden_size=get("hidden_size", 768), num_layers=get("num_hidden_layers", 12),
            num_heads=get("num_attention_heads", 12), intermediate_size=get("intermediate_size", 3072),
            distance=Rotary(base=float(get("rope_theta", 10_000.0))), norm="pre", norm_eps=eps,
            dropout=get("hidden_dropout_prob", 0.1), attention_dropout=get("attention_probs_dropout_prob", 0.1)))


def with_prefix(family: Family, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their names as a model with heads has them: files of the bare body lack the prefix, old ones say gamma, beta."""
    bare = not any(name.startswith(family.prefix) for name in tensors)
    result = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        result[family.prefix + name if bare else name] = tensor
    return result


def _heads_in(family: Family, tensors: dict[str, Tensor]) -> tuple[str, ...]:
    def whole(head: str) -> bool:
        parts = [theirs for ours, theirs in family.heads.items() if ours.startswith(head)]
        return len(parts) == 2 and all(f"{part}.weight" in tensors for part in parts)

    pair = whole("pair") and tensors[f"{family.heads['pair.classifier']}.weight"].shape[0] == 2
    return ("masked_lm",) * whole("masked_lm") + ("pair",) * pair


def recipe_config(kind: str, theirs: dict[str, Any], body: EncoderConfig, heads: tuple[str, ...]) -> PretrainingConfig:
    """The recipe of an encoder that was read from their files."""
    name = theirs.get("polysemy_recipe")
    if name not in RECIPES:
        name = {"roberta-prelayernorm": "roberta", "esm": "roberta"}.get(kind, kind)
    preset = "ladder" if kind == "esm" else "paper"
    config: PretrainingConfig = resolve(RECIPES[name].configure)(size="base", preset=preset)
    position = body.embedding.position
    if isinstance(position, Learned):
        length = min(config.training.length, position.max_positions)
    else:  # nothing in the weights ends: their config alone says how much was read at once
        length = setting(theirs, "max_position_embeddings", 1026)
    training = config.training.replace(length=length)
    changes: dict[str, Any] = {"model": body, "heads": heads, "training": training, "size": "imported"}
    if "pair" not in heads:
        changes["segments"] = FullSentences()
    elif "pair" not in config.heads:
        raise InputError(f"heads must be those of recipe {name}, got {', '.join(heads)}")
    return config.replace(**changes)
