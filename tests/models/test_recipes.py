"""Every recipe at every size and preset is a valid config that survives JSON."""
from __future__ import annotations

import json
from types import ModuleType

import pytest

from polysemy.errors import InputError
from polysemy.models import albert, bert, distilbert, roberta, spanbert
from polysemy.models.recipe import SIZES, PretrainingConfig

ALL = [bert, roberta, albert, spanbert, distilbert]


@pytest.mark.parametrize("module", ALL, ids=lambda m: m.__name__.rpartition(".")[2])
@pytest.mark.parametrize("preset", ["paper", "ladder"])
@pytest.mark.parametrize("size", SIZES)
def test_configs_survive_json(module: ModuleType, preset: str, size: str) -> None:
    config = module.configure(size, preset)
    assert PretrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.size, config.preset, config.recipe) == (size, preset, module.__name__.rpartition(".")[2])
    assert config.tokenizer.vocab_size == config.model.embedding.vocab_size


@pytest.mark.parametrize("module", ALL, ids=lambda m: m.__name__.rpartition(".")[2])
def test_vocabulary_can_be_chosen_and_deviations_are_sentences(module: ModuleType) -> None:
    assert module.configure("tiny", vocab_size=321).model.embedding.vocab_size == 321
    assert module.DEVIATIONS
    assert all(sentence[-1] == "." for sentence in module.DEVIATIONS)


def test_the_rungs_of_the_ladder_share_body_tokenizer_and_optimizer() -> None:
    configs = [module.configure("mini", "ladder") for module in (bert, roberta, spanbert)]
    assert len({config.model.transformer for config in configs}) == 1
    assert len({module.configure("mini").tokenizer for module in ALL}) == 1
    assert len({module.configure("mini").training for module in ALL}) == 1
    shared = albert.configure("mini").model.transformer
    assert shared.replace(num_groups=None) == configs[0].model.transformer
    assert distilbert.configure("mini").model.transformer.replace(num_layers=4) == configs[0].model.transformer


def test_sizes_are_those_of_the_table() -> None:
    shapes = {size: (c.num_layers, c.hidden_size, c.num_heads, c.intermediate_size)
              for size in SIZES for c in [bert.configure(size).model.transformer]}
    assert shapes == {"tiny": (2, 128, 2, 512), "mini": (4, 256, 4, 1024), "small": (4, 512, 8, 2048),
                      "medium": (8, 512, 8, 2048), "base": (12, 768, 12, 3072), "large": (24, 1024, 16, 4096)}


def test_unknown_sizes_and_presets_are_refused() -> None:
    with pytest.raises(InputError, match=r"size must be tiny .* got 'bas'; did you mean 'base'"):
        bert.configure("bas")
    with pytest.raises(InputError, match=r"preset must be paper \| ladder, got 'papers'"):
        roberta.configure("tiny", "papers")
