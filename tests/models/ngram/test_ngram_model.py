"""A trained n-gram model in use."""
from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ngram_twin import SPACE, encoded, random_text
from safetensors.numpy import load_file

from polysemy.artifact import finish, save_tensors
from polysemy.capability import ClozeItem, Fills, ScoresCloze, ScoresText
from polysemy.errors import InputError
from polysemy.models.ngram import NgramConfig, NgramModel, configure, fit
from polysemy.models.ngram.building import build, build_layers
from polysemy.models.ngram.hash_table import PLACES, WENT_ON
from polysemy.models.ngram.hashing import HashedTrie, split_at_boundaries
from polysemy.models.ngram.model import join_words
from polysemy.models.ngram.numbering import Numbering
from polysemy.models.ngram.scoring import Scorer
from polysemy.models.ngram.stream import BOUNDARY
from polysemy.models.ngram.trie import Trie
from polysemy.text.vocabulary import Vocabulary

LN10 = math.log(10)
TEXT = "the cat sat on the mat\nthe dog sat on the rug\na cat and a dog sat\nthe cat ran\nthe dog ran on\n" * 3
SMOOTHINGS = ["kneser_ney", "maximum_likelihood", "add_k", "stupid_backoff"]


def trained(text: str = TEXT, min_count: int = 1, **settings) -> NgramModel:
    found = encoded(text, min_count)
    config = NgramConfig(words=SPACE, min_count=min_count, **settings)
    return NgramModel(build(found.tokens, len(found.vocabulary), config)[0], found.vocabulary, config)


def test_it_offers_the_capabilities():
    model = trained()
    assert isinstance(model, Fills)
    assert isinstance(model, ScoresCloze)
    assert isinstance(model, ScoresText)


def test_a_folder_gives_the_same_model_back_memory_mapped(tmp_path: Path):
    found, config, said = encoded(TEXT), NgramConfig(order=3, words=SPACE), []
    results = fit(config, found, tmp_path, seed=1, threads=1, report=said.append, stop=lambda: False, limit=None)
    finish(tmp_path, {"recipe": "ngram", "config": config.to_dict()})
    model = NgramModel.load(tmp_path)
    assert results["tokens"] == len(found.tokens)
    assert results["ngrams"] == model.trie.sizes.tolist()
    assert results["stopped"] is False
    assert said[-1].done == 1.0
    assert model.config == config
    assert not model.trie.words.flags.writeable
    assert not model.trie.words.flags.owndata
    assert model.score("the cat sat") == trained(order=3).score("the cat sat")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "model.safetensors", "vocabulary.json", "vocabulary.tsv"]


def test_a_stopped_run_keeps_the_model_of_the_beginning_of_the_text(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("polysemy.models.ngram.fitting.STOPPED_TOKENS", 10)
    results = fit(NgramConfig(order=3, words=SPACE), encoded(TEXT), tmp_path, stop=lambda: True)
    assert results["stopped"] is True
    assert results["tokens"] == 14
    assert (tmp_path / "model.safetensors").exists()


def test_a_score_sums_the_words_and_the_end_of_each_line():
    model = trained(order=3)
    text = "the cat ran on\nthe bird sat"
    score, words = model.score(text), model.score_words(text)
    assert [w.word for w in words] == ["the", "cat", "ran", "on", "</s>", "the", "bird", "sat", "</s>"]
    assert [w.unknown for w in words] == [False] * 6 + [True] + [False] * 2
    assert (score.tokens, score.words, score.bytes, score.pseudo) == (9, 7, len(text), False)
    assert score.log_probability == pytest.approx(sum(w.log10 for w in words) * LN10)
    assert model.score("").tokens == 1
    assert [w.word for w in model.score_words("")] == ["</s>"]
    parts = [model.score(line).log_probability for line in text.split("\n")]
    assert score.log_probability == pytest.approx(sum(parts)), "lines do not see each other"


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 3, 5, 6])
def test_batches_score_as_one_sentence_after_another(order, smoothing):
    model = trained(random_text(31, lines=150, words=30), order=order, smoothing=smoothing)
    text = random_text(32, lines=150, words=33)
    rows = [model.vocabulary.ids(line) for line in text.split("\n")]
    one = np.array([model.score(line).log_probability for line in text.split("\n")])
    assert "hashed" not in model.__dict__
    assert model.score_batch(rows) == pytest.approx(one, rel=1e-5)
    if smoothing in ("kneser_ney", "maximum_likelihood"):
        assert isinstance(model.hashed, HashedTrie)
        assert model.score_batch(rows) == pytest.approx(one, rel=1e-5)
        assert [model.score(line).log_probability for line in text.split("\n")] == pytest.approx(one, rel=1e-5)
    assert np.array_equal(model.score_batch(rows * 40), model.score_batch(rows * 40, threads=2))
    assert len(model.score_batch([])) == 0


