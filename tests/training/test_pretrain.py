"""Whole runs: what a run folder holds, and that neither stops, crashes, full disks nor wrong use lose anything."""
from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from polysemy.artifact import read_folder, read_json, sha256
from polysemy.errors import InputError
from polysemy.models.pretrained import open_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.runtime import random_for
from polysemy.text.corpus import Corpus
from polysemy.text.segments import NextSentence
from polysemy.training.budget import Budget
from polysemy.training.checkpoint import Checkpoints
from polysemy.training.learner import Learner
from polysemy.training.loop import Step
from polysemy.training.outcome import InterruptError, NotFiniteError, RunError
from polysemy.training.prepared import PreparedText, prepare_text
from polysemy.training.pretrain import pretrain
from small_runs import small_config, write_text

STEPS = 20
Show = Callable[[Step], None]


class CrashError(Exception):
    """Stands for a kill: nothing in the run expects it."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> PreparedText:
    folder = tmp_path_factory.mktemp("text")
    return prepare_text(Corpus([write_text(folder / "corpus.txt")]), recipe(), folder / "prepared")


def recipe(**training: Any) -> PretrainingConfig:
    """Dropout on, batches in parts, checkpoints and evaluations at odd steps; an epoch is about ten steps."""
    settings = {"batch_size": 8, "length": 32, "micro_batch_size": 3, "checkpoint_every": 6, "evaluate_every": 9}
    return small_config(heads=("masked_lm", "pair"), segments=NextSentence(), **(settings | training))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[tuple[int, float, float]]:
    return [(row["step"], row["loss"], row["gradient_norm"]) for row in rows(folder)]


def at(step: int, act: Callable[[], Any]) -> Show:
    """Do something when that step has been done."""
    return lambda done: act() if done.number == step else None


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def crash() -> None:
    raise CrashError


@pytest.fixture(scope="module")
def whole(text: PreparedText, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    return pretrain(recipe(), text, tmp_path_factory.mktemp("whole") / "run", budget=Budget(steps=STEPS))


def test_a_run_folder_holds_all_that_is_needed_and_no_pickle(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json", "README.md", "metrics.jsonl", "checkpoints"}
    assert {path.suffix for path in whole.rglob("*") if path.is_file()} <= {".json", ".jsonl", ".safetensors", ".md"}
    record = read_folder(whole).config
    assert record["recipe"] == "bert"
    assert {"budget", "seed", "text_hash", "environment", "files", "results", "dtype", "threads"} <= record.keys()
    assert record["results"]["step"] == STEPS
    model, tokenizer, config = open_run(whole)
    assert config.model.embedding.vocab_size == tokenizer.vocab_size < 200
    assert all(weight.isfinite().all() for weight in model.parameters())
    card = (whole / "README.md").read_text()
    assert "| budget | 20 steps |" in card
    assert "held out masked lm" in card
    assert "Where it differs from the paper" in card


def test_metrics_have_one_row_a_step_with_the_names_that_scripts_rely_on(whole: Path) -> None:
    found = rows(whole)
    assert [row["step"] for row in found] == list(range(1, STEPS + 1))
    assert {"step", "seconds", "tokens", "loss", "loss_masked_lm", "loss_pair", "learning_rate",
            "gradient_norm"} <= found[0].keys()
    assert [row["step"] for row in found if "held_out_loss" in row] == [9, 18, 20]
    assert {"held_out_masked_lm", "held_out_pair", "held_out_pair_accuracy"} <= found[-1].keys()
    assert [row["seconds"] for row in found] == sorted(row["seconds"] for row in found)


def test_an_epoch_edge_lies_inside_the_run(text: PreparedText, whole: Path) -> None:
    """So the tests below cross one."""
    from small_runs import make_batches

    batches = make_batches(recipe(), text.train, tokenizer=text.tokenizer)
    assert 2 < batches.rows_per_epoch(0) / 8 < STEPS - 2


def test_the_same_call_gives_the_same_bits(text: PreparedText, whole: Path, tmp_path: Path) -> None:
    again = pretrain(recipe(), text, tmp_path / "run", budget=Budget(steps=STEPS))
    assert sha256(again / "model.safetensors") == sha256(whole / "model.safetensors")
    other = pretrain(recipe(), text, tmp_path / "other", budget=Budget(steps=STEPS), seed=1)
    assert sha256(other / "model.safetensors") != sha256(whole / "model.safetensors")


@pytest.mark.parametrize("k", range(1, STEPS))
def test_stopped_after_step_k_and_called_again_it_ends_the_same(text: PreparedText, whole: Path, tmp_path: Path,
                                                                k: int) -> None:
    with pytest.raises(InterruptError, match=f"stopped after step {k} and saved; go on with the same command") as stop:
        pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS), progress=at(k, send(signal.SIGINT)))
    assert (stop.value.exit_code, stop.value.saved) == (130, True)
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, k + 1))
    assert not (tmp_path / "config.json").exists()
    seen: list[int] = []
    pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS), progress=lambda step: seen.append(step.number))
    assert seen == list(range(k + 1, STEPS + 1))
    assert losses(tmp_path) == losses(whole)
    assert sha256(tmp_path / "model.safetensors") == sha256(whole / "model.safetensors")
    newest = [sorted((folder / "checkpoints").glob("step-*"))[-1] for folder in (tmp_path, whole)]
    assert sha256(newest[0] / "optimizer.safetensors") == sha256(newest[1] / "optimizer.safetensors")


@pytest.mark.parametrize("k", [3, 6, 11, 17])
def test_killed_between_checkpoints_it_does_the_lost_steps_again(text: PreparedText, whole: Path, tmp_path: Path,
                                                                 k: int) -> None:
    with pytest.raises(CrashError):
        pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS), progress=at(k, crash))
    seen: list[int] = []
    pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS), progress=lambda step: seen.append(step.number))
    assert seen[0] == (k - 1) // 6 * 6 + 1
    assert losses(tmp_path) == losses(whole)
    assert sha256(tmp_path / "model.safetensors") == sha256(whole / "model.safetensors")


def test_a_damaged_newest_checkpoint_costs_steps_but_no_bit(text: PreparedText, whole: Path, tmp_path: Path,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CrashError):
        pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS), progress=at(15, crash))
    newest = tmp_path / "checkpoints" / "step-00000012" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-5])
    seen: list[int] = []
    pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS), progress=lambda step: seen.append(step.number))
    assert seen[0] == 7
    assert "step-00000012 is damaged" in caplog.text
    assert sha256(tmp_path / "model.safetensors") == sha256(whole / "model.safetensors")


def test_minutes_go_on_with_the_recorded_clock(text: PreparedText, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that a crash lost are done again at the same learning rates, so they give the same losses."""
    pace, now = random_for("pace"), [0.0]

    def perf_counter() -> float:
        now[0] += pace.uniform(0.05, 0.1)  # so much passes between two looks: no two runs see the same times
        return now[0]

    monkeypatch.setattr("polysemy.training.budget.time", SimpleNamespace(perf_counter=perf_counter))
    budget = Budget(minutes=0.02)
    with pytest.raises(CrashError):
        pretrain(recipe(), text, tmp_path, budget=budget, progress=at(10, crash))
    before = rows(tmp_path)
    assert len(before) == 10
    with pytest.raises(CrashError):  # twice: the clock is kept although metrics.jsonl was cut back
        pretrain(recipe(), text, tmp_path, budget=budget, progress=at(8, crash))
    pretrain(recipe(), text, tmp_path, budget=budget)
    after = rows(tmp_path)
    for name in ("fraction", "seconds", "learning_rate", "loss"):
        assert [row[name] for row in after[:10]] == [row[name] for row in before]
    assert len(after) > 10
    assert after[-1]["seconds"] == pytest.approx(1.2, abs=0.05)


