"""A fine-tuned model in use: each prediction equals its plain definition, whatever it is batched with."""
from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import SENTENCES
from task_cases import READERS, TASKS, reader, task_model

import polysemy
from polysemy.artifact import read_json, save_tensors, write_json
from polysemy.errors import InputError
from polysemy.models.fine_tuning import opened
from polysemy.models.predictions import answer_of, candidates, entities, joined, split_words
from polysemy.models.task_model import TaskModel, head_config
from polysemy.models.task_use import TaskUser, write_task_run
from polysemy.models.tasks import Classify, Embed, Span, Tag
from polysemy.text.examples import Example, Examples, Question

LONG = " ".join(SENTENCES)


def user(name: str, kind: str) -> TaskUser:
    start = reader(name)
    return TaskUser(task_model(name, kind), start.tokenizer, start.config)


def logits(model: TaskUser, ids: list[int], segments: list[int] | None = None) -> np.ndarray:
    """The plain forward of one unpadded row of a task that reads whole rows."""
    inner: Any = model.model
    states, reading = states_of(model, ids, segments), inner.head_config.reading
    state = states.mean(0) if reading in ("mean", "mix") else states[0 if reading == "first" else -1]
    with torch.no_grad():
        return inner.head(state[None])[0].numpy()


def states_of(model: TaskUser, ids: Any, segments: list[int] | None = None) -> torch.Tensor:
    """What the head reads of one unpadded row."""
    inner: Any = model.model
    row = torch.as_tensor(ids)[None]
    kinds = None if segments is None else torch.tensor([segments])
    with torch.no_grad():
        if inner.mix is None:
            return inner.body(row, None, kinds)[0]
        return inner.mix(inner.body(row, None, kinds, hidden_states=True).layers, row >= 0)[0]


# labels and values


@pytest.mark.parametrize("name", READERS)
def test_labels_are_the_softmax_of_one_row_in_any_order_and_company(name: str) -> None:
    model = user(name, "classify")
    found = model.predict(list(SENTENCES))
    for text, one in zip(SENTENCES, found, strict=True):
        row = model.row(model.encode([text])[0].ids)
        scores = logits(model, row.ids.tolist(), row.segments.tolist() if row.segments.any() else None)
        shares = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(list(one.probabilities.values()), shares, atol=3e-5 if name == "elmo" else 1e-5)
        assert one.label == ("no", "yes", "maybe")[int(shares.argmax())]
        assert one.probability == max(one.probabilities.values())
    back = model.predict(list(SENTENCES)[::-1])[::-1]
    for a, b in zip(found, back, strict=True):
        np.testing.assert_allclose(list(a.probabilities.values()), list(b.probabilities.values()),
                                   atol=3e-5 if name == "elmo" else 1e-6)


def test_values_keep_their_scale() -> None:
    model = user("bert", "regress")
    for text, one in zip(SENTENCES[:3], model.predict(SENTENCES[:3]), strict=True):
        row = model.row(model.encode([text])[0].ids)
        assert one.value == pytest.approx(float(logits(model, row.ids.tolist())[0]), abs=1e-5)


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt", "elmo"])
def test_pairs_are_read_by_every_body(name: str) -> None:
    start = reader(name)
    task = Classify(labels=("0", "1"), pair=True)
    model = TaskUser(TaskModel.on(start.model, task, head_config(task, start.config)), start.tokenizer, start.config)
    one, swapped = model.predict(SENTENCES[:1], SENTENCES[1:2]) + model.predict(SENTENCES[1:2], SENTENCES[:1])
    assert one.probabilities != swapped.probabilities
    if start.two_sided:
        row = model.row(*(e.ids for e in model.encode(SENTENCES[:2])))
        shares = torch.from_numpy(logits(model, row.ids.tolist(), row.segments.tolist())).softmax(0)
        np.testing.assert_allclose(list(one.probabilities.values()), shares, atol=1e-5)


def test_a_long_text_and_an_empty_one_are_answered_and_what_is_cut_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for prediction in user("bert", "classify").predict([LONG, "", "  "]):
        assert prediction.label in ("no", "yes", "maybe")
    assert caplog.messages == ["texts: 1 of 3 texts are longer than 48 tokens and lost their end"]


