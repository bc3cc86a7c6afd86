"""ELMo in use by a task: a mix of frozen layers that is learned, kept in the folder, and used by `embed`."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from small_models import SENTENCES
from task_cases import TASKS, reader, task_model

import polysemy
from polysemy.models.task_model import head_config
from polysemy.models.task_use import TaskUser, write_task_run
from polysemy.text.labeled import Example, Examples
from polysemy.text.task_rows import task_rows
from polysemy.training.fine_tuning_config import FineTuningConfig, settled
from polysemy.training.fine_tuning_start import first_model


def test_elmo_is_read_through_a_mix_of_frozen_layers_unless_told_otherwise() -> None:
    config = reader("elmo").config
    assert head_config(TASKS["classify"], config).reading == "mix"
    plain = settled(FineTuningConfig(), config.recipe, config.model, "classify", 100)
    assert plain.freeze == config.model.num_layers
    for changes in ({"reading": "mean"}, {"gradual": True}, {"reinit": 1}):
        assert settled(FineTuningConfig(**changes), config.recipe, config.model, "classify", 100).freeze is None


def test_a_new_mix_is_measured_on_the_rows_it_is_to_learn_from_and_a_known_one_is_kept() -> None:
    start, task = reader("elmo"), TASKS["classify"]
    examples = Examples(tuple(Example(text, None, task.labels[0], 1) for text in SENTENCES), "classify")
    rows = task_rows(examples, start, task)
    model = first_model(start, task, FineTuningConfig(), 0, lambda line: None, rows)
    states = [np.concatenate(start.embed(SENTENCES, layer=layer, pooling="token")) for layer in range(3)]
    for layer, (middle, scale) in enumerate(zip(model.mix.middle, model.mix.scale, strict=True)):
        shown = (states[layer] - middle.numpy()) * scale.numpy()  # without the marks, which were measured too
        assert abs(shown.mean()) < 0.2
        assert 0.7 < shown.std() < 1.3
    other = replace(examples, items=examples.items[:2])
    known = TaskUser(model, start.tokenizer, start.config)
    again = first_model(known, task, FineTuningConfig(), 0, lambda line: None, task_rows(other, known, task))
    assert torch.equal(again.mix.middle, model.mix.middle)
    assert torch.equal(again.mix.scale, model.mix.scale)


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
