"""Which text stands in the rows, before anything is hidden (SPEC 11.2-11.5)."""
from __future__ import annotations

import numpy as np
import pytest
from token_world import CLS, FIRST_TAIL, SEP, IdTokenizer, corpus, from_ids, numbered, originals, pieces_of

from polysemy.errors import InputError
from polysemy.text import rows as rows_module
from polysemy.text.batches import Batch, Batches
from polysemy.text.masking import MarkedSpans, Tokens
from polysemy.text.segments import FullSentences, NextSentence, Segments, SentenceOrder, Stretch
from polysemy.text.shards import Shards

ALL = [FullSentences(), FullSentences(cross_documents=False), Stretch(), NextSentence(), SentenceOrder()]


def batches_of(shards: Shards, segments: Segments, length: int = 64, seed: int = 0, **settings: object) -> Batches:
    return Batches(shards, IdTokenizer(), segments, settings.pop("corruption", Tokens()), batch_size=16, length=length,
                   seed=seed)


def epoch_runs(batches: Batches, epoch: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, lengths and piece bounds of all runs of an epoch."""
    places, _ = batches.plan.locate(np.arange(batches.plan.first_row(epoch), batches.plan.first_row(epoch + 1)))
    return places.run_starts, places.run_lengths.astype(np.int64), places.piece_runs


def whole_epoch(batches: Batches, epoch: int = 0) -> Batch:
    return batches.at(range(batches.plan.first_row(epoch), batches.plan.first_row(epoch + 1)))


def documents_of(shards: Shards, tokens: np.ndarray) -> np.ndarray:
    return np.searchsorted(shards.document_starts, tokens, "right") - 1


@pytest.mark.parametrize("segments", ALL[:3], ids=repr)
def test_every_token_stands_in_exactly_one_row_of_an_epoch(segments: Segments) -> None:
    shards = corpus()
    for epoch in (0, 3, 17):
        starts, lengths, _ = epoch_runs(batches_of(shards, segments), epoch)
        order = np.argsort(starts)
        assert starts[order][0] == 0
        assert np.array_equal(starts[order][1:], (starts + lengths)[order][:-1])
        assert lengths.sum() == shards.num_tokens


@pytest.mark.parametrize("segments", ALL, ids=repr)
def test_the_row_shows_the_text_of_its_runs_between_special_tokens(segments: Segments) -> None:
    shards = corpus()
    batches = batches_of(shards, segments)
    batch = whole_epoch(batches)
    ids, ends, bounds = originals(batch), *epoch_runs(batches)[1:]
    starts = epoch_runs(batches)[0]
    for number, (row, columns) in enumerate(pieces_of(batch)):
        runs = range(bounds[number], bounds[number + 1])
        expected = [CLS]
        for run in runs:
            expected += [*shards.ids(starts[run], starts[run] + ends[run]).tolist(), SEP]
        found = ids[row, columns].tolist()
        if batch.pair_at.size:  # a border inside a sentence may have moved to a word's start
            assert sorted(found) == sorted(expected)
            assert (found.count(SEP), found[0], found[-1]) == (2, CLS, SEP)
        else:
            assert found == expected


@pytest.mark.parametrize("segments", ALL, ids=repr)
def test_positions_restart_in_every_piece_and_documents_count_the_pieces(segments: Segments) -> None:
    batch = whole_epoch(batches_of(corpus(documents=60, sentences=3), segments))
    for row, columns in pieces_of(batch):
        assert np.array_equal(columns, np.arange(columns[0], columns[0] + len(columns)))
        assert np.array_equal(batch.positions[row, columns], np.arange(len(columns)))
    empty = batch.documents < 0
    assert np.array_equal(batch.visible, ~empty)
    assert (batch.ids[empty] == 0).all()
    assert (batch.positions[empty] == 0).all()
    assert (np.diff(batch.visible.astype(int), axis=1) <= 0).all(), "padding stands at the end"


def test_full_sentences_cross_documents_with_one_separator_at_each_border() -> None:
    shards = numbered(documents=30, sentences=3, tokens=7)
    batch = whole_epoch(batches_of(shards, FullSentences(), length=32))
    ids = originals(batch)
    assert (batch.documents.max(1) == 0).all(), "a row is one piece"
    tokens = ids - 7
    for row in range(len(ids)):
        text = (ids[row, :-1] >= 7) & (ids[row, 1:] >= 7)
        assert (np.diff(tokens[row])[text] == 1).all(), "text between separators is contiguous"
    starts, lengths, bounds = epoch_runs(batches_of(shards, FullSentences(), length=32))
    inner = np.setdiff1d(np.arange(len(starts)), bounds[:-1])  # runs that begin inside a row
    assert len(inner) > 20
    assert np.isin(starts[inner], shards.document_starts).all()
    assert (documents_of(shards, starts) == documents_of(shards, starts + lengths - 1)).all()


def test_without_crossing_no_piece_holds_two_documents() -> None:
    shards = corpus(documents=100, sentences=3)
    starts, lengths, bounds = epoch_runs(batches_of(shards, FullSentences(cross_documents=False)))
    assert (np.diff(bounds) == 1).all()
    assert (documents_of(shards, starts) == documents_of(shards, starts + lengths - 1)).all()


@pytest.mark.parametrize("length", [64, 128, 512])
def test_full_sentences_fill_at_least_97_percent_of_the_columns(length: int) -> None:
    shards = corpus(documents=200, sentences=60, longest=60)
    batches = batches_of(shards, FullSentences(), length=length)
    assert batches.fill >= 0.97
    assert np.isclose(batches.fill, whole_epoch(batches).visible.mean())
    assert batches_of(shards, FullSentences(cross_documents=False), length=length).fill >= 0.97


def test_short_documents_are_packed_several_to_a_row() -> None:
    shards = corpus(documents=400, sentences=2, shortest=4, longest=12)
    for segments in (Stretch(), FullSentences(cross_documents=False), SentenceOrder(), NextSentence()):
        batches = batches_of(shards, segments, length=128)
        assert batches.fill > 0.95, segments
        assert whole_epoch(batches).documents.max() >= 3


def test_a_stretch_is_whole_sentences_of_one_document() -> None:
    shards = corpus()
    starts, lengths, bounds = epoch_runs(batches_of(shards, Stretch()))
    assert (np.diff(bounds) == 1).all()
    assert np.isin(starts, shards.sentence_starts).all()
    assert np.isin(starts + lengths, shards.sentence_starts).all()
    assert (documents_of(shards, starts) == documents_of(shards, starts + lengths - 1)).all()


@pytest.mark.parametrize("segments", [FullSentences(empty_rate=1.0), Stretch()], ids=repr)
def test_a_row_ends_only_where_the_next_sentence_does_not_fit(segments: Segments) -> None:
    shards = from_ids([[[7] * 10] * 50])
    batches = batches_of(shards, segments, length=64)
    assert sorted(epoch_runs(batches)[1].tolist()) == [20, *[60] * 8]


def test_a_sentence_longer_than_a_row_is_cut_and_goes_on() -> None:
    shards = from_ids([[[7] * 5, [8] * 300, [9] * 5]])
    for segments in (Stretch(), FullSentences(), FullSentences(empty_rate=1.0)):
        _, lengths, _ = epoch_runs(batches_of(shards, segments, length=32))
        assert lengths.sum() == 310
        assert lengths.max() == 30


def test_long_documents_are_parted_at_sentence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "SECTION_TOKENS", 100)
    shards = corpus(documents=5, sentences=60)
    sections = rows_module.part_documents(shards)
    assert np.isin(shards.document_sentences, sections.sentences).all()
    sizes = np.diff(shards.sentence_starts[sections.sentences])
    assert sizes.sum() == shards.num_tokens
    assert sizes.max() <= 100 + 20
    _, lengths, _ = epoch_runs(batches_of(shards, FullSentences()))
    assert lengths.sum() == shards.num_tokens


def test_blocks_are_packed_on_their_own_and_together_show_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BLOCK_TOKENS", 2000)
    shards = corpus(documents=80)
    batches = batches_of(shards, Stretch())
    assert batches.plan.num_blocks > 5
    starts, lengths, _ = epoch_runs(batches)
    assert lengths.sum() == shards.num_tokens
    assert len(np.unique(starts)) == len(starts)


def test_pairs_have_segments_0_and_1() -> None:
    for segments in (NextSentence(), SentenceOrder()):
        batch = whole_epoch(batches_of(corpus(), segments))
        ids = originals(batch)
        pieces = pieces_of(batch)
        assert len(pieces) == len(batch.pair_at) == len(batch.pair_labels)
        for (row, columns), at in zip(pieces, batch.pair_at, strict=True):
            first_end, last = columns[np.flatnonzero(ids[row, columns] == SEP)]
            assert at == row * 64 + columns[0]
            assert last == columns[-1]
            assert (batch.segments[row, columns[0] : first_end + 1] == 0).all()
            assert (batch.segments[row, first_end + 1 : last + 1] == 1).all()
    assert not whole_epoch(batches_of(corpus(), FullSentences())).segments.any()
    assert not whole_epoch(batches_of(corpus(), Stretch())).pair_at.size


def test_next_sentence_labels_are_balanced() -> None:
    shards = numbered(documents=20, sentences=60, tokens=6)
    labels = whole_epoch(batches_of(shards, NextSentence(), length=32)).pair_labels
    assert len(labels) > 300
    assert abs(labels.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(labels))


def test_a_chunk_of_one_sentence_always_gets_a_random_second_part() -> None:
    labels = whole_epoch(batches_of(from_ids([[[7] * 12]] * 50), NextSentence())).pair_labels
    assert len(labels) == 50
    assert (labels == 1).all()


def pair_runs(batches: Batches) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    places, _ = batches.plan.locate(np.arange(batches.rows_per_epoch(0)))
    starts, ends = places.run_starts, places.run_starts + places.run_lengths
    return starts[::2], ends[::2], starts[1::2], ends[1::2], places.labels


def test_the_random_second_part_never_comes_from_the_same_document() -> None:
    shards = corpus(documents=3, sentences=100)
    for seed in range(5):
        a, _, b, b_end, labels = pair_runs(batches_of(shards, NextSentence(), seed=seed))
        random = labels == 1
        assert random.sum() > 20
        assert (documents_of(shards, a)[random] != documents_of(shards, b)[random]).all()
        assert (documents_of(shards, b) == documents_of(shards, b_end - 1)).all()


def test_the_random_second_part_comes_from_every_other_document() -> None:
    shards = from_ids([[[7] * 6] * 600] * 5)
    a, _, b, _, labels = pair_runs(batches_of(shards, NextSentence(), length=24))
    pairs = np.stack([documents_of(shards, a), documents_of(shards, b)])[:, labels == 1]
    counts = np.zeros((5, 5), int)
    np.add.at(counts, tuple(pairs), 1)
    off_diagonal = counts[~np.eye(5, dtype=bool)]
    assert off_diagonal.min() > 0.5 * off_diagonal.mean()


def test_pairs_of_label_0_are_one_contiguous_passage() -> None:
    shards = corpus()
    a, a_end, b, b_end, labels = pair_runs(batches_of(shards, NextSentence()))
    follows = labels == 0
    assert follows.sum() > 100
    assert (documents_of(shards, a) == documents_of(shards, b))[follows].all()
    whole = follows & (a_end - a + b_end - b < 61)  # nothing was cut off
    assert whole.sum() > 5
    assert (a_end == b)[whole].all()
    assert (a_end <= b)[follows].all(), "what was cut off lies between the parts or outside"
    assert ((b - a_end)[follows] <= 20).all()
    assert (a_end - a + b_end - b).max() == 61


@pytest.mark.parametrize("segments", [NextSentence(), SentenceOrder()], ids=repr)
def test_every_sentence_is_used(segments: Segments) -> None:
    shards = numbered(documents=20, sentences=300, tokens=1)
    a, a_end, b, b_end, labels = pair_runs(batches_of(shards, segments))
    used = np.zeros(shards.num_tokens, int)
    for start, end in zip(a, a_end, strict=True):
        used[start:end] += 1
    own = labels == 0 if isinstance(segments, NextSentence) else labels >= 0
    for start, end in zip(b[own], b_end[own], strict=True):
        used[start:end] += 1
    assert (used == 1).all(), "the chunks part the documents; displaced sentences are put back"


def test_sentences_are_hardly_ever_lost_to_truncation() -> None:
    shards = corpus()
    for segments in (NextSentence(), SentenceOrder()):
        a, a_end, b, b_end, _ = pair_runs(batches_of(shards, segments))
        used = np.zeros(shards.num_tokens + 1, int)
        np.add.at(used, np.concatenate([a, b]), 1)
        np.add.at(used, np.concatenate([a_end, b_end]), -1)
        touched = np.add.reduceat((np.cumsum(used)[:-1] > 0).astype(int), shards.sentence_starts[:-1]) > 0
        assert touched.mean() > 0.97


def test_short_chunks_come_at_the_short_rate() -> None:
    shards = numbered(documents=2, sentences=3000, tokens=1)
    for rate in (0.0, 0.5):
        a, a_end, b, b_end, _ = pair_runs(batches_of(shards, SentenceOrder(short_rate=rate)))
        sizes = a_end - a + b_end - b
        short = (sizes < 61).mean()
        assert abs(short - rate) < 0.15
        assert sizes.min() >= 2


def test_sentence_order_pairs_are_adjacent_and_swapped_half_the_time() -> None:
    shards = numbered(documents=20, sentences=60, tokens=6)
    a, a_end, b, b_end, labels = pair_runs(batches_of(shards, SentenceOrder(), length=32))
    assert (documents_of(shards, a) == documents_of(shards, b)).all()
    swapped = labels == 1
    assert (a < b)[~swapped].all()
    assert (a > b)[swapped].all()
    assert abs(swapped.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(labels))
    whole = a_end - a + b_end - b < 29
    assert ((a_end == b) | (b_end == a))[whole].all()


def test_a_single_sentence_is_split_at_a_word_and_one_token_is_dropped() -> None:
    tail = FIRST_TAIL
    shards = from_ids([[[7, tail, tail, tail, 8, tail]], [[9]], [[10, tail, tail]]] * 30)
    batches = batches_of(shards, SentenceOrder(), length=32)
    batch = whole_epoch(batches)
    ids = originals(batch)
    assert len(batch.pair_at) == 60
    assert 9 not in ids
    firsts = ids[:, :-1][np.isin(ids[:, 1:], [7, 8, 10, tail]) & (ids[:, :-1] <= SEP)]
    assert len(firsts) == 120
    starts = [ids[row, columns] for row, columns in pieces_of(batch)]
    halves = [tuple(map(tuple, np.split(piece[1:-1], np.flatnonzero(piece[1:-1] == SEP)))) for piece in starts]
    long = [half for half in halves if 7 in half[0] + half[1]]
    assert all({half[0], half[1][1:]} == {(7, tail, tail, tail), (8, tail)} for half in long), "never inside a word"
    assert {half[0][0] for half in long} == {7, 8}, "both orders occur"


def test_next_sentence_needs_two_documents() -> None:
    with pytest.raises(InputError, match="at least 2 documents"):
        batches_of(numbered(1, 30, 5), NextSentence())
    assert batches_of(numbered(1, 30, 5), SentenceOrder())[0].num_tokens


def test_pairs_of_a_sentence_longer_than_a_row_use_all_of_it() -> None:
    shards = from_ids([[[7 + i for i in range(1000)]]] * 2)
    for segments in (NextSentence(), SentenceOrder()):
        a, a_end, b, b_end, labels = pair_runs(batches_of(shards, segments, length=64))
        used = np.zeros(shards.num_tokens, bool)
        own = labels == 0 if isinstance(segments, NextSentence) else labels >= 0
        for start, end in [*zip(a, a_end, strict=True), *zip(b[own], b_end[own], strict=True)]:
            used[start:end] = True
        assert used.mean() > 0.95


def test_marks_get_room_in_every_kind_of_row() -> None:
    for segments in ALL:
        batches = batches_of(corpus(), segments, corruption=MarkedSpans())
        batch = whole_epoch(batches)
        assert batch.ids.shape[1] == 64
        assert batches.fill > 0.7


def test_epochs_are_other_rows_in_another_order() -> None:
    batches = batches_of(corpus(), FullSentences())
    first, second, late = (epoch_runs(batches, epoch)[0] for epoch in (0, 1, 10))
    assert not np.array_equal(np.sort(first), np.sort(second)), "another plan packs other rows"
    assert np.array_equal(np.sort(first), np.sort(late)), "ten plans in turn"
    assert not np.array_equal(first, late), "in another order"


@pytest.mark.parametrize("make", [lambda: FullSentences(empty_rate=1.5), lambda: NextSentence(short_rate=-0.1),
                                  lambda: SentenceOrder(short_rate=2.0)])
def test_rates_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(InputError, match=r"0\.\.1"):
        make()


@pytest.mark.parametrize("segments", ALL, ids=repr)
def test_segments_survive_json(segments: Segments) -> None:
    assert type(segments).from_dict(segments.to_dict()) == segments
