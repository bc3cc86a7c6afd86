"""What streams carry: by row, whoever computes them, and through a checkpoint."""
from __future__ import annotations

import torch

from polysemy.models.carry import Carry, merged


def state(*rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.tensor(rows, dtype=torch.float32)
    return values[:, None].repeat(1, 3), values[:, None, None].repeat(1, 2, 2)


def ask(carry: Carry, *streams: int) -> list[float]:
    found = carry.get(torch.tensor(streams), torch.zeros(len(streams), dtype=torch.bool))
    assert found is not None
    assert found[1].shape[1:] == (2, 2)
    return found[0][:, 0].tolist()


def test_rows_come_back_in_whatever_parts_they_are_asked_for() -> None:
    carry = Carry()
    carry.put(torch.tensor([0, 2]), state(10, 12))
    carry.put(torch.tensor([1, 3]), state(11, 13))
    assert ask(carry, 0, 2) == [10, 12]
    assert ask(carry, 3, 0) == [13, 10]
    assert carry.get(torch.tensor([5]), torch.ones(1, dtype=torch.bool)) is None, "a stream that begins has none"


def test_a_state_is_cut_off_from_the_graph() -> None:
    carry, x = Carry(), torch.ones(1, 3, requires_grad=True)
    carry.put(torch.tensor([0]), (x * 2,))
    assert not ask_tensor(carry).requires_grad


def ask_tensor(carry: Carry) -> torch.Tensor:
    found = carry.get(torch.tensor([0]), torch.zeros(1, dtype=torch.bool))
    assert found is not None
    return found[0]


def test_a_checkpoint_of_two_processes_is_read_by_one() -> None:
    first, second, whole = Carry(), Carry(), Carry()
    first.put(torch.tensor([0, 2]), state(10, 12))
    second.put(torch.tensor([1, 3]), state(11, 13))
    whole.load(merged([first.tensors(), second.tensors()]))
    assert ask(whole, 0, 1, 2, 3) == [10, 11, 12, 13]
    assert merged([{}, {}]) == {}


def test_apart_begins_with_nothing_and_gives_back_what_was() -> None:
    carry = Carry()
    carry.put(torch.tensor([0]), state(10))
    with carry.apart():
        assert carry.tensors() == {}
        carry.put(torch.tensor([0]), state(99))
    assert ask(carry, 0) == [10]


def test_a_part_taken_out_of_a_whole_leaves_the_rest() -> None:
    carry = Carry()
    carry.put(torch.tensor([0, 1, 2, 3]), state(10, 11, 12, 13))
    assert ask(carry, 0, 1) == [10, 11]
    carry.put(torch.tensor([0, 1]), state(20, 21))
    assert ask(carry, 2, 3) == [12, 13]
    assert ask(carry, 0, 3) == [20, 13]
    assert merged([carry.tensors(), {}])["streams"].tolist() == [0, 1, 2, 3]


def test_a_snapshot_is_come_back_to() -> None:
    carry = Carry()
    carry.put(torch.tensor([0]), state(10))
    kept = carry.snapshot()
    carry.put(torch.tensor([0]), state(99))
    carry.restore(kept)
    assert ask(carry, 0) == [10]
