"""Names and settings of causal bodies in Hugging Face transformers, one table for both directions.

gpt2         norms before the sublayers, learned positions, matrices stored as (inputs, outputs)
openai-gpt   the same with the norms after the sublayers: GPT-1
gpt_neox     norms before, rotary positions, queries, keys and values side by side for each head: preset ladder

Layers that share weights here are written as copies, for none of the three shares.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from polysemy.errors import InputError
from polysemy.models.encoder import EncoderConfig
from polysemy.models.recipe import PretrainingConfig
from polysemy.nn.attention import Full
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.position import Learned, Rotary
from polysemy.nn.transformer import ActivationName, TransformerConfig
from polysemy.text.tokenizer import Tokenizer

How = Literal["as it is", "turned", "by head"]
Get = Callable[[str, Any], Any]
"""(name, default) -> the setting of their config.json, of the default's type"""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One kind of their causal models: names without `.weight` and `.bias`."""

    architecture: str
    prefix: str
    table: str
    layer: str
    attention: tuple[str, str, str]
    """packed queries, keys and values; output; norm"""
    feed_forward: tuple[str, str, str]
    """up, down, norm"""
    positions: str | None = None
    final_norm: str | None = None
    turned: bool = True
    """matrices are (inputs, outputs), where ours are (outputs, inputs)"""
    by_head: bool = False
    """rows of the packed matrix: query, key and value of the first head, then of the second, ..."""


