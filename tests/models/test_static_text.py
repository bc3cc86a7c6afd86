"""Static vectors as an encoder: rows of a table, cut by the vectors' own rule, the same whatever stands around."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from polysemy.errors import InputError
from polysemy.models.pretrained import write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.static_text import StaticText, static_text
from polysemy.models.task_model import TaskModel, head_config
from polysemy.models.task_use import TaskUser, given
from polysemy.models.tasks import Classify
from polysemy.models.word_vectors import WordVectors
from polysemy.text.tokenizer import Tokenizer
from polysemy.text.vocabulary import Vocabulary, WordConfig, split_words

WORDS = ["the", "bank", "river", "don", "t", "银", "行", "2", "new_york", "new", "[UNK]"]
TEXTS = ["The bank, the river!", "Don't 银行 B2B", "nothing known", "", "a  river\nbank zzz"]


def vectors(words: list[str] = WORDS, **rule: object) -> WordVectors:
    made = WordVectors(words, np.random.default_rng(0).normal(size=(len(words), 6)).astype("f4"))
    if rule:
        made.vocabulary = Vocabulary(words, np.ones(len(words)), WordConfig.from_dict(rule), 100)  # type: ignore[attr-defined]
    return made


def test_pieces_are_the_known_words_by_the_rule_of_the_vectors() -> None:
    model = static_text(vectors(lowercase=True))
    for text in TEXTS:
        found = model.encode([text])[0]
        known = [word for word in split_words(text, WordConfig()) if word in WORDS]
        assert [WORDS[i] for i in found.ids] == known
        assert [text[a:b].lower() for a, b in zip(found.starts, found.ends, strict=True)] == known
        assert found.ids.dtype == np.int32


def test_tokens_between_spaces_and_capitals_are_kept_where_the_rule_says_so() -> None:
    model = static_text(vectors(["Bank", "bank,", "a\u3000b"], tokens="space", lowercase=False))
    found = model.encode(["bank, Bank bank\va\u3000b"])[0]
    assert found.ids.tolist() == [1, 0, 2]
    assert found.starts.tolist() == [0, 6, 16]


def test_vectors_without_a_vocabulary_are_looked_up_in_small_letters_unless_they_have_capitals() -> None:
    assert static_text(vectors(["bank"])).encode(["BANK"])[0].ids.tolist() == [0]
    assert static_text(vectors(["bank", "Paris"])).encode(["BANK Paris"])[0].ids.tolist() == [1]


def test_phrases_are_one_piece_within_a_line() -> None:
    model = static_text(vectors(phrases=1))
    text = "New York river new\nyork"
    found = model.encode([text])[0]
    assert [WORDS[i] for i in found.ids] == ["new_york", "river", "new"]
    assert text[found.starts[0]:found.ends[0]] == "New York"


def test_a_text_is_the_mean_of_its_words_and_pairs_are_told_apart_by_segment() -> None:
    made = vectors(lowercase=True)
    model = static_text(made)
    wanted = np.stack([made[w] for w in ("the", "bank", "the", "river")]).mean(0)
    np.testing.assert_allclose(model.embed(TEXTS)[0], wanted, atol=1e-6)
    assert not model.embed(TEXTS)[2:4].any()
    row = model.row(*(e.ids for e in model.encode(["the bank", "river"])))
    assert (row.ids.tolist(), row.segments.tolist()) == ([0, 1, 2], [0, 0, 1])
    assert model.specials(False) == model.specials(True) == 0
    np.testing.assert_allclose(model.embed(["the bank"], pairs=["river"])[0],
                               np.stack([made[w] for w in ("the", "bank", "river")]).mean(0), atol=1e-6)


def test_a_word_has_one_vector_in_every_context() -> None:
    made = vectors(lowercase=True)
    found = static_text(made).embed(["river bank zzz", "bank the"], pooling="word")
    np.testing.assert_array_equal(found[0][1], found[1][0])
    np.testing.assert_array_equal(found[0][1], made["bank"])
    assert not found[0][2].any()
    pairs = static_text(made).embed(["river bank"], pairs=["the"], pooling="token")[0]
    np.testing.assert_array_equal(pairs, made[["river", "bank", "the"]])


def test_texts_of_any_length_are_read_whole() -> None:
    model = static_text(vectors(lowercase=True))
    text = "bank " * 3000 + "river"
    assert len(model.encode([text])[0].ids) == 3001
    assert model.length > 3001
    assert len(model.embed([text], pooling="token")[0]) == 3001


def test_layer_0_is_the_last_one_and_there_is_no_other() -> None:
    model = static_text(vectors(lowercase=True))
    np.testing.assert_array_equal(model.embed(TEXTS, layer=0), model.embed(TEXTS))
    with pytest.raises(InputError, match=r"layer must be 0\.\.0"):
        model.embed(TEXTS, layer=1)
    with pytest.raises(InputError, match="model must have attention to show it"):
        model.attention("the bank")


def test_a_folder_of_its_own_holds_all_of_it(tmp_path: Path) -> None:
    model = static_text(vectors(lowercase=True, min_count=2))
    write_run(tmp_path / "run", model.model, model.tokenizer, model.config)
    again = StaticText.load(tmp_path / "run")
    np.testing.assert_array_equal(again.embed(TEXTS), model.embed(TEXTS))
    assert again.config == model.config == PretrainingConfig.from_dict(model.config.to_dict())
    assert Tokenizer.load(tmp_path / "run").fingerprint() == model.tokenizer.fingerprint()


def test_a_word_spelled_like_a_special_token_stays_a_word() -> None:
    made = vectors(tokens="space", lowercase=False)
    model = static_text(made)
    assert model.encode(["[UNK] bank"])[0].ids.tolist() == [10, 1]
    assert model.tokenizer.unk_id == 12
    np.testing.assert_allclose(model.embed(["[UNK]"])[0], made["[UNK]"], atol=1e-6)


def test_training_it_leaves_the_vectors_alone() -> None:
    made = vectors(lowercase=True)
    before = made.vectors.copy()
    model = static_text(made)
    with torch.no_grad():
        model.model.table.add_(1)
    np.testing.assert_array_equal(made.vectors, before)


def test_no_words_are_refused() -> None:
    with pytest.raises(InputError, match="vectors must hold at least one word"):
        static_text(WordVectors([], np.zeros((0, 3), "f4")))


def test_a_pair_is_judged_by_both_means_their_difference_and_their_product() -> None:
    """In one mean of both texts a pair of the same words could not be told from any other with these words."""
    made = vectors()
    model = static_text(made)
    task = Classify(labels=("no", "yes"), pair=True)
    head = head_config(task, model.config)
    assert head.reading == "apart"
    assert head_config(Classify(labels=("no", "yes")), model.config).reading == "mean"
    task_model = TaskModel.on(model.model, task, head, seed=1)
    user = TaskUser(task_model.eval(), model.tokenizer, model.config)
    u, v = (np.stack([made[word] for word in words]).mean(0) for words in (("the", "bank"), ("river",)))
    wanted = np.concatenate([u, v, np.abs(u - v), u * v]) @ task_model.head.output.weight.detach().numpy().T
    examples, _ = given(["the bank", "river", "?"], ["river", "the bank", "the"], task)
    rows = user.rows_of(examples)
    logits = {int(i): own for batch, found in user.logits_of(rows)
              for i, own in zip(batch.sources, found, strict=True)}
    np.testing.assert_allclose(logits[0], wanted, atol=1e-5)
    assert not np.allclose(logits[0], logits[1])
    assert np.isfinite(logits[2]).all()
    with pytest.raises(InputError, match="reading apart must go with pairs and static vectors, got static for"):
        head_config(Classify(labels=("no", "yes")), model.config, reading="apart")
