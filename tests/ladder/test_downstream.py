"""A task with labels for every rung: how it is cut, learned by counting and by tuning, compared, and advised by."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from polysemy.artifact import write_json
from polysemy.errors import InputError
from polysemy.ladder import downstream, run, rungs
from polysemy.ladder.builders import Built, Work
from polysemy.ladder.downstream import build_classifier, classifier_rung, compare_learned, learn_labels
from polysemy.ladder.labels import Labels, labels_of, read_task
from polysemy.ladder.recommend import recommend
from polysemy.ladder.run import run_ladder
from polysemy.ladder.rungs import RUNGS, Rung
from polysemy.ladder.settings import LadderConfig, purpose_and_task
from polysemy.ladder.study import summary
from polysemy.runtime import random_for
from polysemy.text.corpus import text_documents

from .small_text import documents

GOOD, BAD = ["fine", "good", "lovely", "bright", "warm"], ["poor", "bad", "awful", "dull", "cold"]
CONFIG = LadderConfig(size="tiny", quick=True, questions=150, minutes=0.01)


def reviews(count: int, seed: int = 0) -> str:
    """Rows of a label and four words; one word in four is of the other kind; 60 % are good."""
    random = random_for("reviews", seed)
    rows = []
    for _ in range(count):
        good = random.random() < 0.6
        words = [random.choice(GOOD if (random.random() < 0.75) == good else BAD) for _ in range(4)]
        rows.append(f"{' '.join(words)}\t{'up' if good else 'down'}")
    return "text\tlabel\n" + "\n".join(rows) + "\n"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.tsv"
    path.write_text(reviews(600))
    return path


def work_with(labels: Labels) -> Work:
    """What learning labels looks at."""
    none = cast(Any, None)
    return Work(split=none, text=none, items=none, minutes=0.2, clock="cpu", size="tiny", seed=0, unit="character",
                device="cpu", quick=True, tell=lambda line, passing: None, labels=labels)


def texts(part: Any) -> list[tuple[int, str]]:
    return [(one.row, one.text) for one in part]


def test_what_is_judged_by_teaches_nothing(task: Path) -> None:
    labels = read_task(str(task))
    parts = [texts(part) for part in (labels.train, labels.choose, labels.test)]
    assert [len(part) for part in parts] == [432, 48, 120]
    assert len(set().union(*parts)) == 600
    assert labels == read_task(str(task))
    assert texts(read_task(str(task), seed=1).test) != parts[2]


def test_a_file_of_its_own_is_judged_by_as_it_is(task: Path, tmp_path: Path) -> None:
    dev = tmp_path / "dev.tsv"
    dev.write_text(reviews(40, seed=1))
    labels = read_task(str(task), str(dev))
    assert (len(labels.test), len(labels.train) + len(labels.choose)) == (40, 600)


def test_a_task_needs_labels_and_enough_of_them(tmp_path: Path) -> None:
    scores, few = tmp_path / "scores.tsv", tmp_path / "few.tsv"
    scores.write_text("text\tscore\n" + "".join(f"number {n}\t{n / 7:.2f}\n" for n in range(90)))
    few.write_text(reviews(30))
    with pytest.raises(InputError, match="must have labels in a ladder, got scores"):
        read_task(str(scores))
    with pytest.raises(InputError, match="at least 50 texts"):
        read_task(str(few))


def test_the_most_frequent_label_is_the_floor(task: Path, tmp_path: Path) -> None:
    labels = read_task(str(task))
    found = learn_labels(work_with(labels), RUNGS["unigram"], tmp_path, tmp_path / "out")
    assert found["score"] == np.mean([label == "up" for label in labels_of(labels.test)])
    assert found["metrics"]["matthews"] == 0


@pytest.mark.parametrize("name", ["bigram", "ngram"])
def test_counting_learns_labels(name: str, task: Path, tmp_path: Path) -> None:
    found = learn_labels(work_with(read_task(str(task))), RUNGS[name], tmp_path, tmp_path / "out")
    assert found["score"] > 0.75
    assert found["counts"]
    assert found["interval"][0] < found["score"] < found["interval"][1]


def test_the_classifier_learns_from_the_labels_alone(task: Path, tmp_path: Path) -> None:
    work = work_with(read_task(str(task)))
    rung = classifier_rung(cast(Labels, work.labels))
    built = build_classifier(work, rung, tmp_path / "run")
    found = learn_labels(work, rung, tmp_path / "run", tmp_path / "out")
    assert found["score"] > 0.75
    assert rung.label == "fastText classifier"
    assert built.bytes
    assert rung.slug != rung.label  # another task has another folder


@pytest.mark.slow
def test_a_body_is_tuned_and_judged_by_texts_that_chose_nothing(task: Path, tmp_path: Path) -> None:
    from polysemy.models.bert import configure
    from polysemy.models.pretrained import PretrainingModel, write_run
    from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

    tokenizer = Tokenizer.train(documents(60), TokenizerConfig(vocab_size=400))
    config = configure("tiny", vocab_size=tokenizer.vocab_size)
    write_run(tmp_path / "run", PretrainingModel(config.model, config.heads, seed=0), tokenizer, config)
    found = learn_labels(work_with(read_task(str(task))), RUNGS["bert"], tmp_path / "run", tmp_path / "out")
    assert found["how"].startswith("fine-tuned")
    assert (tmp_path / "out" / "config.json").is_file()
    assert 0 < found["seconds"] < 60 * downstream.SHARE * 0.2 * 10


def test_pairs_of_rungs_are_compared_text_by_text() -> None:
    right = (random_for("right").random(400) < 0.8).astype(int)
    worse = np.where(random_for("worse").random(400) < 0.2, 0, right)
    first, second = ({"right": values.tolist()} for values in (right, worse))
    assert compare_learned(first, second)["verdict"] == "better"
    assert compare_learned(second, first)["verdict"] == "worse"
    assert compare_learned(first, first)["verdict"] == "tie"


def advised(**scores: float) -> dict[str, Any]:
    """The recommendation for labels where differences below 0.02 are ties; `counted` is a control that counts."""
    rows = [{"name": name, "label": name, "kind": "control" if name in ("unigram", "counted") else "trained",
             "milliseconds": 1.0, "bytes": 1e6, "downstream": {"score": score, "counts": name == "counted"}}
            for name, score in scores.items()]

    def compare(first: str, second: str) -> dict[str, Any]:
        gap = scores[first] - scores[second]
        return {"difference": gap, "interval": [gap - 0.02, gap + 0.02],
                "verdict": "tie" if abs(gap) < 0.02 else "better" if gap > 0 else "worse"}

    return recommend(rows, compare, purpose="classify")


def test_the_advice_for_labels_goes_by_the_labels() -> None:
    advice = advised(unigram=0.5, counted=0.8, bert=0.9, cbow=0.7)
    assert advice["choice"] == "bert"
    assert "90.0 % of unseen texts their label. The most frequent label alone: 50.0 %." in advice["lines"][0]["text"]


def test_who_does_not_beat_the_labels_alone_is_not_shipped() -> None:
    advice = advised(unigram=0.5, counted=0.89, bert=0.9)
    assert advice["choice"] is None
    assert "does not beat counted (89.0 %)" in advice["lines"][0]["text"]


def test_the_purpose_may_name_the_file() -> None:
    assert purpose_and_task(None) == ("fill", None)
    assert purpose_and_task("classify:a:b.tsv") == ("classify", "a:b.tsv")
    assert purpose_and_task("score", "a.tsv") == ("score", "a.tsv")
    with pytest.raises(InputError, match="one file"):
        purpose_and_task("classify:a.tsv", "b.tsv")
    with pytest.raises(InputError, match="must name a file of labeled texts"):
        LadderConfig(purpose="classify")
    with pytest.raises(InputError, match=r"purpose must be .* got 'guess'"):
        LadderConfig(purpose="guess")


BUILT: list[str] = []


class Longest:
    """Fills gaps with the longest word."""

    def cloze_scores(self, items: Any) -> np.ndarray:
        return np.array([[len(word) for word in item.candidates] for item in items], np.float64)


def build(work: Work, rung: Rung, folder: Path) -> Built:
    BUILT.append(rung.name)
    return Built(model=Longest(), seconds=0.5, bytes=1_000)


def learn(work: Work, rung: Rung, run: Path, out: Path) -> Any:
    """Knows the first half of the texts; `broken` knows nothing and says so."""
    if rung.name == "broken":
        raise RuntimeError("the loss was\nno number")
    gold = labels_of(downstream.labels_in(work).test)
    return downstream.Learned(answers=[*gold[::2], *["up"] * len(gold)][:len(gold)], seconds=1.0, how="by heart")


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    BUILT.clear()
    table = {name: RUNGS[name] for name in ("unigram", "bigram")}
    for name in ("first", "broken"):
        table[name] = Rung(name=name, kind="trained", build=f"{__name__}:build", recipe="bert", sees="s", costs="c",
                           good_for="g", learn=f"{__name__}:learn")
    monkeypatch.setattr(rungs, "RUNGS", table)
    monkeypatch.setattr(run, "controls_of", lambda *_: [{"name": "blind", "accuracy": 0.06, "passed": True}])
    monkeypatch.setattr(run, "models_for_controls", lambda *_: ({}, {}))


@pytest.mark.usefixtures("small_table")
def test_a_finished_ladder_takes_a_task_without_training_again(task: Path, tmp_path: Path) -> None:
    corpus, folder = text_documents(documents()), tmp_path / "study"
    run_ladder(corpus, folder, CONFIG)
    assert BUILT == ["first", "broken"]
    told: list[str] = []
    page = run_ladder(corpus, folder, CONFIG.replace(task=str(task), purpose="classify"),
                      tell=lambda line, passing: told.append(line)).read_text()
    assert BUILT == ["first", "broken"]
    study = json.loads((folder / "study.json").read_text())
    rows = {row["name"]: row for row in study["rungs"]}
    assert rows["bigram"]["downstream"]["score"] > 0.75
    assert rows["broken"]["downstream"] == {"error": "the loss was no number"}
    assert "right" not in rows["first"]["downstream"]
    assert study["recommendation"]["best"] == "first"
    assert any("fastText classifier" in label for label in (row["label"] for row in study["rungs"]))
    assert "Who learns the labels" in page
    assert "failed: the loss was no number" in page
    header, table, _ = summary(study)
    assert "labels" in header
    assert all(len(row) == len(header) for row in table)
    assert "labels" in (folder / "report.csv").read_text().splitlines()[0]
    assert any("432 texts to learn from" in line for line in told)
    kept, = (folder / "labels").iterdir()
    write_json(kept / "first.json", json.loads((kept / "first.json").read_text()) | {"how": "kept as it was"})
    assert "kept as it was" in run_ladder(corpus, folder, CONFIG.replace(task=str(task))).read_text()
