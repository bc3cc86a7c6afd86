"""GPT's recipe: published sizes, GPT-1's layout by settings, a first loss of ln v, and no look ahead."""
from __future__ import annotations

import math

import pytest
import torch

from polysemy.config import with_settings
from polysemy.errors import InputError
from polysemy.models import bert, gpt
from polysemy.models.pretrained import PretrainingModel, count_parameters
from polysemy.models.recipe import PretrainingConfig
from polysemy.nn.position import Learned, Rotary


def small(preset: str = "paper", **transformer: object) -> PretrainingConfig:
    config = gpt.configure("tiny", preset, vocab_size=400)
    sizes = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "num_layers": 2, **transformer}
    model = config.model.replace(transformer=config.model.transformer.replace(**sizes))
    return config.replace(model=model)


@pytest.mark.parametrize(("size", "count"), [("base", 124_439_808), ("large", 354_823_168), ("xlarge", 774_030_080),
                                             ("xxlarge", 1_557_611_200)])
def test_the_published_sizes_of_gpt_2(size: str, count: int) -> None:
    config = gpt.configure(size, "paper")
    assert count_parameters(PretrainingModel.empty(config.model, config.heads)) == count


def test_gpt_1_by_settings_has_its_published_size() -> None:
    config = gpt.configure("base", "paper", vocab_size=40_478)
    config = with_settings(config, {"training.length": "512", "model.embedding.position.max_positions": "512",
                                    "model.transformer.norm": "post"})
    assert count_parameters(PretrainingModel.empty(config.model, config.heads)) == 116_534_784


def test_gpt_2_counts_follow_the_closed_form() -> None:
    v, p, d, n, f = 50_257, 1024, 256, 4, 1024
    layer = 4 * (d * d + d) + 2 * d + 2 * d * f + f + d + 2 * d
    config = gpt.configure("mini", "paper")
    assert count_parameters(PretrainingModel.empty(config.model, config.heads)) == (v + p) * d + n * layer + 2 * d


def test_the_ladder_shares_its_optimizer_and_has_rotary_positions() -> None:
    ours, theirs = gpt.configure("mini"), bert.configure("mini")
    assert ours.training == theirs.training
    assert ours.model.transformer.distance == theirs.model.transformer.distance == Rotary()
    assert ours.model.embedding.position is None
    assert isinstance(gpt.configure("mini", "paper").model.embedding.position, Learned)
    assert ours.tokenizer.kind == "bytebpe"


@pytest.mark.parametrize("preset", ["paper", "ladder"])
def test_the_config_survives_json(preset: str) -> None:
    config = gpt.configure("mini", preset)
    assert PretrainingConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("preset", ["paper", "ladder"])
def test_the_first_loss_is_that_of_guessing(preset: str) -> None:
    config = small(preset)
    model = PretrainingModel(config.model, config.heads, seed=0).eval()
    ids = torch.randint(0, 400, (4, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model.next_logits(model.body(ids))
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert abs(float(loss) - math.log(400)) < 0.1


@pytest.mark.parametrize("change", [{}, {"norm": "post"}])
@pytest.mark.parametrize("preset", ["paper", "ladder"])
def test_what_comes_later_changes_no_bit_of_what_came_before(preset: str, change: dict[str, object]) -> None:
    config = small(preset, initializer="xavier", **change)
    model = PretrainingModel(config.model, config.heads, seed=2).eval()
    ids = torch.randint(0, 400, (2, 24), generator=torch.Generator().manual_seed(3))
    other = ids.clone()
    other[:, 13:] = torch.randint(0, 400, (2, 11), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        one, two = model.body(ids), model.body(other)
    assert torch.equal(one[:, :13], two[:, :13])
    assert not torch.allclose(one[:, 13:], two[:, 13:])


def test_unknown_sizes_and_presets_are_refused() -> None:
    with pytest.raises(InputError, match=r"size must be tiny .* xxlarge, got 'huge'"):
        gpt.configure("huge")
    with pytest.raises(InputError, match=r"preset must be paper \| ladder"):
        gpt.configure("mini", "original")
