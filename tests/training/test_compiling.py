"""torch.compile is a wish: without a compiler, or where it fails, training goes on without it."""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from polysemy.training.budget import Budget, Course
from polysemy.training.compiling import compiled
from polysemy.training.loop import train
from small_runs import make_batches, make_learner, small_config


def test_a_failing_compiler_is_reported_once_and_the_plain_module_serves(monkeypatch: pytest.MonkeyPatch,
                                                                         caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def broken(module: Any, **_: Any) -> Any:
        def call(*inputs: Any) -> Any:
            calls.append(inputs)
            raise torch._dynamo.exc.BackendCompilerFailed(print, RuntimeError("no C++ compiler"), None)

        return call

    import torch._dynamo

    monkeypatch.setattr(torch, "compile", broken)
    double = compiled(lambda x: 2 * x)
    assert [double(1), double(2), double(3)] == [2, 4, 6]
    assert len(calls) == 1
    assert caplog.text.count("torch.compile is not used") == 1


def test_an_error_of_the_model_itself_is_no_compiler_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)

    def wrong(x: int) -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        compiled(wrong)(1)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", [True, False])
def test_a_compiled_run_learns_the_same(compiler: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if compiler and shutil.which("g++") is None:
        pytest.skip("no C++ compiler here")
    if not compiler:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("CXX", "none")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    losses = {}
    for compile_it in (False, True):
        config = small_config(compile=compile_it)
        losses[compile_it] = [step.loss for step in train(make_learner(config), make_batches(config), config.training,
                                                          course=Course(Budget(steps=4)))]
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)
