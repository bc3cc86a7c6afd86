"""The textbook steps: their gradients, the full softmax, and gensim."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_expit, logit

from polysemy.models.huffman import huffman
from polysemy.models.word2vec import plain as textbook
from polysemy.models.word2vec.exact_softmax import learn_softmax, softmax_gradients
from polysemy.models.word2vec.plain import HIERARCHICAL, Targets, learn_negative, learn_path, plain

SIZE, WORDS = 6, 9
RATE = 1e-3


def numbers(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, SIZE)).astype(np.float32)


def gradient(loss, at: np.ndarray) -> np.ndarray:
    """Central differences in float64."""
    at, found = at.astype(np.float64), np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        moved = [at.copy(), at.copy()]
        for side, step in zip(moved, (1e-6, -1e-6), strict=True):
            side[place] += step
        found[place] = (loss(moved[0]) - loss(moved[1])) / 2e-6
    return found


def negative_loss(hidden, outputs, target, negatives):
    return -log_expit(outputs[target] @ hidden) - sum(
        log_expit(-outputs[n] @ hidden) for n in negatives if n != target)


def tree_loss(hidden, nodes, tree, target):
    some = slice(tree.starts[target], tree.starts[target + 1])
    return -log_expit((1 - 2.0 * tree.codes[some]) * (nodes[tree.nodes[some]] @ hidden)).sum()


def softmax_loss(hidden, outputs, target):
    scores = outputs @ hidden
    return np.log(np.exp(scores).sum()) - scores[target]


def steps(kind: str):
    """(the compiled step, the loss it goes down, rows of the output matrix)."""
    tree = huffman(np.arange(WORDS, 0, -1) ** 2)
    return {
        "negative": (lambda h, e, o: learn_negative(h, e, 4, np.array([1, 4, 8, 0]), o, RATE),
                     lambda h, o: negative_loss(h, o, 4, [1, 4, 8, 0]), WORDS),
        "hierarchical": (lambda h, e, o: learn_path(h, e, *tree.starts[4:6], tree.nodes, tree.codes, o, RATE),
                         lambda h, o: tree_loss(h, o, tree, 4), WORDS - 1),
        "softmax": (lambda h, e, o: learn_softmax(h, e, 4, o, np.empty(WORDS, np.float32), RATE),
                    lambda h, o: softmax_loss(h, o, 4), WORDS),
    }[kind]


@pytest.mark.parametrize("kind", ["negative", "hierarchical", "softmax"])
def test_a_step_goes_down_the_gradient_of_the_exact_loss(kind):
    step, loss, rows = steps(kind)
    hidden, outputs, error = numbers(1, 1)[0], numbers(rows, 2), np.full(SIZE, 9, np.float32)
    before = outputs.copy()
    step(hidden, error, outputs)
    np.testing.assert_allclose(-error / RATE, gradient(lambda h: loss(h, before), hidden), atol=2e-5)
    np.testing.assert_allclose((before - outputs) / RATE, gradient(lambda o: loss(hidden, o), before), atol=5e-4)


def test_the_softmax_twin_is_the_gradient():
    hidden, outputs = numbers(1, 1)[0].astype(np.float64), numbers(WORDS, 2).astype(np.float64)
    loss, by_hidden, by_outputs = softmax_gradients(hidden, 4, outputs)
    assert loss == pytest.approx(softmax_loss(hidden, outputs, 4), rel=1e-12)
    np.testing.assert_allclose(by_hidden, gradient(lambda h: softmax_loss(h, outputs, 4), hidden), atol=1e-8)
    np.testing.assert_allclose(by_outputs, gradient(lambda o: softmax_loss(hidden, o, 4), outputs), atol=1e-8)


def test_a_tree_of_two_words_is_the_softmax_of_two_words():
    """One node n against outputs (n / 2, -n / 2): the same probabilities, loss and gradient of the hidden vector."""
    hidden, node = numbers(1, 1)[0], numbers(1, 2)
    tree = huffman(np.array([3, 2]))
    signs = 1 - 2.0 * tree.codes
    for word in (0, 1):
        outputs = np.outer([signs[0] / 2, signs[1] / 2], node[0].astype(np.float64))
        loss, by_hidden, _ = softmax_gradients(hidden.astype(np.float64), word, outputs)
        assert tree_loss(hidden, node, tree, word) == pytest.approx(loss, rel=1e-6)
        error, used = np.zeros(SIZE, np.float32), node.copy()
        learn_path(hidden, error, word, word + 1, tree.nodes, tree.codes, used, RATE)
        np.testing.assert_allclose(-error / RATE, by_hidden, atol=1e-5)


def test_all_three_losses_rest_at_the_true_distribution():
    """Where P(w | h) is the truth, the expected step of each loss is 0: softmax scores log P, the tree's nodes the
    logits of their sides, negative sampling log P - log(K q) and, because a negative that is the target is skipped,
    - log(1 - P)."""
    truth = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    noise, negatives, hidden = truth**0.75 / (truth**0.75).sum(), 3, np.ones(1, np.float32)
    tree = huffman((truth * 100).astype(int))
    left = np.zeros((2, 5))
    for word, p in enumerate(truth):
        for at in range(tree.starts[word], tree.starts[word + 1]):
            left[tree.codes[at], tree.nodes[at]] += p
    resting = {
        "softmax": np.log(truth),
        "tree": logit(left[0] / left.sum(0)),
        "negative": np.log(truth) - np.log(negatives * noise * (1 - truth)),
    }
    error = np.zeros(1, np.float32)
    for kind, scores in resting.items():
        total = np.zeros(len(scores))
        for word, p in enumerate(truth):
            some = slice(tree.starts[word], tree.starts[word + 1])
            draws = [(noise[n], n) for n in range(6)] if kind == "negative" else [(1.0, 0)]
            for share, negative in draws:
                outputs = scores[:, None].astype(np.float32)
                if kind == "softmax":
                    learn_softmax(hidden, error, word, outputs, np.empty(6, np.float32), RATE)
                elif kind == "tree":
                    learn_path(hidden, error, some.start, some.stop, tree.nodes, tree.codes, outputs, RATE)
                elif negative != word:
                    outputs[word, 0] += RATE * expit(-scores[word]) * noise[word] / (1 - noise[word])
                    outputs[negative, 0] -= (negatives - 1) * RATE * expit(scores[negative])
                    learn_negative(hidden, error, word, np.array([negative]), outputs, RATE)
                total += p * share * (outputs[:, 0] - scores)
        assert np.abs(total).max() < 2e-6, kind
        assert np.abs(total).max() < RATE / 100, kind


# -- gensim

SENTENCE = ["the", "cat", "sat", "on", "the", "mat", "and", "the", "dog", "ran", "to", "the", "cat"]


@pytest.fixture
def gensim_model():
    word2vec = pytest.importorskip("gensim.models.word2vec", reason="needs gensim")

    def make(**settings):
        model = word2vec.Word2Vec(vector_size=SIZE, window=2, min_count=1, sample=0, shrink_windows=False, workers=1,
                                  seed=3, alpha=0.025, **settings)
        model.build_vocab([SENTENCE])
        random = np.random.default_rng(4)
        for matrix in (model.wv.vectors, getattr(model, "syn1neg", None), getattr(model, "syn1", None)):
            if matrix is not None:
                matrix[:] = random.normal(size=matrix.shape) / 3
        return model

    return make


def train_gensim(model, cbow: bool) -> None:
    from gensim.models import word2vec_inner

    work, mean = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    if cbow:
        word2vec_inner.train_batch_cbow(model, [SENTENCE], 0.025, work, mean, False)
    else:
        word2vec_inner.train_batch_sg(model, [SENTENCE], 0.025, work, False)


class GensimDraws:
    """gensim's generator and its table of negatives."""

    def __init__(self, model) -> None:
        self.table = model.cum_table
        high, low = model.random.randint(0, 2**24), model.random.randint(0, 2**24)
        self.state = 2**24 * int(high) + int(low)

    def __call__(self) -> int:
        found = int(np.searchsorted(self.table, (self.state >> 16) % int(self.table[-1])))
        self.state = (self.state * 25214903917 + 11) & (2**48 - 1)
        return found

    def negatives(self, target: int, count: int) -> np.ndarray:
        return np.array([self() for _ in range(count)])


