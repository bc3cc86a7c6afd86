"""batches[t] is a pure function of (corpus, seed, t)."""
from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from token_world import IdTokenizer, corpus, from_ids, numbered, originals, same

from polysemy.errors import InputError
from polysemy.text import rows as rows_module
from polysemy.text.batches import Batch, Batches, prefetch
from polysemy.text.masking import Corruption, MarkedSpans, NGrams, Spans, Tokens, WholeWords
from polysemy.text.segments import FullSentences, NextSentence, Segments, SentenceOrder, Stretch
from polysemy.text.shards import Shards

RECIPES: list[tuple[Segments, Corruption]] = [
    (NextSentence(), Tokens()), (FullSentences(), WholeWords()), (SentenceOrder(), NGrams()), (Stretch(), Spans()),
    (FullSentences(cross_documents=False), MarkedSpans()),
]
NAMES = ["bert", "roberta", "albert", "spanbert", "marked"]
SHARDS = corpus(documents=60, sentences=4)


def make(segments: Segments | None = None, corruption: Corruption | None = None, shards: Shards = SHARDS, *,
         batch_size: int = 6, length: int = 48, seed: int = 0) -> Batches:
    return Batches(shards, IdTokenizer(), segments or FullSentences(), corruption or Tokens(), batch_size=batch_size,
                   length=length, seed=seed)


def joined(parts: list[Batch]) -> Batch:
    """The batches one below the other, written without `take`."""
    length, fields = parts[0].ids.shape[1], {}
    offsets = np.cumsum([0] + [part.ids.size for part in parts[:-1]])
    for name in Batch.__dataclass_fields__:
        shift = name in ("pair_at", "span_at", "span_left", "span_right")
        fields[name] = np.concatenate([getattr(part, name) + offset if shift else getattr(part, name)
                                       for part, offset in zip(parts, offsets, strict=True)])
    assert fields["ids"].shape[1] == length
    return Batch(**fields)


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_a_batch_does_not_depend_on_what_was_read_before(recipe: tuple[Segments, Corruption]) -> None:
    numbers = [0, 1, 2, 7, 40, 333, 1_000, 12_345]
    forward = make(*recipe)
    first = {t: forward[t] for t in numbers}
    backward = make(*recipe)
    for t in reversed(numbers):
        assert same(backward[t], first[t])
        assert same(make(*recipe)[t], first[t]), "alone, in a fresh object"
    assert forward.epoch_of(12_345) > 500, "late epochs are reached"


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_one_two_or_three_ranks_compute_the_same_rows(recipe: tuple[Segments, Corruption]) -> None:
    whole = make(*recipe)[5]
    for world in (1, 2, 3):
        parts = [make(*recipe)[5].take(range(rank, 6, world)) for rank in range(world)]
        assert sorted(np.concatenate([part.rows for part in parts])) == whole.rows.tolist()
        order = np.argsort(np.concatenate([np.arange(rank, 6, world) for rank in range(world)]))
        assert same(joined(parts).take(order), whole)


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_take_is_slicing(recipe: tuple[Segments, Corruption]) -> None:
    batches = make(*recipe)
    batch = batches[3]
    assert same(batch.take(range(6)), batch)
    assert same(joined([batch.take(range(2)), batch.take([2]), batch.take(range(3, 6))]), batch)
    assert same(batch.take([4, 1, 1]), batches.at(batch.rows[[4, 1, 1]])), "any order, rows twice"
    assert same(batch.take([]).take([]), batch.take([]))
    assert batch.take([2]).num_tokens == batch.visible[2].sum()


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_rows_do_not_depend_on_the_batch_size(recipe: tuple[Segments, Corruption]) -> None:
    large = make(*recipe, batch_size=12)[2]
    small = make(*recipe, batch_size=4)
    assert same(joined([small[6], small[7], small[8]]), large)


def test_another_process_in_plain_python_makes_the_same_batches(tmp_path: Path) -> None:
    """The compiled loops do what their Python text says, and nothing hangs on hash() or on the process."""
    code = ("import sys, numpy; sys.path.insert(0, sys.argv[1])\n"
            "from test_batches import RECIPES, make\n"
            "numpy.savez(sys.argv[2], **{f'{i}': make(*recipe)[9].ids for i, recipe in enumerate(RECIPES)})")
    environment = {**os.environ, "PYTHONHASHSEED": "7", "POLYSEMY_PLAIN": "1"}
    command = [sys.executable, "-W", "error", "-c", code, str(Path(__file__).parent), str(tmp_path / "ids.npz")]
    subprocess.run(command, check=True, env=environment)
    with np.load(tmp_path / "ids.npz") as found:
        for i, recipe in enumerate(RECIPES):
            assert np.array_equal(found[str(i)], make(*recipe)[9].ids)


