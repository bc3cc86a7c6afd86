"""Budgets: the fraction that the learning rate follows, and where a run ends."""
from __future__ import annotations

import pytest

from polysemy.errors import InputError
from polysemy.training.budget import Budget, Course, Moment, State, epoch_steps


class Epochs:
    batch_size = 4

    def rows_per_epoch(self, epoch: int) -> int:
        return 10 + epoch


def run(course: Course, seconds: list[float]) -> tuple[State, list[float]]:
    state, fractions = State(), []
    for taken in seconds:
        if course.done(state):
            break
        fractions.append(course.fraction(state, 100))
        state = course.after(state, taken, tokens=state.tokens + 100)
    return state, fractions


@pytest.mark.parametrize("amounts", [{}, {"steps": 1, "minutes": 1.0}, {"steps": 0}, {"minutes": -1.0}, {"tokens": 0}])
def test_a_budget_is_exactly_one_amount_above_zero(amounts: dict) -> None:
    with pytest.raises(InputError, match="budget"):
        Budget(**amounts)


def test_steps_end_where_they_should_and_fractions_are_the_middle_of_each_step() -> None:
    state, fractions = run(Course(Budget(steps=4)), [1.0] * 9)
    assert state.step == 4
    assert fractions == [0.125, 0.375, 0.625, 0.875]


def test_tokens_end_at_the_first_step_that_reaches_them() -> None:
    state, fractions = run(Course(Budget(tokens=250)), [1.0] * 9)
    assert (state.step, state.tokens) == (3, 300)
    assert fractions == [0.2, 0.6, 1.0]


def test_epochs_count_the_rows_of_each_epoch() -> None:
    assert epoch_steps(Epochs(), 1) == 3
    assert epoch_steps(Epochs(), 2) == 6  # 10 + 11 rows in fours
    assert epoch_steps(Epochs(), 0.5) == 2


def test_minutes_end_on_time_whatever_the_pace() -> None:
    for pace in (0.1, 0.7, 3.0):
        state, fractions = run(Course(Budget(minutes=1.0)), [pace] * 1000)
        assert abs(state.seconds - 60) <= pace / 2 + 1e-9
        assert 0.98 - pace / 60 < fractions[-1] <= 1
        assert fractions == sorted(fractions)


def test_minutes_end_on_time_when_the_pace_changes_on_the_way() -> None:
    state, fractions = run(Course(Budget(minutes=1.0)), [1.0] * 30 + [0.25] * 1000)
    assert abs(state.seconds - 60) <= 0.5
    assert len(fractions) > 100


def test_recorded_moments_replace_the_clock() -> None:
    first, fractions = run(Course(Budget(minutes=1.0)), [0.5, 0.9, 1.3, 0.2, 0.7] * 3)
    recorded = {}
    state = State()
    course = Course(Budget(minutes=1.0))
    for number, taken in enumerate([0.5, 0.9, 1.3, 0.2, 0.7] * 3, 1):
        state = course.after(state, taken)
        recorded[number] = Moment(fractions[number - 1], state.seconds)
    again, repeated = run(Course(Budget(minutes=1.0), recorded=recorded), [9.0] * 15)
    assert repeated == fractions
    assert again.seconds == first.seconds


def test_a_clock_that_jumps_back_never_takes_time_away() -> None:
    course = Course(Budget(minutes=1.0))
    state = course.after(State(), -5.0)
    assert state.seconds == 0
    assert course.after(state, 2.0).seconds == 2.0


def test_a_state_is_equal_after_a_json_round_trip() -> None:
    state = State(step=3, tokens=7, seconds=0.1 + 0.2, skipped=1)
    assert State.from_dict(state.to_dict()) == state
