"""GloVe from text to folder and back."""
from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from polysemy.artifact import finish
from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.models.glove import GloveConfig, configure
from polysemy.models.glove.fit import fit
from polysemy.models.glove.model import GloveModel
from polysemy.models.progress import Progress
from polysemy.runtime import random_for
from polysemy.text.encoded import EncodedText
from polysemy.text.vocabulary import Vocabulary, WordConfig

TOPICS, WORDS_A_TOPIC = 6, 12


def topics() -> EncodedText:
    """Lines of ten words, most from one topic: what stands together has a cause, and all words meet at times."""
    random = random_for("glove world")
    lines = []
    for _ in range(3000):
        topic = random.integers(TOPICS)
        words = np.where(random.random(10) < 0.7, topic * WORDS_A_TOPIC + random.integers(0, WORDS_A_TOPIC, 10),
                         random.integers(0, TOPICS * WORDS_A_TOPIC + 8, 10))
        lines.append(np.append(words, -1))
    tokens = np.concatenate(lines).astype(np.int32)
    words = [f"t{i // WORDS_A_TOPIC}w{i}" for i in range(TOPICS * WORDS_A_TOPIC)] + [f"all{i}" for i in range(8)]
    counts = np.bincount(tokens[tokens >= 0], minlength=len(words))
    return EncodedText(tokens, Vocabulary(words, counts, WordConfig(min_count=1, tokens="space"), int(counts.sum())))


def trained(folder: Path, config: GloveConfig, text: EncodedText | None = None, **more) -> dict:
    folder.mkdir()
    options = {"seed": 1, "threads": 1, "report": lambda progress: None, "stop": lambda: False} | more
    results = fit(config, text or topics(), folder, **options)
    finish(folder, {"recipe": "glove", "config": config.to_dict()})
    return results


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> GloveModel:
    folder = tmp_path_factory.mktemp("glove") / "run"
    results = trained(folder, GloveConfig(size=16, epochs=30, window=5))
    assert results["epochs"] == 30
    assert results["losses"][-1] < 0.5 * results["losses"][0]
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.safetensors", "vocabulary.json", "vocabulary.tsv"]
    return GloveModel.load(folder)


def test_words_of_a_topic_are_near_each_other(model):
    units = model.vectors / np.linalg.norm(model.vectors, axis=1, keepdims=True)
    cosines = (units @ units.T)[: TOPICS * WORDS_A_TOPIC, : TOPICS * WORDS_A_TOPIC]
    topic = np.arange(TOPICS * WORDS_A_TOPIC) // WORDS_A_TOPIC
    same = (topic[:, None] == topic) & ~np.eye(len(topic), dtype=bool)
    assert cosines[same].min() > cosines[topic[:, None] != topic].max()
    assert all(word.startswith("t3") for word, _ in model.most_similar("t3w40", topn=11))


def test_vectors_are_the_sum_of_both_matrices(model):
    assert np.array_equal(model["t0w0"], model.inputs[0] + model.outputs[0])


def test_words_and_contexts_learn_the_same(model):
    """The counts are symmetric, so W and W~ differ by their beginning alone."""
    inputs, outputs = (matrix @ matrix.T for matrix in (model.inputs, model.outputs))
    upper = np.triu_indices(len(inputs), 1)
    assert np.corrcoef(inputs[upper], outputs[upper])[0, 1] > 0.9


def test_log_counts_are_near_those_of_the_text(model):
    from polysemy.models.glove.counting import count_pairs

    counts = count_pairs(topics().tokens, len(model), window=5)
    assert np.allclose(model.totals[:5], [counts.row(word).sum() for word in range(5)], rtol=1e-5)
    row = counts.row(3)
    near = np.flatnonzero(row > 10)
    assert np.corrcoef(model.log_counts([3], near)[0], np.log(row[near]))[0, 1] > 0.95


def test_cloze_prefers_the_topic_of_the_context_and_puts_unknown_words_last(model):
    item = ClozeItem(left="t2w25 all1 t2w26 ", right=" t2w30 t2w31",
                     candidates=("t2w28", "t4w50", "t0w1", "never", "two words"))
    scores = model.cloze_scores([item, item])
    assert scores.shape == (2, 5)
    assert scores[0].argmax() == 0
    assert scores[0, 3] == scores[0, 4] == scores[0, :3].min() - 1
    ids = [model.key_to_index[w] for w in ("t2w25", "all1", "t2w26", "t2w30", "t2w31")]
    word = model.key_to_index["t4w50"]
    expected = model.log_counts([word], ids).sum() - 5 * math.log(model.totals[word])
    assert scores[0, 1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("algorithm", ["fast", "plain"])
def test_the_same_seed_gives_the_same_files(tmp_path, algorithm):
    config = GloveConfig(size=8, epochs=2, algorithm=algorithm)
    for name in ("a", "b"):
        trained(tmp_path / name, config)
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b


def test_progress_is_reported_and_a_stop_keeps_what_was_learned(tmp_path):
    seen: list[Progress] = []
    asked = iter(range(10**9))
    results = trained(tmp_path / "run", GloveConfig(size=8, epochs=1000), report=seen.append,
                      stop=lambda: next(asked) > 40)
    assert results["stopped"]
    assert 0 < results["epochs"] < 1000
    assert seen[-1].done == 1
    assert seen[-1].loss == results["loss"]
    assert len(GloveModel.load(tmp_path / "run")) == len(topics().vocabulary)


def test_a_stop_while_counting_still_leaves_a_model(tmp_path):
    results = trained(tmp_path / "run", GloveConfig(size=8), stop=lambda: True)
    assert (results["stopped"], results["epochs"], results["loss"]) == (True, 0, None)
    assert len(GloveModel.load(tmp_path / "run")) == len(topics().vocabulary)


def test_a_budget_ends_training_beside_the_epochs(tmp_path):
    used = iter(np.linspace(0, 1, 60))
    results = trained(tmp_path / "run", GloveConfig(size=8, epochs=1000), limit=lambda: float(next(used, 1.0)))
    assert 5 < results["epochs"] < 60
    assert not results["stopped"]
    results = trained(tmp_path / "other", GloveConfig(size=8, epochs=3), limit=lambda: 0.0)
    assert results["epochs"] == 3


def test_counts_beyond_the_memory_limit_go_to_files_that_do_not_stay(tmp_path):
    results = trained(tmp_path / "run", GloveConfig(size=8, epochs=1, memory=1e-6))
    assert results["counts"] > 1000
    assert not list((tmp_path / "run").glob(".counts*"))


def test_wrong_settings_and_empty_text_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"x_max must be above 0 and up to 1e\+12, got 0"):
        GloveConfig(x_max=0)
    with pytest.raises(InputError, match="window must be 1 to 1,000, got 0"):
        GloveConfig(window=0)
    assert configure(preset="paper").size == 300
    assert GloveConfig.from_dict(configure().to_dict()) == configure()
    alone = topics()
    alone.tokens = np.array([0, -1, 1, -1], np.int32)
    with pytest.raises(InputError, match="must hold two words on a line"):
        trained(tmp_path / "run", GloveConfig(), alone)