def gensim_sigmoid(x):
    """Its table of 1,000 over -6..6 is entered by (x + 6) * 83, because 1000 / 6 / 2 is a division of whole numbers."""
    return np.float32(expit(((int((x + 6) * 83) / 1000) * 2 - 1) * 6))


@pytest.fixture
def steps_with_gensims_sigmoid(monkeypatch):
    """The textbook steps as Python, with the only thing in which gensim's arithmetic differs."""
    monkeypatch.setattr(textbook, "sigmoid", gensim_sigmoid)
    monkeypatch.setattr(textbook, "learn_row", textbook.learn_row.py_func)
    return textbook.learn_negative.py_func, textbook.learn_path.py_func


def learn_sentence(ids, inputs, cbow, step) -> None:
    """Every place with a window of 2: step(hidden, error, word), then the error to the context."""
    error = np.zeros(SIZE, np.float32)
    for i, word in enumerate(ids):
        context = ids[max(0, i - 2) : i] + ids[i + 1 : i + 3]
        for group in [context] if cbow else [[c] for c in context]:
            step(inputs[group].mean(0), error, word)
            for c in group:
                inputs[c] += error


@pytest.mark.parametrize("cbow", [False, True])
def test_a_sentence_moves_the_vectors_as_gensim_moves_them(cbow, gensim_model, steps_with_gensims_sigmoid):
    model, (learn, _) = gensim_model(sg=int(not cbow), negative=5, hs=0), steps_with_gensims_sigmoid
    inputs, outputs = model.wv.vectors.copy(), model.syn1neg.copy()
    first = inputs.copy()
    model.random = np.random.RandomState(7)
    draws = GensimDraws(model)
    learn_sentence([model.wv.key_to_index[word] for word in SENTENCE], inputs, cbow,
                   lambda h, e, word: learn(h, e, word, draws.negatives(word, 5), outputs, 0.025))
    model.random = np.random.RandomState(7)
    train_gensim(model, cbow)
    np.testing.assert_allclose(inputs, model.wv.vectors, atol=1e-6)
    np.testing.assert_allclose(outputs, model.syn1neg, atol=1e-6)
    assert np.abs(inputs - first).max() > 0.01


