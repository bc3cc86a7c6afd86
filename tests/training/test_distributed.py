"""Several processes: the same batches, losses and weights as one, in whole models and in parts."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from polysemy.artifact import load_tensors, read_json
from polysemy.cli.main import main
from polysemy.training.distributed import World, rank_rows
from small_runs import write_text

SCRIPT = str(Path(__file__).with_name("one_process.py"))


def start(processes: int, folder: Path, steps: int, *settings: str) -> subprocess.CompletedProcess[str]:
    words = [SCRIPT, str(folder), str(steps), *settings]
    return torchrun(processes, *words) if processes else python(*words)


def torchrun(processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *words)


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=280)


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["loss"] for row in rows]


def weights(folder: Path) -> dict[str, Any]:
    return load_tensors(folder / "model.safetensors")


def check(done: subprocess.CompletedProcess[str], code: int = 0) -> None:
    assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("micro", [None, 1, 2, 4])
@pytest.mark.parametrize("rows", [1, 2, 7, 8])
def test_every_row_has_one_process_and_no_process_waits_for_another(rows: int, size: int, micro: int | None) -> None:
    parts = [rank_rows(rows, World(rank=rank, size=size), micro) for rank in range(size)]
    assert len({len(part) for part in parts}) == 1
    assert sorted(row for part in parts for piece in part for row in piece) == list(range(rows))
    assert all(len(piece) <= (micro or rows) for part in parts for piece in part)


def test_alone_every_exchange_is_free() -> None:
    world = World()
    assert world.sum([1.0, 2.0]) == [1.0, 2.0]
    assert (world.largest(3.0), world.from_first("x"), world.first) == (3.0, "x", True)
    with pytest.raises(ZeroDivisionError), world.together("dividing"):
        raise ZeroDivisionError


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several") / "alone"
    write_text(folder.parent / "corpus.txt")
    check(start(0, folder, 12))
    return folder


@pytest.fixture(scope="module")
def in_thirds(alone: Path) -> Path:
    """One process, a third of the budget at a time: each time the learning rate falls to its end."""
    folder = alone.with_name("thirds")
    for steps in (4, 8, 12):
        check(start(0, folder, steps))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_learn_what_one_learns(alone: Path, sharded: bool) -> None:
    folder = alone.with_name(f"two-{sharded}")
    check(start(2, folder, 12, *["sharded"] * sharded))
    assert losses(folder) == pytest.approx(losses(alone), rel=1e-6)
    for name, tensor in weights(alone).items():
        assert (weights(folder)[name] - tensor).abs().max() < 2e-5, name
    assert not [path for path in folder.rglob("*") if path.is_file() and
                path.suffix not in (".safetensors", ".json", ".jsonl", ".md", ".bin", ".lock", "")]
    assert not list(folder.rglob(".metadata"))  # the pickle of torch's own format


@pytest.mark.parametrize("sharded", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_command_under_torchrun_learns_what_it_learns_alone(tmp_path: Path, sharded: bool) -> None:
    text, one, two = write_text(tmp_path / "corpus.txt"), tmp_path / "one", tmp_path / "two"
    words = ["train", "bert", str(text), "--size", "tiny", "--steps", "4", "--seed", "2", "--threads", "1", "--device",
             "cpu", "--set", "training.length=32", "--set", "training.batch_size=5", "--set", "training.dtype=float32",
             "--set", "training.evaluate_every=2", "--set", "tokenizer.vocab_size=90"]
    assert main([*words, "-o", str(one)]) == 0
    check(torchrun(2, "-m", "polysemy", *words, "-o", str(two), *["--fsdp"] * sharded))
    assert len(losses(one)) == 4
    assert losses(two) == pytest.approx(losses(one), rel=1e-6)
    mine, theirs = (read_json(folder / "config.json") for folder in (one, two))
    assert (mine["processes"], theirs["processes"]) == (1, 2)
    scores, expected = theirs["results"]["scores"], mine["results"]["scores"]
    assert expected.keys() - scores.keys() == ({"held_out_pair_accuracy"} if sharded else set())  # see HeldOut._judge
    assert scores == pytest.approx({name: expected[name] for name in scores}, rel=1e-5)
    for name, tensor in weights(one).items():
        assert (weights(two)[name] - tensor).abs().max() < 2e-5, name
    whole = [(folder / "checkpoints" / "step-00000004" / "optimizer.safetensors").exists() for folder in (one, two)]
    assert whole == [True, not sharded]


@pytest.mark.slow
@pytest.mark.parametrize("plan", [("1", "2", "1"), ("2", "1", "3"), ("2 sharded", "1", "2"),
                                  ("1", "2 sharded", "3 sharded")])
def test_another_number_of_processes_goes_on_with_the_same_batches(in_thirds: Path, plan: tuple[str, ...]) -> None:
    folder = in_thirds.with_name("plan-" + "-".join(plan).replace(" ", ""))
    for processes, steps in zip(plan, (4, 8, 12), strict=True):
        number, *sharded = processes.split()
        check(start(int(number) if processes != "1" else 0, folder, steps, *sharded))
    assert losses(folder) == pytest.approx(losses(in_thirds), rel=1e-6)


@pytest.mark.slow
def test_a_signal_to_one_process_saves_and_stops_all(alone: Path) -> None:
    folder = alone.with_name("signal")
    done = start(2, folder, 12, "at=6", "signal=SIGTERM")
    assert done.returncode == 1  # torchrun's own
    assert "rank 0: stopped after step 6 and saved" in done.stdout
    assert "rank 1: stopped after step 6 and saved" in done.stdout
    check(start(2, folder, 12))
    assert losses(folder) == pytest.approx(losses(alone), rel=1e-6)


@pytest.mark.slow
def test_a_killed_process_takes_the_others_with_it_and_the_run_goes_on_later(alone: Path) -> None:
    folder = alone.with_name("killed")
    started = time.monotonic()
    assert start(2, folder, 12, "at=6", "signal=SIGKILL").returncode != 0
    assert time.monotonic() - started < 60
    check(start(2, folder, 12))
    assert losses(folder) == pytest.approx(losses(alone), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_an_error_in_one_process_ends_all_with_its_text(alone: Path, rank: str) -> None:
    started = time.monotonic()
    done = start(2, alone.with_name(f"error-{rank}"), 12, f"fail={rank}")
    assert done.returncode != 0
    assert "ValueError: a broken process" in done.stderr
    assert time.monotonic() - started < 60
