"""The loop: what a step is, and that neither cutting, stopping nor repeating a batch changes what is learned."""
from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from polysemy.models.recipe import PretrainingConfig
from polysemy.text.batches import Batches
from polysemy.text.masking import Spans
from polysemy.text.segments import NextSentence
from polysemy.training.budget import Budget, Course, State
from polysemy.training.learner import Learner
from polysemy.training.loop import Step, train
from polysemy.training.outcome import NotFiniteError, RunError
from small_runs import Numbers, make_batches, make_learner, numbers, small_config

PAIRS: dict[str, Any] = {"heads": ("masked_lm", "pair"), "segments": NextSentence()}

SPANS: dict[str, Any] = {"heads": ("masked_lm", "span_boundary"), "corruption": Spans()}


def run(config: PretrainingConfig, steps: int = 6, learner: Learner | None = None,
        **more: Any) -> tuple[Learner, list[Step]]:
    learner = learner or make_learner(config)
    found = train(learner, make_batches(config), config.training, course=Course(Budget(steps=steps)), **more)
    return learner, list(found)


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.tensors().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_same_seed_gives_the_same_weights() -> None:
    config = small_config(**PAIRS)
    assert same(weights(run(config)[0]), weights(run(config)[0]))
    other = make_learner(config, seed=1)
    assert not same(weights(run(config)[0]), weights(run(config, learner=other)[0]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_stopping_after_any_step_changes_nothing(dtype: str, optimizer: str) -> None:
    config = small_config(dtype=dtype, optimizer=optimizer, **PAIRS)
    whole, steps = run(config, 8)
    for stop in (1, 3, 7):
        first = make_learner(config)
        course = Course(Budget(steps=8))
        done = list(itertools.islice(train(first, make_batches(config), config.training, course=course), stop))
        second = make_learner(config, seed=0)
        state = {f"master.{name}" if name in first.optimizer.masters() else name: tensor
                 for name, tensor in weights(first).items()}
        second.optimizer.load_state_dict(state)
        rest = list(train(second, make_batches(config), config.training, course=course, state=done[-1].state))
        assert [step.loss for step in done + rest] == [step.loss for step in steps]
        assert same(weights(whole), weights(second))


@pytest.mark.parametrize("recipe", [PAIRS, SPANS], ids=["pairs", "spans"])
def test_micro_batches_give_the_gradient_of_the_batch(recipe: dict[str, Any]) -> None:
    config = small_config(batch_size=8, length=32, **recipe)
    counts = [make_learner(config).objective.counts(make_batches(config)[0].take([row])) for row in range(8)]
    assert all(len({count[name] for count in counts}) > 1 for name in config.heads if name != "masked_lm"), counts
    whole, steps = run(config, 4)
    for size in (3, 5):
        parts, cut = run(config.replace(training=config.training.replace(micro_batch_size=size)), 4)
        assert [step.loss for step in cut] == pytest.approx([step.loss for step in steps], rel=2e-6)
        assert [step.gradient_norm for step in cut] == pytest.approx([step.gradient_norm for step in steps], rel=1e-5)
        for one, two in zip(weights(whole).values(), weights(parts).values(), strict=True):
            assert torch.allclose(one, two, atol=2e-5)


def test_dropout_differs_from_step_to_step() -> None:
    config = small_config(learning_rate=1e-12, dropout=0.5)
    fixed = make_batches(config)

    class Same:
        def __getitem__(self, t: int) -> Any:
            return fixed[0]

    steps = list(train(make_learner(config), Same(), config.training, course=Course(Budget(steps=4))))
    assert len({step.loss for step in steps}) == 4


def test_the_learning_rate_warms_up_and_falls_to_the_end() -> None:
    config = small_config(learning_rate=0.02, warmup_rate=0.25)
    rates = [step.learning_rate for step in run(config, 16)[1]]
    assert rates[:4] == pytest.approx([0.0025, 0.0075, 0.0125, 0.0175])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_a_step_counts_real_tokens_and_says_what_it_measured() -> None:
    config = small_config(**PAIRS)
    batches = make_batches(config)
    _, steps = run(config, 3)
    assert [step.tokens for step in steps] == [batches[t].num_tokens for t in range(3)]
    assert steps[-1].state.tokens == sum(step.tokens for step in steps)
    row = steps[0].row()
    assert row["loss"] == pytest.approx(row["loss_masked_lm"] + row["loss_pair"], rel=1e-6)
    assert {"step", "seconds", "tokens", "learning_rate", "gradient_norm", "fraction"} <= row.keys()
    assert [step.last for step in steps] == [False, False, True]


def test_evaluation_comes_every_so_often_and_after_the_last_step() -> None:
    config = small_config(evaluate_every=3)
    calls = itertools.count()
    _, steps = run(config, 7, evaluate=lambda: {"held_out_loss": float(next(calls))})
    assert [step.number for step in steps if step.scores] == [3, 6, 7]
    assert steps[-1].row()["held_out_loss"] == 2.0


class Poisoned(Batches):
    """Some batches have a loss that is not a number."""

    bad: frozenset[int] = frozenset()

    def __getitem__(self, t: int) -> Any:
        batch = super().__getitem__(t)
        if t in self.bad:
            batch.weights[:] = math.nan
        return batch


def poisoned(config: PretrainingConfig, *bad: int) -> Poisoned:
    batches = Poisoned(numbers(), Numbers(), config.segments, config.corruption, batch_size=4, length=16, seed=0)
    batches.bad = frozenset(bad)
    return batches


def test_a_step_that_is_not_finite_is_skipped_and_counted() -> None:
    config = small_config()
    learner = make_learner(config)
    before, steps = weights(learner), []
    for step in train(learner, poisoned(config, 0, 2), config.training, course=Course(Budget(steps=4))):
        steps.append(step)
        if step.number == 1:
            assert same(before, weights(learner))
    assert [step.skipped for step in steps] == [True, False, True, False]
    assert (steps[-1].state.skipped, steps[-1].state.skipped_in_a_row) == (2, 0)
    assert all(tensor.isfinite().all() for tensor in weights(learner).values())
    assert steps[0].row()["skipped"] is True


def test_several_bad_steps_in_a_row_stop_the_run_and_name_their_rows() -> None:
    config = small_config(skip_limit=3)
    batches = poisoned(config, 2, 3, 4)
    with pytest.raises(NotFiniteError, match="3 steps in a row, up to step 5") as found:
        list(train(make_learner(config), batches, config.training, course=Course(Budget(steps=9))))
    assert [bad["step"] for bad in found.value.batches] == [3, 4, 5]
    assert found.value.batches[0]["rows"] == batches[2].rows.tolist()
    assert found.value.exit_code == 1


def test_a_huge_gradient_is_clipped_and_counted() -> None:
    config = small_config(clip=1e-3)
    _, steps = run(config, 3)
    assert steps[-1].state.clipped == 3
    assert small_config(clip=0.0).training.clip == 0
    assert run(small_config(clip=0.0), 3)[1][-1].state.clipped == 0


def test_no_memory_is_one_line_with_a_smaller_micro_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(batch_size=8)
    learner = make_learner(config)

    def full(*_: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr(learner.model, "forward", full)
    with pytest.raises(RunError, match=r"used up by 8 rows of 16 tokens; use --set training.micro_batch_size=4"):
        list(train(learner, make_batches(config), config.training, course=Course(Budget(steps=1))))


def test_minutes_follow_the_clock_and_end_on_time() -> None:
    config = small_config()
    clock = itertools.count(step=0.5)  # two looks a step: each step takes half a second
    course = Course(Budget(minutes=0.1), timer=lambda: next(clock))
    steps = list(train(make_learner(config), make_batches(config), config.training, course=course))
    assert len(steps) == 12
    assert steps[-1].state.seconds == pytest.approx(6.0)
    assert steps[-1].learning_rate < steps[3].learning_rate
    assert steps[-1].seconds_left == pytest.approx(0.0)


def test_a_run_that_is_done_takes_no_step() -> None:
    config = small_config()
    assert run(config, 5, state=State(step=5))[1] == []


def test_ending_the_loop_early_ends_its_thread() -> None:
    import threading

    config = small_config()
    stream = train(make_learner(config), make_batches(config), config.training, course=Course(Budget(steps=9)))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not any(thread.name == "polysemy-batches" for thread in threading.enumerate())
