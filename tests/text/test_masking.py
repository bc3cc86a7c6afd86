"""What is hidden and what stands there instead (SPEC 11.2-11.5)."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare
from token_world import (
    CLOSE,
    FIRST_TAIL,
    FIRST_WORD,
    MASK,
    OPEN,
    IdTokenizer,
    corpus,
    from_ids,
    originals,
    pieces_of,
    same,
)

from polysemy.errors import InputError
from polysemy.text.batches import Batch, Batches
from polysemy.text.corpus import text_documents
from polysemy.text.masking import Corruption, MarkedSpans, NGrams, PieceText, Spans, Tokens, WholeWords
from polysemy.text.segments import FullSentences, NextSentence, SentenceOrder, Stretch
from polysemy.text.shards import Shards, prepare
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

ALL = [Tokens(), WholeWords(), NGrams(), Spans(), MarkedSpans(), MarkedSpans(boundary="external")]


def make(corruption: Corruption, shards: Shards | None = None, length: int = 128, rows: int = 200,
         segments: object = None, seed: int = 0) -> Batch:
    batches = Batches(shards or corpus(), IdTokenizer(), segments or FullSentences(), corruption,
                      batch_size=8, length=length, seed=seed)
    return batches.at(range(rows))


def one_piece(ids: np.ndarray) -> PieceText:
    """A single piece of a single run, word starts by id."""
    ends = np.array([0, len(ids)])
    return PieceText(ids.astype(np.int32), ids < FIRST_TAIL, ends, np.array([0, 1]), np.array([-1], np.int8),
                     np.array([0, 1]))


def words_in(ids: np.ndarray) -> int:
    return int((ids < FIRST_TAIL).sum())


def groups_in(groups: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(groups == number) for number in range(1, groups.max(initial=0) + 1)]


def spans_in(hidden: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def test_exactly_the_rounded_share_of_each_piece_is_hidden_and_at_least_one() -> None:
    shards = corpus(documents=200, sentences=2)
    for segments in (FullSentences(), Stretch(), NextSentence(), SentenceOrder()):
        batch = make(Tokens(), shards, segments=segments, rows=60)
        for row, columns in pieces_of(batch):
            assert batch.hidden[row, columns].sum() == max(1, int(np.floor(0.15 * len(columns) + 0.5)))


def test_15_percent_of_the_tokens_are_hidden_whatever_the_method() -> None:
    shards = corpus(documents=100, sentences=40)
    for corruption in ALL:
        batch = make(corruption, shards, segments=Stretch(), length=256)
        ids = originals(batch)
        text = (ids >= FIRST_WORD).sum()
        share = batch.hidden.sum() / (text if isinstance(corruption, Spans) else batch.num_tokens)
        assert abs(share - 0.15) < 0.005, (corruption, share)


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_special_tokens_and_marks_are_never_hidden_nor_random_pieces(corruption: Corruption) -> None:
    batch = make(corruption, segments=NextSentence())
    assert batch.targets.min() >= FIRST_WORD
    assert not batch.hidden[batch.documents < 0].any()
    shown = batch.ids[batch.hidden]
    assert ((shown == MASK) | (shown >= FIRST_WORD)).all()
    assert (batch.ids[~batch.hidden] != MASK).all()
    assert len(batch.targets) == batch.hidden.sum() == len(batch.weights)


def test_80_10_10_by_chi_square() -> None:
    for corruption in (Tokens(), WholeWords(), NGrams()):
        batch = make(corruption, rows=400)
        shown = batch.ids[batch.hidden]
        masked, kept = shown == MASK, shown == batch.targets
        kinds = [masked.sum(), (~masked & ~kept).sum(), kept.sum()]
        assert chisquare(kinds, np.array([0.8, 0.1, 0.1]) * len(shown)).pvalue > 1e-3, corruption


def test_rates_can_be_chosen() -> None:
    batch = make(Tokens(rate=0.4, mask_rate=1.0, random_rate=0.0))
    assert (batch.ids[batch.hidden] == MASK).all()
    assert abs(batch.hidden.sum() / batch.num_tokens - 0.4) < 0.005
    batch = make(Tokens(mask_rate=0.0, random_rate=1.0))
    assert (batch.ids[batch.hidden] != batch.targets).mean() > 0.99
    batch = make(Tokens(mask_rate=0.0, random_rate=0.0))
    assert np.array_equal(batch.ids[batch.hidden], batch.targets)


def test_tokens_are_hidden_evenly_over_the_row() -> None:
    shards = from_ids([[[7] * 30] * 800])
    batch = make(Tokens(), shards, length=32, rows=800)
    assert (batch.hidden.sum(1) == 5).all()
    counts = batch.hidden[:, 1:31].sum(0)
    assert chisquare(counts).pvalue > 1e-3
    together = (batch.hidden[:, 1] & batch.hidden[:, 2]).mean()
    assert abs(together - 5 * 4 / (30 * 29)) < 0.02


def test_random_pieces_are_even_over_the_vocabulary_for_tokens() -> None:
    batch = make(Tokens(mask_rate=0.0, random_rate=1.0), rows=400)
    random = batch.ids[batch.hidden]
    assert random.min() < FIRST_WORD + 30
    assert random.max() > 8000 - 30
    assert chisquare(np.histogram(random, 20, (FIRST_WORD, 8000))[0]).pvalue > 1e-3


def test_random_pieces_follow_the_corpus_for_spans() -> None:
    shards = from_ids([[[100] * 9 + [200]] * 400])
    batch = make(Spans(mask_rate=0.0, random_rate=1.0), shards)
    random = batch.ids[batch.hidden]
    assert set(random) == {100, 200}
    assert abs((random == 200).mean() - 0.1) < 0.03


@pytest.mark.parametrize("corruption", ALL[1:], ids=repr)
def test_words_are_hidden_whole(corruption: Corruption) -> None:
    batch = make(corruption)
    ids = originals(batch)
    tails = (ids >= FIRST_TAIL) & (batch.positions > 0)
    before = np.roll(ids, 1, axis=1)
    tails &= before >= FIRST_WORD  # where a row cuts a word its tail stands alone
    assert tails.sum() > 1000
    assert np.array_equal(batch.hidden[tails], np.roll(batch.hidden, 1, axis=1)[tails])


def test_whole_words_by_example() -> None:
    """un ##hap ##piness, and Chinese by character or by a segmenter's words."""
    tail = FIRST_TAIL
    english = from_ids([[[11, tail, tail + 1, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]]] * 300)
    batch = make(WholeWords(rate=0.2), english, length=32, segments=Stretch(), rows=150)
    word = batch.hidden & np.isin(originals(batch), [11, tail, tail + 1])
    assert {len(columns) for _, columns in pieces_of(batch)} == {16}
    per_piece = [word[row, columns].sum() for row, columns in pieces_of(batch)]
    assert set(per_piece) == {0, 3}
    by_word = Shards.from_documents([[[31, 32, 33, 34, 35, 36, 37, 38]]] * 300, 8000,
                                    [[[True, False, True, False, True, False, True, False]]] * 300)
    by_character = Shards.from_documents([[[31, 32, 33, 34, 35, 36, 37, 38]]] * 300, 8000)
    for shards, expected in ((by_word, {(0, 0), (1, 1)}), (by_character, {(0, 0), (0, 1), (1, 0), (1, 1)})):
        batch = make(WholeWords(rate=0.4), shards, length=32, segments=Stretch(), rows=90)
        pairs = {(int(hidden[1 + i]), int(hidden[2 + i])) for row, columns in pieces_of(batch)
                 for hidden in [batch.hidden[row, columns]] for i in (0, 2, 4, 6)}
        assert pairs == expected


