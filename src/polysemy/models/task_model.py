"""A pretrained body with the head of one task: what fine-tuning trains and a fine-tuned run folder holds."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from polysemy.artifact import load_tensors
from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.carry import Carry
from polysemy.models.depths import layers_of
from polysemy.models.encoder import EncoderConfig
from polysemy.models.engine_rows import states_at
from polysemy.models.pretrained import PretrainingModel, check_tensors, finite
from polysemy.models.recipe import BodyConfig, PretrainingConfig
from polysemy.models.static_body import StaticConfig
from polysemy.models.tasks import Classify, Embed, Regress, Span, Tag, Task, kind_of, outputs_of
from polysemy.nn.dropout import flatten
from polysemy.nn.heads import PairHead, pick
from polysemy.nn.initialization import initialize
from polysemy.nn.pooling import Pooling, pool, pooled_places
from polysemy.nn.task_heads import (
    ClassifyHead,
    HeadConfig,
    Reading,
    SpanHead,
    TokenHead,
    label_loss,
    span_loss,
    squared_loss,
)
from polysemy.nn.transformer import TransformerConfig

FORMS = {"roberta": "dropped", "distilbert": "relu"}
"""heads of recipes that do not have BERT's"""
READ_LAST = ("gpt", "transformer-xl", "rnn", "lstm")
"""recipes whose last state has read the whole text; NNLM's has read a few words, ELMo's halves one side each"""
MIXED = ("elmo",)
"""recipes whose layers a task mixes"""

FIELDS = ("ids", "positions", "segments", "documents")
POOLINGS: dict[Reading, Pooling] = {"first": "cls", "last": "last", "mean": "mean", "mix": "mean", "apart": "mean"}


def head_config(task: Task, config: PretrainingConfig, **changes: Any) -> HeadConfig:
    """The head that a task gets on a body, as published; `changes` by name (`dropout`, `reading`, `form`, `bias`).

    Encoders are read at [CLS], causal bodies at the last token, ELMo by a BiLSTM over a mix of its layers
    (`nn/mix_head.py`), NNLM and static vectors by the mean of all.  Of pairs static vectors are read as two means
    (InferSent's [u; v; |u - v|; u * v], Conneau et al. 2017): in one mean of both texts nothing tells them apart.
    The last matrix has a bias, but for GPT's labels and values, as transformers has it.
    Dropout before the last matrix is 0.1 (0.3 for a mix); that of span heads is 0, as in BERT's and RoBERTa's, and that
    of other one-sided and static bodies too.
    """
    two_sided = "masked_lm" in config.heads or _is_encoder(config.model)
    other = "last" if config.recipe in READ_LAST else "mix" if config.recipe in MIXED else "mean"
    apart = isinstance(config.model, StaticConfig) and bool(getattr(task, "pair", False))
    reading = "first" if two_sided else "apart" if apart else other
    form = FORMS.get(config.recipe, "pooled") if two_sided and isinstance(task, Classify | Regress) else "linear"
    dropout = 0.1 if two_sided and not isinstance(task, Span) else 0.3 if reading == "mix" else 0.0
    bias = config.recipe != "gpt" or not isinstance(task, Classify | Regress)
    found = {"reading": reading, "form": form, "dropout": dropout, "bias": bias, **changes}
    if found["reading"] == "apart" and not apart:
        raise InputError(f"reading apart must go with pairs and static vectors, got {config.recipe} for "
                         f"{kind_of(task)}; other bodies read both texts together")
    if found["reading"] != "first" and "form" not in changes:
        found["form"] = "linear"
    return HeadConfig(**found)


def _is_encoder(config: BodyConfig) -> bool:
    return isinstance(config, EncoderConfig) and not config.transformer.causal


