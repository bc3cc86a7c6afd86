"""The classifier: its features are the original's, its updates the twin's, and it learns."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polysemy.artifact import finish
from polysemy.errors import InputError
from polysemy.models.fasttext.classifier import FasttextClassifier
from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.features import make_features, number_words
from polysemy.models.fasttext.files import read_fasttext, write_fasttext
from polysemy.models.fasttext.fit import fit
from polysemy.models.fasttext.labels import LabeledText
from polysemy.models.fasttext.subwords import END, hash_bytes, subword_buckets
from polysemy.models.fasttext.supervised import KINDS, learn_labels
from polysemy.models.huffman import fasttext_tree
from polysemy.models.kernels.rows import aligned
from polysemy.text.vocabulary import WordConfig

SPACE = WordConfig(tokens="space", lowercase=False)


def signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def test_features_are_words_then_runs_of_words_hashed_as_the_original_does() -> None:
    config = FasttextConfig(task="classify", word_ngrams=3, buckets=10_007, words=SPACE).resolved()
    rows = {END: 0, "good": 1, "film": 2}
    words, tokens, starts = number_words([["good", "new", "film"]])
    found = make_features(words, tokens, starts, rows, config)
    hashes = [signed(hash_bytes(word.encode())) for word in ("good", "new", "film", END)]
    runs = []
    for i in range(4):
        state = hashes[i] % (1 << 64)
        for other in hashes[i + 1 : i + 3]:
            state = (state * 116049371 + other) % (1 << 64)
            runs.append(3 + state % 10_007)
    assert found.codes.tolist() == [1, 2, 0, *runs]  # "new" has no row of its own


def test_unknown_words_give_their_subwords() -> None:
    config = FasttextConfig(task="classify", shortest=2, longest=3, buckets=101, words=SPACE).resolved()
    words, tokens, starts = number_words([["ab", "ba"], []])
    found = make_features(words, tokens, starts, {"ab": 0, END: 1}, config)
    subs = [[2 + b for b in subword_buckets(word, 2, 3, 101)] for word in ("ab", "ba")]
    assert found.codes.tolist() == [0, *subs[0], *subs[1], 1, 1]
    assert found.starts.tolist() == [0, len(found.codes) - 1, len(found.codes)]


@pytest.mark.parametrize("loss", ["softmax", "ova", "hierarchical"])
def test_the_loop_equals_its_twin(loss: str) -> None:
    random = np.random.default_rng(2)
    size, labels, documents = 6, 4, 30
    starts = np.concatenate([[0], np.cumsum(random.integers(0, 60, documents))])
    rows = random.integers(0, 40, starts[-1]).astype(np.int32)
    targets = random.integers(0, labels, documents).astype(np.int32)
    inputs, outputs = aligned(40, size), aligned(labels, size)
    inputs[:, :size], outputs[:, :size] = random.normal(size=(40, size)), random.normal(size=(labels, size))
    w, u = inputs[:, :size].astype(float), outputs[:, :size].astype(float)
    tree, lengths, order = fasttext_tree(np.array([9, 5, 3, 2])), np.diff(starts), random.permutation(documents)
    rate, slope, read, pending = 0.5, 1e-4, 0, 0
    for document in order:
        bag = rows[starts[document] : starts[document + 1]]
        now = rate - slope * read
        pending += lengths[document]
        if len(bag):
            h = w[bag].mean(0)
            target = int(targets[document])
            if loss == "hierarchical":
                path = slice(tree.starts[target], tree.starts[target + 1])
                numbers, wanted = tree.nodes[path], tree.codes[path]
            else:
                numbers, wanted = np.arange(labels), np.arange(labels) == target
            scores = u[numbers] @ h
            p = np.exp(scores) / np.exp(scores).sum() if loss == "softmax" else 1 / (1 + np.exp(-scores))
            errors = now * (wanted - p)
            e = errors @ u[numbers]
            u[numbers] += np.outer(errors, h)
            np.add.at(w, bag, e / len(bag))
        if pending > 100:
            read, pending = read + pending, 0
    _, learned, words, _ = learn_labels(inputs.shape[1])(
        order, rows, starts, targets, np.arange(documents + 1), lengths, 0, documents, inputs, outputs, tree.starts,
        tree.nodes, tree.codes, KINDS[loss], rate, slope, aligned(2, size), np.uint64(1))
    assert learned == (lengths > 0).sum()
    assert words == lengths.sum()
    np.testing.assert_allclose(inputs[:, :size], w, atol=1e-4)
    np.testing.assert_allclose(outputs[:, :size], u, atol=1e-4)


def data(documents: int, seed: int) -> LabeledText:
    """Topics with words of their own among words of all; the order of two words tells the last two labels apart."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(documents):
        label = int(random.integers(4))
        words = [f"w{n}" for n in random.integers(0, 30, 8)]
        mark = ["red", "blue", "up down", "down up"][label]
        at = int(random.integers(9))
        texts.append(" ".join([*words[:at], mark, *words[at:]]))
        labels.append((f"L{label}",))
    return LabeledText(texts, labels)