LAYOUTS: dict[str, Layout] = {
    "gpt2": Layout(architecture="GPT2LMHeadModel", prefix="transformer.", table="wte", positions="wpe", layer="h.{i}.",
                   attention=("attn.c_attn", "attn.c_proj", "ln_1"), feed_forward=("mlp.c_fc", "mlp.c_proj", "ln_2"),
                   final_norm="ln_f"),
    "openai-gpt": Layout(architecture="OpenAIGPTLMHeadModel", prefix="transformer.", table="tokens_embed",
                         positions="positions_embed", layer="h.{i}.", attention=("attn.c_attn", "attn.c_proj", "ln_1"),
                         feed_forward=("mlp.c_fc", "mlp.c_proj", "ln_2")),
    "gpt_neox": Layout(architecture="GPTNeoXForCausalLM", prefix="gpt_neox.", table="embed_in", layer="layers.{i}.",
                       attention=("attention.query_key_value", "attention.dense", "input_layernorm"),
                       feed_forward=("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "post_attention_layernorm"),
                       final_norm="final_layer_norm", turned=False, by_head=True),
}
ACTIVATIONS: dict[ActivationName, str] = {"gelu": "gelu", "gelu_tanh": "gelu_new", "quick_gelu": "quick_gelu",
                                          "relu": "relu"}
THEIRS: dict[str, ActivationName] = {**{theirs: ours for ours, theirs in ACTIVATIONS.items()},
                                     "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh"}


def causal_kind(config: EncoderConfig) -> str:
    """The model_type whose class computes exactly this body; InputError when there is none."""
    c, e = config.transformer, config.embedding
    plain = (isinstance(c.attention, Full) and c.causal and c.scale == "sqrt" and not c.cross_attention
             and not (e.norm or e.factor_size or e.num_segments or e.scale_tokens))
    learned = isinstance(e.position, Learned) and not e.position.offset and c.distance is None
    rotary = e.position is None and isinstance(c.distance, Rotary) and c.distance.layout == "half"
    if plain and learned and c.norm == "pre":
        return "gpt2"
    if plain and learned and c.activation in ("gelu_tanh", "relu"):
        return "openai-gpt"
    if plain and rotary and c.norm == "pre":
        return "gpt_neox"
    raise InputError("model must be causal with full attention, and pre-norm with learned positions, pre-norm with "
                     "rotary ones of layout half, or post-norm with learned ones and activation gelu_tanh, for a class "
                     "of transformers to fit, got another; keep it as a run folder")


def tensor_names(kind: str, config: EncoderConfig) -> Iterator[tuple[str, str, How]]:
    """(our tensor, theirs, how it is stored there)."""
    layout, c = LAYOUTS[kind], config.transformer
    yield "body.embedding.token.weight", f"{layout.prefix}{layout.table}.weight", "as it is"
    if layout.positions:
        yield "body.embedding.position.table.weight", f"{layout.prefix}{layout.positions}.weight", "as it is"
    turned: How = "turned" if layout.turned else "as it is"
    packed: How = "by head" if layout.by_head else "as it is"
    for i in range(c.num_layers):
        start = layout.prefix + layout.layer.format(i=i)
        for part, theirs in (("attention", layout.attention), ("feed_forward", layout.feed_forward)):
            ours = f"body.transformer.{part}.{i * c.copies(part) // c.num_layers}."  # type: ignore[arg-type]
            first, second = ("inner.qkv", "inner.output") if part == "attention" else ("inner.up", "inner.down")
            in_heads = part == "attention" and layout.by_head
            yield f"{ours}{first}.weight", f"{start}{theirs[0]}.weight", packed if in_heads else turned
            yield f"{ours}{first}.bias", f"{start}{theirs[0]}.bias", packed if in_heads else "as it is"
            yield f"{ours}{second}.weight", f"{start}{theirs[1]}.weight", turned
            yield f"{ours}{second}.bias", f"{start}{theirs[1]}.bias", "as it is"
            for suffix in ("weight", "bias"):
                yield f"{ours}norm.{suffix}", f"{start}{theirs[2]}.{suffix}", "as it is"
    if layout.final_norm:
        for suffix in ("weight", "bias"):
            yield f"body.transformer.final_norm.{suffix}", f"{layout.prefix}{layout.final_norm}.{suffix}", "as it is"


def to_their_tensors(kind: str, config: EncoderConfig, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors from ours."""
    heads = config.transformer.num_heads

    def stored(tensor: Tensor, how: How) -> Tensor:
        if how == "by head":  # (3, h, e, ...) to (h, 3, e, ...)
            return tensor.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
        return tensor.T if how == "turned" else tensor

    return {theirs: stored(ours[name], how).clone().contiguous() for name, theirs, how in tensor_names(kind, config)}


def to_our_tensors(kind: str, config: EncoderConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors from theirs, float32; a missing name is a KeyError with that name.

    What else their files hold (masks of old ones, a copy of the tied table) is left alone.
    """
    prefix, heads = LAYOUTS[kind].prefix, config.transformer.num_heads
    bare = not any(name.startswith(prefix) for name in theirs)

    def read(tensor: Tensor, how: How) -> Tensor:
        if how == "by head" and len(tensor) % (3 * heads) == 0:
            tensor = tensor.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
        return (tensor.T if how == "turned" else tensor).float().contiguous()

    return {ours: read(theirs[name.removeprefix(prefix) if bare else name], how)
            for ours, name, how in tensor_names(kind, config)}


def causal_config(kind: str, config: PretrainingConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """Their config.json; the mark that begins a document is also what ends a text."""
    assert isinstance(config.model, EncoderConfig)
    c, e = config.model.transformer, config.model.embedding
    positions = e.position.max_positions if isinstance(e.position, Learned) else config.training.length
    result: dict[str, Any] = {
        "model_type": kind, "architectures": [LAYOUTS[kind].architecture], "dtype": "float32",
        "polysemy_recipe": config.recipe, "vocab_size": e.vocab_size, "bos_token_id": tokenizer.sep_id,
        "eos_token_id": tokenizer.sep_id, "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_id if tokenizer.has("pad") else tokenizer.sep_id}
    if kind == "gpt_neox":
        assert c.distance is not None
        rope = {"rope_type": "default", "rope_theta": c.distance.base, "partial_rotary_factor": 1.0}
        return {**result, "hidden_size": c.hidden_size, "num_hidden_layers": c.num_layers,
                "num_attention_heads": c.num_heads, "intermediate_size": c.intermediate_size,
                "hidden_act": ACTIVATIONS[c.activation], "hidden_dropout": c.dropout,
                "attention_dropout": c.attention_dropout, "layer_norm_eps": c.norm_eps,
                "max_position_embeddings": positions, "use_parallel_residual": False, "rope_parameters": rope,
                "rotary_pct": 1.0, "rotary_emb_base": c.distance.base}
    result |= {"n_embd": c.hidden_size, "n_layer": c.num_layers, "n_head": c.num_heads, "n_positions": positions,
               "resid_pdrop": c.dropout, "embd_pdrop": e.dropout, "attn_pdrop": c.attention_dropout,
               "layer_norm_epsilon": c.norm_eps}
    if kind == "openai-gpt":
        if c.intermediate_size != 4 * c.hidden_size:
            raise InputError(f"intermediate_size must be 4 * hidden_size for the class of GPT-1 in transformers, got "
                             f"{c.intermediate_size}")
        return {**result, "afn": {"gelu_tanh": "gelu", "relu": "relu"}[c.activation]}  # their gelu there is tanh's
    return {**result, "n_inner": c.intermediate_size, "activation_function": ACTIVATIONS[c.activation],
            "summary_use_proj": True}


def causal_body(kind: str, get: Get) -> EncoderConfig:
    """Our body from their config.json; InputError for a setting that ours has no place for."""
    def must_be(name: str, value: Any) -> None:
        found = get(name, value)
        if found != value:
            raise InputError(f"{name} must be {value!r} in the config.json of a {kind}, got {found!r}")

    if kind == "gpt_neox":
        return _neox_body(get, must_be)
    first = kind == "openai-gpt"
    if not first:
        for name, value in (("tie_word_embeddings", True), ("scale_attn_weights", True), ("add_cross_attention", False),
                            ("scale_attn_by_inverse_layer_idx", False)):
            must_be(name, value)
    hidden_size = get("n_embd", 768)
    act = get("afn", "gelu") if first else get("activation_function", "gelu_new")
    if first and act == "gelu":  # GPT-1's classes call the tanh approximation so
        act = "gelu_new"
    eps = get("layer_norm_epsilon", 1e-5)
    return EncoderConfig(
        embedding=EmbeddingConfig(vocab_size=get("vocab_size", 40_478 if first else 50_257), norm=False, norm_eps=eps,
                                  position=Learned(max_positions=get("n_positions", 512 if first else 1024)),
                                  dropout=get("embd_pdrop", 0.1)),
        transformer=TransformerConfig(
            hidden_size=hidden_size, num_layers=get("n_layer", 12), num_heads=get("n_head", 12),
            intermediate_size=get("n_inner", 4 * hidden_size), activation=_activation(act), causal=True,
            norm="post" if first else "pre", norm_eps=eps, initializer="gpt2", dropout=get("resid_pdrop", 0.1),
            attention_dropout=get("attn_pdrop", 0.1)))


def _neox_body(get: Get, must_be: Callable[[str, Any], None]) -> EncoderConfig:
    rope = {"rope_theta": get("rotary_emb_base", 10_000.0), "partial_rotary_factor": get("rotary_pct", 0.25),
            **get("rope_parameters", {})}
    if rope["partial_rotary_factor"] != 1 or rope.get("rope_type", "default") != "default":
        raise InputError("rotary_pct must be 1.0 and rope_type default in the config.json of a gpt_neox, got "
                         f"{rope['partial_rotary_factor']} and {rope.get('rope_type')!r}")
    if get("use_parallel_residual", True) or not get("tie_word_embeddings", False):
        raise InputError("use_parallel_residual must be false and tie_word_embeddings true in the config.json of a "
                         "gpt_neox, got another; no recipe here computes it")
    must_be("attention_bias", True)
    eps = get("layer_norm_eps", 1e-5)
    return EncoderConfig(
        embedding=EmbeddingConfig(vocab_size=get("vocab_size", 50_432), position=None, norm=False, norm_eps=eps,
                                  dropout=get("hidden_dropout", 0.0)),
        transformer=TransformerConfig(
            hidden_size=get("hidden_size", 6144), num_layers=get("num_hidden_layers", 44),
            num_heads=get("num_attention_heads", 64), intermediate_size=get("intermediate_size", 24_576),
            activation=_activation(get("hidden_act", "gelu")), causal=True, norm="pre", norm_eps=eps,
            distance=Rotary(base=float(rope["rope_theta"])), initializer="gpt2", dropout=get("hidden_dropout", 0.0),
            attention_dropout=get("attention_dropout", 0.0)))


def _activation(name: str) -> ActivationName:
    if name not in THEIRS:
        raise InputError(f"activation_function must be {' | '.join(THEIRS)}, got {name!r} in config.json")
    return THEIRS[name]


def marked_in_front(definition: dict[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """tokenizer.json whose texts begin with the mark, as documents did in training, and end without one.

    A definition that adds no special tokens (GPT-2's own) stays as it is.
    """
    def adds(processor: Any) -> bool:
        if not isinstance(processor, dict):
            return False
        inner = processor.get("processors")
        return any(map(adds, inner)) if inner else processor.get("type") != "ByteLevel"

    if not adds(definition.get("post_processor")):
        return definition
    number, name = tokenizer.sep_id, tokenizer.roles["sep"]
    mark, text, pair = ({"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                        {"Sequence": {"id": "B", "type_id": 0}})
    template = {"type": "TemplateProcessing", "single": [mark, text], "pair": [mark, text, pair],
                "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]}}}
    return {**definition, "post_processor": template}

