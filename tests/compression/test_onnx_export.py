"""ONNX files: torch's numbers at every shape, nothing fixed in them, and one line for what cannot be written."""
from __future__ import annotations

from pathlib import Path

import pytest
from small_models import encoder, language_model, small_config, tokenizer

from polysemy.compression.onnx_check import check_onnx
from polysemy.compression.onnx_export import record, to_onnx, written
from polysemy.errors import InputError
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.sentence_vectors import SentenceVectors
from polysemy.models.task_model import TaskModel, head_config
from polysemy.models.task_use import TaskUser
from polysemy.models.tasks import Classify, Embed, Regress, Span, Tag, Task
from polysemy.models.text_model import TextModel

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LABELS = ("no", "yes")


def fine_tuned(recipe: str, task: Task) -> TaskUser:
    pretrained = language_model("gpt") if recipe == "gpt" else encoder(recipe)
    model = TaskModel.on(pretrained.model, task, head_config(task, pretrained.config), seed=3)
    return TaskUser(model.eval(), pretrained.tokenizer, pretrained.config)


@pytest.mark.parametrize("name", ["bert", "roberta", "albert", "distilbert", "bert ladder", "gpt"])
def test_states_and_vectors_are_those_of_torch(name: str) -> None:
    recipe, _, preset = name.partition(" ")
    model: TextModel = language_model("gpt") if name == "gpt" else encoder(recipe, preset or "paper")
    found = check_onnx(written(model), model)
    assert {(1, 1), (2, 48)} <= set(found["shapes"])
    assert found["largest_difference"] < 1e-5


@pytest.mark.parametrize("recipe", ["bert", "roberta", "distilbert", "gpt"])
@pytest.mark.parametrize("task", [Classify(labels=LABELS), Regress(), Tag(labels=("O", "B-x", "I-x")),
                                  Span(null=True, threshold=0.0)], ids=lambda task: type(task).__name__)
def test_logits_are_those_of_torch(recipe: str, task: Task) -> None:
    model = fine_tuned(recipe, task)
    assert check_onnx(written(model), model)["largest_difference"] < 1e-5


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
def test_a_sentence_embedder_pools_cuts_and_normalizes(pooling: str) -> None:
    model = SentenceVectors(encoder(), Embed(pooling=pooling, dimensions=8))  # type: ignore[arg-type]
    assert check_onnx(written(model), model)["largest_difference"] < 1e-5


def test_no_size_is_fixed() -> None:
    graph = onnx.load_from_string(written(encoder())).graph
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        assert dims[0].dim_param == "batch"
        assert value.name == "sentence_embedding" or dims[1].dim_param == "length"
    for constant in graph.initializer:  # a shape that was made for one input would hold its length
        if constant.data_type == onnx.TensorProto.INT64:
            assert set(onnx.numpy_helper.to_array(constant).ravel().tolist()) <= {-1, 0, 1, 2, 3, 16}


def test_shared_layers_are_stored_once() -> None:
    constants = onnx.load_from_string(written(encoder("albert"))).graph.initializer
    shapes = [tuple(constant.dims) for constant in constants]
    assert shapes.count((32, 96)) == 1


def test_a_file_of_another_model_is_refused() -> None:
    other = PretrainingModel(encoder().config.model, encoder().config.heads, seed=9)
    model = type(encoder())(other, tokenizer(), encoder().config)
    with pytest.raises(InputError, match=r"must be within 0.0001 of torch's"):
        check_onnx(written(encoder()), model)


@pytest.mark.parametrize("name", ["lstm", "elmo", "nnlm", "transformer-xl"])
def test_bodies_without_a_graph_are_refused(name: str, tmp_path: Path) -> None:
    model = language_model(name)
    write_run(tmp_path / "run", model.model, model.tokenizer, model.config)
    with pytest.raises(InputError, match="model must be an encoder or GPT with full attention"):
        to_onnx(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_written_whole(tmp_path: Path) -> None:
    config = small_config("bert")
    write_run(tmp_path / "run", PretrainingModel(config.model, config.heads, seed=2), tokenizer(), config)
    found = to_onnx(tmp_path / "run", tmp_path / "out")
    assert found["checked"]["largest_difference"] < 1e-4
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"model.onnx", "tokenizer.json", "polysemy.json"}
    with pytest.raises(InputError, match="DST must be a folder"):
        to_onnx(tmp_path / "run", tmp_path / "model.onnx")


def test_int8_tells_how_far_it_moved(tmp_path: Path) -> None:
    config = small_config("distilbert")
    write_run(tmp_path / "run", PretrainingModel(config.model, config.heads, seed=2), tokenizer(), config)
    found = to_onnx(tmp_path / "run", tmp_path / "out", int8=True)
    assert found["checked"]["largest_difference"] < 1e-5 < found["int8"]["largest_difference"] < 0.3


def test_the_record_knows_what_texts_stand_between() -> None:
    t = tokenizer()
    found = record(encoder(), b"")
    assert found["single"] == [[t.cls_id, -1, t.sep_id], [0, 0, 0]]
    assert found["pair"] == [[t.cls_id, -1, t.sep_id, -2, t.sep_id], [0, 0, 0, 1, 1]]
    assert "pair" not in record(language_model("gpt"), b"")