def test_what_the_task_does_not_take_is_one_line() -> None:
    model = user("bert", "classify")
    for call, told in (((["a"], ["b"]), "pairs must not be given for task classify, got 1; it reads one text"),
                       (("text",), "texts must be a list of texts, got one text"),
                       (([3],), "texts must be strings, got int in place 1|text must be a string, got int")):
        with pytest.raises(InputError, match=told) as caught:
            model.predict(*call)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="pairs must be given for task span, got none; give a context beside"):
        user("bert", "span").predict(["what?"])
    assert model.predict([]) == []


# tags


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt", "elmo"])
def test_every_word_has_the_tag_of_its_first_piece(name: str) -> None:
    model = user(name, "tag")
    sentence = ["The", "unhappiness", "of", "银", "行"]
    found, alone = model.predict([sentence, ["river"]])[0], model.predict([sentence])[0]
    pieces = [model.encode([word if word in "银行" else f" {word}"])[0].ids for word in sentence]
    row = model.row(np.concatenate(pieces))
    inner: Any = model.model
    states = states_of(model, row.ids)
    with torch.no_grad():
        firsts = 1 + np.concatenate([[0], np.cumsum([len(part) for part in pieces])[:-1]])
        wanted = inner.head(states[firsts]).argmax(-1)
    assert found.tags == alone.tags == tuple(TASKS["tag"].labels[i] for i in wanted)  # type: ignore[union-attr]


def test_a_text_is_tagged_by_its_words_and_signs() -> None:
    text = "By the river, 她去银行!"
    words, spans = split_words(text)
    assert words == ["By", "the", "river", ",", "她", "去", "银", "行", "!"]
    assert [text[start:stop] for start, stop in spans] == words
    model = user("bert", "tag")
    found = model.predict([text])[0]
    assert found.words == tuple(words)
    assert len(found.tags) == 9
    for entity in found.entities:
        assert text[entity.start:entity.stop] == entity.text


def test_entities_are_runs_of_one_kind() -> None:
    tags = ["B-A", "I-A", "B-A", "O", "I-B", "I-A", "other"]
    text, spans = joined(["New", "York", "Rome", "is", "银", "行", "x"])
    assert text == "New York Rome is 银行 x"
    found = entities(tags, [0.9, 0.6, 0.8, 1, 0.7, 0.5, 1], text, spans)
    assert [(e.kind, e.text, e.words, e.probability) for e in found] == [
        ("A", "New York", (0, 2), 0.6), ("A", "Rome", (2, 3), 0.8), ("B", "银", (4, 5), 0.7), ("A", "行", (5, 6), 0.5)]
    assert all(text[e.start:e.stop] == e.text for e in found)


def test_a_long_sentence_is_tagged_to_its_end() -> None:
    words = [word for sentence in SENTENCES[:4] for word in sentence.split()]
    assert len(user("bert", "tag").predict([words])[0].tags) == len(words)


# answers


def test_the_best_span_is_that_of_all_pairs() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        count, column = int(random.integers(1, 12)), int(random.integers(0, 4))
        scores = random.normal(size=(column + count + 2, 2)).astype(np.float32)
        here = random.random(count) < 0.7
        task = Span(best=20, longest=int(random.integers(1, 6)))
        wanted = [(float(scores[column + i, 0].astype(float) + scores[column + j, 1]), 10 + i, 10 + j)
                  for i, j in itertools.product(range(count), repeat=2) if here[i] and i <= j < i + task.longest]
        found = candidates(scores, column, 10, here, task)
        best = sorted(wanted, key=lambda one: (-one[0], one[1], one[2]))[:20]
        assert [(one.first, one.last) for one in found] == [(first, last) for _, first, last in best]
        assert [one.score for one in found] == pytest.approx([score for score, _, _ in best])


