"""Batches of a task: every row once an epoch, little padding, the same whatever computes them."""
from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from task_readers import PAD, Classify, Reader, Span, Tag

from polysemy.errors import InputError
from polysemy.runtime import random_for
from polysemy.text.labeled import Example, Examples, Question, Tagged
from polysemy.text.task_batches import TaskBatch, TaskBatches, collate, in_order_of_length
from polysemy.text.task_rows import TaskRows, task_rows

LENGTHS = random_for("lengths").integers(1, 60, 1000)


def single(count: int = 100) -> TaskRows:
    items = tuple(Example(" ".join(["ab"] * int(n)), None, "ab"[i % 2], i) for i, n in enumerate(LENGTHS[:count]))
    return task_rows(Examples(items, "classify"), Reader(64), Classify())


def tagged(count: int = 30) -> TaskRows:
    items = tuple(Tagged(("ab", "abcd") * int(n % 20 + 1), ("A", "B") * int(n % 20 + 1), i)
                  for i, n in enumerate(LENGTHS[:count]))
    return task_rows(Examples(items, "tag"), Reader(24), Tag())


def spans(count: int = 12) -> TaskRows:
    items = tuple(Question(f"q{i}", "who", " ".join(["ab"] * int(n + 2)), ((3, "ab"),), i)
                  for i, n in enumerate(LENGTHS[:count]))
    return task_rows(Examples(items, "span"), Reader(24), Span(8))


def same(a: TaskBatch, b: TaskBatch) -> None:
    for field in fields(TaskBatch):
        left, right = getattr(a, field.name), getattr(b, field.name)
        assert np.array_equal(left, right), field.name
        assert getattr(left, "dtype", 0) == getattr(right, "dtype", 0), field.name


# --- the order of rows


@pytest.mark.parametrize(("count", "size"), [(100, 8), (100, 7), (100, 100), (3, 8), (1, 4), (1000, 16)])
def test_every_row_is_shown_once_an_epoch(count: int, size: int) -> None:
    batches = TaskBatches(single(count), size, seed=1)
    shown = np.concatenate([batches[t].sources for t in range(batches.num_batches(5) + 1)])
    for epoch in range(5):
        own = shown[epoch * count:(epoch + 1) * count]
        assert sorted(own.tolist()) == list(range(count))
    if count > 3:
        assert shown[:count].tolist() != shown[count:2 * count].tolist()


def test_rows_are_numbered_through_all_epochs_and_batches_are_whole() -> None:
    batches = TaskBatches(single(), 8, seed=1)
    for t in (0, 1, 12, 13, 200):
        assert batches[t].rows.tolist() == list(range(8 * t, 8 * t + 8))
        assert batches.epoch_of(t) == 8 * t // 100
    assert batches.rows_per_epoch(7) == 100
    assert batches.num_batches(2) == 25


def test_the_steps_of_an_epoch_are_those_of_its_rows() -> None:
    from polysemy.training.budget import epoch_steps

    batches = TaskBatches(single(), 8, seed=1)
    assert epoch_steps(batches, 1.0) == 13
    assert epoch_steps(batches, 2.0) == 25
    assert epoch_steps(batches, 0.5) == 7


def test_with_epochs_there_is_an_end_and_the_last_batch_is_smaller() -> None:
    batches = TaskBatches(single(), 8, seed=1, epochs=2)
    assert len(batches) == 25
    assert [len(batch.ids) for batch in batches] == [8] * 25
    batches = TaskBatches(single(), 8, seed=1, epochs=1)
    assert [len(batch.ids) for batch in batches] == [8] * 12 + [4]
    with pytest.raises(IndexError):
        batches[13]


def test_a_batch_depends_on_nothing_but_its_number_and_the_seed() -> None:
    forward, back = TaskBatches(single(), 8, seed=1), TaskBatches(single(), 8, seed=1)
    wanted = {t: back[t] for t in (60, 3, 30, 0, 13)}  # in another order, with epochs out of memory and back in
    for t in range(61):
        batch = forward[t]
        if t in wanted:
            same(batch, wanted[t])
    other = TaskBatches(single(), 8, seed=2)
    assert other[0].sources.tolist() != wanted[0].sources.tolist()