def test_whole_words_of_real_tokenizers(tmp_path: Path) -> None:
    pytest.importorskip("jieba")
    texts = ["机器人必须服从人类的命令。银行的工作人员不得伤害顾客。河边的图书馆今天没有开门。" * 3,
             "Unhappiness and unkindness are unlikely. The happiest people are kind."] * 3
    tokenizer = Tokenizer.train(texts, TokenizerConfig(vocab_size=90))
    for unit in ("character", "word"):
        shards = prepare(text_documents(texts), tokenizer, tmp_path / unit, unit=unit)
        batches = Batches(shards, tokenizer, Stretch(), WholeWords(), batch_size=64, length=64, seed=0)
        split = halves = 0
        for row in range(64):
            batch = batches.at([row])
            pieces, hidden = tokenizer.pieces(originals(batch)[0]), batch.hidden[0]
            for i in range(1, 64):
                if pieces[i].startswith("##"):
                    assert hidden[i] == hidden[i - 1]
                    split += 1
                halves += pieces[i - 1] + pieces[i] == "银行" and bool(hidden[i - 1] != hidden[i])
        assert split > 100
        assert (halves == 0) == (unit == "word"), "by character the two halves of 银行 are hidden apart"


def test_a_word_too_long_for_the_count_is_passed_over_unless_there_is_no_other() -> None:
    tail = FIRST_TAIL
    mixed = from_ids([[[11, *[tail] * 9, 12, 13, 14, 15]]] * 50)
    for corruption in (WholeWords(), NGrams()):
        batch = make(corruption, mixed, length=16, segments=Stretch(), rows=50)
        assert (batch.hidden.sum(1) == 2).all(), "round(0.15 * 16)"
        assert not (batch.targets == tail).any()
    only = from_ids([[[11, *[tail] * 9]]] * 50)
    for corruption in (WholeWords(), NGrams(), Spans()):
        batch = make(corruption, only, length=16, segments=Stretch(), rows=50)
        assert (batch.hidden.sum(1) == 10).all(), "at least one word, whole"


