"""Tensors go to transformers and come back, and both libraries compute the same with them."""
from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from polysemy.models.hugging_face import our_config
from polysemy.models.hugging_face_names import FAMILIES, to_ours
from polysemy.models.pretrained import PretrainingModel
from polysemy.runtime import random_for

CLASSES = {"bert": "Bert", "roberta": "Roberta", "albert": "Albert", "distilbert": "DistilBert",
           "roberta-prelayernorm": "RobertaPreLayerNorm", "esm": "Esm"}
TOLERANCE = 2e-5


def random_config(kind: str, seed: int) -> Any:
    """A small config of theirs with every choice drawn at random."""
    random = random_for("parity", kind, seed)
    heads = int(random.integers(1, 4))
    width, layers = heads * int(random.choice([4, 6, 8])), int(random.integers(1, 4))
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
             "intermediate_size": int(random.integers(5, 40)), "layer_norm_eps": float(random.choice([1e-12, 1e-5])),
             "type_vocab_size": int(random.integers(1, 4)),
             "hidden_act": str(random.choice(["gelu", "gelu_new", "relu"]))}
    common = {"vocab_size": int(random.integers(20, 60)), "max_position_embeddings": int(random.integers(20, 30)),
              "pad_token_id": int(random.integers(0, 4))}
    if kind == "albert":
        sizes |= {"embedding_size": int(random.choice([4, 10])),
                  "num_hidden_groups": int(random.integers(1, layers + 1))}
    if kind.startswith("roberta"):
        sizes["hidden_act"] = "gelu"
    if kind == "esm":  # without segments, and with its own GELU
        del sizes["hidden_act"], sizes["type_vocab_size"]
        sizes |= {"position_embedding_type": "rotary", "emb_layer_norm_before": True, "token_dropout": False,
                  "rope_theta": float(random.choice([100.0, 10_000.0])), "mask_token_id": 4}
    if kind == "distilbert":
        sizes = {"dim": width, "n_layers": layers, "n_heads": heads, "hidden_dim": sizes["intermediate_size"],
                 "activation": str(random.choice(["gelu", "relu"]))}
    return getattr(transformers, f"{CLASSES[kind]}Config")(**sizes, **common)


def scrambled(model: Any) -> Any:
    """Random weights everywhere, norms and biases too, so that no tensor may be mistaken for another."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def inputs(config: Any) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, config.vocab_size, (2, 11), generator=torch.Generator().manual_seed(1))
    visible = torch.ones_like(ids, dtype=torch.bool)
    visible[1, 7:] = False
    ids[1, 7:] = config.pad_token_id
    return ids, visible


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("seed", range(4))
def test_their_random_model_computes_the_same_here(kind: str, seed: int) -> None:
    config = random_config(kind, seed)
    pairs = kind in ("bert", "albert")
    theirs = scrambled(getattr(transformers, f"{CLASSES[kind]}For{'PreTraining' if pairs else 'MaskedLM'}")(config))
    heads = ("masked_lm", "pair") if pairs else ("masked_lm",)
    body = our_config(kind, config.to_dict())
    model = PretrainingModel.empty(body, heads)
    state = to_ours(FAMILIES[kind], body, heads, dict(theirs.state_dict()))
    model.load_state_dict(state, assign=True)
    model.eval()
    ids, visible = inputs(config)
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=visible.long(), output_hidden_states=True)
        found = model.body(ids, visible=visible, hidden_states=True)
        logits = model.masked_lm_logits(found.states, torch.arange(22)).view(2, 11, -1)
        layers = wanted.hidden_states
        if kind != "roberta-prelayernorm":  # theirs lists the last layer before the final norm
            torch.testing.assert_close(found.states[visible], layers[-1][visible], atol=TOLERANCE, rtol=0)
        for ours, other in zip(found.layers[:-1], layers[:-1], strict=True):
            torch.testing.assert_close(ours[visible], other[visible], atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(logits[visible], (wanted[0] if pairs else wanted.logits)[visible], atol=TOLERANCE,
                                   rtol=0)
        if pairs:
            answers = model.heads["pair"](found.states, torch.tensor([0, 11]))
            torch.testing.assert_close(answers, wanted[1], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", CLASSES)
def test_their_attention_weights_are_ours(kind: str) -> None:
    config = random_config(kind, 1)
    config._attn_implementation = "eager"
    theirs = scrambled(getattr(transformers, f"{CLASSES[kind]}ForMaskedLM")(config))
    body = our_config(kind, config.to_dict())
    model = PretrainingModel.empty(body, ("masked_lm",))
    model.load_state_dict(to_ours(FAMILIES[kind], body, ("masked_lm",), dict(theirs.state_dict())), assign=True)
    ids, visible = inputs(config)
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=visible.long(), output_attentions=True).attentions
        found = model.eval().body(ids, visible=visible, attention=True).weights
    for ours, other in zip(found, wanted, strict=True):
        rows = visible[:, None, :, None]  # what padding looks at means nothing, and positions at padding differ
        torch.testing.assert_close(ours * rows, other * rows, atol=TOLERANCE, rtol=0)
