"""The compiled step: the tokens of the plain way, for every layout it fits, on any number of threads."""
from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from polysemy.decoding import compiled
from polysemy.decoding.autoregressive import generate, write
from polysemy.decoding.compiled import CompiledReader, converted, fits, pack, reader_for
from polysemy.decoding.reading import PlainReader, Reader, Window
from polysemy.decoding.sampling import GenerationConfig
from polysemy.models.pretrained import PretrainingModel
from polysemy.nn import kernels
from polysemy.nn.position import Rotary, Sinusoidal

from .small_bodies import RereaderModel, small_gpt

pytestmark = pytest.mark.skipif(not kernels.switched_on(), reason="kernels are off here")
PROMPT = [5, 17, 3, 40]
LAYOUTS: list[tuple[str, dict[str, Any]]] = [
    ("paper", {}), ("ladder", {}), ("paper", {"norm": "post"}), ("ladder", {"distance": Rotary(layout="interleaved")}),
    ("ladder", {"num_groups": 1, "num_layers": 3}), ("ladder", {"num_groups": 2, "num_layers": 4, "norm": "post"}),
    ("paper", {"activation": "relu", "hidden_size": 48, "num_heads": 3, "intermediate_size": 50}),
    ("ladder", {"activation": "quick_gelu", "num_heads": 1, "scale": "none"})]

WIDE: tuple[str, dict[str, Any]] = ("ladder", {"hidden_size": 160, "num_heads": 5, "intermediate_size": 320})
"""rows of more than 128 columns and a rest: integers are multiplied four vectors at a time, then one by one"""


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def text(model: Any, reader: Reader, settings: GenerationConfig) -> list[int]:
    return [event.id for event in write(model, [PROMPT], settings, reader=reader) if event.id is not None]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("preset", "changes"), LAYOUTS)
def test_tokens_are_those_of_the_plain_way(preset: str, changes: dict[str, Any], seed: int) -> None:
    model = small_gpt(preset, seed, changes=tuple(changes.items()))
    assert fits(model)
    for settings in (GenerationConfig(tokens=110, greedy=True, repetition_penalty=1.2),
                     GenerationConfig(tokens=110, temperature=8.0, top_p=0.95, seed=seed)):
        wanted = text(model, PlainReader(model), settings)
        assert text(model, CompiledReader(model, 120, threads=1), settings) == wanted
    assert len(set(wanted)) > 10


def test_logits_are_those_of_the_plain_way() -> None:
    for preset, changes in LAYOUTS:
        model = small_gpt(preset, 3, changes=tuple(changes.items()))
        plain, fast = PlainReader(model), CompiledReader(model, 30, threads=1)
        rows = [np.array(PROMPT)]
        np.testing.assert_array_equal(plain.start(rows), fast.start(rows))
        for number in (7, 7, 59, 0, 31):
            np.testing.assert_allclose(fast.advance(np.array([number])), plain.advance(np.array([number])), atol=2e-5)


def test_threads_change_nothing(two_threads: None) -> None:
    settings = GenerationConfig(tokens=60, greedy=True, repetition_penalty=1.2)
    for preset, changes in (("paper", {}), ("ladder", {"hidden_size": 48, "num_heads": 3, "norm": "post"})):
        model = small_gpt(preset, 4, changes=tuple(changes.items()))
        one = CompiledReader(model, 70, threads=1)
        two = CompiledReader(model, 70, threads=2)
        assert text(model, one, settings) == text(model, two, settings) == text(model, PlainReader(model), settings)
        np.testing.assert_array_equal(one._logits, two._logits)


def test_the_faster_number_of_threads_is_found_and_found_again() -> None:
    pace, taken = compiled.Pace(2), []
    for step in range(2 * compiled.AGAIN):
        taken.append(pace.threads())
        busy = step < compiled.AGAIN
        pace.took(taken[-1], {1: 0.5, 2: 5.0 if busy else 0.3}[taken[-1]] + (9.0 if step == 0 else 0.0))
    assert taken[:4] == taken[compiled.AGAIN:compiled.AGAIN + 4] == [1, 2, 1, 2]
    assert set(taken[4:compiled.AGAIN]) == {1}
    assert set(taken[compiled.AGAIN + 4:]) == {2}


def test_threads_that_begin_to_wait_for_each_other_are_left_at_once() -> None:
    pace, taken = compiled.Pace(2), []
    for step in range(60):
        taken.append(pace.threads())
        pace.took(taken[-1], 1.0 if taken[-1] == 1 else 0.6 if step < 30 else 3.2)
    assert set(taken[4:30]) == {2}
    assert set(taken[33:]) == {1}  # three steps have lost more than four of one thread


def test_a_reader_that_changes_its_threads_writes_the_same(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "SMALL", 0)
    model, settings = small_gpt(), GenerationConfig(tokens=20, greedy=True, repetition_penalty=1.2)
    reader = CompiledReader(model, 30)
    assert reader.pace is not None
    assert text(model, reader, settings) == text(model, CompiledReader(model, 30, threads=1), settings)


