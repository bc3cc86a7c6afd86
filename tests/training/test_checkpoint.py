"""Checkpoints under every failure of the disk: the previous or the new one loads, never neither."""
from __future__ import annotations

import builtins
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from polysemy.artifact import save_tensors
from polysemy.errors import InputError
from polysemy.training.checkpoint import MANIFEST, WRITE_ERRORS, Checkpoints


def save(checkpoints: Checkpoints, step: int, score: float | None = None, size: int = 100) -> None:
    with checkpoints.new(step, {"step": step}, score=score) as work:
        save_tensors(work / "model.safetensors", {"weight": torch.full((size,), float(step))})
        save_tensors(work / "optimizer.safetensors", {"first.weight": torch.zeros(size)})


def steps(checkpoints: Checkpoints) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in checkpoints.folder.glob("step-*"))


def loads(checkpoints: Checkpoints) -> int:
    """The step of the newest checkpoint, whose content must be its own."""
    found = checkpoints.newest()
    assert found is not None
    assert found.tensors("model")["weight"].eq(found.step).all()
    assert found.state() == {"step": found.step}
    return found.step


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", keep=2)


def test_a_checkpoint_comes_back_as_it_was(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest() is None
    save(checkpoints, 7, score=0.5)
    found = checkpoints.newest()
    assert found is not None
    assert (found.step, found.score, found.state()) == (7, 0.5, {"step": 7})
    assert torch.equal(found.tensors("model")["weight"], torch.full((100,), 7.0))


def test_the_last_two_and_the_best_are_kept(checkpoints: Checkpoints) -> None:
    for step, score in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5), (5, None)):
        save(checkpoints, step, score)
    assert steps(checkpoints) == [2, 4, 5]
    best = checkpoints.best()
    assert best is not None
    assert best.step == 2


def test_the_same_step_can_be_saved_again(checkpoints: Checkpoints) -> None:
    save(checkpoints, 3)
    save(checkpoints, 3, score=1.0)
    assert loads(checkpoints) == 3
    assert steps(checkpoints) == [3]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(checkpoints: Checkpoints, name: str, damage: str,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    save(checkpoints, 1)
    save(checkpoints, 2)
    file = checkpoints.folder / "step-00000002" / name
    data = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(data[:-1] if name.endswith("tensors") else data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 2] ^= 8
        file.write_bytes(data)
    else:
        file.unlink()
    assert loads(checkpoints) == 1
    assert "step-00000002 is damaged" in caplog.text


def test_when_all_are_damaged_nothing_is_begun_anew(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    (checkpoints.folder / "step-00000001" / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"no checkpoint in .* is whole; to start anew remove"):
        checkpoints.newest()


def test_a_file_that_the_manifest_does_not_list_is_ignored(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    (checkpoints.folder / "step-00000001" / "note.txt").write_text("mine")
    assert loads(checkpoints) == 1


def test_a_checkpoint_of_another_version_is_refused_with_its_version(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    save(checkpoints, 2)
    path = checkpoints.folder / "step-00000002" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 9, "polysemy": "8.0"}))
    with pytest.raises(InputError, match=r"format must be 1, got 9 .* polysemy 8\.0"):
        checkpoints.newest()


class FailingDisk:
    """Every call that changes the disk counts; number `fail_at` raises, as a full or broken disk would."""

    NAMES = ("open", "write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> None:
        self.count, self.fail_at, self.failed = 0, fail_at, ""
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._counting(f"os.{name}", getattr(os, name)))
        monkeypatch.setattr(builtins, "open", self._counting("open", builtins.open))
        for module in ("safetensors.torch", "safetensors.numpy"):
            save_file = __import__(module, fromlist=["save_file"]).save_file
            monkeypatch.setattr(f"{module}.save_file", self._counting("save_file", save_file))

    def _counting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.fail_at:
                self.failed = name
                raise OSError(28, "No space left on device")
            return real(*args, **options)

        return call


def test_whichever_call_of_a_save_fails_the_old_or_the_new_one_loads(tmp_path: Path) -> None:
    """As SQLite tests its commits: fail call number 1, 2, 3 ... until the save gets through."""
    failed_calls = set()
    for k in range(1, 1000):
        checkpoints = Checkpoints(tmp_path / str(k), keep=1)
        save(checkpoints, 1)
        raised = False
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = FailingDisk(monkeypatch, k)
            try:
                save(checkpoints, 2)
            except WRITE_ERRORS:
                raised = True
        found = loads(checkpoints)
        assert found == 2 or raised, f"call {k} ({disk.failed}) failed in silence and the new checkpoint is lost"
        checkpoints.clean()
        assert [path.name for path in checkpoints.folder.glob(".*")] == []
        save(checkpoints, 3)
        assert loads(checkpoints) == 3
        failed_calls.add(disk.failed)
        if not disk.failed:
            break
    assert k > 15
    assert {"open", "os.fsync", "os.replace", "os.rename", "save_file", "os.mkdir"} <= failed_calls


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Lets the kernel refuse writes beyond a size, like a full disk; afterwards all is as before."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_in_the_middle_leaves_the_old_one(checkpoints: Checkpoints,
                                                               small_files: Callable[[int], None]) -> None:
    save(checkpoints, 1, size=20_000)
    small_files(30_000)
    with pytest.raises(WRITE_ERRORS):
        save(checkpoints, 2, size=20_000)
    small_files(resource.RLIM_INFINITY)
    assert loads(checkpoints) == 1
    assert list(checkpoints.folder.glob(".*")) == []


KILLING = """
import os, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)  # threads of the parent would be missing in its children
sys.path.insert(0, {tests!r})
from test_checkpoint import loads, save
from polysemy.training.checkpoint import Checkpoints
checkpoints = Checkpoints(Path({folder!r}), keep=2)
last, started = 3, time.perf_counter()
for step in (1, 2, 3):
    save(checkpoints, step, size=200_000)
duration = (time.perf_counter() - started) / 3
for number in range({rounds}):
    child = os.fork()
    if not child:
        step = last
        while True:
            step += 1
            save(checkpoints, step, size=200_000)
    time.sleep(duration * (0.2 + 0.37 * number % 4))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    checkpoints.clean()
    if checkpoints.newest() is not None:
        assert loads(checkpoints) >= last
        last = loads(checkpoints)
print(last)
"""


@pytest.mark.parametrize("rounds", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_killing_the_process_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path, rounds: int) -> None:
    """kill -9 again and again while one save follows the other (a new interpreter forks, as pytest has threads)."""
    script = KILLING.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "checkpoints"), rounds=rounds)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1  # some saves got through, on a busy machine too
