"""Going on from a trained model: old text replayed at an exact rate, and a table of what was forgotten."""
from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from polysemy.artifact import read_json, sha256, write_json
from polysemy.errors import InputError
from polysemy.models.recipe import PretrainingConfig
from polysemy.text.batches import Batches
from polysemy.text.corpus import Corpus, text_documents
from polysemy.text.masking import Spans
from polysemy.text.segments import NextSentence
from polysemy.training.budget import Budget
from polysemy.training.incremental import OLD_ROWS, Replay, join
from polysemy.training.pretrain import pretrain
from small_runs import make_batches, numbers, small_config, write_text

PAIRS = {"heads": ("masked_lm", "pair"), "segments": NextSentence()}


def old_and_new(config: PretrainingConfig) -> tuple[Batches, Batches]:
    return make_batches(config, numbers(seed=1)), make_batches(config, numbers(seed=2))


@pytest.mark.parametrize("rate", [0.1, 1 / 3, 0.5, 0.9])
def test_the_share_of_old_rows_is_exact_and_no_row_is_left_out(rate: float) -> None:
    old, new = old_and_new(small_config(batch_size=7))
    replay = Replay(new, old, rate)
    rows = np.concatenate([replay[t].rows for t in range(30)])
    assert len(rows) == 210
    replayed = np.sort(rows[rows >= OLD_ROWS]) - OLD_ROWS
    assert len(replayed) == int(rate * 210)
    assert np.array_equal(replayed, np.arange(len(replayed)))
    assert np.array_equal(np.sort(rows[rows < OLD_ROWS]), np.arange(210 - len(replayed)))


def test_a_mixed_batch_is_a_function_of_its_number() -> None:
    old, new = old_and_new(small_config(batch_size=6, **PAIRS))
    one, two = Replay(new, old, 0.3), Replay(*reversed(old_and_new(small_config(batch_size=6, **PAIRS))), 0.3)
    late = one[9]
    for t in range(10):
        assert np.array_equal(one[t].ids, two[t].ids)
    assert np.array_equal(late.ids, one[9].ids)
    assert np.array_equal(late.pair_at, one[9].pair_at)


def test_every_row_of_a_mixed_batch_is_the_row_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = old_and_new(small_config(batch_size=6, length=32, heads=("masked_lm", "span_boundary"),
                                        corruption=Spans()))
    mixed = Replay(new, old, 0.4)[3]
    for place, row in enumerate(mixed.rows):
        source = old.at([row - OLD_ROWS]) if row >= OLD_ROWS else new.at([row])
        taken = mixed.take([place])
        for name in ("ids", "positions", "documents", "hidden", "targets", "span_at", "span_left", "span_right",
                     "span_targets", "span_offset", "pair_at"):
            assert np.array_equal(getattr(taken, name), getattr(source, name)), name


def test_joined_batches_keep_their_places() -> None:
    batches = make_batches(small_config(**PAIRS))
    whole = batches.at(range(8))
    joined = join([batches.at(range(3)), batches.at(range(3, 8))])
    for name, array in vars(whole).items():
        assert np.array_equal(array, getattr(joined, name)), name


def test_an_epoch_reads_all_of_the_new_text() -> None:
    old, new = old_and_new(small_config())
    assert Replay(new, old, 0.5).rows_per_epoch(0) == 2 * new.rows_per_epoch(0)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_outside_of_0_and_1_is_refused(rate: float) -> None:
    old, new = old_and_new(small_config())
    with pytest.raises(InputError, match="replay must be above 0 and below 1"):
        Replay(new, old, rate)


def test_old_and_new_batches_must_have_one_size() -> None:
    with pytest.raises(InputError, match="must have one size, got 3 x 16 and 4 x 16"):
        Replay(make_batches(small_config()), make_batches(small_config(batch_size=3)), 0.5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    return pretrain(recipe(), Corpus([write_text(folder / "old.txt")]), folder / "run", budget=Budget(steps=40))


def recipe() -> PretrainingConfig:
    return small_config(batch_size=8, length=32, checkpoint_every=10, evaluate_every=100, **PAIRS)


def new_text() -> list[str]:
    return [f"The merchant sells {number} ships. The harbor of the city sleeps under {number % 7} stars."
            for number in range(60)]


def test_going_on_reports_what_was_forgotten(trained: Path, tmp_path: Path) -> None:
    plain = pretrain(recipe(), text_documents(new_text()), tmp_path / "plain", budget=Budget(steps=60),
                     start_from=trained)
    table = {row["text"]: row for row in read_json(plain / "config.json")["forgetting"]}
    assert table.keys() == {"old", "new"}
    old_loss = read_json(trained / "config.json")["results"]["scores"]["held_out_loss"]
    assert table["old"]["before"] == pytest.approx(old_loss, rel=1e-5)
    assert table["new"]["change"] < -0.3
    assert "What was forgotten" in (plain / "README.md").read_text()
    replayed = pretrain(recipe(), text_documents(new_text()), tmp_path / "replayed", budget=Budget(steps=60),
                        start_from=trained, replay=0.5)
    kept = {row["text"]: row for row in read_json(replayed / "config.json")["forgetting"]}
    assert kept["old"]["after"] < table["old"]["after"]
    assert sha256(plain / "tokenizer.json") == sha256(trained / "tokenizer.json")


def test_going_on_resumes_like_any_run(trained: Path, tmp_path: Path) -> None:
    def crash(step: object) -> None:
        if step.number == 15:  # type: ignore[attr-defined]
            raise ZeroDivisionError

    corpus, more = text_documents(new_text()), {"budget": Budget(steps=20), "start_from": trained, "replay": 0.25}
    whole = pretrain(recipe(), corpus, tmp_path / "whole", **more)
    with pytest.raises(ZeroDivisionError):
        pretrain(recipe(), corpus, tmp_path / "cut", progress=crash, **more)
    cut = pretrain(recipe(), corpus, tmp_path / "cut", **more)
    assert sha256(cut / "model.safetensors") == sha256(whole / "model.safetensors")
    assert read_json(cut / "config.json")["forgetting"] == read_json(whole / "config.json")["forgetting"]


def test_another_recipe_cannot_go_on(trained: Path, tmp_path: Path) -> None:
    other = small_config()
    with pytest.raises(InputError, match="recipe must be bert with heads masked_lm, pair"):
        pretrain(other, text_documents(new_text()), tmp_path / "run", budget=Budget(steps=1), start_from=trained)


def test_replay_without_the_old_text_says_so(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("text"))
    record = read_json(copy / "config.json")
    record["text"]["folder"] = str(copy / "text")
    write_json(copy / "config.json", record)
    with pytest.raises(InputError, match="--replay must find the old text"):
        pretrain(recipe(), text_documents(new_text()), tmp_path / "run", budget=Budget(steps=1), start_from=copy,
                 replay=0.5)
    pretrain(recipe(), text_documents(new_text()), tmp_path / "run", budget=Budget(steps=1), start_from=copy)
