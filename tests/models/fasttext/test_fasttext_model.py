"""Training and using word vectors with subwords."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polysemy.artifact import finish, load_tensors, save_tensors
from polysemy.capability import ClozeItem
from polysemy.config import with_settings
from polysemy.errors import InputError
from polysemy.models.fasttext.config import FasttextConfig, configure
from polysemy.models.fasttext.fit import fit
from polysemy.models.fasttext.model import FasttextModel, load
from polysemy.models.progress import Progress
from polysemy.text.corpus import text_documents
from polysemy.text.encoded import EncodedText, encode
from polysemy.text.vocabulary import Vocabulary, WordConfig

STEMS = ["walk", "jump", "talk", "climb", "paint", "shout", "plant", "knock", "smell", "drift", "twist", "blink"]
ENDINGS = ["", "s", "ed", "ing", "er", "able"]


def encoded(lines: list[list[str]], config: FasttextConfig) -> EncodedText:
    counts: dict[str, int] = {}
    for line in lines:
        for word in line:
            counts[word] = counts.get(word, 0) + 1
    words = sorted(counts, key=lambda word: (-counts[word], word))
    number = {word: i for i, word in enumerate(words)}
    tokens = [token for line in lines for token in [*(number[word] for word in line), -1]]
    vocabulary = Vocabulary(words, np.array([counts[word] for word in words]), config.word_config, sum(counts.values()))
    return EncodedText(np.array(tokens, np.int32), vocabulary)


def inflections(lines: int, held_out: set[str]) -> list[list[str]]:
    """Sentences about one stem: its forms among words that go with the stem. Held-out forms never occur."""
    random = np.random.default_rng(3)
    result = []
    for _ in range(lines):
        stem = int(random.integers(len(STEMS)))
        line = []
        for _ in range(5):
            form = STEMS[stem] + ENDINGS[random.integers(len(ENDINGS))]
            line += [form] if form not in held_out else []
            line.append(f"c{stem}{'xyz'[random.integers(3)]}{random.integers(4)}")
        result.append(line)
    return result


def train(folder: Path, lines: list[list[str]], **settings) -> FasttextModel:
    folder.mkdir()
    defaults = {"size": 24, "min_count": 1, "subsample": 0.0, "buckets": 20_000, "epochs": 5, "window": 3,
                "words": WordConfig(tokens="space")}
    config = FasttextConfig(**(defaults | settings))
    results = fit(config, encoded(lines, config), folder, seed=settings.pop("seed", 1), threads=1)
    assert results["loss"] > 0
    finish(folder, {"recipe": "fasttext", "config": config.to_dict()})
    model = load(folder)
    assert isinstance(model, FasttextModel)
    return model


HELD_OUT = {stem + ENDINGS[1 + number % 5] for number, stem in enumerate(STEMS)}


@pytest.mark.parametrize(("mode", "loss"), [("skipgram", "negative"), ("cbow", "negative"),
                                            ("skipgram", "hierarchical"), ("cbow", "hierarchical")])
def test_an_unseen_form_is_near_its_stem(tmp_path: Path, mode: str, loss: str) -> None:
    model = train(tmp_path / "run", inflections(1500, HELD_OUT), mode=mode, loss=loss)
    nearest = {word: model.most_similar(word, topn=1)[0][0] for word in HELD_OUT}
    right = [found.startswith(word[:4]) for word, found in nearest.items()]
    assert not any(word in model for word in HELD_OUT)
    assert np.mean(right) >= 0.9, nearest


def test_without_subwords_an_unseen_form_has_no_vector(tmp_path: Path) -> None:
    model = train(tmp_path / "run", inflections(100, HELD_OUT), longest=0)
    assert len(model.used) == 0
    with pytest.raises(InputError, match="word must be in the vocabulary"):
        model[next(iter(HELD_OUT))]


@pytest.mark.parametrize("algorithm", ["fast", "plain"])
def test_same_seed_same_bits(tmp_path: Path, algorithm: str) -> None:
    lines = inflections(60, set())
    first, again = (train(tmp_path / name, lines, algorithm=algorithm) for name in "ab")
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.outputs, again.outputs)


@pytest.mark.parametrize("longest", [0, 6])
def test_the_rows_stay_in_their_file(tmp_path: Path, longest: int) -> None:
    model = train(tmp_path / "run", inflections(60, set()), longest=longest)
    assert isinstance(model.inputs, np.memmap)
    assert isinstance(model.outputs, np.memmap)
    assert len(model.inputs) == len(model.vocabulary) + len(model.used)
    tensors = load_tensors(tmp_path / "run" / "model.safetensors", torch=False)
    np.testing.assert_array_equal(model.used, tensors["buckets"])
    np.testing.assert_array_equal(model.inputs, tensors["input"])


def test_the_full_softmax_learns_too(tmp_path: Path) -> None:
    model = train(tmp_path / "run", inflections(200, HELD_OUT), loss="softmax", algorithm="plain")
    assert model.most_similar("walk", topn=1)[0][0].startswith("walk")


def test_a_known_word_is_the_mean_of_its_rows_and_an_unknown_one_of_its_subwords(tmp_path: Path) -> None:
    model = train(tmp_path / "run", inflections(60, set()))
    parts = model.subword_vectors("walks")
    own = model.inputs[model.vocabulary.find("walks")]
    np.testing.assert_allclose(model["walks"], np.mean([own, *(v for _, v in parts)], axis=0), atol=1e-6)
    np.testing.assert_allclose(
        model["walkster"], np.mean([v for _, v in model.subword_vectors("walkster")], axis=0), atol=1e-6)
    assert model.missing("") is None


def test_a_sentence_is_the_mean_of_unit_vectors(tmp_path: Path) -> None:
    model = train(tmp_path / "run", inflections(60, set()))
    expected = np.mean([model.get_vector("walk", norm=True), model.get_vector("jumpster", norm=True)], axis=0)
    np.testing.assert_allclose(model.sentence_vector("Walk  jumpster"), expected, atol=1e-6)
    assert not model.sentence_vector("").any()


@pytest.mark.parametrize(("mode", "loss"), [("skipgram", "negative"), ("cbow", "negative"), ("cbow", "hierarchical")])
def test_cloze_scores_prefer_the_word_of_the_context(tmp_path: Path, mode: str, loss: str) -> None:
    model = train(tmp_path / "run", inflections(1500, HELD_OUT), mode=mode, loss=loss)
    items = [ClozeItem(left=f"c{stem}x1 c{stem}y2 ", right=f" c{stem}z3 c{stem}x2",
                       candidates=tuple(STEMS[(stem + i) % 12] for i in range(4))) for stem in range(12)]
    scores = model.cloze_scores(items)
    assert scores.shape == (12, 4)
    assert np.isfinite(scores).all()
    assert (scores.argmax(1) == 0).mean() > 0.9


def test_unknown_candidates_score_through_subwords_or_below_all_others(tmp_path: Path) -> None:
    model = train(tmp_path / "run", inflections(1500, HELD_OUT))
    unseen = next(word for word in sorted(HELD_OUT) if word.startswith("walk"))
    item = ClozeItem(left="c0x1 c0y2 ", right=" c0z3", candidates=(unseen, "jump", "climb", "。", "a b"))
    scores = model.cloze_scores([item])[0]
    assert scores.argmax() == 0
    assert scores[3] == scores[4] == scores[:3].min() - 1


def test_a_stop_keeps_what_was_learned_and_a_budget_ends_the_passes(tmp_path: Path) -> None:
    config = FasttextConfig(size=24, min_count=1, words=WordConfig(tokens="space"), epochs=1000)
    text = encoded(inflections(2000, set()), config)
    calls: list[Progress] = []
    (tmp_path / "a").mkdir()
    results = fit(config, text, tmp_path / "a", seed=1, threads=1, report=calls.append, stop=lambda: True)
    assert results["stopped"]
    assert (tmp_path / "a" / "model.safetensors").exists()
    used = iter(np.linspace(0, 1.2, 200).tolist())
    (tmp_path / "b").mkdir()
    results = fit(config, text, tmp_path / "b", seed=1, threads=1, report=calls.append, limit=lambda: next(used))
    assert 0 < results["words"] < 10 * text.num_tokens
    assert calls[-1].done == 1


def test_settings_are_given_as_text_and_survive_json() -> None:
    config = with_settings(configure(), {"task": "classify", "loss": "ova", "min_count": "2", "longest": "none"})
    assert (config.loss, config.word_config.min_count, config.longest) == ("ova", 2, None)
    assert FasttextConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="did you mean 'negatives'"):
        with_settings(config, {"negative": "3"})


def test_running_text_of_two_languages_is_trained_from_end_to_end(tmp_path: Path) -> None:
    config = FasttextConfig(size=24, min_count=1, shortest=1, longest=3, buckets=1000, window=2, subsample=0.0)
    lines = "The cats sat. 我们喜欢猫。\nThe cat sat, 我们也喜欢狗。\n"
    text = encode(text_documents([lines * 30]), config.word_config)
    results = fit(config, text, tmp_path, seed=1, threads=2)
    finish(tmp_path, {"recipe": "fasttext", "config": config.to_dict()})
    model = load(tmp_path)
    assert isinstance(model, FasttextModel)
    assert results["words"] == 5 * text.num_tokens
    assert {"cats", "猫", "狗"} <= set(model.index_to_key)
    assert model["catsat"].any()


def test_settings_follow_the_task_and_bad_ones_are_refused() -> None:
    vectors, labels = FasttextConfig().resolved(), FasttextConfig(task="classify").resolved()
    assert (vectors.loss, vectors.longest, vectors.min_count, vectors.learning_rate) == ("negative", 6, 5, 0.05)
    assert (labels.loss, labels.longest, labels.min_count, labels.learning_rate) == ("softmax", 0, 1, 0.1)
    assert configure(preset="paper").buckets == 2_000_000
    for wrong in ({"longest": 2}, {"size": 0}, {"loss": "ova"}, {"learning_rate": -1.0}, {"buckets": 0}):
        with pytest.raises(InputError):
            FasttextConfig(**wrong)


def test_buckets_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, inflections(60, set()))
    tensors = load_tensors(folder / "model.safetensors", torch=False)
    save_tensors(folder / "model.safetensors", tensors | {"buckets": tensors["buckets"].astype(np.float32)})
    finish(folder, {"recipe": "fasttext", "config": FasttextConfig(size=24, buckets=20_000).to_dict()})
    with pytest.raises(InputError, match="buckets must be int32 numbers, got F32"):
        load(folder)