def test_ngrams_of_1_2_3_words_stand_in_proportion_6_3_2() -> None:
    ids = np.full(40_000, 7)
    groups = NGrams(rate=0.02).choose(one_piece(ids), np.array([5], np.uint64))
    sizes = [len(group) for group in groups_in(groups)]
    counts = np.bincount(sizes, minlength=4)[1:]
    assert len(counts) == 3
    assert sum(sizes) == 800
    assert chisquare(counts, np.array([6, 3, 2]) / 11 * len(sizes)).pvalue > 1e-3
    longer = NGrams(rate=0.02, longest=6).choose(one_piece(ids), np.array([5], np.uint64))
    assert max(map(len, groups_in(longer))) == 6


def test_ngrams_count_words_not_pieces() -> None:
    ids = np.where(np.arange(6000) % 3 == 0, 7, FIRST_TAIL)
    groups = NGrams(rate=0.1).choose(one_piece(ids), np.array([5], np.uint64))
    assert {words_in(ids[group]) for group in groups_in(groups)} == {1, 2, 3}
    assert {len(group) for group in groups_in(groups)} == {3, 6, 9}


def test_the_mean_span_has_3_8_words() -> None:
    spans = Spans(rate=0.01)
    assert abs(spans.mean_length - 3.797) < 0.001
    assert np.isclose(spans.length_chances[1:] / spans.length_chances[:-1], 0.8).all()
    random = np.random.default_rng(0)
    ids = np.where(random.random(400_000) < 0.3, FIRST_TAIL, 7)
    ids[0] = 7
    groups = spans.choose(one_piece(ids), np.array([3], np.uint64))
    lengths = np.array([words_in(ids[group]) for group in groups_in(groups)])
    assert len(lengths) > 600
    assert abs(lengths.mean() - 3.8) < 0.25, "a few spans touch and are merged"
    alone = np.bincount(lengths, minlength=11)[1:11]
    assert chisquare(alone, spans.length_chances * alone.sum()).pvalue > 1e-4
    assert spans.budgets(np.array([len(ids)]), np.array([2]))[0] - (groups > 0).sum() <= 0


