from __future__ import annotations

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.text.batches import Batches
from polysemy.text.masking import Tokens
from polysemy.text.segments import FullSentences
from polysemy.text.shards import Shards
from polysemy.training.incremental import OLD_ROWS, Replay, forgetting


class Numbers:
    """A tokenizer of numbers: 0 is padding, 1 to 4 are special."""

    vocab_size, pad_id, unk_id, cls_id, sep_id, mask_id = 60, 0, 1, 2, 3, 4
    special_ids = frozenset(range(5))
    ordinary_ids = np.arange(5, 60)


def batches(low: int, high: int, size: int = 8) -> Batches:
    documents = [[[low + (i * 7 + j) % (high - low) for j in range(9)]] for i in range(200)]
    shards = Shards.from_documents(documents, 60)
    return Batches(shards, Numbers(), FullSentences(), Tokens(random_rate=0.0), batch_size=size, length=16, seed=1)  # type: ignore[arg-type]


def test_a_rate_of_the_rows_is_old_over_the_whole_run() -> None:
    mixed = Replay(batches(5, 30), batches(30, 60), 0.3)
    old = [int((mixed[t].rows >= OLD_ROWS).sum()) for t in range(20)]
    assert sum(old) == int(20 * 8 * 0.3)
    assert max(old) - min(old) <= 1


def test_old_rows_hold_old_text_and_new_rows_new_text() -> None:
    batch = Replay(batches(5, 30), batches(30, 60), 0.5)[3]
    ordinary = np.where(batch.ids >= 5, batch.ids, 0)
    old = batch.rows >= OLD_ROWS
    assert old.any()
    assert (~old).any()
    assert ordinary[old].max() >= 30
    assert set(np.unique(ordinary[~old])) <= set(range(30))
    assert set(np.unique(ordinary[old])) <= {0, *range(30, 60)}


def test_batches_do_not_depend_on_what_was_read_before() -> None:
    first, second = (Replay(batches(5, 30), batches(30, 60), 0.25) for _ in range(2))
    backward = {t: second[t] for t in reversed(range(6))}
    for t in range(6):
        np.testing.assert_array_equal(first[t].ids, backward[t].ids)
        np.testing.assert_array_equal(first[t].rows, backward[t].rows)


def test_targets_stay_with_their_rows() -> None:
    batch = Replay(batches(5, 30), batches(30, 60), 0.5)[0]
    rows = np.repeat(np.arange(len(batch.ids)), batch.hidden.sum(1))
    assert ((batch.targets >= 30) == (batch.rows[rows] >= OLD_ROWS)).all()


def test_a_loss_that_rose_is_what_was_forgotten() -> None:
    table = forgetting({"old": {"held_out_loss": 2.0}, "new": {"held_out_loss": 5.0}},
                       {"old": {"held_out_loss": 2.5}, "new": {"held_out_loss": 3.0}})
    assert [(row["text"], row["change"]) for row in table] == [("old", 0.5), ("new", -2.0)]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.5, 2.0])
def test_impossible_rates_and_sizes_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match="replay must be"):
        Replay(batches(5, 30), batches(30, 60), rate)
    with pytest.raises(InputError, match="one size"):
        Replay(batches(5, 30), batches(30, 60, size=4), 0.5)
