"""Fine-tuning: what a run leaves, that it learns, goes on after a stop bit for bit, and refuses what it should."""
from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import polysemy
from polysemy.artifact import load_tensors, read_json
from polysemy.errors import InputError
from polysemy.evaluation.task_metrics import task_metrics
from polysemy.models import bert
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.tasks import Classify, Embed
from polysemy.text.labeled import Example, Examples, Tagged, read_examples
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.training.fine_tuning_config import FineTuningConfig
from polysemy.training.fine_tuning_run import Judge
from polysemy.training.fine_tuning_start import split_dev, task_for
from polysemy.training.finetune import finetune
from polysemy.training.outcome import InterruptError

THINGS = ("river", "bank", "house", "garden", "street", "window", "teacher", "doctor", "winter", "summer")
VERBS = {"good": ("loves", "likes", "enjoys"), "bad": ("hates", "dislikes", "despises")}
ITEMS = tuple(Example(f"she {verb} the {thing}", None, label, 0) for thing in THINGS
              for label, verbs in VERBS.items() for verb in verbs)
TRAIN, DEV = (Examples(ITEMS[:48], "classify", "train"), Examples(ITEMS[48:], "classify", "dev"))
TASK = Classify(labels=("bad", "good"))
SMALL = FineTuningConfig(epochs=3, batch_size=8, learning_rate=3e-3, dtype="float32")


def accuracy(task: Any, predictions: Sequence[Any], examples: Iterable[Any]) -> dict[str, float]:
    right = [one.label == item.label for one, item in zip(predictions, examples, strict=True)]
    return {"accuracy": sum(right) / len(right)}


