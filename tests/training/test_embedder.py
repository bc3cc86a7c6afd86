"""Training a sentence embedder: what a run leaves, resumes, refuses, and that it learns."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polysemy
from polysemy.artifact import load_tensors, read_json
from polysemy.errors import InputError
from polysemy.evaluation.sentence_similarity import judge_of
from polysemy.models import bert, gpt
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.text.sentence_examples import SentenceExamples, from_documents, read_training
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.training.embedder import EmbedderConfig, train_embedder
from polysemy.training.outcome import InterruptError

THINGS = ("river", "bank", "house", "garden", "street", "window", "teacher", "doctor", "winter", "summer")
LIKED = ("loves", "likes", "enjoys"), ("hates", "dislikes", "despises")
TEXTS = [f"she {verb} the {thing}" for verbs in LIKED for thing in THINGS for verb in verbs]
SMALL = EmbedderConfig(epochs=4, batch_size=8, learning_rate=3e-3, length=16, dtype="float32")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained encoder of 32 numbers that knows all words."""
    return run_folder(tmp_path_factory.mktemp("start") / "bert", "bert")


def run_folder(folder: Path, recipe: str) -> Path:
    kind: Any = "wordpiece" if recipe == "bert" else "bytebpe"
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(kind=kind, vocab_size=340, min_frequency=1))
    config = {"bert": bert, "gpt": gpt}[recipe].configure("tiny", "paper")
    sizes = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "num_layers": 1}
    config = config.replace(model=config.model.replace(
        embedding=config.model.embedding.replace(vocab_size=tokenizer.vocab_size),
        transformer=config.model.transformer.replace(initializer="xavier", **sizes)),
        training=config.training.replace(length=48))
    write_run(folder, PretrainingModel(config.model, config.heads, seed=1), tokenizer, config)
    return folder


def same_meaning() -> SentenceExamples:
    """Each text with the next of its kind, whose verb is another."""
    n = len(TEXTS)
    second = [i - i % 3 + (i + 1) % 3 for i in range(n)]
    return SentenceExamples(tuple(TEXTS), np.stack([np.arange(n), second, np.full(n, -1)], 1).astype(np.int64))


def scored() -> SentenceExamples:
    """Texts of the same words but for the verb: 1 where it means the same, 0 where the opposite."""
    half = len(TEXTS) // 2
    alike = [(i, i - i % 3 + (i + 1) % 3, -1) for i in range(0, len(TEXTS), 2)]
    unlike = [(i, i + half, -1) for i in range(half)]
    scores = np.array([1.0] * len(alike) + [0.0] * len(unlike), np.float32)
    return SentenceExamples(tuple(TEXTS), np.array(alike + unlike, np.int64), scores, "scored pairs")


def test_pairs_teach_which_texts_mean_the_same(start: Path, tmp_path: Path) -> None:
    results = train_embedder(start, same_meaning(), tmp_path / "run", SMALL, judge=judge_of(scored()))
    assert results["scores"]["spearman"] > max(results["before"]["spearman"], 0.6)
    model = polysemy.load(tmp_path / "run")
    vectors = model.embed(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert judge_of(scored())(model)["spearman"] == pytest.approx(results["scores"]["spearman"], abs=1e-6)


def test_the_folder_is_whole_and_says_its_task(start: Path, tmp_path: Path) -> None:
    config = SMALL.replace(epochs=1, prefixes=(8, 16), dimensions=16, pooling="cls")
    train_embedder(start, same_meaning(), tmp_path / "run", config)
    told = read_json(tmp_path / "run" / "config.json")
    assert told["task"] == {"kind": "Embed", "pooling": "cls", "normalize": True, "dimensions": 16, "temperature": 0.05}
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"README.md", "metrics.jsonl", "model.safetensors"}
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert all(name.startswith("body.") for name in load_tensors(tmp_path / "run" / "model.safetensors"))
    model = polysemy.load(tmp_path / "run")
    assert model.embed(TEXTS[:3]).shape == (3, 16)
    whole = model.embed(TEXTS[:3], dimensions=32, normalize=False)
    cut = whole[:, :16] / np.linalg.norm(whole[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(model.embed(TEXTS[:3]), cut, atol=1e-6)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))  # 60 pairs in batches of 8