def test_a_finished_run_is_left_alone(text: PreparedText, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*.safetensors")}
    pretrain(recipe(), text, whole, budget=Budget(steps=STEPS), progress=lambda step: pytest.fail("a step was taken"))
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*.safetensors")}


def test_a_finished_run_takes_no_other_settings(text: PreparedText, whole: Path) -> None:
    record = (whole / "checkpoints" / "run.json").read_bytes()
    with pytest.raises(InputError, match=r"settings must be those of the run in .*, which is done, got "
                                         r"training.learning_rate: 0.01 -> 0.5; use a new output folder"):
        pretrain(recipe(learning_rate=0.5), text, whole, budget=Budget(steps=STEPS))
    assert (whole / "checkpoints" / "run.json").read_bytes() == record


def test_more_steps_and_another_rate_go_on_and_are_reported(text: PreparedText, tmp_path: Path,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    pretrain(recipe(), text, tmp_path, budget=Budget(steps=4))
    first = sha256(tmp_path / "model.safetensors")
    pretrain(recipe(learning_rate=5e-3), text, tmp_path, budget=Budget(steps=7))
    assert "training.learning_rate: 0.01 -> 0.005" in caplog.text
    assert "budget.steps: 4 -> 7" in caplog.text
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 8))
    assert sha256(tmp_path / "model.safetensors") != first
    assert read_folder(tmp_path).config["results"]["step"] == 7