def test_only_the_likeliest_starts_and_ends_are_paired() -> None:
    scores = np.array([[5, 0], [4, 9], [9, 1], [0, 2]], np.float32)
    found = candidates(scores, 0, 0, np.ones(4, bool), Span(best=1))
    assert not found  # the likeliest start stands behind the likeliest end
    assert [(one.first, one.last) for one in candidates(scores, 0, 0, np.ones(4, bool), Span(best=2))] == [
        (0, 1), (2, 3)]


def test_no_answer_is_given_where_its_score_is_higher_by_the_threshold() -> None:
    spans = candidates(np.array([[1, 0], [0, 2]], np.float32), 0, 0, np.ones(2, bool), Span())
    starts, ends = np.array([0, 4]), np.array([3, 8])
    for null, threshold, text in ((2.9, 0.0, "red bank"), (3.1, 0.0, ""), (3.1, 0.2, "red bank"),
                                  (3.0, 0.0, "red bank")):
        answer = answer_of(spans, null, "red bank", starts, ends, Span(null=True, threshold=threshold))
        assert answer.text == text
        assert answer.span == "red bank"
        assert answer.null_difference == pytest.approx(null - 3)
        assert 0 < answer.probability < 1
    assert answer_of(spans, 99.0, "red bank", starts, ends, Span()).text == "red bank"
    assert answer_of([], 0.0, "", starts, ends, Span()).text == ""


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt"])
def test_answers_stand_in_the_context_where_they_say(name: str) -> None:
    model = user(name, "span")
    context = LONG + " " + "她去银行取钱。" * 4
    found = model.predict(["Where was the bank?", "谁去银行?", "x"], [context, context, "river"])
    assert found[0].answer is not None
    for one, text in zip(found, (context, context, "river"), strict=True):
        assert one.answer is not None
        assert text[one.answer.start:one.answer.stop] == one.answer.text
        assert one.answer.text or one.answer.null_difference > 0  # type: ignore[operator]
    alone = model.predict(["Where was the bank?"], [context])[0].answer
    assert alone is not None
    assert (alone.start, alone.stop) == (found[0].answer.start, found[0].answer.stop)
    assert alone.probability == pytest.approx(found[0].answer.probability, abs=1e-5)