def test_the_hash_table_is_made_when_much_was_asked_for(monkeypatch):
    monkeypatch.setattr("polysemy.models.ngram.model.HASH_FROM", 20)
    model = trained(order=3)
    assert len(model.trie.words) < 20 * 8
    tokens = 0
    while tokens + 4 < 20:
        tokens += model.score("the cat sat").tokens
        assert "hashed" not in model.__dict__
    before = model.score("the cat sat").log_probability
    assert "hashed" in model.__dict__
    assert model.score("the cat sat").log_probability == before


@pytest.mark.parametrize("order", [2, 3, 5])
def test_every_ngram_is_in_the_hash_table_also_where_buckets_are_full(order, monkeypatch):
    monkeypatch.setattr("polysemy.models.ngram.hash_table.FULLNESS", 1.0)
    trie = trained(random_text(35, lines=300, words=60), order=order).trie
    ids = np.concatenate([[*row, BOUNDARY] for k in range(2, order + 1) for row in trie.rows(k)[::7]]).astype(np.int32)
    table = HashedTrie(trie)
    assert int((table.table[:, PLACES - 1] & WENT_ON != 0).sum()) > len(table.table) // 10
    assert table.scores(ids) == pytest.approx(Scorer(trie).advance(ids)[0], abs=1e-5)


def test_long_rows_are_cut_where_sentences_end():
    ids = np.array([2, 3, 1, 1, 2, 2, 2, 2, 1, 5, 1], np.int32)
    for parts in range(1, 12):
        found = split_at_boundaries(ids, parts, most=4)
        assert [i for a, b in found for i in range(a, b)] == list(range(len(ids)))
        assert all(a == 0 or ids[a - 1] == 1 for a, _ in found)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("tokens", ["space", "words"])
@pytest.mark.parametrize("long", [1 << 20, 1])
def test_texts_are_numbered_as_by_the_vocabulary(tokens, lowercase, long, monkeypatch):
    monkeypatch.setattr("polysemy.models.ngram.numbering.LONG", long)
    words = ["the", "The", "cat", "\u00fcber", "\u00dcber", "sat."]
    rule = SPACE.replace(tokens=tokens, lowercase=lowercase)
    vocabulary = Vocabulary(words, np.ones(6), rule, 6)
    numbering = Numbering(vocabulary)
    for text in ("", "The cat", "the\0cat\u3000sat.", "\n\n the THE\t\n\r\n \u00dcBER cat\n", "dog", "a\n\ncat \ud800"):
        assert numbering.ids(text).tolist() == vocabulary.ids(text).tolist()
        assert numbering.ids(text).dtype == np.int32