def test_spans_hide_at_most_the_share_rounded_up_and_never_touch() -> None:
    batch = make(Spans(), segments=Stretch())
    ids, budgets = originals(batch), []
    for row, columns in pieces_of(batch):
        hidden = batch.hidden[row, columns]
        text = len(columns) - 2
        budgets.append(int(np.ceil(0.15 * text - 1e-9)) - hidden.sum())
        assert hidden.any()
        assert not hidden[0]
        assert not hidden[-1]
    assert min(budgets) >= 0
    assert np.mean(np.array(budgets) == 0) > 0.95
    assert (ids[batch.hidden] >= FIRST_WORD).all()


def test_80_10_10_is_one_draw_a_span() -> None:
    batch = make(Spans(), rows=400)
    kinds = np.where(batch.ids == MASK, 0, np.where(batch.ids == originals(batch), 2, 1))
    counts = np.zeros(3)
    for row in range(len(batch.ids)):
        for start, stop in spans_in(batch.hidden[row]):
            found = set(kinds[row, start:stop].tolist())
            assert len(found - {2}) <= 1, "a random piece may happen to be the original"
            counts[min(found)] += 1
    assert chisquare(counts, np.array([0.8, 0.1, 0.1]) * counts.sum()).pvalue > 1e-3


@pytest.mark.parametrize("corruption", [Spans(), Spans(rate=0.6)], ids=repr)
def test_span_fields_name_the_token_the_place_and_the_states_outside(corruption: Spans) -> None:
    batch = make(corruption, segments=NextSentence())
    ids, flat_hidden = originals(batch).reshape(-1), batch.hidden.reshape(-1)
    assert np.array_equal(batch.span_targets, ids[batch.span_at])
    assert flat_hidden[batch.span_at].all()
    for states in (batch.span_left, batch.span_right):
        assert not flat_hidden[states].any()
        assert (ids[states] >= FIRST_WORD).all(), "a span at the end of the text has no state outside and is left out"
    assert np.array_equal(batch.span_at - batch.span_left, batch.span_offset)
    assert batch.span_offset.min() == 1
    assert batch.span_offset.max() == 20 if corruption.rate > 0.5 else batch.span_offset.max() <= 20
    predicted, expected = set(batch.span_at.tolist()), set()
    for row in range(len(batch.ids)):
        for start, stop in spans_in(batch.hidden[row]):
            edge = row * 128 + start - 1, row * 128 + stop
            if min(ids[list(edge)]) >= FIRST_WORD:
                expected |= set(range(row * 128 + start, row * 128 + min(stop, start + 20)))
    assert predicted == expected


def test_other_methods_have_no_span_fields() -> None:
    for corruption in (Tokens(), WholeWords(), NGrams()):
        assert not make(corruption, rows=5).span_at.size


def test_marks_stand_around_each_span_and_nowhere_else() -> None:
    batch = make(MarkedSpans(), segments=NextSentence())
    spans = 0
    for row in range(len(batch.ids)):
        ids, hidden = batch.ids[row], batch.hidden[row]
        for start, stop in spans_in(hidden):
            assert (ids[start - 1], ids[stop]) == (OPEN, CLOSE)
            spans += 1
        assert (ids == OPEN).sum() == (ids == CLOSE).sum() == len(spans_in(hidden))
    assert spans > 800
    assert not np.isin(batch.targets, [OPEN, CLOSE]).any()


def test_marks_replace_the_states_outside_the_span() -> None:
    batch = make(MarkedSpans())
    ids = batch.ids.reshape(-1)
    assert (ids[batch.span_left] == OPEN).all()
    assert (ids[batch.span_right] == CLOSE).all()
    assert np.array_equal(batch.span_at - batch.span_left, batch.span_offset)
    assert len(batch.span_at) >= 0.95 * batch.hidden.sum(), "no span is left out, only places beyond the twentieth"


