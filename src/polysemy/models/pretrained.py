"""A model = body + named heads: what a pretraining recipe trains and a run folder holds."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polysemy.artifact import check_safetensors, finish, load_tensors, new_folder, read_folder, save_tensors
from polysemy.config import nearest
from polysemy.errors import InputError
from polysemy.models.carry import Carry
from polysemy.models.recipe import BodyConfig, PretrainingConfig
from polysemy.nn.cross_entropy import linear_cross_entropy
from polysemy.nn.heads import HEADS, MaskedLMHead, NextTokenHead, PairHead, PreviousTokenHead, SpanBoundaryHead
from polysemy.nn.initialization import initialize
from polysemy.nn.transformer import TransformerConfig
from polysemy.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
PLACES = ("hidden_at", "pair_at", "span_left", "span_right")
BODY_TENSORS = ("ids", "positions", "segments", "documents", "visible")


class PretrainingModel(nn.Module):
    """`body` and `heads` by name.  The token table exists once: heads that predict tokens are handed it.

    Weights are a function of `seed` and of each parameter's name; on the meta device nothing is drawn.  A body that
    is `stateful` reads on where the same stream of text stopped in the batch before (`carry`).
    """

    def __init__(self, config: BodyConfig, heads: Sequence[str] = ("masked_lm",), *, seed: int = 0) -> None:
        super().__init__()
        for name in heads:
            if name not in HEADS:
                raise InputError(f"heads must be of {', '.join(HEADS)}, got {name!r}{nearest(name, HEADS)}")
        self.config, self.carry = config, Carry()
        device = torch.get_default_device()
        with torch.device("meta"):  # torch's own first weights would be drawn in vain
            self.body: Any = config.body()
            self.heads = nn.ModuleDict({name: HEADS[name](config.head_sizes()) for name in heads})
        if device.type != "meta":
            self.to_empty(device=device)
            initialize(self, getattr(config, "transformer", TransformerConfig()), seed)

    @property
    def table(self) -> Tensor:
        """(v, e) token vectors, which the tied heads multiply by."""
        return self.body.table

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Loss sums by head for one batch (its fields as tensors, by name): divide each by its count of targets.

        A head whose places are empty gives 0, still joined to the graph, so that every process has the same gradients.
        """
        states = None
        if self.body.stateful and "streams" in tensors:
            states = self._read_on(tensors)
        elif hasattr(self.body, "at") and self.body.open() and {"documents", "hidden_at"} <= tensors.keys():
            places, needed = needed_places(tensors)
            states = self.body.at(places, tensors["ids"], tensors["positions"], tensors.get("segments"),
                                  tensors["documents"])
            tensors = tensors if states is None else {**tensors, **needed}
        if states is None:
            states = self.body(*(tensors.get(name) for name in BODY_TENSORS[:4]),
                               visible=None if "documents" in tensors else tensors.get("visible"))
        return {name: self.loss(name, states, tensors) for name in self.heads}

    def _read_on(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The states of rows that go on with their streams."""
        carried = self.carry.get(tensors["streams"], tensors["fresh"])
        states, state = self.body.advance(tensors["ids"], carried)
        self.carry.put(tensors["streams"], state)
        return states

    def loss(self, name: str, states: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """The summed loss of one head in float32, natural logarithm."""
        head = self.heads[name]
        if isinstance(head, MaskedLMHead):
            at = tensors["hidden_at"] if "hidden_at" in tensors else tensors["hidden"].flatten().nonzero()[:, 0]
            features = head.features(states, at)
            return linear_cross_entropy(features, self.table, head.bias, tensors["targets"], tensors.get("weights"))
        if isinstance(head, NextTokenHead | PreviousTokenHead):
            forward = isinstance(head, NextTokenHead)
            at, targets = (tensors["hidden_at"], tensors["targets"]) if forward else before(tensors)
            head, states = self.language_head(name, states)
            return head.loss(head.features(states, at), self.table, targets)
        if isinstance(head, PairHead):
            logits = head(states, tensors["pair_at"]).float()
            return nn.functional.cross_entropy(logits, tensors["pair_labels"], reduction="sum")
        assert isinstance(head, SpanBoundaryHead)
        features = head.features(states, *(tensors[f"span_{part}"] for part in ("left", "right", "offset")))
        return linear_cross_entropy(features, self.table, head.bias, tensors["span_targets"])

    def language_head(self, name: str, states: Tensor) -> tuple[NextTokenHead, Tensor]:
        """The head that predicts in the direction `name`, and the part of the states that it reads."""
        head = self.heads["next_token"]
        assert isinstance(head, NextTokenHead)
        if "previous_token" in self.heads:
            states = states.chunk(2, -1)[name == "previous_token"]
        return head, states

    def next_logits(self, states: Tensor) -> Tensor:
        """(..., v) logits of the token after each state."""
        head, states = self.language_head("next_token", states)
        at = torch.arange(states[..., 0].numel(), device=states.device)
        return head(states, at, self.table).unflatten(0, states.shape[:-1])

    def masked_lm_logits(self, states: Tensor, at: Tensor) -> Tensor:
        """(n, v) logits at flat indices."""
        head = self.heads["masked_lm"]
        assert isinstance(head, MaskedLMHead)
        return head(states, at, self.table)

    @classmethod
    def empty(cls, config: BodyConfig, heads: Sequence[str]) -> PretrainingModel:
        """The shapes without memory (meta device): for counting, and for loading into."""
        with torch.device("meta"):
            return cls(config, heads)

    @classmethod
    def load(cls, config: BodyConfig, heads: Sequence[str], path: Path) -> PretrainingModel:
        """The model of a safetensors file, in evaluation mode.

        Names and shapes are held against the config before a tensor is read; NaN and infinity are refused.
        """
        model = cls.empty(config, heads)
        check_tensors(path, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})
        model.load_state_dict(finite(path, load_tensors(path)), assign=True)
        return model.float().eval()


def write_run(out: str | Path, model: PretrainingModel, tokenizer: Tokenizer, config: PretrainingConfig, *,
              overwrite: bool = False, **more: Any) -> None:
    """A run folder, complete or not at all: float32 weights, tokenizer, config.json (`more` goes into that)."""
    with new_folder(out, overwrite=overwrite) as folder:
        save_tensors(folder / WEIGHTS, {name: tensor.detach().float().contiguous().cpu()
                                        for name, tensor in model.state_dict().items()})
        tokenizer.save(folder)
        finish(folder, {"recipe": config.recipe, "config": config.to_dict(), **more})


def open_run(folder: Path) -> tuple[PretrainingModel, Tokenizer, PretrainingConfig]:
    """Model (evaluation mode), tokenizer and config of a run folder."""
    opened = read_folder(folder)
    config = PretrainingConfig.from_dict(opened.config.get("config", {}))
    tokenizer = tokenizer_of(opened.path, config)
    model = PretrainingModel.load(config.model, config.heads, opened.file(WEIGHTS))
    know_pieces(model, tokenizer)
    return model, tokenizer, config


def tokenizer_of(folder: Path, config: PretrainingConfig) -> Tokenizer:
    """The tokenizer of a run folder; InputError when the model has no place for all of its pieces."""
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size > config.model.vocab_size:
        raise InputError(f"tokenizer must have at most vocab_size {config.model.vocab_size} pieces, got "
                         f"{tokenizer.vocab_size} in {folder}; it is not the one the model was trained with")
    return tokenizer


def know_pieces(model: PretrainingModel, tokenizer: Tokenizer) -> None:
    """Tell a body that reads the characters of its pieces what they are."""
    if hasattr(model.body, "set_pieces"):
        model.body.set_pieces(list(tokenizer.vocabulary))


def before(tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Flat places with a token to their left in the row, and that token (`objectives.pretraining.has_previous`)."""
    known = tensors["documents"] >= 0
    at = nn.functional.pad(known[:, 1:] & known[:, :-1], (1, 0)).flatten().nonzero()[:, 0]
    return at, tensors["ids"].flatten()[at - 1]


def needed_places(tensors: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The flat places that heads read, each once and ascending, and for each head where its own are among them."""
    names = [name for name in PLACES if name in tensors]
    places, inverse = torch.unique(torch.cat([tensors[name] for name in names]), return_inverse=True)
    return places, dict(zip(names, inverse.split([len(tensors[name]) for name in names]), strict=True))


def count_parameters(module: nn.Module) -> int:
    """Numbers to be learned, each counted once however many layers or heads use it."""
    return sum(parameter.numel() for parameter in module.parameters())


def check_tensors(path: Path, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """InputError unless the file holds exactly these names with these shapes."""
    found = {name: shape for name, (_, shape) in check_safetensors(path).items()}
    for name in sorted(wanted.keys() - found.keys()):
        raise InputError(f"{path} must hold {name}, which config.json asks for; the two are not of one model")
    for name in sorted(found.keys() - wanted.keys()):
        raise InputError(f"{path} must hold nothing that config.json does not ask for, got {name}")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise InputError(f"{name} must have shape {list(shape)} by config.json, got {list(found[name])} in {path}")


def finite(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, unless one of them is not of a float type or holds NaN or infinity."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InputError(f"{name} must be of a float type, got {tensor.dtype} in {path}")
        if not bool(tensor.isfinite().all()):
            raise InputError(f"{name} must be finite numbers, got NaN or infinity in {path}; the training diverged")
    return dict(tensors)