def test_perplexity_with_and_without_unknown_words():
    model = trained(order=3)
    text = ["the cat sat\nthe bird", "a dog"]
    words = [w for part in text for w in model.score_words(part)]
    found = model.perplexity(text)
    assert (found.tokens, found.unknown) == (len(words), 1)
    assert found.with_unknown == pytest.approx(10 ** -np.mean([w.log10 for w in words]))
    assert found.without_unknown == pytest.approx(10 ** -np.mean([w.log10 for w in words if not w.unknown]))
    assert model.perplexity("the cat").tokens == 3
    with pytest.raises(InputError, match="text must hold words"):
        model.perplexity([])


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_distribution_of_the_next_word_holds_what_single_scores_say(order, smoothing):
    model = trained(order=order, smoothing=smoothing)
    everything = ["zzz", "", *model.vocabulary.words]
    for history in ("", "the", "the cat", "on the mat the", "zzz cat", "and zzz"):
        found = model.next_word_distribution(model.vocabulary.ids(history))
        single = [10 ** (model.score_words(f"{history} {word}")[-1 if not word else -2].log10) for word in everything]
        assert found == pytest.approx(single, rel=1e-5)
        if smoothing != "stupid_backoff":
            assert found.sum() == pytest.approx(1, abs=1e-5)


def test_the_other_ways_of_smoothing_are_their_formulas():
    text = "a b\na b\na c\nb a"
    words = ["<unk>", "</s>", "a", "b", "c"]

    def after(history: str, **settings) -> dict[str, float]:
        model = trained(text, order=2, **settings)
        found = model.next_word_distribution(model.vocabulary.ids(history), from_start=False)
        return dict(zip(["<unk>", "</s>", *model.vocabulary.words], found.tolist(), strict=True))

    counted = {"b": 2 / 4, "c": 1 / 4, "</s>": 1 / 4, "a": 0.0, "<unk>": 0.0}
    assert after("a", smoothing="maximum_likelihood") == pytest.approx(counted)
    added = {word: (4 * share + 0.5) / (4 + 0.5 * 5) for word, share in counted.items()}
    assert after("a", smoothing="add_k", k=0.5) == pytest.approx(added)
    assert after("zzz", smoothing="add_k", k=0.5) == pytest.approx(dict.fromkeys(words, 0.2))
    stupid = {"b": 2 / 4, "c": 1 / 4, "</s>": 1 / 4, "a": 0.4 * 4 / 12, "<unk>": 0.4 * 0.4 / 12}
    assert after("a", smoothing="stupid_backoff") == pytest.approx(stupid)
    assert trained(text, order=2, smoothing="maximum_likelihood").score("c c").log_probability == -math.inf


def test_rare_words_are_counted_as_unknown_ones():
    model = trained("a b rare\na b a\nb a b", min_count=2, order=2)
    assert model.vocabulary.words == ["a", "b"]
    after_b = model.next_word_distribution(model.vocabulary.ids("a b"))
    assert after_b[0] > model.next_word_distribution(model.vocabulary.ids("b a"))[0]
    assert after_b.sum() == pytest.approx(1, abs=1e-6)


def test_next_words_are_sorted_and_know_the_end_of_a_sentence():
    model = trained(order=3)
    found = model.next_words("the dog sat", top=3)
    assert found[0].text == "on"
    assert "</s>" in [c.text for c in model.next_words("on the mat", top=2)]
    assert [c.probability for c in found] == sorted((c.probability for c in found), reverse=True)
    assert found[0].log_probability == pytest.approx(math.log(found[0].probability))
    assert "<unk>" not in [c.text for c in model.next_words("", top=100)]


def test_generation_is_repeatable_and_follows_the_distribution():
    model = trained(order=3)
    assert model.generate("the", words=8, seed=3) == model.generate("the", words=8, seed=3)
    assert len({model.generate("the", words=8, seed=seed) for seed in range(10)}) > 3
    assert model.generate("the cat", words=3, temperature=0).startswith("the cat ")
    assert model.generate("the", words=0) == "the"
    first = [model.generate("", words=1, seed=seed) for seed in range(300)]
    expected = model.next_word_distribution([])[2 + model.vocabulary.index("the")]
    assert first.count("the") / 300 == pytest.approx(expected, abs=0.1)
    with pytest.raises(InputError, match="temperature must be at least 0"):
        model.generate(temperature=-1)