JUDGE = Judge(accuracy, "accuracy")
tune = functools.partial(finetune, judge=JUDGE, device="cpu")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained BERT of two layers that knows all words."""
    texts = [item.text for item in ITEMS]
    tokenizer = Tokenizer.train(texts, TokenizerConfig(kind="wordpiece", vocab_size=340, min_frequency=1))
    config = bert.configure("tiny", "paper")
    config = config.replace(model=config.model.replace(
        embedding=config.model.embedding.replace(vocab_size=tokenizer.vocab_size),
        transformer=config.model.transformer.replace(
            initializer="xavier", hidden_size=32, num_heads=2, intermediate_size=48, num_layers=2)),
        training=config.training.replace(length=48))
    folder = tmp_path_factory.mktemp("start") / "bert"
    write_run(folder, PretrainingModel(config.model, config.heads, seed=1), tokenizer, config)
    return folder


@pytest.fixture(scope="module")
def tuned(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "run"
    tune(start, TASK, TRAIN, DEV, folder, SMALL.replace(epochs=8))
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "model.safetensors")


def test_a_fine_tuned_folder_predicts_what_it_learned(tuned: Path) -> None:
    model = polysemy.load(tuned)
    results = read_json(tuned / "config.json")["results"]
    found = accuracy(TASK, model.predict([item.text for item in DEV]), DEV)
    assert found["accuracy"] == results["score"] == results["metrics"]["accuracy"] > 0.8
    assert results["epoch"] == next(row["epoch"] for row in results["epochs"]
                                    if row["score"] == max(row["score"] for row in results["epochs"]))
    assert not (tuned / "checkpoints").exists()
    assert "accuracy" in (tuned / "README.md").read_text()
    assert len((tuned / "metrics.jsonl").read_text().splitlines()) == results["step"] == 48


def test_predictions_read_as_much_of_a_long_text_as_was_learned_from(start: Path, tmp_path: Path) -> None:
    """What stands behind the length of the run would else change answers, and dev could not be judged again."""
    long = replace(DEV, items=tuple(replace(item, text=f"{item.text} {'river hates street ' * 8}") for item in DEV))
    results = tune(start, TASK, TRAIN, long, tmp_path / "run", SMALL.replace(epochs=2, length=9))
    model = polysemy.load(tmp_path / "run")
    assert model.rows_of(long).lengths.max() == 9 < model.length
    assert accuracy(TASK, model.predict_examples(long), long) == results["metrics"]
    (tmp_path / "run" / "config.json").write_text(
        (tmp_path / "run" / "config.json").read_text().replace('"length": 9,\n  "fine', '"length": "x",\n  "fine'))
    with pytest.raises(InputError, match="length must be a number of tokens from 1 on, got 'x'"):
        polysemy.load(tmp_path / "run")


def test_examples_without_a_label_are_refused_before_anything_is_written(start: Path, tmp_path: Path) -> None:
    some = replace(TRAIN, items=(*TRAIN.items, Example("she", None, None, 9)))
    with pytest.raises(InputError, match="train must have labels in all rows, got 1 without"):
        tune(start, TASK, some, DEV, tmp_path / "run", SMALL)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_run_again_and_no_other_takes_its_place(start: Path, tuned: Path) -> None:
    before = (tuned / "config.json").stat().st_mtime_ns
    again = tune(start, TASK, TRAIN, DEV, tuned, SMALL.replace(epochs=8))
    assert again == read_json(tuned / "config.json")["results"]
    assert (tuned / "config.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"learning_rate must be 0\.003 as in the run"):
        tune(start, TASK, TRAIN, DEV, tuned, SMALL.replace(epochs=8, learning_rate=1e-3))
    with pytest.raises(InputError, match="examples must be that"):
        tune(start, TASK, DEV, TRAIN, tuned, SMALL.replace(epochs=8))


@pytest.mark.parametrize("changes", [{}, {"gradual": True, "layer_decay": 0.8, "epochs": 4},
                                     {"seeds": 2, "epochs": 2}])
def test_a_run_that_is_stopped_goes_on_bit_for_bit(start: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = SMALL.replace(**changes)
    whole = tune(start, TASK, TRAIN, DEV, tmp_path / "whole", config)
    stops = (3, 10, 5 if config.seeds > 1 else 14)

    def stop(step: Any, at: list[int]) -> None:
        if step.number == at[0]:
            at[0] = -1
            os.kill(os.getpid(), signal.SIGINT)

    for at in stops:
        with pytest.raises(InterruptError, match="saved; go on with the same command"):
            tune(start, TASK, TRAIN, DEV, tmp_path / "parts", config, progress=functools.partial(stop, at=[at]))
    told: list[str] = []
    parts = tune(start, TASK, TRAIN, DEV, tmp_path / "parts", config, tell=told.append)
    assert f"goes on after step {stops[-1] if config.seeds == 1 else 5}" in told
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert [row["score"] for row in parts["epochs"]] == [row["score"] for row in whole["epochs"]]
    assert parts["seeds"][0]["score"] == whole["seeds"][0]["score"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_frozen_layers_come_out_bit_for_bit_as_they_went_in(start: Path, tmp_path: Path, dtype: str) -> None:
    tune(start, TASK, TRAIN, DEV, tmp_path / "run", SMALL.replace(freeze=1, epochs=1, dtype=dtype))
    before, after = weights(start), weights(tmp_path / "run")
    frozen = [name for name in after if name.startswith(("body.embedding", "body.transformer.attention.0",
                                                         "body.transformer.feed_forward.0"))]
    assert len(frozen) > 10
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    above = "body.transformer.attention.1.inner.qkv.weight"
    assert not torch.equal(before[above], after[above])


def test_gradual_unfreezing_moves_a_layer_more_in_each_epoch(start: Path, tmp_path: Path) -> None:
    names = {"body.transformer.attention.1.inner.qkv.weight": 2, "body.transformer.attention.0.inner.qkv.weight": 3,
             "body.embedding.token.weight": 4}
    before = weights(start)
    for epochs in (1, 2, 3):
        folder, told = tmp_path / str(epochs), list[str]()
        # without a judge the last epoch is kept
        tune(start, TASK, TRAIN, DEV, folder, SMALL.replace(gradual=True, epochs=epochs), judge=None, tell=told.append)
        assert any("in epoch 4, after the last; use --epochs 4" in line for line in told)
        after = weights(folder)
        for name, epoch in names.items():
            assert torch.equal(before[name], after[name]) == (epoch > epochs), (name, epochs)


def test_reused_layers_come_from_the_model_and_the_rest_is_fresh(start: Path, tmp_path: Path) -> None:
    before = weights(start)
    low, high = "body.transformer.attention.0.inner.qkv.weight", "body.transformer.attention.1.inner.qkv.weight"
    tiny = SMALL.replace(steps=1, epochs=None, learning_rate=1e-12)
    for name, changes in (("reuse", {"reuse_layers": 1}), ("reinit", {"reinit": 1})):
        tune(start, TASK, TRAIN, DEV, tmp_path / name, tiny.replace(**changes))
        after = weights(tmp_path / name)
        assert torch.allclose(before[low], after[low], atol=1e-6)
        assert not torch.allclose(before[high], after[high], atol=1e-2)
    for name in ("reuse", "reinit"):
        assert torch.allclose(weights(tmp_path / "reuse")[high], weights(tmp_path / name)[high], atol=1e-6)
    with pytest.raises(InputError, match=r"reuse_layers must be 0\.\.2"):
        tune(start, TASK, TRAIN, DEV, tmp_path / "many", SMALL.replace(reuse_layers=3))


def test_the_same_labels_keep_their_head_and_others_get_a_new_one(tuned: Path, tmp_path: Path) -> None:
    told: list[str] = []
    tiny = SMALL.replace(steps=1, epochs=None, learning_rate=1e-12)
    shuffled = Classify(labels=("good", "bad"))
    results = tune(tuned, shuffled, TRAIN, DEV, tmp_path / "same", tiny, tell=told.append)
    assert any("goes on" in line for line in told)
    assert results["score"] == read_json(tuned / "config.json")["results"]["score"]
    assert polysemy.load(tmp_path / "same").task.labels == ("bad", "good")

    renamed = {"good": "yes", "bad": "no"}
    train, dev = (replace(part, items=tuple(replace(item, label=renamed[item.label]) for item in part))
                  for part in (TRAIN, DEV))
    told.clear()
    tune(tuned, Classify(labels=("no", "yes")), train, dev, tmp_path / "other", tiny, tell=told.append)
    assert any("replaced by a new one" in line for line in told)
    assert not torch.equal(weights(tuned)["head.output.weight"], weights(tmp_path / "other")["head.output.weight"])


def test_without_dev_a_tenth_is_held_out_and_no_text_is_on_both_sides(start: Path, tmp_path: Path) -> None:
    twice = Examples(TRAIN.items * 2, "classify", "train")
    rest, dev = split_dev(twice)
    assert dev is not None
    assert split_dev(twice)[1] == dev
    assert 0.05 < len(dev) / len(twice) <= 0.2
    assert not {item.text for item in rest} & {item.text for item in dev}
    told: list[str] = []
    results = tune(start, TASK, TRAIN, None, tmp_path / "run", SMALL.replace(epochs=1), tell=told.append)
    assert results["dev_examples"] > 0
    assert any("held out" in line for line in told)


def test_of_several_seeds_the_best_is_kept(start: Path, tmp_path: Path) -> None:
    results = tune(start, TASK, TRAIN, DEV, tmp_path / "run", SMALL.replace(seeds=3, epochs=2), seed=5)
    scores = [one["score"] for one in results["seeds"]]
    assert [one["seed"] for one in results["seeds"]] == [5, 6, 7]
    assert results["score"] == max(scores)
    assert results["median"] == sorted(scores)[1]
    alone = tune(start, TASK, TRAIN, DEV, tmp_path / "alone", SMALL.replace(epochs=2), seed=results["seed"])
    assert alone["score"] == max(scores)
    assert all(torch.equal(tensor, weights(tmp_path / "alone")[name])
               for name, tensor in weights(tmp_path / "run").items())


def test_patience_ends_a_run_that_no_longer_gets_better(start: Path, tmp_path: Path) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9, 0.9])
    judge = Judge(lambda task, predictions, examples: {"accuracy": next(scores)}, "accuracy")
    results = tune(start, TASK, TRAIN, DEV, tmp_path / "run", SMALL.replace(epochs=6, patience=2), judge=judge)
    assert [row["score"] for row in results["epochs"]] == [0.5, 0.7, 0.6, 0.6]
    assert results["epoch"] == 2


def test_balanced_weights_find_the_rare_label(start: Path, tmp_path: Path) -> None:
    bad = [item for item in TRAIN if item.label == "bad"]
    skewed = Examples(tuple(bad * 6 + [item for item in TRAIN if item.label == "good"]), "classify", "skewed")
    config = SMALL.replace(epochs=1, class_weights="balanced")
    answers = {}
    for name in ("none", "balanced"):
        tune(start, TASK, skewed, DEV, tmp_path / name, config.replace(class_weights=name))
        model = polysemy.load(tmp_path / name)
        answers[name] = sum(one.probabilities["good"] for one in model.predict([item.text for item in DEV]))
    assert answers["balanced"] > answers["none"]


@pytest.mark.parametrize("kind", ["pair", "regress", "tag"])
def test_every_kind_of_task_learns_by_the_same_loop(start: Path, tmp_path: Path, kind: str) -> None:
    if kind == "tag":
        items: tuple[Any, ...] = tuple(Tagged(tuple(item.text.split()), ("O", item.label, "O", "O"), 0)
                                       for item in ITEMS)
    else:
        value = {"good": 1.0, "bad": 0.0} if kind == "regress" else {"good": "good", "bad": "bad"}
        items = tuple(Example(item.text, "she likes it" if kind == "pair" else None, value[item.label], 0)
                      for item in ITEMS)
    train, dev = Examples(items[:48], kind, "train"), Examples(items[48:], kind, "dev")
    judge = Judge(lambda task, predictions, examples: {"count": len(predictions)}, "count")
    task = task_for(kind, train, dev)
    results = tune(start, task, train, dev, tmp_path / "run", SMALL.replace(epochs=5), judge=judge)
    losses = [row["loss"] for row in results["epochs"]]
    assert losses[-1] < 0.9 * losses[0]
    assert results["metrics"] == {"count": 12}


def test_the_threshold_of_no_answer_is_tuned_on_dev_and_kept(start: Path, tmp_path: Path) -> None:
    content = {"data": [{"paragraphs": [{"context": "she loves the river and the bank", "qas": [
        {"id": str(number), "question": f"what does she love {number}", "is_impossible": number % 2 == 1,
         "answers": [{"text": "river", "answer_start": 14}]} for number in range(8)]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(content))
    train = read_examples(tmp_path / "squad.json", "span")
    task = task_for("span", train)
    results = finetune(start, task, train, train, tmp_path / "out", FineTuningConfig(steps=2, dtype="float32"),
                       judge=Judge(task_metrics, "f1"), device="cpu")
    kept = polysemy.load(tmp_path / "out")
    assert kept.task.threshold == read_json(tmp_path / "out" / "config.json")["task"]["threshold"] != 0.0
    found = task_metrics(kept.task, kept.predict_examples(train), train)
    assert all(row["score"] == row["scores"]["best_f1"] >= row["scores"]["f1"] for row in results["epochs"])
    assert found["f1"] == found["best_f1"] == results["metrics"]["f1"] >= 0.5


def test_what_cannot_be_trained_is_one_clear_line(start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train_embedder"):
        tune(start, Embed(), TRAIN, DEV, tmp_path / "run", SMALL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"new, empty or hold a run .*notes\.txt"):
        tune(start, TASK, TRAIN, DEV, tmp_path / "full", SMALL)
    with pytest.raises(InputError, match="budget must be one of epochs, steps or minutes"):
        FineTuningConfig(epochs=1, steps=3)
    with pytest.raises(InputError, match="at least two to be learned"):
        task_for("classify", Examples(tuple(item for item in ITEMS if item.label == "bad"), "classify", "one"))
    told: list[str] = []
    with pytest.raises(InputError, match="length must be at most 48, the tokens that this model reads at once, got 49"):
        tune(start, TASK, TRAIN, DEV, tmp_path / "run", SMALL.replace(length=49), tell=told.append)
    with pytest.raises(InputError, match="length must be at least 3"):
        tune(start, TASK, TRAIN, DEV, tmp_path / "run", SMALL.replace(length=2), tell=told.append)
    assert told == []
    with pytest.raises(InputError, match="--task must be classify for single texts"):
        task_for("pair", TRAIN)
    assert not (tmp_path / "run").exists()
