"""Which tensor of a Hugging Face model is which of ours, one table for both directions.

Our fused `qkv` is their query, key and value, stacked.  Layers that share weights here are written as copies where the
other library has no sharing.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models.encoder import EncoderConfig
from polysemy.nn.position import Learned, Rotary

TABLE, SEGMENTS, POSITIONS = ("body.embedding.token.weight", "body.embedding.segment.weight",
                              "body.embedding.position.table.weight")
FREQUENCIES = "esm.rotary_embeddings.inv_freq"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of their models: names without `.weight` and `.bias`; `{i}` is the layer, or the group under ALBERT."""

    prefix: str
    layer: str
    attention: tuple[str, ...]
    """query, key, value, output, norm"""
    feed_forward: tuple[str, str, str]
    """up, down, norm"""
    heads: dict[str, str]
    """our module -> theirs, from the root of the file"""
    bias: tuple[str, ...]
    """their names of the masked-LM bias"""
    body: dict[str, str] = field(default_factory=dict)
    """further modules of the body"""
    embedding_norm: str = "embeddings.LayerNorm"
    segments: bool = True
    """whether they have a table of segments; segment 0 of ours goes into the token table where they have none"""
    rotary: bool = False
    """positions turn queries and keys, in place of a table"""
    shares: bool = False


_BERT_ATTENTION = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                   "attention.output.LayerNorm")
_LM_HEAD = {"masked_lm.dense": "lm_head.dense", "masked_lm.norm": "lm_head.layer_norm"}
_PRENORM = "roberta_prelayernorm."

FAMILIES: dict[str, Family] = {
    "bert": Family(
        prefix="bert.", layer="encoder.layer.{i}.", attention=_BERT_ATTENTION,
        feed_forward=("intermediate.dense", "output.dense", "output.LayerNorm"),
        heads={"masked_lm.dense": "cls.predictions.transform.dense",
               "masked_lm.norm": "cls.predictions.transform.LayerNorm",
               "pair.pooler": "bert.pooler.dense", "pair.classifier": "cls.seq_relationship"},
        bias=("cls.predictions.bias", "cls.predictions.decoder.bias")),
    "roberta": Family(
        prefix="roberta.", layer="encoder.layer.{i}.", attention=_BERT_ATTENTION,
        feed_forward=("intermediate.dense", "output.dense", "output.LayerNorm"),
        heads={**_LM_HEAD, "pair.pooler": "roberta.pooler.dense"}, bias=("lm_head.bias", "lm_head.decoder.bias")),
    "roberta-prelayernorm": Family(
        prefix=_PRENORM, layer="encoder.layer.{i}.",
        attention=(*_BERT_ATTENTION[:4], "attention.LayerNorm"),
        feed_forward=("intermediate.dense", "output.dense", "intermediate.LayerNorm"),
        heads={**_LM_HEAD, "pair.pooler": _PRENORM + "pooler.dense", "pair.classifier": "classifier.out_proj"},
        bias=("lm_head.bias", "lm_head.decoder.bias"), body={"transformer.final_norm": "LayerNorm"}),
    "esm": Family(
        prefix="esm.", layer="encoder.layer.{i}.", attention=(*_BERT_ATTENTION[:4], "attention.LayerNorm"),
        feed_forward=("intermediate.dense", "output.dense", "LayerNorm"), heads=_LM_HEAD, bias=("lm_head.bias",),
        body={"transformer.final_norm": "encoder.emb_layer_norm_after"}, embedding_norm="embeddings.layer_norm",
        segments=False, rotary=True),
    "albert": Family(
        prefix="albert.", layer="encoder.albert_layer_groups.{i}.albert_layers.0.",
        attention=("attention.query", "attention.key", "attention.value", "attention.dense", "attention.LayerNorm"),
        feed_forward=("ffn", "ffn_output", "full_layer_layer_norm"),
        heads={"masked_lm.dense": "predictions.dense", "masked_lm.norm": "predictions.LayerNorm",
               "pair.pooler": "albert.pooler", "pair.classifier": "sop_classifier.classifier"},
        bias=("predictions.bias", "predictions.decoder.bias"),
        body={"embedding.widen": "encoder.embedding_hidden_mapping_in"}, shares=True),
    "distilbert": Family(
        prefix="distilbert.", layer="transformer.layer.{i}.",
        attention=("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm"),
        feed_forward=("ffn.lin1", "ffn.lin2", "output_layer_norm"),
        heads={"masked_lm.dense": "vocab_transform", "masked_lm.norm": "vocab_layer_norm"},
        bias=("vocab_projector.bias",), segments=False),
}