class TaskModel(nn.Module):
    """`body` and `head`.  First weights of the head are a function of `seed`; on the meta device nothing is drawn.

    The body's fast way is taken where it is open, as in pretraining; with it and without it the numbers are the same.
    """

    def __init__(self, config: BodyConfig, task: Task, head: HeadConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config, self.task, self.head_config, self.carry = config, task, head, Carry()
        device = torch.get_default_device()
        with torch.device("meta"):
            self.body: Any = config.body()
            self.mix, size = _mix(config, head)
            self.head: Any = _head(size, task, head)
        if device.type != "meta":
            self.to_empty(device=device)
            initialize(self, transformer_of(config), seed)

    @classmethod
    def on(cls, pretrained: PretrainingModel | TaskModel, task: Task, head: HeadConfig, *, seed: int = 0,
           dropout: float | None = None) -> Self:
        """The head of `task` on a copy of the body of `pretrained`; weights are a function of both and of `seed`.

        `dropout`: the rate everywhere in the body while it trains; None keeps the rates that it was pretrained with.

        The dense part of a `pooled` head begins as the pretrained pooler, or as that of a model fine-tuned before.
        """
        config = pretrained.config if dropout is None else with_dropout(pretrained.config, dropout)
        model = cls.empty(config, task, head)
        model.to_empty(device="cpu")
        initialize(model, transformer_of(config), seed)
        model.float().load_state_dict({f"body.{name}": tensor for name, tensor in pretrained.body.state_dict().items()},
                                      strict=False)
        if isinstance(getattr(pretrained.body, "symbols", None), Tensor):  # what pieces are written with, no weight
            model.body.symbols = pretrained.body.symbols
        dense = pooler_of(pretrained)
        if dense is not None and head.form == "pooled" and getattr(model.head, "dense", None) is not None:
            model.head.dense.load_state_dict(dense.state_dict())
        return model.to(pretrained.table.device)

    @classmethod
    def empty(cls, config: BodyConfig, task: Task, head: HeadConfig) -> Self:
        """The shapes without memory (meta device)."""
        with torch.device("meta"):
            return cls(config, task, head)

    @classmethod
    def load(cls, config: BodyConfig, task: Task, head: HeadConfig, path: Path) -> Self:
        """The model of a safetensors file, in evaluation mode; checked as `PretrainingModel.load` does."""
        model = cls.empty(config, task, head)
        check_tensors(path, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})
        model.load_state_dict(finite(path, load_tensors(path)), assign=True)
        return model.float().eval()

    @property
    def table(self) -> Tensor:
        """(v, e) token vectors of the body."""
        return self.body.table

    @property
    def heads(self) -> Mapping[str, nn.Module]:
        """None of the heads of pretraining: they stayed behind."""
        return {}

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`task`: the loss sum of one batch (its fields as tensors, by name; see `objectives.task`).

        targets    classify: (b,) label numbers; regress: (b,) values; tag: (k,) label numbers, one for each of `at`;
                   span: (b, 2) columns of start and end
        weights    one for each target or pair of targets, 1 by default; smoothing: a number, 0 by default
        """
        targets, weights = tensors["targets"], tensors.get("weights")
        logits = self.logits(tensors)
        match self.task:
            case Regress():
                return {"task": squared_loss(logits, targets, weights)}
            case Span():
                return {"task": span_loss(logits, targets, weights)}
        smoothing = float(tensors["smoothing"]) if "smoothing" in tensors else 0.0
        return {"task": label_loss(logits, targets, weights, smoothing)}

    def logits(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """classify, regress: (b, outputs); tag: (k, labels) at the flat places `at`; span: (b, t, 2), -inf elsewhere.

        `documents` are -1 at padding, which stands on the right; one document a row.
        """
        b, t = tensors["documents"].shape
        if isinstance(self.task, Classify | Regress):
            states = self.pooled(tensors)
            at = torch.arange(b, device=states.device) * t
        else:
            states, at = self.states(tensors["at"], tensors), tensors["at"]
        flatten(t, at)  # the head's dropout is keyed by the place read, and of a whole row by its first place
        logits = self.head(states)
        if not isinstance(self.task, Span):
            return logits
        whole = logits.new_full((b * t, 2), -torch.inf, dtype=torch.float32)
        return whole.index_copy(0, at, logits.float()).view(b, t, 2)

    def pooled(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """(b, d) one state a row: its first, its last, or the mean of all; zeros for a row without a token.

        Of texts read apart (b, 4 d): both means, how they differ and what they share.
        """
        pooling = POOLINGS[self.head_config.reading]
        at, lengths = pooled_places(tensors["documents"], pooling)
        if self.head_config.reading == "apart":
            second = ((tensors["segments"] > 0) & (tensors["documents"] >= 0)).sum(1)
            both = torch.stack([lengths - second, second], 1).flatten()
            means = pool(self.states(at, tensors), both, pooling).to(self.table.dtype)
            u, v = means.view(len(lengths), 2, -1).unbind(1)
            return torch.cat([u, v, (u - v).abs(), u * v], 1)
        return pool(self.states(at, tensors), lengths, pooling).to(self.table.dtype)

    def states(self, at: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """(k, d) what the head is given of each of the flat places `at` (ascending, of real tokens)."""
        ids, positions, segments, documents = (tensors.get(name) for name in FIELDS)
        assert documents is not None, "a batch says which of its columns are padding"
        if self.mix is not None:
            visible = documents >= 0
            shown = self.body(ids, positions, segments, visible=visible, hidden_states=True)
            return pick(self.mix(shown.layers, visible), at)
        if ids is not None and (found := states_at(self.body, at, ids, segments, documents)) is not None:
            return found
        if len(at) and positions is not None and hasattr(self.body, "at") and self.body.open():
            states = self.body.at(at, ids, positions, segments, documents)
            if states is not None:
                return states
        return pick(self.body(ids, positions, segments, visible=documents >= 0), at)

    @torch.no_grad()
    def measure(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Show a head that mixes layers what they are like (`MixHead.measure`); nothing is done for other heads."""
        if self.mix is None:
            return

        def layers(tensors: Mapping[str, Tensor]) -> list[Tensor]:
            ids, positions, segments, documents = (tensors[name] for name in FIELDS)
            visible = documents >= 0
            shown = self.body(ids, positions, segments, visible=visible, hidden_states=True)
            return [layer[visible] for layer in shown.layers]

        training = self.training
        self.eval().mix.measure(map(layers, batches))
        self.train(training)

    def frozen_parameters(self, layers: int) -> set[str]:
        """Names of the parameters of the embedding and of the `layers` lowest layers (0: the embedding alone).

        InputError where layers share weights across that border, and where a body has fewer layers.
        """
        count = self.config.num_layers
        if not 0 <= layers <= count:
            most = f"0..{count}, the layers of this model" if count else "0, as this model is a table without layers"
            raise InputError(f"freeze must be {most}, got {layers}")
        names = {}
        for name, _ in self.named_parameters():
            low, high = layers_of(name, self.config)
            if low < layers < high:
                raise InputError(f"freeze must not cut layers {low + 1} to {high}, which share their weights, got "
                                 f"{layers}; freeze {low} or {high}")
            names[name] = high
        return {name for name, high in names.items() if high <= layers}