def test_batches_hold_rows_of_like_length_in_random_order() -> None:
    rows = single(1000)
    batches = TaskBatches(rows, 16, seed=3)
    shown = [batches[t] for t in range(62)]  # whole batches of epoch 0
    padding = 1 - sum(b.num_tokens for b in shown) / sum(b.ids.size for b in shown)
    plain = np.arange(992).reshape(62, 16)
    unsorted = 1 - rows.lengths[plain].sum() / (rows.lengths[plain].max(1) * 16).sum()
    assert padding < 0.06 < 0.4 < unsorted
    widths = np.array([b.ids.shape[1] for b in shown])
    assert abs(np.corrcoef(widths, np.arange(62))[0, 1]) < 0.5  # short and long batches are mixed
    assert max(map(len, (set(b.sources.tolist()) & set(batches[t + 63].sources.tolist())
                         for t, b in enumerate(shown[:60])))) < 16


def test_batches_of_the_second_epoch_hold_little_padding_too() -> None:
    batches = TaskBatches(single(997), 16, seed=3)  # epochs begin inside a batch
    shown = [batches[t] for t in range(63, 124)]
    assert 1 - sum(b.num_tokens for b in shown) / sum(b.ids.size for b in shown) < 0.06


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        TaskBatches(single(3), 0, 1)
    with pytest.raises(InputError, match="examples must be at least one"):
        TaskBatches(task_rows(Examples((), "classify"), Reader(), Classify()), 4, 1)
    with pytest.raises(IndexError):
        TaskBatches(single(3), 4, 1)[-1]


# --- what a batch holds


@pytest.mark.parametrize("make", [single, tagged, spans])
def test_a_batch_holds_its_rows_and_nothing_else(make: Any) -> None:
    rows = make()
    batch = TaskBatches(rows, 5, seed=1)[2]
    width = batch.ids.shape[1]
    seen = 0
    for line, source in enumerate(batch.sources):
        row = rows[int(source)]
        n = len(row.ids)
        assert batch.ids[line, :n].tolist() == row.ids.tolist()
        assert (batch.ids[line, n:] == PAD).all()
        assert batch.segments[line, :n].tolist() == row.segments.tolist()
        assert batch.visible[line].tolist() == [True] * n + [False] * (width - n)
        assert batch.documents[line].tolist() == [line] * n + [-1] * (width - n)
        assert batch.positions[line, :n].tolist() == list(range(n))
        assert batch.examples[line] == row.example
        assert batch.at[seen:seen + len(row.at)].tolist() == (row.at + line * width).tolist()
        own = batch.targets[seen:seen + len(row.at)] if batch.by_place else batch.targets[line]
        assert np.array_equal(own, row.targets)
        seen += len(row.at)
    assert seen == len(batch.at)
    assert batch.num_tokens == rows.lengths[batch.sources].sum()
    assert len(batch.weights) == len(batch.targets)
    assert {batch.ids.dtype, batch.at.dtype, batch.rows.dtype, batch.segments.dtype} == {np.dtype(np.int64)}
    assert batch.weights.dtype == np.float32


@pytest.mark.parametrize("make", [single, tagged, spans])
def test_parts_together_are_the_whole(make: Any) -> None:
    rows = make()
    batch = TaskBatches(rows, 9, seed=1)[0]
    for parts in ([range(0, 9, 2), range(1, 9, 2)], [[8, 3], [0, 1, 2, 4, 5, 6, 7]], [[i] for i in range(9)]):
        for chosen in parts:
            numbers = np.array(list(chosen))
            same(batch.part(numbers), collate(rows, batch.sources[numbers], batch.rows[numbers]))
        assert sum(len(batch.part(chosen).targets) for chosen in parts) == len(batch.targets)
        assert sum(batch.part(chosen).num_tokens for chosen in parts) == batch.num_tokens


@pytest.mark.parametrize("make", [single, tagged, spans])
def test_a_part_without_rows_counts_nothing(make: Any) -> None:
    part = TaskBatches(make(), 5, seed=1)[0].part([])
    assert len(part.ids) == 1
    assert len(part.weights) == len(part.targets) > 0
    assert (part.weights == 0).all()


@pytest.mark.parametrize("make", [single, tagged, spans])
def test_evaluation_shows_every_row_once_in_bounded_batches(make: Any) -> None:
    rows = make()
    shown = list(in_order_of_length(rows, tokens=200))
    assert sorted(np.concatenate([batch.sources for batch in shown]).tolist()) == list(range(len(rows)))
    assert all(batch.ids.size <= 200 for batch in shown)
    assert len(list(in_order_of_length(rows, tokens=1))) == len(rows)
