"""Worlds with known answers: what the vectors must be."""
from __future__ import annotations

import numpy as np
import pytest
from corpora import encoded, trained
from scipy.stats import rankdata

from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word_vectors import WordVectors

BASE = Word2VecConfig(min_count=1, subsample=0.0, dynamic_window=False)


def pairs_text(joint: np.ndarray, lines: int, seed: int):
    """Lines of two words drawn from a joint distribution."""
    flat = np.random.default_rng(seed).choice(joint.size, size=lines, p=joint.reshape(-1))
    names = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(len(joint))]
    return encoded([[int(cell) // len(joint), int(cell) % len(joint)] for cell in flat], names)


@pytest.mark.parametrize("algorithm", ["fast", "plain"])
def test_the_best_scores_are_pmi_minus_log_k(algorithm):
    """Levy and Goldberg 2014: with noise by count, u . v tends to PMI - log K (- log(1 - P), for a negative that is the
    target is skipped); free matrices, every pair seen often."""
    random = np.random.default_rng(3)
    joint = random.gamma(1.0, size=(12, 12)) + 0.2
    joint = (joint + joint.T) / (joint + joint.T).sum()
    text = pairs_text(joint, 25_000, 4)
    config = BASE.replace(size=12, window=1, negatives=2, negative_power=1.0, epochs=12, learning_rate=0.1,
                          algorithm=algorithm)
    matrices, _ = trained(config, text)
    pairs = text.tokens.reshape(-1, 3)[:, :2]
    counts = np.zeros((12, 12))
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    counts = counts + counts.T
    share, alone = counts / counts.sum(), counts.sum(0) / counts.sum()
    given = share / alone  # columns: P(target | context) by context
    expected = np.log(share / np.outer(alone, alone)) - np.log(2) - np.log(1 - given)
    found = matrices.outputs @ matrices.inputs.T
    assert np.corrcoef(found.reshape(-1), expected.reshape(-1))[0, 1] > 0.99
    assert np.abs(found - expected).mean() < 0.1


def class_world(seed: int = 5):
    """Six topics of eight words; a line is about one topic, with a few words of no topic."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(1500):
        topic = int(random.integers(6))
        words = random.integers(8, size=8) + 8 * topic
        lines.append(np.where(random.random(8) < 0.1, 48 + random.integers(4, size=8), words).tolist())
    return encoded(lines, [f"{'abcdefg'[i // 8]}{'abcdefgh'[i % 8]}" for i in range(52)])


@pytest.mark.parametrize("changes", [{}, {"mode": "cbow"}, {"loss": "hierarchical"}, {"loss": "softmax", "epochs": 3},
                                     {"mode": "cbow", "loss": "hierarchical"}, {"algorithm": "plain"}], ids=str)
def test_words_of_one_topic_are_nearer_than_all_others(changes):
    text = class_world()
    config = BASE.replace(**{"size": 16, "window": 4, "epochs": 8, "learning_rate": 0.03, **changes})
    matrices, _ = trained(config, text)
    kept = [i for i, word in enumerate(text.vocabulary.words) if word[0] != "g"]
    topics = np.array([text.vocabulary.words[i][0] for i in kept])
    vectors = matrices.inputs[kept] / np.linalg.norm(matrices.inputs[kept], axis=1, keepdims=True)
    above = np.triu_indices(len(kept), 1)
    same = (topics[:, None] == topics)[above]
    ranks = rankdata((vectors @ vectors.T)[above])
    area = (ranks[same].sum() - same.sum() * (same.sum() + 1) / 2) / (same.sum() * (~same).sum())
    assert area == 1.0


def grid_world(seed: int = 6, genders: int = 2, ranks: int = 5, contexts: int = 30):
    """Words (gender, rank) with p(context | word) ~ f_gender f_rank: parallelograms but for a shift a word."""
    random = np.random.default_rng(seed)
    words = genders * ranks
    log_p = (random.normal(size=(genders, 1, contexts)) + random.normal(size=(1, ranks, contexts))).reshape(words, -1)
    joint = np.zeros((words + contexts, words + contexts))
    joint[:words, words:] = np.exp(log_p) / np.exp(log_p).sum(1, keepdims=True) / words
    names = [f"{'mf'[w // ranks]}{'abcde'[w % ranks]}" for w in range(words)] + [
        f"c{chr(97 + c // 26)}{chr(97 + c % 26)}" for c in range(contexts)]
    flat = np.random.default_rng(seed + 1).choice(joint.size, size=40_000, p=joint.reshape(-1))
    return encoded([[int(cell) // len(joint), int(cell) % len(joint)] for cell in flat], names)


@pytest.mark.parametrize("changes", [{}, {"loss": "softmax", "epochs": 2}], ids=str)
def test_analogies_of_a_grid_of_gender_and_rank_are_all_answered(changes):
    text = grid_world()
    config = BASE.replace(**{"size": 16, "window": 1, "epochs": 8, "learning_rate": 0.1, **changes})
    matrices, _ = trained(config, text)
    rows = [i for i, word in enumerate(text.vocabulary.words) if word[0] in "mf"]
    vectors = matrices.inputs[rows, :16]
    model = WordVectors([text.vocabulary.words[i] for i in rows], vectors - vectors.mean(0))
    questions = [("m" + a, "f" + a, "m" + b, "f" + b) for a in "abcde" for b in "abcde" if a != b]
    right = [model.analogy(a, b, c, topn=1)[0][0] == d for a, b, c, d in questions]
    assert all(right), f"{sum(right)} of {len(right)}"
