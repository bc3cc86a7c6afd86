"""Timing and sizes, on models whose cost is known."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_encoder import write_small_run

from polysemy.capability import Score
from polysemy.errors import InputError
from polysemy.evaluation.speed import answer_of, bytes_on_disk, measure, measure_folder


def busy(milliseconds: float) -> None:
    end = time.perf_counter() + milliseconds / 1e3
    while time.perf_counter() < end:
        pass


def test_milliseconds_and_rate_are_those_of_the_answer() -> None:
    def answer(texts: Sequence[str]) -> None:
        busy(2 + 0.25 * len(texts))

    found = measure(answer, ["a sentence of words"] * 64, seconds=0.2)
    assert 2.25 <= found["milliseconds_p50"] < 60
    assert found["milliseconds_p50"] <= found["milliseconds_p95"]
    assert 80 < found["sentences_per_second"] <= 3_200  # 32 in 10 ms
    assert found["timed_sentences"] >= 10


def test_the_slow_ones_show_in_the_95th_percentile() -> None:
    calls = iter(range(10**6))

    def answer(texts: Sequence[str]) -> None:
        busy(8 if next(calls) % 8 == 0 else 1)

    found = measure(answer, ["text"], seconds=0.4)
    assert found["milliseconds_p50"] < 8 <= found["milliseconds_p95"]


def test_warm_up_is_not_timed() -> None:
    calls = iter(range(10**6))

    def answer(texts: Sequence[str]) -> None:
        busy(100 if next(calls) < 5 else 0.5)

    assert measure(answer, ["text"], seconds=0.1)["milliseconds_p95"] < 100


def test_what_is_timed_follows_from_what_the_model_can_do() -> None:
    class Embeds:
        def embed(self, texts, *, layer=-1, pooling="mean", pairs=None):
            return np.zeros((len(texts), 2))

    class Scores:
        def score(self, text: str) -> Score:
            return Score(log_probability=-1.0, tokens=1, words=1, bytes=len(text))

    assert answer_of(Embeds())[0] == "embed"
    name, answer = answer_of(Scores())
    assert (name, len(answer(["a", "b"]))) == ("score", 2)
    with pytest.raises(InputError, match="must embed or score"):
        answer_of(object())
    with pytest.raises(InputError, match="sentences must hold"):
        measure(answer, [])


def test_checkpoints_and_logs_are_no_part_of_the_size(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name, size in (("model.safetensors", 900), ("config.json", 90), ("tokenizer.json", 9),
                       ("metrics.jsonl", 10_000), ("README.md", 10_000), ("checkpoints/step", 10_000)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert bytes_on_disk(tmp_path) == 999


def test_peak_memory_is_that_of_the_process_alone() -> None:
    """On Linux, what getrusage tells a new process begins with the peak of the one that started it."""
    held = np.ones(12 << 20)  # 100 MB here, not in the child
    code = ("import numpy as np; from polysemy.evaluation.speed import peak_bytes; before = peak_bytes(); "
            "block = np.ones(10 << 20); del block; print(before, peak_bytes())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 10 << 20 < before < 90 << 20 < held.nbytes
    assert after - before == pytest.approx(80 << 20, rel=0.1)


@pytest.mark.slow
def test_a_folder_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    write_small_run(tmp_path / "run")
    found = measure_folder(tmp_path / "run", ["The river bank was green.", "She went to the bank."] * 8, seconds=0.5)
    json.dumps(found, allow_nan=False)
    assert found["operation"] == "embed"
    assert 0 < found["milliseconds_p50"] <= found["milliseconds_p95"]
    assert 100e6 < found["peak_bytes"] < 1.2e9
    assert found["bytes"] == bytes_on_disk(tmp_path / "run")
    assert found["load_seconds"] > 0


def test_a_folder_that_does_not_load_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must load and answer, got .*run folder"):
        measure_folder(tmp_path / "nothing", ["a b c d"])
