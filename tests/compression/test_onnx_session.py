"""An ONNX folder in use: the vectors and labels of the run folder it came from, without torch."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import SENTENCES, encoder, language_model

from polysemy.compression.onnx_export import to_onnx
from polysemy.compression.onnx_session import OnnxUser
from polysemy.errors import InputError
from polysemy.models.pretrained import write_run
from polysemy.models.task_model import TaskModel, head_config
from polysemy.models.task_use import TaskUser, write_task_run
from polysemy.models.tasks import Classify, Regress, Task

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TEXTS = [*SENTENCES[:3], "", SENTENCES[4]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work, model = tmp_path_factory.mktemp("onnx"), encoder()
    write_run(work / "run", model.model, model.tokenizer, model.config)
    to_onnx(work / "run", work / "out")
    return work / "out"


def test_vectors_are_those_of_the_run(folder: Path) -> None:
    user, model = OnnxUser.load(folder), encoder()
    np.testing.assert_allclose(user.embed(TEXTS), model.embed(TEXTS), atol=5e-5)
    pairs = TEXTS[::-1]
    np.testing.assert_allclose(user.embed(TEXTS, pairs), model.embed(TEXTS, pairs=pairs), atol=5e-5)
    assert user.embed([]).shape == (0, 32)


def test_a_long_text_is_cut(folder: Path) -> None:
    user, model = OnnxUser.load(folder), encoder()
    text = " ".join(SENTENCES)
    kept = model.encode([text])[0].ids[:46]
    states = next(iter(model.run([model.row(kept)])))[1]
    np.testing.assert_allclose(user.embed([text])[0], states[0].mean(0).numpy(), atol=5e-5)  # type: ignore[index]


def test_a_model_that_reads_forward(tmp_path: Path) -> None:
    model = language_model("gpt")
    write_run(tmp_path / "run", model.model, model.tokenizer, model.config)
    to_onnx(tmp_path / "run", tmp_path / "out")
    user = OnnxUser.load(tmp_path / "out")
    np.testing.assert_allclose(user.embed(TEXTS), model.embed(TEXTS), atol=5e-5)
    with pytest.raises(InputError, match="pairs must go with an encoder"):
        user.embed(TEXTS, TEXTS)


@pytest.mark.parametrize("task", [Classify(labels=("a", "b", "c")), Classify(labels=("a", "b"), pair=True), Regress()])
def test_predictions_are_those_of_the_run(task: Task, tmp_path: Path) -> None:
    base = encoder()
    model = TaskUser(TaskModel.on(base.model, task, head_config(task, base.config), seed=4).eval(), base.tokenizer,
                     base.config)
    write_task_run(tmp_path / "run", model.model, base.tokenizer, base.config)  # type: ignore[arg-type]
    to_onnx(tmp_path / "run", tmp_path / "out")
    pairs = TEXTS[::-1] if getattr(task, "pair", False) else None
    user = OnnxUser.load(tmp_path / "out")
    texts = [text or "x" for text in TEXTS]
    for ours, theirs in zip(user.predict(texts, pairs), model.predict(texts, pairs), strict=True):
        if isinstance(task, Regress):
            assert ours["value"] == pytest.approx(theirs.value, abs=1e-4)
        else:
            assert ours["label"] == theirs.label
            assert ours["probability"] == pytest.approx(theirs.probability, abs=1e-4)
    with pytest.raises(InputError, match="folder must hold a model that embeds"):
        user.embed(texts)


def test_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("polysemy.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(InputError, match=r"folder must hold model.onnx and polysemy.json"):
        OnnxUser.load(tmp_path)
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"must be the file that polysemy.json describes"):
        OnnxUser.load(tmp_path)


def test_torch_is_not_imported(folder: Path) -> None:
    code = ("import sys; from polysemy.compression.onnx_session import OnnxUser; "
            f"assert OnnxUser.load({str(folder)!r}).embed(['a river']).shape == (1, 32); "
            "assert 'torch' not in sys.modules and 'numba' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)
