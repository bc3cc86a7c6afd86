"""Task heads and transformers' classes: the same weights give the same logits and the same loss, in folders too."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import polysemy
from polysemy.artifact import read_json, write_json
from polysemy.errors import InputError
from polysemy.models import bert, distilbert, gpt, roberta
from polysemy.models.hugging_face import from_hugging_face, to_hugging_face
from polysemy.models.hugging_face_tasks import read_task
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.task_model import TaskModel, head_config
from polysemy.models.task_use import TaskUser, write_task_run
from polysemy.models.tasks import Classify, Regress, Span, Tag, Task
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

TOLERANCE = 2e-5
TEXTS = ["The bank of the river was green.", "She put the money into the bank, before it closed for the day!", "river"]
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
CONFIGS: dict[str, dict[str, Any]] = {
    "Bert": SIZES, "Roberta": SIZES, "Albert": {**SIZES, "embedding_size": 12},
    "DistilBert": {"dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 40},
    "GPT2": {"n_embd": 24, "n_layer": 2, "n_head": 2}}
LENGTHS = (11, 7, 4)


def trained(kind: str) -> Tokenizer:
    return Tokenizer.train(TEXTS * 5, TokenizerConfig(kind=kind, vocab_size=340, min_frequency=1))  # type: ignore[arg-type]


def theirs_and_ours(folder: Path, family: str, ending: str, **settings: Any) -> tuple[Any, TaskModel]:
    """A random model of theirs, and the same weights read from its folder."""
    tokenizer = trained("wordpiece")
    mark = tokenizer.sep_id
    config = getattr(transformers, f"{family}Config")(
        **CONFIGS[family], vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id, bos_token_id=mark,
        eos_token_id=mark, **settings)
    torch.manual_seed(5)
    model = getattr(transformers, family + ending)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    found, *_ = read_task(folder, read_json(folder / "config.json"))
    return model, found


def inputs(pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 60, (3, 11), generator=torch.Generator().manual_seed(1))
    visible = torch.arange(11) < torch.tensor(LENGTHS)[:, None]
    return torch.where(visible, ids, pad), visible


def tensors(ids: torch.Tensor, visible: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"ids": ids, "positions": torch.arange(11).expand(3, 11), "segments": torch.zeros_like(ids),
            "documents": torch.where(visible, torch.arange(3)[:, None], -1)}


@pytest.mark.parametrize("family", CONFIGS)
def test_labels_of_texts(family: str, tmp_path: Path) -> None:
    theirs, model = theirs_and_ours(tmp_path, family, "ForSequenceClassification", num_labels=3)
    ids, visible = inputs(theirs.config.pad_token_id)
    labels = torch.tensor([2, 0, 1])
    assert isinstance(model.task, Classify)
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=visible.long(), labels=labels)
        given = {**tensors(ids, visible), "targets": labels}
        torch.testing.assert_close(model.logits(given), wanted.logits, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(model(given)["task"] / 3, wanted.loss, atol=TOLERANCE, rtol=0)
        smooth = model(given | {"smoothing": torch.tensor(0.1)})["task"] / 3
        torch.testing.assert_close(smooth, torch.nn.functional.cross_entropy(
            wanted.logits, labels, label_smoothing=0.1), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", CONFIGS)
def test_values_of_texts(family: str, tmp_path: Path) -> None:
    theirs, model = theirs_and_ours(tmp_path, family, "ForSequenceClassification", num_labels=1)
    ids, visible = inputs(theirs.config.pad_token_id)
    values = torch.tensor([2.5, 0.0, 4.75])
    assert isinstance(model.task, Regress)
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=visible.long(), labels=values)
        given = {**tensors(ids, visible), "targets": values}
        torch.testing.assert_close(model.logits(given), wanted.logits, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(model(given)["task"] / 3, wanted.loss, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_labels_of_tokens(family: str, tmp_path: Path) -> None:
    theirs, model = theirs_and_ours(tmp_path, family, "ForTokenClassification", num_labels=4)
    ids, visible = inputs(theirs.config.pad_token_id)
    at = visible.clone()
    at[:, ::3] = False  # special tokens and later pieces have no label
    labels = torch.where(at, torch.arange(33).view(3, 11) % 4, -100)
    assert isinstance(model.task, Tag)
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=visible.long(), labels=labels)
        given = {**tensors(ids, visible), "at": at.flatten().nonzero()[:, 0], "targets": labels[at]}
        torch.testing.assert_close(model.logits(given), wanted.logits[at], atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(model(given)["task"] / int(at.sum()), wanted.loss, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", CONFIGS)
def test_spans(family: str, tmp_path: Path) -> None:
    theirs, model = theirs_and_ours(tmp_path, family, "ForQuestionAnswering")
    ids, visible = inputs(theirs.config.pad_token_id)
    ends = torch.tensor([[2, 5], [0, 0], [3, 3]])
    assert isinstance(model.task, Span)
    total = 0.0
    with torch.no_grad():
        given = {**tensors(ids, visible), "at": visible.flatten().nonzero()[:, 0], "targets": ends}
        found = model.logits(given)
        for i, length in enumerate(LENGTHS):  # theirs sums over padding too, so each row alone
            wanted = theirs(ids[i:i + 1, :length], start_positions=ends[i, :1], end_positions=ends[i, 1:])
            both = torch.stack([wanted.start_logits[0], wanted.end_logits[0]], -1)
            torch.testing.assert_close(found[i, :length], both, atol=TOLERANCE, rtol=0)
            total += float(wanted.loss)
        assert float(model(given)["task"]) == pytest.approx(total, abs=1e-4)


# folders


def config_of(recipe: Any, preset: str, kind: str, tokenizer: Tokenizer) -> PretrainingConfig:
    config: PretrainingConfig = recipe.configure("tiny", preset)
    sizes = {"hidden_size": 24, "num_heads": 2, "intermediate_size": 40, "num_layers": 2, "initializer": "xavier"}
    body: Any = config.model
    return config.replace(
        model=body.replace(embedding=body.embedding.replace(vocab_size=tokenizer.vocab_size),
                           transformer=body.transformer.replace(**sizes)),
        tokenizer=config.tokenizer.replace(kind=kind))


TASKS: dict[str, Task] = {"classify": Classify(labels=("bad", "good", "neither")),
                          "regress": Regress(low=0.0, high=5.0),
                          "tag": Tag(labels=("O", "B-X")), "span": Span(null=True),
                          "pair": Classify(labels=("0", "1"), pair=True)}
AUTO = {"classify": "SequenceClassification", "regress": "SequenceClassification", "pair": "SequenceClassification",
        "tag": "TokenClassification", "span": "QuestionAnswering"}
CASES = [(bert, "paper", "wordpiece"), (bert, "ladder", "wordpiece"), (roberta, "paper", "bytebpe"),
         (distilbert, "paper", "wordpiece"), (gpt, "paper", "bytebpe"), (gpt, "ladder", "bytebpe")]


def run_folder(folder: Path, recipe: Any, preset: str, kind: str, task: Task) -> TaskUser:
    tokenizer = trained(kind)
    config = config_of(recipe, preset, kind, tokenizer)
    start = PretrainingModel(config.model, config.heads, seed=1)
    model = TaskModel.on(start, task, head_config(task, config), seed=2)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    write_task_run(folder, model, tokenizer, config)
    return TaskUser.load(folder)


@pytest.mark.parametrize(("recipe", "preset", "kind"), CASES)
@pytest.mark.parametrize("task", TASKS)
def test_folders_go_there_and_come_back(recipe: Any, preset: str, kind: str, task: str, tmp_path: Path) -> None:
    ours = run_folder(tmp_path / "run", recipe, preset, kind, TASKS[task])
    if (recipe, preset, task) == (bert, "ladder", "span"):
        with pytest.raises(InputError, match="task must be one that Esm of transformers has a class for, got span"):
            to_hugging_face(tmp_path / "run", tmp_path / "hf")
        return
    notes = to_hugging_face(tmp_path / "run", tmp_path / "hf")
    segments_lost = (recipe, preset, task) == (bert, "ladder", "pair")
    assert any("further segments stay behind" in note for note in notes) == segments_lost
    theirs, report = getattr(transformers, f"AutoModelFor{AUTO[task]}").from_pretrained(
        tmp_path / "hf", output_loading_info=True)
    assert not report["missing_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    pairs = [TEXTS[::-1]] if task in ("pair", "span") else []
    given = tokenizer(TEXTS, *pairs, padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = theirs.eval()(**given)
    if task in ("classify", "pair"):
        assert theirs.config.id2label == dict(enumerate(TASKS[task].labels))  # type: ignore[union-attr]
        found = [list(one.probabilities.values()) for one in ours.predict(TEXTS, *pairs)]
        np.testing.assert_allclose(found, wanted.logits.softmax(-1), atol=1 if segments_lost else TOLERANCE)
    elif task == "regress":
        found = [one.value for one in ours.predict(TEXTS)]
        np.testing.assert_allclose(found, wanted.logits[:, 0], atol=TOLERANCE)
    from_hugging_face(tmp_path / "hf", tmp_path / "back")
    again: Any = polysemy.load(tmp_path / "back")
    assert again.task == TASKS[task]
    if segments_lost:
        return
    for one, other in zip(again.predict(TEXTS, *pairs), ours.predict(TEXTS, *pairs), strict=True):
        assert (one.label, one.tags) == (other.label, other.tags)
        assert one.value == pytest.approx(other.value, abs=1e-5)
        assert one.probability == pytest.approx(other.probability, abs=1e-5)
        assert (one.answer and one.answer.text) == (other.answer and other.answer.text)


def test_their_labels_are_read_and_what_is_not_said_is_told(tmp_path: Path) -> None:
    names = {0: "no", 1: "yes", 2: "maybe"}
    theirs_and_ours(tmp_path / "hf", "Bert", "ForSequenceClassification", id2label=names,
                    label2id={name: i for i, name in names.items()})
    notes = from_hugging_face(tmp_path / "hf", tmp_path / "run")
    assert "pair must be set to true" in notes[0]
    found: Any = polysemy.load(tmp_path / "run")
    assert found.task.labels == ("no", "yes", "maybe")
    assert found.predict(["river"])[0].label in names.values()
    config = read_json(tmp_path / "hf" / "config.json")
    for change, told in (({"problem_type": "multi_label_classification"}, "problem_type must be single_label"),
                         ({"id2label": {"1": "x"}}, "id2label must name the labels 0, 1, 2"),
                         ({"num_hidden_layers": 3}, "must hold the tensor bert.encoder.layer.2"),
                         ({"model_type": "electra"}, "model_type must be bert")):
        write_json(tmp_path / "hf" / "config.json", {**config, **change})
        with pytest.raises(InputError, match=told) as caught:
            from_hugging_face(tmp_path / "hf", tmp_path / "none")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "none").exists()


def test_heads_that_no_class_has_are_refused(tmp_path: Path) -> None:
    tokenizer = trained("wordpiece")
    config = config_of(bert, "paper", "wordpiece", tokenizer)
    start = PretrainingModel(config.model, config.heads)
    for number, (changes, told) in enumerate((
            ({"reading": "mean"}, "head.reading must be first .* got mean"),
            ({"form": "relu"}, "head.form must be dropped or pooled for Bert .* got relu"),
            ({"bias": False}, "head.bias must be true for BertForSequenceClassification"))):
        task = TASKS["classify"]
        write_task_run(tmp_path / str(number), TaskModel.on(start, task, head_config(task, config, **changes)),
                       tokenizer, config)
        with pytest.raises(InputError, match=told):
            to_hugging_face(tmp_path / str(number), tmp_path / "hf")