def names(family: Family, config: EncoderConfig, heads: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(our tensor, their tensors) for the body and the heads they have; theirs are stacked along rows to make ours.

    One of ours may come several times, when their library keeps a copy for each layer.
    """
    prefix = family.prefix
    yield TABLE, (f"{prefix}embeddings.word_embeddings.weight",)
    if not family.rotary:
        yield POSITIONS, (f"{prefix}embeddings.position_embeddings.weight",)
    if family.segments:
        yield SEGMENTS, (f"{prefix}embeddings.token_type_embeddings.weight",)
    yield from _both("body.embedding.norm", prefix + family.embedding_norm)
    for ours, theirs in family.body.items():
        yield from _both(f"body.{ours}", prefix + theirs)
    yield from _layers(family, config)
    for ours, theirs in family.heads.items():
        if ours.partition(".")[0] in heads:
            yield from _both(f"heads.{ours}", theirs)
    if "masked_lm" in heads:
        for name in family.bias:
            yield "heads.masked_lm.bias", (name,)


def _layers(family: Family, config: EncoderConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    c = config.transformer
    copies = their_groups(config) if family.shares else c.num_layers
    for i in range(copies):
        start = family.prefix + family.layer.format(i=i)
        attention = f"body.transformer.attention.{i * c.copies('attention') // copies}"
        feed_forward = f"body.transformer.feed_forward.{i * c.copies('feed_forward') // copies}"
        query, key, value, output, norm = (start + name for name in family.attention)
        up, down, last_norm = (start + name for name in family.feed_forward)
        for suffix in ("weight", "bias"):
            yield f"{attention}.inner.qkv.{suffix}", tuple(f"{name}.{suffix}" for name in (query, key, value))
        yield from _both(f"{attention}.inner.output", output)
        yield from _both(f"{attention}.norm", norm)
        yield from _both(f"{feed_forward}.inner.up", up)
        yield from _both(f"{feed_forward}.inner.down", down)
        yield from _both(f"{feed_forward}.norm", last_norm)


def _both(ours: str, theirs: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for suffix in ("weight", "bias"):
        yield f"{ours}.{suffix}", (f"{theirs}.{suffix}",)


def their_groups(config: EncoderConfig) -> int:
    """Groups of layers that ALBERT's layout needs: ours where a group shares all, else one a layer."""
    c = config.transformer
    return c.num_groups if c.num_groups and c.share == "all" else c.num_layers


def to_theirs(family: Family, config: EncoderConfig, heads: Sequence[str], ours: dict[str, Tensor],
              pad_id: int) -> dict[str, Tensor]:
    """Their tensors from ours; positions begin where their library will look for them."""
    ours, position = dict(ours), config.embedding.position
    if isinstance(position, Learned):
        table = ours[POSITIONS][position.offset:]
        if family.prefix.startswith("roberta"):  # they count from the padding id + 1
            table = torch.cat([table.new_zeros(pad_id + 1, table.shape[1]), table])
        ours[POSITIONS] = table
    if SEGMENTS not in ours:
        ours[SEGMENTS] = ours[TABLE].new_zeros(1, ours[TABLE].shape[1])
    elif not family.segments:
        ours[TABLE] = ours[TABLE] + ours[SEGMENTS][0]
    theirs = _rotary_extras(config) if family.rotary else {}
    for name, parts in names(family, config, heads):
        theirs.update(zip(parts, ours[name].chunk(len(parts)), strict=True))
    if family.prefix == _PRENORM and "pair" in heads:  # their two-way classifier is our pooler and classifier
        for suffix in ("weight", "bias"):
            theirs[f"classifier.dense.{suffix}"] = theirs[f"{_PRENORM}pooler.dense.{suffix}"]
    return {name: tensor.clone().contiguous() for name, tensor in theirs.items()}


def frequencies(config: EncoderConfig) -> Tensor:
    """(head_size / 2,) float32: the angle that one position adds to each pair of coordinates."""
    c = config.transformer
    assert isinstance(c.distance, Rotary)
    steps = torch.arange(0, c.head_size, 2, dtype=torch.float64)
    return (c.distance.base ** (-steps / c.head_size)).float()


def _rotary_extras(config: EncoderConfig) -> dict[str, Tensor]:
    """What Esm stores beside our weights: the frequencies, and a head for contacts of proteins that is left at zero."""
    c = config.transformer
    return {FREQUENCIES: frequencies(config), "esm.contact_head.regression.bias": torch.zeros(1),
            "esm.contact_head.regression.weight": torch.zeros(1, c.num_layers * c.num_heads)}


def to_ours(family: Family, config: EncoderConfig, heads: Sequence[str],
            theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors from theirs; a missing name is a KeyError with that name.

    Old files of Esm may hold rounded frequencies, which their library keeps and ours, made from the base, are not: an
    InputError.
    """
    if family.rotary and FREQUENCIES in theirs:
        wanted, found = frequencies(config), theirs[FREQUENCIES].float()
        if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=1e-5, atol=0.0):
            raise InputError(f"{FREQUENCIES} must be what rope_theta in config.json gives, got other numbers")
    return {name: torch.cat([theirs[part] for part in parts]).float()
            for name, parts in names(family, config, heads) if not parts[0].endswith("decoder.bias")}