def test_rows_do_not_depend_on_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BLOCK_TOKENS", 300)
    kept = make()
    expected = {t: kept[t] for t in (0, 9, 3, 200)}
    assert len(kept.plan._blocks) > 5
    monkeypatch.setattr(rows_module, "CACHE_BYTES", 0)
    evicting = make()
    assert evicting.plan.num_blocks > 5
    for t, batch in expected.items():
        assert same(evicting[t], batch)
    assert len(evicting.plan._blocks) <= 2


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_rows_are_numbered_through_all_epochs(recipe: tuple[Segments, Corruption]) -> None:
    batches = make(*recipe)
    counts = [batches.rows_per_epoch(epoch) for epoch in range(25)]
    assert min(counts) > 10
    first = 0
    for epoch, count in enumerate(counts):
        assert batches.plan.first_row(epoch) == first
        assert batches.plan.epoch_of(first) == (epoch, first)
        assert batches.plan.epoch_of(first + count - 1) == (epoch, first)
        first += count
    assert batches.num_batches(25) == -(-first // 6)
    assert [batches.epoch_of(t) for t in (0, counts[0] // 6 + 1)] == [0, 1]
    assert np.array_equal(batches[4].rows, np.arange(24, 30))


def test_a_batch_may_hold_the_end_of_one_epoch_and_the_start_of_the_next() -> None:
    batches = make()
    count = batches.rows_per_epoch(0)
    across = batches.at(range(count - 2, count + 2))
    assert same(across, joined([batches.at([count - 2, count - 1]), batches.at([count, count + 1])]))


def test_types_and_shapes_are_as_promised() -> None:
    for recipe in RECIPES:
        batch = make(*recipe)[0]
        for name in ("ids", "positions", "segments", "documents", "visible", "hidden"):
            array = getattr(batch, name)
            assert array.shape == (6, 48)
            assert array.dtype == (bool if name in ("visible", "hidden") else np.int64)
        assert batch.weights.dtype == np.float32
        assert (batch.weights == 1).all()
        for name in ("targets", "pair_at", "pair_labels", "span_at", "span_left", "span_right", "span_offset",
                     "span_targets", "rows"):
            assert getattr(batch, name).dtype == np.int64
        assert batch.num_tokens == (batch.documents >= 0).sum()
        assert (np.diff(batch.pair_at) > 0).all()
        assert (np.diff(batch.span_at) > 0).all()


def test_prefetched_batches_are_the_same_and_the_thread_ends() -> None:
    batches = make()
    ahead = prefetch(batches, start=5, depth=2)
    for t in range(5, 12):
        assert same(next(ahead), batches[t])
    ahead.close()
    assert not any(thread.name == "polysemy-batches" for thread in threading.enumerate())


def test_an_error_in_the_prefetching_thread_is_raised_where_batches_are_read() -> None:
    class Failing(Batches):
        def __getitem__(self, t: int) -> Batch:
            if t == 2:
                raise OSError("the shard is gone")
            return super().__getitem__(t)

    failing = Failing(SHARDS, IdTokenizer(), FullSentences(), Tokens(), batch_size=2, length=48, seed=0)
    ahead = prefetch(failing)
    assert [next(ahead).rows[0], next(ahead).rows[0]] == [0, 2]
    with pytest.raises(OSError, match="gone"):
        next(ahead)


def test_several_threads_may_read_at_once() -> None:
    batches, alone = make(SentenceOrder(), Spans()), make(SentenceOrder(), Spans())
    found: dict[int, Batch] = {}
    threads = [threading.Thread(target=lambda t=t: found.__setitem__(t, batches[t * 17])) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[t], alone[t * 17]) for t in range(8))


def test_a_corpus_smaller_than_a_row_makes_one_padded_row_an_epoch() -> None:
    small = from_ids([[[7, 8, 9], [10, 11]]])
    for segments in (FullSentences(), Stretch(), SentenceOrder()):
        batches = make(segments, shards=small, length=32)
        assert batches.rows_per_epoch(0) == 1
        batch = batches[0]
        assert (batch.visible.sum(1) < 32).all()
        assert len({row.tobytes() for row in batch.hidden}) > 1, "six epochs, masked anew"
        assert all(set(row) >= {7, 8, 9, 10, 11} for row in originals(batch))


def test_one_sentence_of_one_token_can_be_learned_from() -> None:
    batch = make(Stretch(), shards=from_ids([[[7]]]))[0]
    assert (batch.hidden.sum(1) == 1).all()
    assert (batch.targets == 7).all()


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        make(SentenceOrder(), shards=from_ids([[[7]], [[8]]]))
    none = {name: np.zeros(1, np.int64) for name in ("sentence_starts", "document_starts", "document_sentences")}
    empty = Shards({"ids": np.zeros(0, np.uint16), "word_starts": np.zeros(0, bool), **none},
                   {"vocab_size": 8000, "bytes": 0, "words": 0, "hash": ""})
    for segments, corruption in RECIPES[1:]:
        with pytest.raises(InputError, match="nothing to train on"):
            make(segments, corruption, shards=empty)
    with pytest.raises(InputError, match="nothing to train on"):
        Batches(Shards.from_documents([[[7]]], 8), IdTokenizer(vocab_size=8), Stretch(), Tokens(), batch_size=1,
                length=16, seed=0)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: make(batch_size=0), "batch_size must be at least 1"),
    (lambda: make(length=7), "length must be at least 8"),
    (lambda: Batches(SHARDS, IdTokenizer(vocab_size=100), Stretch(), Tokens(), batch_size=1, length=16, seed=0),
     "tokenizer must be the one"),
])
def test_wrong_settings_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
@pytest.mark.parametrize("length", [8, 9, 13])
def test_the_shortest_rows_work(recipe: tuple[Segments, Corruption], length: int) -> None:
    batch = make(*recipe, length=length)[0]
    assert batch.ids.shape == (6, length)
    assert batch.hidden.any()