def test_threads_that_cannot_run_side_by_side_leave_the_work_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from polysemy.decoding import step_kernel

    model, asked = small_gpt(), []

    def never_together(weights: str, meta: Any, meeting: Any, parts: int) -> bool:
        asked.append(parts)
        return parts == 1 and run_step(weights, meta, meeting, parts)

    run_step = step_kernel.run_step
    monkeypatch.setattr(step_kernel, "run_step", never_together)
    settings = GenerationConfig(tokens=20, greedy=True)
    assert text(model, CompiledReader(model, 30, threads=2), settings) == text(model, PlainReader(model), settings)
    assert asked == [2] + [1] * 19


def test_a_sliding_window_begins_anew_by_the_plain_way() -> None:
    model, settings = small_gpt("ladder"), GenerationConfig(tokens=40, greedy=True)
    wanted = generate(model, [PROMPT], settings, length=12)[0].ids
    events = write(model, [PROMPT], settings, length=12, reader=CompiledReader(model, 12, threads=1))
    assert [event.id for event in events if event.id is not None] == wanted


def test_it_is_taken_where_it_fits_and_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_gpt("paper", positions=256)
    monkeypatch.delitem(sys.modules, "polysemy.decoding.step_kernel", raising=False)
    assert reader_for(model, 100, Window(None)) is None  # the library would take longer to load
    monkeypatch.setattr(compiled, "WORTH", 1)
    found = reader_for(model, 100, Window(64))
    assert found is not None
    assert found.keys.shape[2] == 64
    wanted = generate(model, [PROMPT], GenerationConfig(tokens=30))
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    assert generate(model, [PROMPT], GenerationConfig(tokens=30)) == wanted


def test_what_it_cannot_run_is_left_to_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORTH", 1)
    assert not fits(RereaderModel())
    config = small_gpt("ladder").config
    waves = config.replace(embedding=config.embedding.replace(position=Sinusoidal()))
    assert not fits(PretrainingModel(waves, ("next_token",)))
    narrow = config.replace(embedding=config.embedding.replace(factor_size=8))
    assert not fits(PretrainingModel(narrow, ("next_token",)))
    assert not fits(copy.deepcopy(small_gpt()).to(torch.bfloat16))
    assert not fits(copy.deepcopy(small_gpt()).to("meta"))
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    assert not fits(small_gpt())
    assert len(generate(small_gpt(), [PROMPT], GenerationConfig(tokens=3))[0].ids) == 3


def test_weights_that_changed_are_packed_anew() -> None:
    model = copy.deepcopy(small_gpt())
    first = pack(model, "int8")
    assert pack(model, "int8") is first
    with torch.no_grad():
        model.body.transformer.feed_forward[0].inner.up.weight.mul_(2)
    assert pack(model, "int8") is not first


def test_int8_rounds_to_half_a_step_of_each_row() -> None:
    matrix = torch.randn(9, 40, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 9)[:, None]
    values, scales = converted(matrix, "int8")
    assert scales is not None
    assert values.dtype == torch.int8
    error = (values * scales[:, None] - matrix).abs()
    assert bool((error <= 0.501 * scales[:, None]).all())
    assert int(values.abs().max()) == 127
    zero, scale = converted(torch.zeros(2, 4), "int8")
    assert not (zero * scale[:, None]).any()  # type: ignore[index]


@pytest.mark.parametrize(("weights", "largest"), [("bfloat16", 0.06), ("int8", 0.12)])
@pytest.mark.parametrize(("preset", "changes"), [LAYOUTS[0], LAYOUTS[4], LAYOUTS[6], WIDE])
def test_smaller_weights_come_close(weights: str, largest: float, preset: str, changes: dict[str, Any]) -> None:
    """Against the plain way of a model whose matrices were rounded in the same manner: the same numbers."""
    model = copy.deepcopy(small_gpt(preset, 5, changes=tuple(changes.items())))
    exact, small = PlainReader(model), CompiledReader(model, 10, weights=weights, threads=1)
    rows = [np.array(PROMPT)]
    exact.start(rows)
    small.start(rows)
    wanted, found = exact.advance(np.array([9])), small.advance(np.array([9])).copy()
    assert np.abs(found - wanted).max() < largest * np.abs(wanted).max()
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in rounded.named_parameters():
            if parameter.ndim == 2 and "embedding" not in name:
                values, scales = converted(parameter, weights)
                parameter.copy_(values.float() if scales is None else values * scales[:, None])
        table, scales = converted(model.table, weights)
        table = table.float() if scales is None else table * scales[:, None]
    states, _ = rounded.body.advance(torch.tensor([[9]]), _state_of(model))
    np.testing.assert_allclose(found[0], (states[0, 0] @ table.T).detach().numpy(), atol=3e-3)


@torch.no_grad()
def _state_of(model: Any) -> Any:
    return model.body.advance(torch.tensor([PROMPT]))[1]