@pytest.mark.parametrize("cbow", [False, True])
def test_and_with_a_tree_as_well(cbow, gensim_model, steps_with_gensims_sigmoid):
    model, (_, learn) = gensim_model(sg=int(not cbow), negative=0, hs=1), steps_with_gensims_sigmoid
    codes, points = model.wv.expandos["code"], model.wv.expandos["point"]
    counts = np.array([model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key])
    assert (huffman(counts).lengths * counts).sum() == (np.array([len(code) for code in codes]) * counts).sum()
    inputs, nodes = model.wv.vectors.copy(), model.syn1.copy()
    first = inputs.copy()
    learn_sentence([model.wv.key_to_index[word] for word in SENTENCE], inputs, cbow,
                   lambda h, e, word: learn(h, e, 0, len(codes[word]), points[word], codes[word], nodes, 0.025))
    train_gensim(model, cbow)
    np.testing.assert_allclose(inputs, model.wv.vectors, atol=1e-6)
    np.testing.assert_allclose(nodes, model.syn1, atol=1e-6)
    assert np.abs(inputs - first).max() > 0.01


@pytest.mark.parametrize("cbow", [False, True])
def test_the_loop_over_a_sentence_takes_these_steps_at_these_places(cbow):
    inputs, nodes = numbers(8, 1), numbers(7, 2)
    wanted_inputs, wanted_nodes = inputs.copy(), nodes.copy()
    tree, ids = huffman(np.arange(9, 1, -1)), [0, 5, 2, 0, 7, 7, 1]

    def step(hidden, error, word):
        learn_path(hidden, error, *tree.starts[word : word + 2], tree.nodes, tree.codes, wanted_nodes, 0.1)

    learn_sentence(ids, wanted_inputs, cbow, step)
    targets = Targets(HIERARCHICAL, 1, np.zeros(1, np.int32), tree.starts, tree.nodes, tree.codes)
    plain(np.array([*ids, -1], np.int32), 0, 8, 8, np.full(8, 1 << 24, np.uint32), targets, inputs, nodes, 2, 2,
          np.float32(0.1), np.uint64(1), cbow)
    np.testing.assert_allclose(inputs, wanted_inputs, atol=1e-6)
    np.testing.assert_allclose(nodes, wanted_nodes, atol=1e-6)
