"""Training: seeds, threads, the schedule, stopping, and what is written."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
from corpora import encoded, random_text, trained

from polysemy.artifact import load_tensors
from polysemy.errors import InputError
from polysemy.models.schedule import Schedule, parts_of, run_blocks, run_parts
from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word2vec.fit import FLOOR, block_tokens, fit
from polysemy.models.word2vec.losses import SampledLoss
from polysemy.models.word2vec.steps import begin, step_for
from polysemy.text.vocabulary import Vocabulary

SMALL = Word2VecConfig(size=20, window=3, epochs=2, min_count=1, subsample=1e-2)
KINDS = [{}, {"mode": "cbow"}, {"loss": "hierarchical"}, {"loss": "hierarchical", "mode": "cbow"},
         {"algorithm": "plain"}, {"algorithm": "plain", "mode": "cbow"}, {"loss": "softmax"},
         {"algorithm": "plain", "loss": "hierarchical"}]


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(changes):
    config, text = SMALL.replace(**changes), random_text()
    first, again, other = (trained(config, text, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.outputs, again.outputs)
    assert (first.outputs != other.outputs).any()
    assert np.isfinite(first.inputs).all()


@pytest.mark.parametrize("changes", [{"deterministic": True}, {"algorithm": "plain"}, {"loss": "softmax"}], ids=str)
def test_reproducible_kinds_take_one_thread_whatever_is_offered(changes):
    config, text = SMALL.replace(**changes), random_text()
    (one, _), (two, results) = trained(config, text), trained(config, text, threads=2)
    np.testing.assert_array_equal(one.inputs, two.inputs)
    assert results["threads"] == 1


@pytest.mark.parametrize("changes", KINDS[:4], ids=str)
def test_threads_read_the_whole_text_every_epoch_and_learn_it(changes):
    text, told = random_text(lines=400), []
    config = SMALL.replace(epochs=8, learning_rate=0.1, **changes)
    before = SampledLoss(config, text.tokens, begin(config, text.vocabulary.counts, 1), 1)()
    matrices, results = trained(config, text, threads=2, told=told)
    assert results["threads"] == 2
    assert results["words"] == 8 * text.num_tokens
    assert results["epochs"] == 8
    assert results["loss"] < before - 0.01
    assert not results["stopped"]
    assert (told[-1].done, told[-1].words, told[-1].loss) == (1.0, results["words"], results["loss"])
    assert not matrices.inputs[:, 20:].any()


def test_the_rate_falls_with_the_words_seen_to_its_floor():
    text, rates = random_text(lines=200), []
    total = text.num_tokens * 3
    schedule = Schedule(total + 1, epochs=3, rate=0.5, floor=FLOOR, threads=1, stop=lambda: False)

    def block(at, until, stop, rate, state):
        rates.append((schedule.words, rate))
        return until, int((text.tokens[at:until] >= 0).sum()), state

    run_parts(block, parts_of(text.tokens, 1), [1], schedule, block_tokens=100, tell=lambda: None)
    assert schedule.words == total
    assert len(rates) >= 3 * len(text.tokens) // 100
    for words, rate in rates:
        assert rate == pytest.approx(0.5 * (1 - words / (total + 1)), rel=1e-9)
    schedule.seen[0] = 2 * total
    assert schedule.rate == 0.5 * FLOOR


def test_a_limit_ends_training_beside_the_epochs():
    text, asked = random_text(), []

    def limit():
        asked.append(1)
        return len(asked) / 40

    _, results = trained(SMALL.replace(epochs=1000), text, limit=limit)
    assert 3 < results["epochs"] < 41
    assert not results["stopped"]
    _, results = trained(SMALL, text, limit=lambda: 0.0)
    assert results["epochs"] == SMALL.epochs
    told = []
    _, results = trained(SMALL.replace(epochs=1000), text, limit=lambda: 1.0, told=told)
    assert results["words"] == 0
    assert told[-1].done == 1.0


def test_a_stop_keeps_what_was_learned():
    text, told = random_text(), []
    matrices, results = trained(SMALL.replace(epochs=100_000), text, stop=lambda: True, told=told)
    assert results["stopped"]
    assert 0 < results["words"] < 100_000 * text.num_tokens
    assert matrices.outputs.any()
    assert told[-1].done < 1


def test_an_error_in_a_thread_or_in_the_caller_ends_all_threads():
    text = random_text()
    endless = {"total": 10**9, "epochs": 10**9, "rate": 1.0}
    schedule = Schedule(**endless, threads=2, stop=lambda: False)

    def fails(at, until, stop, rate, state):
        if at == 0:
            raise MemoryError("block")
        return until, 1, state

    with pytest.raises(MemoryError, match="block"):
        run_parts(fails, parts_of(text.tokens, 2), [1, 2], schedule, block_tokens=10, tell=lambda: None)

    def interrupted():
        raise KeyboardInterrupt

    schedule = Schedule(**endless, threads=1, stop=interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_parts(lambda at, until, stop, rate, state: (until, 1, state), parts_of(text.tokens, 1), [1], schedule,
                  block_tokens=10, tell=lambda: None)


@pytest.mark.parametrize("threads", [1, 3])
def test_every_block_is_done_once_a_pass_and_passes_do_not_overlap(threads):
    done = []
    schedule = Schedule(7 * 4 * 10, epochs=4, rate=1.0, threads=threads, stop=lambda: False)

    def block(number, passes, thread):
        assert number % threads == thread
        done.append((passes, number))
        return 10, 2.0, 1.0

    assert run_blocks(block, 7, schedule, tell=lambda: None) == 4
    assert sorted(done) == [(passes, number) for passes in range(4) for number in range(7)]
    assert [passes for passes, _ in done] == sorted(passes for passes, _ in done)
    assert (schedule.words, schedule.done, schedule.rate, schedule.loss) == (280, 1.0, 0.0, pytest.approx(2.0))
    stopped = Schedule(100, epochs=4, rate=1.0, threads=threads, stop=lambda: True)
    assert (run_blocks(block, 7, stopped, tell=lambda: None), stopped.words, stopped.stopped) == (0, 0, True)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 500])
def test_parts_cover_the_text_and_end_with_lines(count):
    tokens = random_text().tokens
    parts = parts_of(tokens, count)
    assert len(parts) == count
    assert parts[0][0] == 0
    assert parts[-1][1] == len(tokens)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))
    assert all(tokens[stop - 1] == -1 for _, stop in parts if stop)
    one_line = np.zeros(20_000, np.int32)
    assert [stop - start for start, stop in parts_of(one_line, 3)] == [20_000, 0, 0]


def test_blocks_are_small_where_each_word_costs_much():
    assert block_tokens(Word2VecConfig(), 50_000) > 5000
    assert 8 <= block_tokens(Word2VecConfig(loss="softmax"), 5000) < 50


@pytest.mark.parametrize("changes", KINDS[:4], ids=str)
def test_the_folder_holds_both_matrices_without_padding(changes, tmp_path):
    config, text = SMALL.replace(**changes), random_text()
    results = fit(config, text, tmp_path, seed=1, threads=1, report=lambda progress: None, stop=lambda: False)
    matrices, _ = trained(config, text)
    tensors = load_tensors(tmp_path / "model.safetensors", torch=False)
    second = "nodes" if "loss" in changes else "output"
    assert sorted(tensors) == sorted(["input", second])
    np.testing.assert_array_equal(tensors["input"], matrices.inputs[:, :20])
    np.testing.assert_array_equal(tensors[second], matrices.outputs[:, :20])
    assert results["parameters"] == sum(tensor.size for tensor in tensors.values())
    assert Vocabulary.load(tmp_path).words == text.vocabulary.words


def test_progress_is_told_during_long_training(monkeypatch):
    from polysemy.models import schedule

    monkeypatch.setattr(schedule, "REPORT_SECONDS", 0.01)
    text, told = random_text(), []
    trained(SMALL.replace(epochs=100_000), text, stop=lambda: len(told) >= 4, told=told)
    assert [progress.words for progress in told] == sorted(progress.words for progress in told)
    assert told[0].loss is not None
    assert 0 <= told[0].done <= told[-1].done <= 1


def test_the_sampled_loss_is_the_losses_mean_at_its_places():
    text = random_text(words=12)
    for changes in KINDS:
        config = SMALL.replace(**changes)
        matrices, _ = trained(config, text)
        matrices.outputs[:, :20] += np.random.default_rng(3).normal(size=(len(matrices.outputs), 20))
        loss, total = SampledLoss(config, text.tokens, matrices, 1), 0.0
        for n, (word, context) in enumerate(zip(loss.targets, loss.contexts, strict=True)):
            h = matrices.inputs[context].mean(0)
            if matrices.tree is not None:
                for at in range(matrices.tree.starts[word], matrices.tree.starts[word + 1]):
                    score = matrices.outputs[matrices.tree.nodes[at]] @ h
                    total += np.log1p(np.exp(-score if matrices.tree.codes[at] == 0 else score))
            elif matrices.table is not None:
                total += np.log1p(np.exp(-matrices.outputs[word] @ h))
                total += sum(np.log1p(np.exp(matrices.outputs[k] @ h)) for k in loss.negatives[n] if k != word)
            else:
                total += np.log(np.exp(matrices.outputs @ h).sum()) - matrices.outputs[word] @ h
        assert loss() == pytest.approx(total / len(loss.contexts), rel=1e-4)
        assert len(loss.contexts) > 50


def test_what_cannot_be_trained_is_refused():
    text = random_text()
    with pytest.raises(InputError, match="threads must be at least 1, got 0"):
        trained(SMALL, text, threads=0)
    with pytest.raises(InputError, match="training text must hold words of the vocabulary, got none"):
        trained(SMALL, type(text)(np.full(3, -1, np.int32), text.vocabulary))
    with pytest.raises(InputError, match="loss must be negative or hierarchical for more than 5,000 words"):
        begin(SMALL.replace(loss="softmax"), np.ones(5001, np.int64), 1)
    lonely = encoded([[0], [0]], ["a"])
    with pytest.raises(InputError, match="at least 2 words for hierarchical softmax"):
        trained(SMALL.replace(loss="hierarchical"), lonely)
    matrices, results = trained(SMALL, lonely)  # nothing beside it: nothing to learn
    assert results["loss"] is None
    assert not matrices.outputs.any()


def test_vectors_begin_within_the_range_and_outputs_at_zero():
    counts = random_text().vocabulary.counts
    for most in (0.5, 1.0):
        matrices = begin(SMALL.replace(initial_range=most), counts, 1)
        assert 0.95 * most / 20 < np.abs(matrices.inputs).max() <= most / 20
        assert abs(matrices.inputs[:, :20].mean()) < 0.1 * most / 20
        assert not matrices.outputs.any()


def test_a_read_only_text_on_disk_is_enough(tmp_path):
    text = random_text()
    np.save(tmp_path / "tokens.npy", text.tokens)
    mapped = type(text)(np.load(tmp_path / "tokens.npy", mmap_mode="r"), text.vocabulary)
    np.testing.assert_array_equal(trained(SMALL, mapped)[0].inputs, trained(SMALL, text)[0].inputs)
    assert step_for(SMALL, text.vocabulary.counts, begin(SMALL, text.vocabulary.counts, 1)) is not None
