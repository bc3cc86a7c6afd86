"""Runs of language models: what streams carry survives micro-batches, evaluations, crashes and other processes."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from polysemy.config import with_settings
from polysemy.errors import InputError
from polysemy.models import load_run, resolve
from polysemy.models.carry import Carry
from polysemy.models.recipe import PretrainingConfig
from polysemy.objectives.pretraining import Pretraining
from polysemy.text.corpus import Corpus
from polysemy.training.budget import Budget
from polysemy.training.prepared import PreparedText, prepare_text
from polysemy.training.pretrain import pretrain
from small_runs import write_text

STEPS = 12
SMALL = {
    "lstm": {"model.hidden_size": "16", "model.dropout": "0.2"},
    "transformer-xl": {"model.transformer.hidden_size": "16", "model.transformer.num_heads": "2",
                       "model.transformer.intermediate_size": "24", "model.transformer.dropout": "0.1",
                       "model.memory": "8"},
    "nnlm": {"model.embedding_size": "8", "model.inner_size": "12"},
    "gpt": {"model.transformer.hidden_size": "16", "model.transformer.num_heads": "2",
            "model.transformer.intermediate_size": "24", "model.transformer.dropout": "0.1"},
    "elmo": {"model.cell_size": "16", "model.projection_size": "8"},
}
STATEFUL = ("lstm", "transformer-xl")


def recipe(name: str, **settings: str) -> PretrainingConfig:
    config = resolve(f"polysemy.models.{name.replace('-', '_')}:configure")("tiny")
    shared = {"tokenizer.kind": "wordpiece", "tokenizer.vocab_size": "120", "training.batch_size": "4",
              "training.length": "16", "training.dtype": "float32", "training.checkpoint_every": "5",
              "training.evaluate_every": "4"}
    return with_settings(config, {**shared, **SMALL[name], **settings})


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> PreparedText:
    folder = tmp_path_factory.mktemp("text")
    return prepare_text(Corpus([write_text(folder / "corpus.txt")]), recipe("lstm"), folder / "prepared")


def run(name: str, text: PreparedText, folder: Path, progress: Callable[[Any], None] | None = None,
        steps: int = STEPS, **settings: str) -> dict[str, torch.Tensor]:
    pretrain(recipe(name, **settings), text, folder, budget=Budget(steps=steps), progress=progress)
    return load_file(folder / "model.safetensors")


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", SMALL)
def test_a_language_model_trains_and_opens_as_one(name: str, text: PreparedText, tmp_path: Path) -> None:
    run(name, text, tmp_path / "run", steps=30, **{"training.learning_rate": "0.03"})
    found = losses(tmp_path / "run")
    assert sum(found[-5:]) < sum(found[:5])
    model = load_run(tmp_path / "run")
    assert model.score("The river sees the bank near the house.").log_probability < 0
    assert len(model.fill("The [MASK] sees the bank.", 2)[0]) == 2
    assert model.embed(["The river."]).shape == (1, model.config.model.hidden_size)
    assert "Where it differs from the paper" in (tmp_path / "run" / "README.md").read_text()


@pytest.mark.parametrize("rows", ["none", "3"])
@pytest.mark.parametrize("name", STATEFUL)
def test_a_run_that_crashed_ends_with_the_weights_of_one_that_did_not(name: str, rows: str, text: PreparedText,
                                                                     tmp_path: Path) -> None:
    parts = {"training.micro_batch_size": rows}
    whole = run(name, text, tmp_path / "whole", **parts)

    def crash(step: Any) -> None:
        if step.number == 8:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(name, text, tmp_path / "broken", crash, **parts)
    again = run(name, text, tmp_path / "broken", **parts)
    assert all(torch.equal(again[key], value) for key, value in whole.items())
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")


@pytest.mark.parametrize("name", STATEFUL)
def test_micro_batches_carry_their_own_rows(name: str, text: PreparedText, tmp_path: Path) -> None:
    whole = run(name, text, tmp_path / "whole")
    parts = run(name, text, tmp_path / "parts", **{"training.micro_batch_size": "3"})
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    assert all(torch.allclose(parts[key], value, atol=1e-4) for key, value in whole.items())


@pytest.mark.parametrize("name", STATEFUL)
def test_an_evaluation_changes_nothing_that_is_carried(name: str, text: PreparedText, tmp_path: Path) -> None:
    often = run(name, text, tmp_path / "often", **{"training.evaluate_every": "1"})
    rarely = run(name, text, tmp_path / "rarely", **{"training.evaluate_every": "1000"})
    assert all(torch.equal(often[key], value) for key, value in rarely.items())


def test_the_state_matters(text: PreparedText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("lstm", text, tmp_path / "kept")
    monkeypatch.setattr(Carry, "get", lambda *_: None)
    run("lstm", text, tmp_path / "lost")
    kept, lost = losses(tmp_path / "kept"), losses(tmp_path / "lost")
    assert kept[0] == lost[0], "the first batch begins its streams"
    assert kept[1] != lost[1]


@pytest.mark.parametrize("setting", ["training.batch_size", "training.length"])
def test_rows_of_another_size_begin_their_streams_anew(setting: str, text: PreparedText, tmp_path: Path,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    def crash(step: Any) -> None:
        if step.number == 8:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run("lstm", text, tmp_path / "run", crash)
    run("lstm", text, tmp_path / "run", **{setting: "8"})
    assert "streams of text begin anew" in caplog.text
    assert len(losses(tmp_path / "run")) == STEPS


def test_what_a_bad_step_left_is_not_carried_on(text: PreparedText, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    put, whole, calls = Carry.put, Pretraining.total, [0]  # one call to warm up, then two a step
    bad = (13, 14)

    def spoil(self: Carry, streams: torch.Tensor, state: tuple[torch.Tensor, ...]) -> None:
        put(self, streams, tuple(x * float("nan") for x in state) if calls[0] == bad[0] else state)

    def total(self: Pretraining, sums: Any, counts: Any) -> torch.Tensor:
        calls[0] += 1
        return whole(self, sums, counts) * (float("nan") if calls[0] - 1 in bad else 1.0)

    monkeypatch.setattr(Carry, "put", spoil)
    monkeypatch.setattr(Pretraining, "total", total)
    run("lstm", text, tmp_path / "run", **{"training.evaluate_every": "1000"})
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert sum(row.get("skipped", False) for row in rows) == 1


def test_a_narrow_table_is_a_layer_of_its_own_width(text: PreparedText, tmp_path: Path) -> None:
    run("nnlm", text, tmp_path / "run")
    model = load_run(tmp_path / "run")
    assert model.embed(["The river."], layer=0).shape == (1, 32)
    with pytest.raises(InputError, match="layers must be of one width for their mean"):
        model.embed(["The river."], layer="mean")


def test_replay_is_refused_for_streams_and_heads_must_fit_their_rows(text: PreparedText, tmp_path: Path) -> None:
    run("lstm", text, tmp_path / "old")
    with pytest.raises(InputError, match="--replay must go with rows that stand alone"):
        pretrain(recipe("lstm"), text, tmp_path / "new", budget=Budget(steps=2), start_from=tmp_path / "old",
                 replay=0.5)
    with pytest.raises(InputError, match="segments must be chunks or streams"):
        recipe("gpt", segments="fullsentences")
    with pytest.raises(InputError, match="causal must be true"):
        recipe("gpt", **{"model.transformer.causal": "false"})