def test_batches_before_the_first_are_refused() -> None:
    with pytest.raises(IndexError):
        make()[-1]


def test_the_random_numbers_are_splitmix64_and_even() -> None:
    from polysemy.text.keyed import below, bits, shuffled, uniform

    assert bits(np.uint64(0), 0) == 0xE220A8397B1DCDAF, "first output of SplitMix64 seeded with 0"
    assert bits(np.uint64(0), 1) == 0x6E789E6AA1B965F4
    values = np.array([uniform(np.uint64(9), i) for i in range(20_000)])
    assert abs(values.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.03
    assert {below(np.uint64(1), i, 3) for i in range(100)} == {0, 1, 2}
    for size in (1, 2, 3, 5, 64, 1000):
        orders = [shuffled(np.arange(size), size, np.uint64(key)).tolist() for key in (4, 5)]
        assert sorted(orders[0]) == list(range(size))
        assert size < 64 or orders[0] != orders[1]


def test_packing_puts_every_piece_in_one_row_and_fills_rows() -> None:
    from polysemy.text.packing import pack

    widths = np.random.default_rng(0).integers(3, 60, 5000)
    pieces, bounds = pack(widths, 128)
    assert np.array_equal(np.sort(pieces), np.arange(5000))
    sums = np.add.reduceat(widths[pieces], bounds[:-1])
    assert sums.max() <= 128
    assert sums.sum() / (len(sums) * 128) > 0.99


def test_importing_batches_imports_neither_numba_nor_torch() -> None:
    code = ("import sys, polysemy.text.batches, polysemy.text.segments, polysemy.text.masking\n"
            "print([name for name in ('torch', 'numba', 'tokenizers', 'matplotlib') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tokens_of_each_document_stay_in_their_piece() -> None:
    """Every packed piece of a stretch holds one document's tokens only."""
    shards = numbered(documents=100, sentences=2, tokens=5)
    batch = make(Stretch(), shards=shards, length=64)[0]
    ids = originals(batch)
    assert batch.documents.max() >= 3
    for row, documents in zip(ids, batch.documents, strict=True):
        for piece in range(documents.max() + 1):
            tokens = row[(documents == piece) & (row >= 7)] - 7
            assert len(np.unique(np.searchsorted(shards.document_starts, tokens, "right"))) == 1