def pooler_of(pretrained: Any) -> nn.Linear | None:
    """The dense layer that read [CLS] before, if there was one: of a pair head, or of a task's pooled head."""
    pair = dict(pretrained.heads.items()).get("pair")
    if isinstance(pair, PairHead):
        return pair.pooler
    head = getattr(pretrained, "head", None)
    return head.dense if isinstance(head, ClassifyHead) and head.form == "pooled" else None


def with_dropout(config: Any, rate: float) -> Any:
    """The same body (its config) with `rate` in every field that is called dropout or ends so."""
    changes: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, Config):
            changes[name] = with_dropout(value, rate)
        elif name == "dropout" or name.endswith("_dropout"):
            changes[name] = rate
    return config.replace(**changes)


def transformer_of(config: BodyConfig) -> TransformerConfig:
    """What says how first weights are drawn."""
    return getattr(config, "transformer", None) or TransformerConfig()


def _head(size: int, task: Task, head: HeadConfig) -> nn.Module:
    match task:
        case Classify() | Regress():
            return ClassifyHead(size, outputs_of(task), head)
        case Tag():
            return TokenHead(size, outputs_of(task), head)
        case Span():
            return SpanHead(size, head)
        case Embed():
            raise InputError("task must have a head, got embed; a body that embeds has none (models/sentence_vectors)")


def _mix(config: BodyConfig, head: HeadConfig) -> tuple[Any, int]:
    """The module that mixes all layers and the width of what it gives; none where a head reads the last layer."""
    if head.reading != "mix":
        return None, config.hidden_size * (4 if head.reading == "apart" else 1)
    from polysemy.nn.mix_head import MixHead

    mix: Any = MixHead(config.num_layers + 1, config.hidden_size, dropout=head.dropout)
    return mix, mix.output_size