def test_what_shapes_the_model_may_not_change(text: PreparedText, tmp_path: Path) -> None:
    pretrain(recipe(), text, tmp_path, budget=Budget(steps=2))
    wider = recipe().replace(model=small_config(hidden_size=32).model)
    with pytest.raises(InputError, match=r"model.transformer.hidden_size must stay 16 when a run goes on, got 32"):
        pretrain(wider, text, tmp_path, budget=Budget(steps=4))
    dry = small_config(dropout=0.0).model
    pretrain(recipe().replace(model=dry), text, tmp_path, budget=Budget(steps=3))


def test_another_text_or_tokenizer_is_refused(tmp_path: Path) -> None:
    corpus = write_text(tmp_path / "corpus.txt", 40)
    pretrain(recipe(), Corpus([corpus]), tmp_path / "run", budget=Budget(steps=2))
    with open(corpus, "a") as file:
        file.write("\n\nThe garden remembers another winter. The captain paints.\n")
    with pytest.raises(InputError, match=r"text must be the one that the run in .* began with.*--from"):
        pretrain(recipe(), Corpus([corpus]), tmp_path / "run", budget=Budget(steps=4))


def test_two_runs_never_share_a_folder(text: PreparedText, tmp_path: Path) -> None:
    def second() -> None:
        with pytest.raises(InputError, match=f"folder must be free.*process {os.getpid()}"):
            pretrain(recipe(), text, tmp_path, budget=Budget(steps=2))

    pretrain(recipe(), text, tmp_path, budget=Budget(steps=2), progress=at(1, second))
    assert not (tmp_path / "lock").exists()


def test_without_resume_a_run_is_refused(text: PreparedText, whole: Path) -> None:
    with pytest.raises(InputError, match="must not hold a run"):
        pretrain(recipe(), text, whole, budget=Budget(steps=STEPS), resume=False)


def test_a_folder_with_something_else_is_refused_untouched(text: PreparedText, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="must be new, empty or hold a run"):
        pretrain(recipe(), text, tmp_path, budget=Budget(steps=1))
    with pytest.raises(InputError, match="got the file"):
        pretrain(recipe(), text, tmp_path / "thesis.txt", budget=Budget(steps=1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_step(text: PreparedText) -> None:
    place = Path("/proc/polysemy-run")
    if not place.parent.is_dir():
        pytest.skip("needs a file system that takes no folders")
    with pytest.raises(RunError, match="output folder must be writable, got /proc/polysemy-run") as found:
        pretrain(recipe(), text, place, budget=Budget(steps=1))
    assert found.value.exit_code == 1


def test_a_terminate_signal_saves_and_has_its_own_code(text: PreparedText, tmp_path: Path) -> None:
    with pytest.raises(InterruptError) as stop:
        pretrain(recipe(), text, tmp_path, budget=Budget(steps=9), progress=at(2, send(signal.SIGTERM)))
    assert stop.value.exit_code == 143
    assert Checkpoints(tmp_path / "checkpoints").newest().step == 2  # type: ignore[union-attr]


def test_a_second_signal_ends_at_once_and_the_last_checkpoint_stays(text: PreparedText, tmp_path: Path) -> None:
    def twice() -> None:
        send(signal.SIGINT)()
        send(signal.SIGINT)()

    with pytest.raises(InterruptError, match="stopped at once") as stop:
        pretrain(recipe(), text, tmp_path, budget=Budget(steps=9), progress=at(8, twice))
    assert (stop.value.exit_code, stop.value.saved) == (130, False)
    assert Checkpoints(tmp_path / "checkpoints").newest().step == 6  # type: ignore[union-attr]


def test_a_full_disk_in_the_middle_of_a_save_is_said_loudly_and_training_goes_on(
        text: PreparedText, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    write = Learner.write

    def full(self: Learner, folder: Path, *carried: Any) -> None:
        if "step-00000012" in folder.name:
            (folder / "half").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        write(self, folder, *carried)

    monkeypatch.setattr(Learner, "write", full)
    pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS))
    assert "CHECKPOINT NOT SAVED at step 12" in caplog.text
    assert "the last good one is step 6" in caplog.text
    assert sha256(tmp_path / "model.safetensors") == sha256(whole / "model.safetensors")
    assert not list((tmp_path / "checkpoints").glob(".step*"))


def test_a_full_disk_under_the_metrics_costs_rows_only(text: PreparedText, whole: Path, tmp_path: Path,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    def fill() -> None:
        (tmp_path / "metrics.jsonl").unlink()
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")

    pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS), progress=at(5, fill))
    assert len([record for record in caplog.records if "rows are missing" in record.message]) == 1
    assert f"rows missing in metrics.jsonl | {STEPS - 5}" in (tmp_path / "README.md").read_text()
    assert sha256(tmp_path / "model.safetensors") == sha256(whole / "model.safetensors")