def test_the_best_epoch_is_kept(start: Path, tmp_path: Path) -> None:
    scores = iter([0.1, 0.2, 0.9, 0.3, 0.4])

    def judge(model: Any) -> Mapping[str, float]:
        return {"spearman": next(scores)}

    results = train_embedder(start, same_meaning(), tmp_path / "run", SMALL, judge=judge)
    assert results["kept_step"] == 16  # the second epoch of 8 steps
    assert results["before"] == {"spearman": 0.1}
    assert results["scores"] == {"spearman": 0.9}


@pytest.mark.parametrize("loss", ["cosent", "cosine"])
def test_scores_teach_how_alike_texts_are(start: Path, tmp_path: Path, loss: Any) -> None:
    results = train_embedder(start, scored(), tmp_path / "run", SMALL.replace(loss=loss), judge=judge_of(scored()))
    assert results["scores"]["spearman"] > 0.8


def test_twins_need_dropout_and_get_it(start: Path, tmp_path: Path) -> None:
    sentences = from_documents([". ".join(text.capitalize() for text in TEXTS) + "."])
    assert sentences.source == "twins"
    assert (sentences.pairs[:, 0] == sentences.pairs[:, 1]).all()
    results = train_embedder(start, sentences, tmp_path / "run", SMALL.replace(epochs=1))
    assert results["loss"] > 0
    with pytest.raises(InputError, match="dropout must be above 0 to learn from twins, got 0"):
        train_embedder(start, sentences, tmp_path / "other", SMALL.replace(dropout=0.0))
    assert not (tmp_path / "other").exists()


