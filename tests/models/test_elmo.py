"""ELMo as a recipe: published sizes, one softmax for both directions, what a trained folder does."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import tokenizer

from polysemy.config import with_settings
from polysemy.models import elmo
from polysemy.models.bidirectional import BidirectionalConfig, Table
from polysemy.models.language_model import LanguageModel
from polysemy.models.pretrained import PretrainingModel, before, know_pieces, write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.nn.characters import Characters
from polysemy.objectives.pretraining import has_previous, tensors_of
from polysemy.text.shards import Shards
from polysemy.text.streams import Chunks, LanguageBatches
from small_runs import SEP, Numbers

TEXT = "The bank of the river was green and slow."


def small(source: str = "table") -> LanguageModel:
    """An untrained model, of tokens or of characters."""
    config = with_settings(elmo.configure("tiny"), {
        "model.input": source, "model.cell_size": "24", "model.projection_size": "8", "training.length": "48"})
    pieces = tokenizer("bytebpe")
    config = config.replace(model=config.model.with_vocabulary(pieces.vocab_size))
    model = PretrainingModel(config.model, config.heads, seed=1)
    know_pieces(model, pieces)
    return LanguageModel(model, pieces, config)


@pytest.mark.parametrize("size", ["tiny", "mini", "small", "medium", "base", "large"])
def test_states_are_as_wide_as_those_of_bert(size: str) -> None:
    from polysemy.models import bert

    for preset in ("paper", "ladder"):
        assert elmo.configure(size, preset).model.hidden_size == bert.configure(size, preset).model.hidden_size


def test_the_paper_has_characters_clipping_and_cells_eight_times_the_output() -> None:
    config = elmo.configure("large", "paper")
    body = config.model
    assert isinstance(body, BidirectionalConfig)
    assert isinstance(body.input, Characters)
    assert (body.cell_size, body.projection_size, body.cell_clip, body.projection_clip, body.dropout) == (
        4096, 512, 3.0, 3.0, 0.1)
    assert (config.tokenizer.kind, config.tokenizer.vocab_size, config.training.length) == ("word", 793_471, 20)
    assert PretrainingConfig.from_dict(config.to_dict()) == config


def test_the_ladder_has_a_table_and_takes_characters_on_request() -> None:
    config = elmo.configure("tiny")
    assert isinstance(config.model, BidirectionalConfig)
    assert config.model.input == Table()
    changed = with_settings(config, {"model.input": "characters", "model.input.num_highways": "2"}).model
    assert isinstance(changed, BidirectionalConfig)
    assert changed.input == Characters(num_highways=2)


def test_both_directions_share_one_softmax_and_begin_near_the_logarithm_of_the_vocabulary() -> None:
    model = PretrainingModel(elmo.configure("tiny").model, ("next_token", "previous_token"), seed=0)
    assert not list(model.heads["previous_token"].parameters())
    ids = torch.randint(0, 8000, (4, 16), generator=torch.Generator().manual_seed(0))
    at = torch.arange(4 * 16).view(4, 16)[:, 1:].flatten()
    losses = model({"ids": ids, "hidden_at": at, "targets": ids.flatten()[at - 1], "documents": torch.zeros_like(ids)})
    for loss in losses.values():
        assert float(loss.detach()) / len(at) == pytest.approx(math.log(8000), abs=0.1)


def test_each_head_is_asked_for_its_own_side() -> None:
    shards = Shards.from_documents([[[7, 8, 9]], [[10, 11]], [[12, 13, 14, 15]]] * 3, 40)
    pieces: Any = Numbers(40)
    batch = LanguageBatches(shards, pieces, Chunks(), batch_size=2, length=8, seed=0)[0]
    ids = torch.from_numpy(batch.ids)
    at, targets = before(tensors_of(batch))
    assert at.tolist() == [place for place in range(16) if place % 8] == np.flatnonzero(has_previous(batch)).tolist()
    assert targets.tolist() == ids[:, :-1].flatten().tolist()
    assert has_previous(batch)[batch.ids == SEP].sum() == (batch.ids[:, 1:] == SEP).sum()


@pytest.mark.parametrize("source", ["table", "characters"])
def test_a_folder_gives_the_same_model_back(source: str, tmp_path: Path) -> None:
    model = small(source)
    write_run(tmp_path / "run", model.model, model.tokenizer, model.config)
    again = LanguageModel.load(tmp_path / "run")
    assert again.score(TEXT) == model.score(TEXT)
    np.testing.assert_array_equal(again.embed([TEXT], layer=0), model.embed([TEXT], layer=0))


def test_the_mix_without_a_task_is_the_mean_of_the_layers() -> None:
    model = small()
    layers = [model.embed([TEXT], layer=layer, pooling="word")[0] for layer in range(3)]
    mix = model.embed([TEXT], layer="mix", pooling="word")[0]
    np.testing.assert_allclose(mix, np.mean(layers, 0), atol=1e-6)


def test_a_word_is_the_same_in_all_contexts_at_layer_0_and_not_above() -> None:
    model = small()
    texts = ["He sat by the bank of the river.", "She put the money in the bank and left."]
    places = [4, 6]
    for layer in range(3):
        one, other = (found[place] for found, place in
                      zip(model.embed(texts, layer=layer, pooling="word"), places, strict=True))
        assert bool((one == other).all()) == (layer == 0)
