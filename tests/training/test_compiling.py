"""torch.compile is a wish: without a compiler, or where it fails, training goes on without it."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from polysemy.training.compiling import compiled


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


COMPARING = """
import sys
sys.path.insert(0, {tests!r})
from small_runs import make_batches, make_learner, small_config
from polysemy.training.budget import Budget, Course
from polysemy.training.loop import train
for compile_it in (False, True):
    config = small_config(compile=compile_it, dropout=0.0)
    steps = train(make_learner(config), make_batches(config), config.training, course=Course(Budget(steps=4)))
    print(*[step.loss for step in steps])
"""


@pytest.mark.slow
@pytest.mark.parametrize("compiler", [True, False])
def test_a_compiled_run_learns_the_same(compiler: bool, tmp_path: Path) -> None:
    """In a process of its own: the shape checks of the test run are no code to compile."""
    if compiler and shutil.which("g++") is None:
        pytest.skip("no C++ compiler here")
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    if not compiler:
        environment |= {"PATH": str(tmp_path), "CXX": "none"}
    script = COMPARING.format(tests=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    plain, fast = ([float(word) for word in line.split()] for line in done.stdout.splitlines())
    assert fast == pytest.approx(plain, rel=1e-4)
    assert ("torch.compile is not used" in done.stderr) == (not compiler)