def test_a_stopped_run_ends_with_the_same_weights(start: Path, tmp_path: Path) -> None:
    import os
    import signal

    train_embedder(start, same_meaning(), tmp_path / "whole", SMALL, seed=3)

    def stop(step: Any) -> None:
        if step.number == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptError, match="stopped after step 5 and saved"):
        train_embedder(start, same_meaning(), tmp_path / "run", SMALL, seed=3, progress=stop)
    assert not (tmp_path / "run" / "config.json").exists()
    with pytest.raises(InputError, match="text must be the one that the run in"):
        train_embedder(start, scored(), tmp_path / "run", SMALL, seed=3)
    train_embedder(start, same_meaning(), tmp_path / "run", SMALL, seed=3)
    wanted, found = (load_tensors(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    for name, tensor in wanted.items():
        assert found[name].equal(tensor), name


def test_a_finished_run_is_not_run_again_and_other_texts_are_refused(start: Path, tmp_path: Path) -> None:
    told: list[str] = []
    config, out = SMALL.replace(epochs=1), tmp_path / "run"
    results = train_embedder(start, same_meaning(), out, config, device="cpu", tell=told.append)
    assert train_embedder(start, same_meaning(), out, config, device="cpu", tell=told.append) == results
    assert told == ["learning rate 0.003, 8 pairs a step, 1 epoch", f"{out} is done"]
    with pytest.raises(InputError, match=r"epochs must be 1\.0 as in the run"):
        train_embedder(start, same_meaning(), out, config.replace(epochs=2), device="cpu")
    with pytest.raises(InputError, match="text must be that of the run"):
        train_embedder(start, scored(), out, config, device="cpu")


def test_models_that_read_from_left_to_right_give_their_last_token(tmp_path: Path) -> None:
    train_embedder(run_folder(tmp_path / "gpt", "gpt"), same_meaning(), tmp_path / "run", SMALL.replace(epochs=1))
    model = polysemy.load(tmp_path / "run")
    assert model.task.pooling == "last"
    np.testing.assert_allclose(model.embed(TEXTS), model.embed(TEXTS[::-1], batch_size=2)[::-1], atol=2e-5)


def test_an_embedder_is_trained_on(start: Path, tmp_path: Path) -> None:
    config = SMALL.replace(epochs=1, pooling="cls", dimensions=8)
    train_embedder(start, same_meaning(), tmp_path / "one", config)
    first = polysemy.load(tmp_path / "one").embed(TEXTS, dimensions=32)
    results = train_embedder(tmp_path / "one", scored(), tmp_path / "two", SMALL, judge=judge_of(scored()))
    model = polysemy.load(tmp_path / "two")
    assert (model.task.pooling, model.task.dimensions) == ("cls", None)
    assert not np.allclose(model.embed(TEXTS), first, atol=1e-3)
    wanted = judge_of(scored())(Fixed(first))
    assert results["before"]["spearman"] == pytest.approx(wanted["spearman"], abs=1e-6)


class Fixed:
    """A model that knows the vectors of TEXTS by heart."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def embed(self, texts: list[str]) -> np.ndarray:
        return self.vectors[[TEXTS.index(text) for text in texts]]


def test_word_vectors_begin_as_the_control_that_they_are(tmp_path: Path) -> None:
    from polysemy.models.imported_vectors import import_vectors

    words = sorted({word for text in TEXTS for word in text.split()})
    numbers = np.random.default_rng(0).normal(size=(len(words), 6)) * np.arange(1, len(words) + 1)[:, None]
    lines = [f"{word} {' '.join(f'{x:.6f}' for x in row)}" for word, row in zip(words, numbers, strict=True)]
    (tmp_path / "words.txt").write_text("\n".join(lines) + "\n")
    import_vectors(tmp_path / "words.txt", tmp_path / "words", "glove")
    control = judge_of(scored())(polysemy.load(tmp_path / "words"))
    results = train_embedder(tmp_path / "words", scored(), tmp_path / "run", SMALL, judge=judge_of(scored()))
    assert results["before"]["spearman"] == pytest.approx(control["spearman"], abs=1e-6)
    assert results["scores"]["spearman"] > control["spearman"]
    assert polysemy.load(tmp_path / "run").embed(["she loves zebras", "zebras"])[1].tolist() == [0.0] * 6


def test_bad_wishes_are_refused_before_anything_is_written(start: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for config, data, message in (
            (SMALL.replace(loss="cosent"), same_meaning(), "loss cosent must be learned from pairs with scores"),
            (SMALL.replace(loss="softmax"), scored(), "loss softmax must be learned from pairs that belong together"),
            (SMALL.replace(prefixes=(64,)), same_meaning(), "prefixes must be at most the 32 numbers of a vector"),
            (SMALL.replace(length=49), same_meaning(), "length must be at most 48, the tokens that this model reads"),
            (SMALL.replace(length=2), same_meaning(), "length must be above 2 special tokens, got 2")):
        with pytest.raises(InputError, match=message):
            train_embedder(start, data, out, config)
    assert not out.exists()
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="output folder must be new, empty or hold a run"):
        train_embedder(start, same_meaning(), out, SMALL)


def test_files_say_what_they_are_read_as(tmp_path: Path) -> None:
    def read(name: str, text: str, **options: Any) -> SentenceExamples:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_training(tmp_path / name, **options)

    pairs = read("pairs.tsv", "anchor\tpositive\tnegative\na cat\ta feline\ta dog\nrain\twet weather\tsun shine\n")
    assert pairs.source == "pairs"
    assert [pairs.texts[i] for i in pairs.pairs[1]] == ["rain", "wet weather", "sun shine"]
    assert pairs.notes[0].endswith("2 examples, text = 'anchor', pair = 'positive', negative = 'negative'")
    sts = read("sts.tsv", "index\tsentence1\tsentence2\tscore\n1\ta cat\ta feline\t5\n2\ta cat\train\t0\n3\tx\ty\t2.5")
    assert sts.source == "scored pairs"
    assert sts.scores is not None
    assert sts.scores.tolist() == [1.0, 0.0, 0.5]
    indexed = read("index.tsv", "index\tsentence1\tsentence2\n1\ta cat\ta feline\n2\train\twet weather\n")
    assert (indexed.source, len(indexed)) == ("pairs", 2)
    text = "The river was slow and green. No. It ran past the old house. 她去银行取钱。我喜欢在河边看书。\n"
    twins = read("corpus.txt", text)
    assert (twins.source, len(twins)) == ("twins", 4)
    adjacent = read("corpus.txt", text, making="adjacent")
    assert adjacent.source == "adjacent sentences"
    assert adjacent.pairs[:, :2].tolist() == [[1, 2], [2, 3]]  # what is too short stands between the first two