def test_words_are_joined_with_spaces_but_chinese_characters_are_not():
    assert join_words("我 们", ["好", "ok", "吗"]) == "我 们好 ok 吗"
    assert join_words("", ["a", "b"]) == "a b"
    assert join_words("x\n", ["a"]) == "x\na"


def slow_gap(model: NgramModel, text: str) -> dict[str, float]:
    """Every word put into the gap of a whole sentence, normalized."""
    logs = np.array([model.score(text.replace("[MASK]", word)).log_probability for word in model.vocabulary.words])
    return dict(zip(model.vocabulary.words, (np.exp(logs) / np.exp(logs).sum()).tolist(), strict=True))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("text", ["the [MASK] sat on", "[MASK] cat", "the dog [MASK]",
                                  "a cat\nthe [MASK] sat on the mat",
                                  "the cat sat on the [MASK] the dog ran on the mat", "[MASK]"])
def test_filling_uses_both_sides_exactly(order, text):
    model = trained(order=order)
    (found,) = model.fill(text, top=100)
    assert {c.text: c.probability for c in found} == pytest.approx(slow_gap(model, text), rel=1e-4)
    assert [c.probability for c in found] == sorted((c.probability for c in found), reverse=True)


def test_several_gaps_hide_each_other():
    model = trained(order=3)
    both = model.fill("the [MASK] [MASK] on the mat", top=2)
    assert len(both) == 2
    assert both[1][0].text == "sat"
    for text, top, message in (("no gap", 5, "1 to 32 gaps"), ("[MASK]", 0, "top must be")):
        with pytest.raises(InputError, match=message):
            model.fill(text, top)


def item(left: str, right: str, *candidates: str) -> ClozeItem:
    return ClozeItem(left=left, right=right, candidates=candidates)


def test_cloze_scores_are_the_whole_window_with_the_candidate_in_place():
    model = trained(order=3)
    words = ("cat", "dog", "mat", "on")
    left, right = "the cat ran\nthe ", " sat on the mat\na dog"
    (scores,) = model.cloze_scores([item(left, right, *words)])
    whole = np.array([model.score(left + word + right).log_probability for word in words])
    assert scores - scores[0] == pytest.approx(whole - whole[0], abs=1e-5), "they differ by what all have in common"
    (only_left,) = model.cloze_scores([item(left, right, *words)], left_only=True)
    nexts = model.next_word_distribution(model.vocabulary.ids("the"))
    assert only_left == pytest.approx([math.log(nexts[2 + model.vocabulary.index(word)]) for word in words], abs=1e-5)


def test_cloze_candidates_of_several_words_and_unknown_ones():
    model = trained(order=3)
    (scores,) = model.cloze_scores([item("the ", " ran on", "cat", "xyz", "cat sat on", "xyz cat")])
    assert scores[2] < scores[0]
    assert scores[1] == scores[3] == pytest.approx(scores[[0, 2]].min() - 1)
    assert model.cloze_scores([]).shape == (0, 0)
    assert model.cloze_scores([item("a ", " b", "xyz", "zyx")]).tolist() == [[0, 0]]
    with pytest.raises(InputError, match="as many candidates"):
        model.cloze_scores([item("a", "b", "c"), item("a", "b", "c", "d")])


def test_a_long_context_changes_nothing_beyond_the_order():
    model = trained(order=3)
    near = item("the cat sat on the ", " the dog ran on the mat", "cat", "mat")
    far = item("zzz " * 500 + near.left, near.right + " zzz" * 500, *near.candidates)
    assert model.cloze_scores([far]) == pytest.approx(model.cloze_scores([near]))


def test_ids_outside_the_vocabulary_are_refused():
    model = trained(order=3)
    for ids in ([len(model.vocabulary)], [-3], [0.5], [[1]]):
        with pytest.raises(InputError, match="ids must be"):
            model.next_word_distribution(ids)
    with pytest.raises(InputError, match="ids must be"):
        model.score_batch([np.array([10**6])])