def train(folder: Path, seed: int = 1, threads: int = 1, **settings) -> FasttextClassifier:
    folder.mkdir()
    config = FasttextConfig(task="classify", size=10, words=SPACE, epochs=20, learning_rate=0.5, **settings)
    results = fit(config, data(600, 1), folder, seed=seed, threads=threads)
    assert results["documents"] == 600
    assert results["labels"] == 4
    finish(folder, {"recipe": "fasttext", "config": config.to_dict()})
    return FasttextClassifier.load(folder)


@pytest.mark.parametrize("loss", ["softmax", "ova", "hierarchical"])
@pytest.mark.parametrize("algorithm", ["fast", "plain"])
def test_word_order_is_learned_from_runs_of_words(tmp_path: Path, loss: str, algorithm: str) -> None:
    classifier = train(tmp_path / "run", loss=loss, algorithm=algorithm, word_ngrams=2, buckets=50_000)
    found = classifier.evaluate(data(200, 2))
    assert found["accuracy"] > 0.97
    assert found["precision"] == found["recall"] == found["accuracy"]
    assert found["f1"] > 0.97


def test_single_words_can_not_tell_order(tmp_path: Path) -> None:
    accuracy = train(tmp_path / "run").evaluate(data(400, 2))["accuracy"]
    assert 0.6 < accuracy < 0.9


def test_same_seed_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (train(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.outputs, again.outputs)
    assert not np.array_equal(first.inputs, other.inputs)


def test_two_threads_learn_as_well(tmp_path: Path) -> None:
    assert train(tmp_path / "run", threads=2, word_ngrams=2).evaluate(data(200, 2))["accuracy"] > 0.97


def test_k_labels_come_in_falling_order_and_recall_grows(tmp_path: Path) -> None:
    classifier = train(tmp_path / "run")
    best = classifier.predict("w1 red w2", k=3)
    assert best[0][0] == "L0"
    assert [p for _, p in best] == sorted((p for _, p in best), reverse=True)
    held_out = data(200, 3)
    assert classifier.evaluate(held_out, k=2)["recall"] > classifier.evaluate(held_out, k=1)["recall"]
    np.testing.assert_allclose(classifier.probabilities(["w1", ""]).sum(1), 1)


def test_labels_that_training_never_saw_are_counted_and_named(tmp_path: Path) -> None:
    classifier = train(tmp_path / "run")
    known = data(100, 3)
    assert classifier.evaluate(known)["unknown_labels"] == 0
    assert "note" not in classifier.evaluate(known)
    more = LabeledText([*known.texts, "a", "b", "c"], [*known.labels, ("new",), ("new",), ("L9",)])
    found = classifier.evaluate(more)
    assert found["unknown_labels"] == 2
    assert found["note"] == "2 labels of 3 texts unknown to the classifier, so never found: 'L9', 'new'"


def test_texts_without_words_keep_their_place(tmp_path: Path) -> None:
    held = data(300, 1)
    texts = [text if number % 3 else " \n " for number, text in enumerate(held.texts)]
    folder = tmp_path / "run"
    folder.mkdir()
    config = FasttextConfig(task="classify", size=8, words=SPACE, epochs=20, learning_rate=0.5, word_ngrams=2)
    fit(config, LabeledText(texts, held.labels), folder, seed=1)
    finish(folder, {"recipe": "fasttext", "config": config.to_dict()})
    classifier = FasttextClassifier.load(folder)
    pairs = [(t, n) for t, n in zip(texts, held.labels, strict=True) if t.strip()]
    kept = LabeledText([t for t, _ in pairs], [n for _, n in pairs])
    assert classifier.evaluate(kept)["accuracy"] > 0.95


def test_a_classifier_comes_back_from_a_file_of_the_original(tmp_path: Path) -> None:
    ours = train(tmp_path / "run", word_ngrams=2, buckets=5000)
    write_fasttext(tmp_path / "m.bin", ours)
    back = read_fasttext(tmp_path / "m.bin")
    assert isinstance(back, FasttextClassifier)
    texts = ["w1 red w2", "up down", "", "unknown words"]
    np.testing.assert_allclose(back.probabilities(texts), ours.probabilities(texts), atol=1e-6)


def test_one_label_or_running_text_is_refused(tmp_path: Path) -> None:
    config = FasttextConfig(task="classify", words=SPACE)
    with pytest.raises(InputError, match="at least 2"):
        fit(config, LabeledText(["a", "b"], [("x",), ("x",)]), tmp_path)
    with pytest.raises(InputError, match="task=vectors"):
        fit(FasttextConfig(), LabeledText(["a"], [("x",)]), tmp_path)
    with pytest.raises(InputError, match="loss must be one of"):
        FasttextConfig(task="classify", loss="negative")