def test_a_loss_that_explodes_stops_the_run_and_leaves_good_checkpoints(text: PreparedText, tmp_path: Path) -> None:
    hot = recipe(learning_rate=1e30, clip=0.0, warmup_rate=0.0, checkpoint_every=1, keep=50, skip_limit=3)
    with pytest.raises((NotFiniteError, RunError), match=r"not finite|not a finite number"):
        pretrain(hot, text, tmp_path, budget=Budget(steps=60))
    for path in (tmp_path / "checkpoints").glob("step-*"):
        from polysemy.artifact import load_tensors

        assert all(bool(weight.isfinite().all()) for weight in load_tensors(path / "model.safetensors").values())
    assert not (tmp_path / "config.json").exists()


def test_rows_of_a_loss_that_is_no_number_are_written_down(text: PreparedText, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    losses = Learner.make

    def poisoned(*arguments: Any, **options: Any) -> Learner:
        learner = losses(*arguments, **options)
        forward, calls = learner.module, iter(range(10_000))

        def module(tensors: Any) -> dict[str, torch.Tensor]:
            sums = forward(tensors)
            bad = next(calls) >= 25  # three calls a step, and one before the first that warms up
            return {name: value * math.nan for name, value in sums.items()} if bad else sums

        return replace(learner, module=module)

    monkeypatch.setattr(Learner, "make", poisoned)
    with pytest.raises(NotFiniteError, match=r"5 steps in a row.*bad_batches.json lists the rows"):
        pretrain(recipe(), text, tmp_path, budget=Budget(steps=STEPS))
    bad = read_json(tmp_path / "checkpoints" / "bad_batches.json")
    assert [entry["step"] for entry in bad] == [9, 10, 11, 12, 13]
    assert len(bad[0]["rows"]) == 8
    assert Checkpoints(tmp_path / "checkpoints").newest().step == 12  # type: ignore[union-attr]
    assert rows(tmp_path)[8]["loss"] is None
    assert rows(tmp_path)[8]["skipped"] is True


def test_a_closed_terminal_does_not_end_the_run(text: PreparedText, tmp_path: Path) -> None:
    shown: list[int] = []

    def show(step: Step) -> None:
        shown.append(step.number)
        raise BrokenPipeError(32, "Broken pipe")

    pretrain(recipe(), text, tmp_path, budget=Budget(steps=3), progress=show)
    assert shown == [1]
    assert len(rows(tmp_path)) == 3


def test_milestones_leave_models_on_the_way(text: PreparedText, tmp_path: Path) -> None:
    pretrain(recipe(), text, tmp_path, budget=Budget(steps=8), milestones=(0.25, 0.5))
    halves = [read_folder(tmp_path / "milestones" / name).config["results"]["step"] for name in ("0.25", "0.5")]
    assert halves == [3, 5]
    assert open_run(tmp_path / "milestones" / "0.5")[0] is not None


def test_own_scores_join_the_held_out_loss(text: PreparedText, tmp_path: Path) -> None:
    def judge(model: Any) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        return {"answers": 42.0}

    pretrain(recipe(), text, tmp_path, budget=Budget(steps=9), evaluate=judge)
    scored = [row for row in rows(tmp_path) if "answers" in row]
    assert [row["step"] for row in scored] == [9]
    assert scored[0]["held_out_loss"] > 0


def test_half_precision_runs_save_whole_masters_and_resume(text: PreparedText, tmp_path: Path) -> None:
    half = recipe(dtype="bfloat16")
    straight = pretrain(half, text, tmp_path / "straight", budget=Budget(steps=8))
    with pytest.raises(CrashError):
        pretrain(half, text, tmp_path / "cut", budget=Budget(steps=8), progress=at(7, crash))
    cut = pretrain(half, text, tmp_path / "cut", budget=Budget(steps=8))
    assert sha256(straight / "model.safetensors") == sha256(cut / "model.safetensors")
    model = open_run(cut)[0]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert any((weight != weight.bfloat16().float()).any() for weight in model.parameters())


def test_a_text_too_short_to_spare_any_trains_without_a_held_out_loss(tmp_path: Path) -> None:
    short = write_text(tmp_path / "short.txt", 4)
    pretrain(small_config(batch_size=2), Corpus([short]), tmp_path / "run", budget=Budget(steps=2))
    assert not any("held_out_loss" in row for row in rows(tmp_path / "run"))