@pytest.mark.parametrize(("settings", "message"), [
    ({"order": 0}, "order must be in 1..6"), ({"order": 7}, "order must be in 1..6"), ({"k": 0.0}, "k must be above 0"),
    ({"prune": (1,)}, "prune must begin with 0"), ({"prune": (0, 2, 1)}, "never fall"),
    ({"prune": (0, 1), "smoothing": "add_k"}, "prune must be empty"), ({"min_count": 0}, "min_count must be"),
    ({"memory_gigabytes": -1.0}, "memory_gigabytes must be"),
])
def test_settings_that_make_no_sense_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        NgramConfig(**settings)


def test_the_recipes_config_survives_json_and_keeps_unknown_words():
    config = configure("mini", "ladder").replace(prune=(0, 0, 1), min_count=3)
    assert NgramConfig.from_dict(config.to_dict()) == config
    assert (config.word_config.min_count, config.word_config.keep_unknown) == (3, True)


def test_a_text_without_words_is_refused():
    with pytest.raises(InputError, match="nothing to train on"):
        build(np.array([-1, -1], np.int32), 5, NgramConfig())


def arrays(model: NgramModel) -> dict[str, np.ndarray]:
    trie = model.trie
    return {"words": trie.words, "probabilities": trie.probabilities, "backoffs": trie.backoffs, "first": trie.first,
            "sizes": trie.sizes, "rule": np.zeros(2, np.float32)}


@pytest.mark.parametrize(("name", "change", "message"), [
    ("sizes", lambda a: a + 1, "differ in length"), ("sizes", lambda a: a[:0], "n-grams of the orders"),
    ("sizes", lambda a: a * -1, "n-grams of the orders"), ("words", lambda a: a[:-1], "differ in length"),
    ("words", lambda a: a + 100, "beyond its vocabulary"), ("words", lambda a: a - 1, "beyond its vocabulary"),
    ("first", lambda a: a[:-1], "lists of children"), ("first", lambda a: a * 2, "lists of children"),
    ("first", lambda a: np.concatenate([a[:1], a[-2:0:-1], a[-1:]]), "children overlap"),
    ("words", lambda a: a.astype(np.int64), "must hold the arrays"), ("rule", None, "must hold the arrays"),
])
def test_a_file_whose_arrays_do_not_fit_is_refused(tmp_path: Path, name, change, message):
    found = {key: value.copy() for key, value in arrays(trained(order=3)).items()}
    if change is None:
        del found[name]
    else:
        found[name] = np.ascontiguousarray(change(found[name]))
    save_tensors(tmp_path / "model.safetensors", found)
    with pytest.raises(InputError, match=message):
        Trie.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("prune", [(), (0, 1)])
def test_the_file_written_order_by_order_is_that_of_the_tree(tmp_path: Path, order, prune):
    found = encoded(random_text(36))
    config = NgramConfig(order=order, prune=prune[:order])
    build_layers(found.tokens, len(found.vocabulary), config)[0].save(tmp_path / "a.safetensors")
    trie = build(found.tokens, len(found.vocabulary), config)[0]
    trie.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    theirs = load_file(tmp_path / "a.safetensors")
    loaded = Trie.load(tmp_path / "a.safetensors")
    for name in ("words", "probabilities", "backoffs", "first", "sizes"):
        assert np.array_equal(theirs[name], getattr(trie, name)), name
        assert np.array_equal(getattr(loaded, name), getattr(trie, name)), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_every_ngram_is_found_where_it_lies():
    trie = trained(order=3).trie
    start = 0
    for order, count in enumerate(trie.sizes.tolist(), 1):
        rows = trie.rows(order)
        assert rows.tolist() == sorted(rows.tolist())
        assert [trie.find(row) for row in rows] == list(range(start, start + count))
        start += count
    seen = set(map(tuple, trie.rows(2).tolist()))
    for pair in itertools.product(range(trie.size), repeat=2):
        assert (trie.find(list(pair)) >= 0) == (pair in seen)


def test_importing_it_loads_neither_torch_nor_a_compiler():
    code = "import sys, polysemy.models.ngram; print([m for m in ('torch', 'numba', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
