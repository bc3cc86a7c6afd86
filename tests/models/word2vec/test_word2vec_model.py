"""A trained model: its folder, and cloze scores against a loop."""
from __future__ import annotations

import numpy as np
import pytest
from corpora import random_text, trained
from scipy.special import log_expit

from polysemy.artifact import finish, new_folder, save_tensors
from polysemy.capability import ClozeItem, ScoresCloze
from polysemy.errors import InputError
from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word2vec.fit import fit
from polysemy.models.word2vec.model import Word2VecModel

SMALL = Word2VecConfig(size=20, window=3, epochs=4, min_count=1, learning_rate=0.1)
LOSSES = ("negative", "hierarchical", "softmax")
KINDS = [{"mode": mode, "loss": loss} for mode in ("skipgram", "cbow") for loss in LOSSES]


@pytest.fixture(params=KINDS, ids=str)
def folder(request, tmp_path):
    config = SMALL.replace(**request.param)
    with new_folder(tmp_path / "run") as work:
        fit(config, random_text(), work, seed=1, threads=1, report=lambda progress: None, stop=lambda: False)
        finish(work, {"recipe": "word2vec", "config": config.to_dict()})
    return tmp_path / "run"


ITEMS = [
    ClozeItem(left="waa wab. Wac zzz wad ", right=" wae, waf\nwag wah wai", candidates=("waj", "wak", "WAL", "wam")),
    ClozeItem(left="", right=" wba", candidates=("waa", "unknown", "waa wab", "wbm")),
    ClozeItem(left="zzz", right="", candidates=("waa", "wab", "wac", "wad")),
    ClozeItem(left="waa ", right="", candidates=("zza", "zzb", "zzc", "zzd")),
]
CONTEXTS = [["wab", "wac", "wad", "wae", "waf", "wag"], ["wba"], [], ["waa"]]


def by_hand(model: Word2VecModel, context: list[str], word: str) -> float:
    """The score as `cloze` says it, word by word."""
    rows, word_row = [model.key_to_index[w] for w in context], model.key_to_index[word]
    v, u = np.asarray(model.vectors, np.float64), np.asarray(model.outputs, np.float64)
    if not rows:
        return 0.0
    hidden = [v[rows].mean(0)] if model.config.mode == "cbow" else list(v[rows])
    if model.tree is not None:
        some = slice(model.tree.starts[word_row], model.tree.starts[word_row + 1])
        signs = 1 - 2.0 * model.tree.codes[some]
        return float(sum(log_expit(signs * (u[model.tree.nodes[some]] @ h)).sum() for h in hidden))
    if model.config.mode == "skipgram" and model.config.loss == "negative":
        return float(sum(v[word_row] @ u[c] for c in rows))
    return float(sum(u[word_row] @ h for h in hidden))


def test_cloze_scores_equal_a_loop_and_unknown_words_come_last(folder):
    model = Word2VecModel.load(folder)
    assert isinstance(model, ScoresCloze)
    scores = model.cloze_scores(ITEMS)
    assert scores.shape == (4, 4)
    assert scores.dtype == np.float64
    for row, item, context in zip(scores[:3], ITEMS, CONTEXTS, strict=False):
        known = [word.lower() in model for word in item.candidates]
        for score, word, has in zip(row, item.candidates, known, strict=True):
            if has:
                assert score == pytest.approx(by_hand(model, context, word.lower()), rel=1e-5, abs=1e-6)
            else:
                assert score == row[known].min() - 1
    assert scores[3].tolist() == [0, 0, 0, 0]
    assert len(set(scores[0])) == 4
    assert model.cloze_scores([]).shape == (0, 0)


def test_one_item_scores_as_among_many(folder):
    model = Word2VecModel.load(folder)
    many = model.cloze_scores(ITEMS * 400)
    np.testing.assert_allclose(many[:4], many[-4:], rtol=1e-12)
    np.testing.assert_allclose(model.cloze_scores(ITEMS[:1])[0], many[0], rtol=1e-12)


def test_a_loaded_model_has_the_trained_vectors_under_gensims_names(folder):
    model = Word2VecModel.load(folder)
    matrices, _ = trained(model.config, random_text())
    np.testing.assert_array_equal(model.vectors, matrices.inputs[:, :20])
    np.testing.assert_array_equal(model.outputs, matrices.outputs[:, :20])
    assert isinstance(model.vectors, np.memmap)
    assert "waa" in model
    assert model.similarity("waa", "waa") == pytest.approx(1, abs=1e-6)
    assert len(model.most_similar("wab", topn=3)) == 3


def test_a_folder_whose_files_do_not_belong_together_is_refused(tmp_path):
    config, text = SMALL, random_text()
    right, short, whole = (np.zeros(shape, kind) for shape, kind in (
        ((40, 20), np.float32), ((3, 20), np.float32), ((40, 20), np.int32)))
    for name, tensors, message in (
        ("rows", {"input": short, "output": short}, "matrices must be"),
        ("names", {"input": right}, "must hold output, got input"),
        ("numbers", {"input": whole, "output": right}, "must be float32"),
    ):
        with new_folder(tmp_path / name) as work:
            save_tensors(work / "model.safetensors", tensors)
            text.vocabulary.save(work)
            finish(work, {"recipe": "word2vec", "config": config.to_dict()})
        with pytest.raises(InputError, match=message):
            Word2VecModel.load(tmp_path / name)
