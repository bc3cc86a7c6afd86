"""Word vectors: looking up, comparing, searching, as gensim's KeyedVectors answer."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.models.vector_search import best, cosines, normalized, norms_of
from polysemy.models.word_vectors import WordVectors
from polysemy.runtime import random_for
from polysemy.text.phrases import Phrases
from polysemy.text.vocabulary import Vocabulary, WordConfig

WORDS = [f"w{i}" for i in range(300)]


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    return WordVectors(WORDS, random_for("word vectors").normal(size=(300, 20)).astype(np.float32))


def plane() -> WordVectors:
    """Six words in the plane: two genders, two ranks, one zero vector, one out of the way."""
    rows = {"man": (1, 0), "woman": (0, 1), "king": (5, 4), "queen": (4, 5), "nothing": (0, 0), "far": (-1, -1)}
    return WordVectors(list(rows), np.array(list(rows.values()), np.float32))


def test_words_are_looked_up_by_name(vectors):
    assert len(vectors) == 300
    assert vectors.vector_size == 20
    assert "w7" in vectors
    assert "x" not in vectors
    assert vectors.index_to_key[7] == "w7"
    assert vectors.key_to_index["w7"] == 7
    assert np.array_equal(vectors["w7"], vectors.vectors[7])
    assert np.array_equal(vectors[["w7", "w1"]], vectors.vectors[[7, 1]])
    assert np.linalg.norm(vectors.get_vector("w7", norm=True)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("positive", "negative"), [(["w1"], []), (["w1", "w2"], ["w3"]), (["w299", "w0"], ["w5", "w6"]), ("w4", [])]
)
@pytest.mark.filterwarnings("ignore:Call to deprecated `init_sims`")
def test_searches_answer_as_gensim_does(positive, negative):
    keyed = pytest.importorskip("gensim.models.keyedvectors")
    # of length 1, because gensim's cosmul forgets to normalize the table
    vectors = WordVectors(WORDS, normalized(random_for("unit vectors").normal(size=(300, 20))))
    peer = keyed.KeyedVectors(20)
    peer.add_vectors(WORDS, vectors.vectors)
    for name in ("most_similar", "most_similar_cosmul"):
        if name == "most_similar_cosmul" and isinstance(positive, str):
            continue
        ours = getattr(vectors, name)(positive, negative, topn=12)
        theirs = getattr(peer, name)(positive, negative, topn=12)
        slack = 0.1 if name == "most_similar_cosmul" else 0  # its epsilon is 1e-6, the paper's and ours 1e-3
        assert [word for word, _ in ours] == [word for word, _ in theirs]
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], abs=1e-5 + slack)
    assert vectors.similarity("w1", "w9") == pytest.approx(peer.similarity("w1", "w9"), abs=1e-6)
    groups = ["w1", "w2"], ["w9"]
    assert vectors.n_similarity(*groups) == pytest.approx(peer.n_similarity(*groups), abs=1e-6)
    assert vectors.doesnt_match(WORDS[20:26]) == peer.doesnt_match(WORDS[20:26])
    assert [w for w, _ in vectors.similar_by_vector(vectors["w3"], 3)] == [
        w for w, _ in peer.similar_by_vector(peer["w3"], 3)
    ]


def test_an_analogy_completes_a_parallelogram_by_sums_and_by_products():
    for method in ("add", "mul"):
        assert plane().analogy("man", "king", "woman", method, topn=1)[0][0] == "queen"
        assert plane().analogy("king", "man", "queen", method, topn=1)[0][0] == "woman"
    with pytest.raises(InputError, match="method must be add or mul, got 'div'"):
        plane().analogy("man", "king", "woman", "div")


def test_the_score_of_an_analogy_is_the_sum_of_three_cosines(vectors):
    word, score = vectors.analogy("w1", "w2", "w3", topn=1)[0]
    expected = vectors.similarity(word, "w2") + vectors.similarity(word, "w3") - vectors.similarity(word, "w1")
    assert score == pytest.approx(expected, abs=1e-5)
    word, score = vectors.analogy("w1", "w2", "w3", "mul", topn=1)[0]
    a, b, c = ((1 + vectors.similarity(word, w)) / 2 for w in ("w1", "w2", "w3"))
    assert score == pytest.approx(b * c / (a + 0.001), abs=1e-5)


def test_given_words_and_words_beyond_the_limit_are_not_answers(vectors):
    found = vectors.most_similar(["w1", "w200"], topn=300)
    assert len(found) == 298
    assert {"w1", "w200"}.isdisjoint(word for word, _ in found)
    limited = vectors.most_similar(["w1", "w200"], topn=300, restrict_vocab=50)
    assert {word for word, _ in limited} == set(WORDS[:50]) - {"w1"}


def test_equal_scores_stand_in_the_order_of_the_vocabulary():
    scores = np.array([0, 2, 1, 2, 1, 1, 2], np.float32)
    assert best(scores, 5).tolist() == [1, 3, 6, 2, 4]
    assert best(scores, 5, [3]).tolist() == [1, 6, 2, 4, 5]
    assert best(scores, 99).tolist() == [1, 3, 6, 2, 4, 5, 0]
    assert best(scores, 1, range(7)).tolist() == []


def test_a_zero_vector_has_cosine_zero_with_everything():
    assert plane().similarity("nothing", "man") == 0
    assert dict(plane().most_similar("nothing", topn=9)) == dict.fromkeys(("man", "woman", "king", "queen", "far"), 0.0)


def test_an_unknown_word_is_an_error_that_names_a_near_spelling():
    words = WordVectors(["bank", "Paris", "NATO"], np.eye(3, dtype=np.float32))
    for word, near in (("Bank", "bank"), ("paris", "Paris"), ("nato", "NATO"), ("banks", "bank")):
        with pytest.raises(InputError, match=f"vocabulary, got '{word}'; did you mean '{near}'"):
            words.most_similar(word)
    with pytest.raises(InputError, match=r"word must be in the vocabulary, got 'zebra'$"):
        words["zebra"]
    with pytest.raises(InputError, match="single characters, train with --unit word"):
        WordVectors(["北", "京"], np.eye(2, dtype=np.float32))["北京"]


def test_wrong_use_is_said_in_one_line(vectors):
    with pytest.raises(InputError, match="at least one, got none"):
        vectors.most_similar()
    with pytest.raises(InputError, match="topn must be at least 1, got 0"):
        vectors.most_similar("w1", topn=0)
    with pytest.raises(InputError, match=r"vector must have 20 numbers, got shape \(3,\)"):
        vectors.similar_by_vector(np.zeros(3))
    with pytest.raises(InputError, match="words must differ, got 'a' twice"):
        WordVectors(["a", "b", "a"], np.zeros((3, 2), np.float32))
    with pytest.raises(InputError, match=r"one row a word, got shape \(2, 2\) for 3 words"):
        WordVectors(["a", "b", "c"], np.zeros((2, 2), np.float32))


def test_a_subclass_supplies_vectors_of_words_outside_the_vocabulary(vectors):
    class Spelled(WordVectors):
        def missing(self, word: str) -> np.ndarray | None:
            return self.vectors[3] if word.startswith("sub") else None

    spelled = Spelled(WORDS, vectors.vectors)
    assert "subword" not in spelled
    assert spelled.most_similar("subword", topn=1)[0] == ("w3", pytest.approx(1))
    with pytest.raises(InputError, match="got 'other'"):
        spelled["other"]


def test_mapped_vectors_answer_as_those_in_memory_and_are_not_copied(vectors, tmp_path):
    np.save(tmp_path / "v.npy", vectors.vectors)
    mapped = WordVectors(WORDS, np.load(tmp_path / "v.npy", mmap_mode="r"))
    assert isinstance(mapped.vectors, np.memmap)
    assert mapped.most_similar("w1") == vectors.most_similar("w1")


def test_blocks_change_nothing(vectors, monkeypatch):
    whole = cosines(vectors.vectors, vectors.norms, vectors.vectors[:3])
    monkeypatch.setattr("polysemy.models.vector_search.BLOCK_ROWS", 7)
    assert np.allclose(cosines(vectors.vectors, norms_of(vectors.vectors), vectors.vectors[:3]), whole, atol=1e-6)
    assert np.array_equal(norms_of(vectors.vectors), vectors.norms)


def test_a_text_is_the_mean_of_its_known_words():
    vectors = plane()
    found = vectors.embed(["Man, king and woman!", "no such words", ""])
    units = [vectors.get_vector(word, norm=True) for word in ("man", "king", "woman")]
    assert np.allclose(found, [np.mean(units, 0), [0, 0], [0, 0]])
    with pytest.raises(InputError, match="pooling must be mean, without pairs, for word vectors, got 'cls'"):
        vectors.embed(["man"], pooling="cls")


def questions(folder: Path) -> tuple[Path, Path]:
    pairs, analogies = folder / "pairs.tsv", folder / "analogies.txt"
    pairs.write_text("W1\tw2\t3.0\nw3\tw4\t1.5\nw5\tw6\t2.0\nw7\tabsent\t9\n")
    analogies.write_text(": gram1\nw1 w2 w3 w4\nw1 w2 w3 absent\n: capitals\nW5 w6 w7 W8\n")
    return pairs, analogies


def test_word_pairs_and_analogies_are_judged_as_gensim_does(vectors, tmp_path):
    keyed = pytest.importorskip("gensim.models.keyedvectors")
    peer = keyed.KeyedVectors(20)
    peer.add_vectors(WORDS, vectors.vectors)
    pairs, analogies = questions(tmp_path)
    ours, theirs = vectors.evaluate_word_pairs(pairs), peer.evaluate_word_pairs(str(pairs))
    for mine, other in zip(ours[:2], theirs[:2], strict=True):
        assert tuple(mine) == pytest.approx(tuple(other), abs=1e-5)
    assert ours[2] == theirs[2] == 25.0
    score, sections = vectors.evaluate_word_analogies(analogies)
    peer_score, peer_sections = peer.evaluate_word_analogies(str(analogies))
    assert score == peer_score
    assert [(s["section"], len(s["correct"]), len(s["incorrect"])) for s in sections] == [
        (s["section"], len(s["correct"]), len(s["incorrect"])) for s in peer_sections
    ]


def test_a_text_is_embedded_with_the_phrases_of_the_vocabulary():
    vocabulary = Vocabulary(["new_york", "new", "york"], np.ones(3), WordConfig(min_count=1, phrases=1), 3,
                            Phrases(({("new", "york"): 9.0},)))
    vectors = WordVectors(vocabulary.words, np.eye(3, dtype=np.float32))
    assert vectors.embed(["new york"])[0].tolist() == [0.0, 0.5, 0.5]
    vectors.vocabulary = vocabulary  # type: ignore[attr-defined]
    assert vectors.embed(["new york", "new\nyork"]).tolist() == [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]
