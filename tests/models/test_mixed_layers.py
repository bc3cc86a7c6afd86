"""ELMo in use by a task: a mix of frozen layers that is learned, kept in the folder, and used by `embed`."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from small_models import SENTENCES
from task_cases import TASKS, reader, task_model

import polysemy
from polysemy.models.task_model import head_config
from polysemy.models.task_use import write_task_run
from polysemy.training.fine_tuning_config import FineTuningConfig, settled


def test_elmo_is_read_through_a_mix_of_frozen_layers_unless_told_otherwise() -> None:
    config = reader("elmo").config
    assert head_config(TASKS["classify"], config).reading == "mix"
    plain = settled(FineTuningConfig(), config.recipe, config.model, "classify", 100)
    assert plain.freeze == config.model.num_layers
    for changes in ({"reading": "mean"}, {"gradual": True}, {"reinit": 1}):
        assert settled(FineTuningConfig(**changes), config.recipe, config.model, "classify", 100).freeze is None


def test_the_learned_mix_is_in_the_folder_and_embeds(tmp_path: Path) -> None:
    start = reader("elmo")
    model = task_model("elmo", "classify")
    with torch.no_grad():
        model.mix.mix.scalars.copy_(torch.tensor([0.0, 2.0, -1.0]))
        model.mix.mix.gamma.fill_(1.5)
    write_task_run(tmp_path / "run", model, start.tokenizer, start.config)
    found = polysemy.load(tmp_path / "run")
    shares = np.exp([0.0, 2.0, -1.0]) / np.exp([0.0, 2.0, -1.0]).sum()
    layers = [start.embed(SENTENCES, layer=layer) for layer in range(3)]
    wanted = 1.5 * sum(share * layer for share, layer in zip(shares, layers, strict=True))
    np.testing.assert_allclose(found.embed(SENTENCES, layer="mix"), wanted, atol=1e-5)
    np.testing.assert_allclose(start.embed(SENTENCES, layer="mix"), np.mean(layers, 0), atol=1e-5)
    report = found.model.mix.report()
    np.testing.assert_allclose([report[f"layer {j}"] for j in range(3)], shares, atol=1e-6)
