"""Rows of running text: each token once an epoch, its successor as the target, streams that go on."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
from token_world import SEP, IdTokenizer, corpus, from_ids, same

from polysemy.errors import InputError
from polysemy.text.batches import prefetch
from polysemy.text.shards import Shards
from polysemy.text.streams import Chunks, LanguageBatches, MarkedText, Streams

SHARDS = corpus(documents=30, sentences=4)


def make(segments: Chunks | Streams, shards: Shards = SHARDS, *, batch_size: int = 4, length: int = 32,
         seed: int = 0) -> LanguageBatches:
    return LanguageBatches(shards, IdTokenizer(), segments, batch_size=batch_size, length=length, seed=seed)


def plain(shards: Shards) -> np.ndarray:
    """The marked text, written document by document."""
    starts = np.asarray(shards.document_starts)
    parts = [np.concatenate([[SEP], shards.ids(int(a), int(b))]) for a, b in itertools.pairwise(starts)]
    return np.concatenate(parts)


def test_the_ring_holds_every_document_after_a_mark() -> None:
    whole, text = plain(SHARDS), MarkedText(SHARDS, SEP)
    assert text.size == len(whole)
    for start, count in ((0, len(whole)), (5, 40), (len(whole) - 7, 20), (len(whole), 3)):
        expected = np.take(whole, np.arange(start, start + count), mode="wrap")
        assert text.read(start, count).tolist() == expected.tolist()


@pytest.mark.parametrize("segments", [Chunks(), Streams()], ids=["chunks", "streams"])
def test_an_epoch_shows_the_text_once_with_the_next_token_as_target(segments: Chunks | Streams) -> None:
    batches, whole = make(segments), plain(SHARDS)
    rows = batches.at(range(batches.rows_per_epoch(0)))
    assert rows.targets.reshape(rows.ids.shape)[:, :-1].tolist() == rows.ids[:, 1:].tolist()
    seen = np.sort(rows.ids.ravel())
    dropped = len(whole) - len(seen)
    assert 0 <= dropped < batches.length * batches.batch_size
    left, right = np.bincount(whole, minlength=8000), np.bincount(seen, minlength=8000)
    assert (right <= left).all()
    assert (left - right).sum() == dropped
    assert rows.hidden.all()
    assert rows.visible.all()


def test_streams_go_on_where_they_stopped_and_say_where_they_begin() -> None:
    batches, whole = make(Streams()), plain(SHARDS)
    steps = batches.rows_per_epoch(0) // 4
    for row in range(4):
        stream = np.concatenate([batches[t].ids[row] for t in range(steps)])
        start = row * (len(whole) // 4)
        assert stream.tolist() == whole[start:start + len(stream)].tolist()
    for t in range(2 * steps):
        assert (batches[t].fresh == (t % steps == 0)).all()
        assert batches[t].streams.tolist() == [0, 1, 2, 3]
    assert batches[steps].ids.tolist() != batches[0].ids.tolist(), "another epoch begins elsewhere"
    assert batches.num_batches(3) == 3 * steps
    assert batches.epoch_of(steps) == 1


def test_documents_are_numbered_within_a_row_and_positions_begin_with_them() -> None:
    batch = make(Chunks())[0]
    for ids, documents, positions in zip(batch.ids, batch.documents, batch.positions, strict=True):
        begins = [i for i in range(len(ids)) if i == 0 or ids[i] == SEP]
        assert [i for i in range(len(ids)) if i == 0 or documents[i] != documents[i - 1]] == begins
        assert (positions[begins] == 0).all()
        assert (np.diff(positions)[np.diff(documents) == 0] == 1).all()


@pytest.mark.parametrize("segments", [Chunks(), Streams()], ids=["chunks", "streams"])
def test_batches_are_a_pure_function_of_their_number(segments: Chunks | Streams) -> None:
    first = {t: make(segments)[t] for t in (0, 3, 50, 999)}
    other = make(segments)
    for t in (999, 0, 50, 3):
        assert same(other[t], first[t])
        assert same(other.at(range(4 * t, 4 * t + 4)).take([2, 0]), first[t].take([2, 0]))
    stream = prefetch(other, 3)  # type: ignore[arg-type]
    assert same(next(stream), first[3])
    stream.close()
    assert not same(make(segments, seed=1)[50], first[50])


def test_a_text_shorter_than_a_batch_wraps_around() -> None:
    batches = make(Streams(), from_ids([[[7, 8, 9]], [[10, 11]]]), length=8)
    ring = [SEP, 7, 8, 9, SEP, 10, 11]
    assert batches[0].ids[0].tolist() == [*ring, SEP]
    assert batches.rows_per_epoch(0) == 4


@pytest.mark.parametrize(("settings", "message"), [({"batch_size": 0}, "batch_size must be at least 1"),
                                                   ({"length": 4}, "length must be at least 8")])
def test_bad_sizes_are_one_line(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(Chunks(), **settings)
