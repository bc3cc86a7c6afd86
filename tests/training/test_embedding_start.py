"""The first token vectors: random, at right angles, or from word vectors, and nothing else of the model changes."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from polysemy.artifact import read_json
from polysemy.errors import InputError
from polysemy.models.elmo import configure as elmo
from polysemy.models.imported_vectors import import_vectors
from polysemy.models.pretrained import PretrainingModel, open_run
from polysemy.models.recipe import EmbeddingStart
from polysemy.models.word_vectors import WordVectors
from polysemy.text.corpus import Corpus
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.training.budget import Budget
from polysemy.training.embedding_start import piece_vectors, right_angles, start_table, table_that_reads, turned
from polysemy.training.pretrain import pretrain
from small_runs import small_config, write_text

TEXT = ["the river bank was green", "the old bank of the river", "unhappy happy 银行 The Bank"]


def tokenizer(kind: str = "wordpiece") -> Tokenizer:
    config = TokenizerConfig(kind=kind, vocab_size=300 if kind == "bytebpe" else 90, coverage=1.0,  # type: ignore[arg-type]
                             lowercase=False, min_frequency=1)
    return Tokenizer.train(TEXT * 3, config)


def vectors(size: int = 4) -> WordVectors:
    words = ["the", "bank", "river", "银", "行", "happy", "unhappyhappy", "banks"]
    return WordVectors(words, np.random.default_rng(0).normal(size=(len(words), size)).astype("f4"),
                       np.arange(len(words), 0, -1))


def model(size: int = 60) -> PretrainingModel:
    config = small_config(vocab_size=size)
    return PretrainingModel(config.model, config.heads, seed=3)


def test_a_piece_that_is_a_word_takes_its_vector() -> None:
    made, words = tokenizer(), vectors()
    found, known = piece_vectors(made, words)
    for word in ("the", "bank", "river", "银", "行"):
        number = made.id_of(word)
        assert number is not None
        np.testing.assert_array_equal(found[number], words[word])
        assert known[number]
    assert not known[list(made.special_ids)].any()


def test_a_piece_of_words_takes_their_weighted_mean_and_a_capital_the_small_letters() -> None:
    made, words = tokenizer(), vectors()
    found, _ = piece_vectors(made, words)
    shared: dict[int, list[int]] = {}
    for number, word in enumerate(words.index_to_key):
        ids = made.encode(f" {word}").ids.tolist()
        for piece in ids if len(ids) > 1 else []:
            shared.setdefault(piece, []).append(number)
    whole = {made.encode(f" {w}").ids[0] for w in words.index_to_key if len(made.encode(f" {w}").ids) == 1}
    tried = {piece: owners for piece, owners in shared.items() if piece not in whole and piece not in made.special_ids}
    assert tried
    for piece, owners in tried.items():
        weights = words.counts[owners].astype(float)  # type: ignore[index]
        np.testing.assert_allclose(found[piece], weights @ words.vectors[owners] / weights.sum(), atol=1e-6)
    capital = made.id_of("The")
    assert capital is not None
    np.testing.assert_array_equal(found[capital], words["the"])


def test_a_space_before_a_word_is_no_part_of_it() -> None:
    made, words = tokenizer("bytebpe"), vectors()
    found, known = piece_vectors(made, words)
    number = made.encode("a the").ids[-1]
    assert known[number]
    np.testing.assert_array_equal(found[number], words["the"])


def test_one_hot_rows_are_the_identity_or_blocks_at_right_angles() -> None:
    np.testing.assert_array_equal(right_angles(3, 5, 0), np.eye(3, 5))
    rows = right_angles(11, 4, 0)
    for start in (0, 4, 8):
        block = rows[start:start + 4]
        np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=1e-6)
    assert not np.allclose(rows[:4], rows[4:8])
    np.testing.assert_array_equal(rows, right_angles(11, 4, 0))


def test_turning_keeps_distances_where_there_is_room_and_the_largest_variance_where_not() -> None:
    x = np.random.default_rng(1).normal(size=(50, 6)).astype("f4") * np.array([9, 5, 1, 1, 1, 1], "f4")

    def distances(rows: np.ndarray) -> np.ndarray:
        return np.linalg.norm(rows[:, None] - rows[None], axis=-1)

    wide, narrow = turned(x, 10, 0), turned(x, 2, 0)
    assert (wide.shape, narrow.shape) == ((50, 10), (50, 2))
    np.testing.assert_allclose(distances(wide), distances(x), rtol=1e-3, atol=1e-3)
    assert narrow.var(0).sum() > 0.9 * x.var(0).sum()


@pytest.mark.parametrize("init", ["onehot", "vectors"])
def test_only_the_table_changes_and_it_keeps_its_deviation(init: str) -> None:
    made = tokenizer()
    plain, started = model(made.vocab_size), model(made.vocab_size)
    share = start_table(started, made, init, vectors() if init == "vectors" else None, seed=3)
    first = table_that_reads(plain.body)
    before, after = first.detach(), table_that_reads(started.body).detach()
    for name, parameter in plain.named_parameters():
        same = torch.equal(parameter, dict(started.named_parameters())[name])
        assert same == (parameter is not first), name
    if init == "onehot":
        assert share == 1
        assert float(after.square().mean().sqrt()) == pytest.approx(float(before.std()), rel=0.02)
    else:
        assert 0 < share < 1
        changed = (after != before).any(1)
        assert float(changed.float().mean()) == pytest.approx(share)
        assert float(after[changed].square().mean().sqrt()) == pytest.approx(float(before.std()), rel=1e-3)
        assert not changed[list(made.special_ids)].any()


def test_a_run_begins_where_it_is_told_and_a_wrong_place_is_told_first(tmp_path: Path) -> None:
    corpus = Corpus([write_text(tmp_path / "corpus.txt")])
    lines = ["the 1 0 0 2", "river 0 1 1 0", "bank 0 2 1 1", "a 3 0 1 0", "of 1 1 1 0"]
    (tmp_path / "vectors.txt").write_text(f"{len(lines)} 4\n" + "\n".join(lines) + "\n")
    import_vectors(tmp_path / "vectors.txt", tmp_path / "vectors")
    found = {}
    for init in ("random", "onehot", str(tmp_path / "vectors")):
        config = small_config().replace(embedding=EmbeddingStart(init=init))
        folder = pretrain(config, corpus, tmp_path / f"run{len(found)}", budget=Budget(steps=1), seed=1)
        found[init] = open_run(folder)[0].table.detach()
        assert read_json(folder / "config.json")["config"]["embedding"]["init"] == init
    tables = list(found.values())
    assert not any(torch.allclose(tables[i], tables[j], atol=1e-2) for i, j in ((0, 1), (0, 2), (1, 2)))
    for init in ("nowhere", str(tmp_path / "run0")):
        config = small_config().replace(embedding=EmbeddingStart(init=init))
        with pytest.raises(InputError, match=r"embedding.init must be random, onehot or a folder of word vectors, got"):
            pretrain(config, corpus, tmp_path / "wrong", budget=Budget(steps=1))
        assert not (tmp_path / "wrong" / "config.json").exists()
    with pytest.raises(InputError, match="must be random for a model that goes on from another"):
        pretrain(small_config().replace(embedding=EmbeddingStart(init="onehot")), corpus, tmp_path / "more",
                 budget=Budget(steps=1), start_from=tmp_path / "run0")


def test_a_model_of_characters_has_no_table_to_begin_with() -> None:
    with torch.device("meta"):
        body = elmo("tiny", "paper", vocab_size=50).model.body()
    with pytest.raises(InputError, match=r"embedding.init must be random for a model that reads characters"):
        table_that_reads(body)