@pytest.mark.parametrize("stride", [1, 5, 20, 500])
@pytest.mark.parametrize("word", ["green", "said", "sat", "银行"])
def test_gold_scores_give_the_gold_answer_in_any_windows(stride: int, word: str,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    model = user("bert", "span")
    inner: Any = model.model
    inner.task = Span(null=True, stride=stride)
    start = LONG.index(word)
    question = Question("q", "where?", LONG, ((start, word),))

    def gold(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        scores = torch.full((*tensors["ids"].shape, 2), -5.0)
        for i, (first, last) in enumerate(tensors["targets"].tolist()):
            scores[i, first, 0] = scores[i, last, 1] = 5.0
        return scores

    from polysemy.text.task_batches import in_order_of_length
    from polysemy.text.task_rows import task_rows

    examples = Examples((question,), "span")
    rows = task_rows(examples, model, inner.task)
    scored = [(one, gold({"ids": torch.from_numpy(one.ids), "targets": torch.from_numpy(one.targets)}).numpy())
              for one in in_order_of_length(rows)]
    monkeypatch.setattr(model, "logits_of", lambda rows: iter(scored))
    inner.task = Span(null=False, stride=stride)
    answer = model.predict_rows(rows, examples)[0].answer
    assert answer is not None
    assert word in answer.text
    assert answer.start <= start < answer.stop <= start + len(word) + 6


# folders


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", ["albert", "elmo"])
def test_a_written_folder_answers_as_before(name: str, kind: str, tmp_path: Path) -> None:
    model = user(name, kind)
    write_task_run(tmp_path / "run", model.model, model.tokenizer, model.config)  # type: ignore[arg-type]
    again: Any = polysemy.load(tmp_path / "run")
    assert again.task == TASKS[kind]
    others = list(SENTENCES) if kind == "span" else None
    for one, before in zip(again.predict(list(SENTENCES), others), model.predict(list(SENTENCES), others), strict=True):
        assert (one.label, one.tags) == (before.label, before.tags)
        assert (one.answer is None) == (before.answer is None)
        assert one.value == pytest.approx(before.value, abs=1e-5)
        assert one.probability == pytest.approx(before.probability, abs=1e-5)
    np.testing.assert_allclose(again.embed(list(SENTENCES)), model.embed(list(SENTENCES)), atol=1e-6)
    np.testing.assert_allclose(model.embed(["river"]), reader(name).embed(["river"]), atol=1e-6)
    assert opened(tmp_path / "run").length == reader(name).length


def test_damaged_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    model: Any = user("bert", "tag")
    for name, change, told in (
            ("kind", lambda c: c["task"].update(kind="Sing"), "task must be of kind Classify"),
            ("labels", lambda c: c["task"].update(labels=["O"]), "labels must be at least two"),
            ("fewer", lambda c: c["task"].update(labels=["O", "B-A"]), r"must have shape \[2, 32\]"),
            ("head", lambda c: c["head"].update(dropout=7.0), "dropout must be"),
            ("none", lambda c: c.pop("head"), None)):
        write_task_run(tmp_path / name, model.model, model.tokenizer, model.config)
        config = read_json(tmp_path / name / "config.json")
        change(config)
        write_json(tmp_path / name / "config.json", config)
        if told is None:
            assert polysemy.load(tmp_path / name).task == TASKS["tag"]
            continue
        with pytest.raises(InputError, match=told) as caught:
            polysemy.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    write_task_run(tmp_path / "nan", model.model, model.tokenizer, model.config)
    state = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    state["head.output.bias"][0] = torch.nan
    save_tensors(tmp_path / "nan" / "model.safetensors", state)
    config = read_json(tmp_path / "nan" / "config.json")
    config["files"] = {}
    write_json(tmp_path / "nan" / "config.json", config)
    with pytest.raises(InputError, match=r"head\.output\.bias must be finite numbers"):
        polysemy.load(tmp_path / "nan")


def test_labels_and_tasks_are_checked() -> None:
    for make, told in ((lambda: Classify(labels=("a",)), "labels must be at least two, got 'a'"),
                       (lambda: Classify(labels=("a", "a")), "labels must differ, got 'a' twice"),
                       (lambda: Tag(labels=("O", " ")), "labels must not be empty"),
                       (lambda: Span(longest=0), "longest must be at least 1, got 0"),
                       (lambda: Embed(temperature=0.0), "temperature must be above 0, got 0.0")):
        with pytest.raises(InputError, match=told):
            make()


def test_predictions_do_not_look_at_labels() -> None:
    model = user("bert", "classify")
    examples = Examples((Example(SENTENCES[0], None, "never seen"), Example(SENTENCES[1], None, None)), "classify")
    assert model.predict_examples(examples) == model.predict(SENTENCES[:2])
    assert set(model.predict(SENTENCES[:1])[0].to_dict()) == {"label", "probability", "probabilities"}


def test_static_vectors_take_the_same_tasks(tmp_path: Path) -> None:
    from polysemy.models.static_text import static_text
    from polysemy.models.word_vectors import WordVectors

    names = ["bank", "river", "green", "money"]
    table = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    start = static_text(WordVectors(names, table))
    for kind, task in TASKS.items():
        model = TaskModel.on(start.model, task, head_config(task, start.config), seed=1)
        write_task_run(tmp_path / kind, model, start.tokenizer, start.config)
        found: Any = polysemy.load(tmp_path / kind)
        texts = ["bank river", "unknown words", "", "money"]
        predictions = found.predict(texts, ["green bank"] * 4) if kind == "span" else found.predict(texts)
        assert len(predictions) == 4
        if kind == "classify":
            row = model.head(torch.from_numpy(table[:2].mean(0, keepdims=True)))[0].softmax(0)
            np.testing.assert_allclose(list(predictions[0].probabilities.values()), row.detach(), atol=1e-6)
            assert predictions[1] == predictions[2]
        if kind == "tag":
            assert [len(one.tags) for one in predictions] == [2, 2, 0, 1]