def test_the_control_with_marks_predicts_from_the_tokens_outside_them() -> None:
    batch, marks = make(MarkedSpans(boundary="external")), make(MarkedSpans())
    assert np.array_equal(batch.ids, marks.ids)
    ids = originals(batch).reshape(-1)
    assert (ids[batch.span_left] >= FIRST_WORD).all()
    assert (ids[batch.span_left + 1] == OPEN).all()
    assert (ids[batch.span_right - 1] == CLOSE).all()
    assert (ids[batch.span_right] >= FIRST_WORD).all()
    assert not batch.hidden.reshape(-1)[batch.span_left].any()


def test_marks_count_toward_the_length_and_are_taken_out_again() -> None:
    """Without marks and padding the rows hold the text of the corpus, each token once."""
    shards = corpus(documents=50)
    for length in (16, 64, 128):
        batches = Batches(shards, IdTokenizer(), FullSentences(), MarkedSpans(), batch_size=4, length=length, seed=0)
        batch = batches.at(range(batches.rows_per_epoch(0)))
        text = originals(batch)
        text = text[text >= FIRST_WORD]
        assert np.array_equal(np.sort(text), np.sort(shards.ids(0, shards.num_tokens)))
        assert batch.ids.shape == (len(batch.rows), length)


def test_marked_pieces_still_hide_their_share() -> None:
    batch = make(MarkedSpans(), segments=Stretch(), rows=300)
    short = 0
    for row, columns in pieces_of(batch):
        text = (originals(batch)[row, columns] >= FIRST_WORD).sum()
        short += int(np.ceil(0.15 * text - 1e-9)) != batch.hidden[row, columns].sum()
    assert short < 0.05 * len(pieces_of(batch))


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_dynamic_masks_change_with_the_epoch_and_static_ones_do_not(corruption: Corruption) -> None:
    shards = corpus(documents=1, sentences=3)
    for static in (False, True):
        batches = Batches(shards, IdTokenizer(), Stretch(), corruption.replace(static=static), batch_size=4, length=256,
                          seed=0)
        assert batches.rows_per_epoch(0) == 1
        rows = [batches.at([epoch]) for epoch in range(12)]
        assert len({row.hidden.tobytes() for row in rows}) == (1 if static else len(rows))
        assert len({row.ids.tobytes() for row in rows}) == (1 if static else len(rows))


def test_static_rows_come_in_another_order_each_epoch() -> None:
    batches = Batches(corpus(), IdTokenizer(), SentenceOrder(), Tokens(static=True), batch_size=4, length=64, seed=0)
    count = batches.rows_per_epoch(0)
    first, later = (batches.at(range(epoch * count, (epoch + 1) * count)) for epoch in (0, 7))
    assert not np.array_equal(first.ids, later.ids)
    assert sorted(map(bytes, first.ids)) == sorted(map(bytes, later.ids))


def test_seeds_differ() -> None:
    assert not same(make(Tokens(), seed=1), make(Tokens(), seed=2))


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_corruptions_survive_json(corruption: Corruption) -> None:
    assert type(corruption).from_dict(corruption.to_dict()) == corruption


@pytest.mark.parametrize(("build", "message"), [
    (lambda: Tokens(rate=0.0), "rate must be above 0"),
    (lambda: Tokens(rate=1.0), "rate must be above 0"),
    (lambda: WholeWords(mask_rate=1.1), "mask_rate must be in"),
    (lambda: Tokens(mask_rate=0.9, random_rate=0.2), "at most 1"),
    (lambda: NGrams(longest=0), "longest must be"),
    (lambda: Spans(p=0.0), "p must be above 0"),
    (lambda: Spans(longest=0), "longest must be"),
    (lambda: MarkedSpans(boundary="middle"), "boundary must be"),
])
def test_settings_out_of_range_are_refused(build: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def test_marks_need_a_tokenizer_that_has_them() -> None:
    with pytest.raises(InputError, match="marks"):
        Batches(corpus(), IdTokenizer(has_marks=False), Stretch(), MarkedSpans(), batch_size=4, length=64, seed=0)
