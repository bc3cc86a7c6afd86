"""Groups of uses: those that are there, as many as there are, told by their words, the same every time."""
from __future__ import annotations

import numpy as np
import pytest
from sense_world import MONEY, RIVER, Reader, sentences

from polysemy.errors import InputError
from polysemy.evaluation.occurrences import use_in, use_vectors
from polysemy.evaluation.usage_clusters import (
    group_uses,
    plane,
    self_similarity,
    silhouette,
    telling_words,
    usage_map,
)
from polysemy.runtime import random_for


def clouds(count: int, each: int = 30) -> tuple[np.ndarray, np.ndarray]:
    random = random_for(0, "clouds", count)
    centers = 4 * np.eye(12)[:count]
    labels = np.repeat(np.arange(count), each)
    return (centers[labels] + 0.5 * random.standard_normal((len(labels), 12)) + 3).astype(np.float32), labels


@pytest.mark.parametrize("count", [2, 3, 5])
def test_clouds_are_found_as_many_as_there_are(count: int) -> None:
    vectors, labels = clouds(count)
    found = group_uses(vectors)
    assert found.count == count
    assert len({(a, b) for a, b in zip(found.labels.tolist(), labels.tolist(), strict=True)}) == count
    assert max(found.silhouettes, key=lambda k: found.silhouettes[k]) == count
    again = group_uses(vectors)
    assert (again.labels == found.labels).all()


def test_a_number_that_is_asked_for_is_given_and_the_largest_group_is_first() -> None:
    vectors, _ = clouds(3)
    found = group_uses(np.concatenate([vectors, vectors[60:]]), 3)
    assert np.bincount(found.labels).tolist() == [60, 30, 30]
    with pytest.raises(InputError, match=r"senses must be 1\.\.4 for 4 uses, got 5"):
        group_uses(vectors[:4], 5)


def test_equal_vectors_are_one_group() -> None:
    found = group_uses(np.ones((10, 4), np.float32))
    assert found.count == 1
    assert found.silhouettes == {}
    assert self_similarity(np.ones((10, 4), np.float32)) == pytest.approx(1)


def test_silhouette_is_scikit_learn_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    vectors, labels = clouds(4, 8)
    labels = labels.copy()
    labels[0] = 2
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert silhouette(1 - units @ units.T, labels) == pytest.approx(
        metrics.silhouette_score(vectors, labels, metric="cosine"), abs=1e-5)


def test_self_similarity_is_the_mean_over_pairs() -> None:
    vectors = random_for(0, "similarity").standard_normal((6, 5)).astype(np.float32) + 1
    pairs = [vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
             for i in range(6) for j in range(i)]
    assert self_similarity(vectors) == pytest.approx(float(np.mean(pairs)), abs=1e-6)


def test_the_map_shows_most_of_what_lies_in_a_plane() -> None:
    flat = random_for(0, "flat").standard_normal((40, 2)) @ random_for(0, "turn").standard_normal((2, 9))
    places, shown = plane(flat)
    assert shown == pytest.approx(1)
    assert np.abs(places).max() == pytest.approx(1)
    distances = np.linalg.norm(flat[:, None] - flat, axis=-1)
    drawn = np.linalg.norm(places[:, None] - places, axis=-1)
    np.testing.assert_allclose(drawn / drawn.max(), distances / distances.max(), atol=1e-6)


def test_the_two_senses_of_a_word_are_two_groups_with_their_own_words() -> None:
    texts = sentences("bank", RIVER, 40, "map") + sentences("bank", MONEY, 30, "map")
    uses = [use_in(text, "bank") for text in texts]
    found = usage_map(uses, use_vectors(Reader(), uses, ["1"])["1"])
    assert [sense["count"] for sense in found["senses"]] == [40, 30]
    assert set(found["senses"][0]["words"]) <= set(RIVER)
    assert set(found["senses"][1]["words"]) <= set(MONEY)
    assert [use["sense"] for use in found["uses"]] == [0] * 40 + [1] * 30
    assert sorted(found["senses"][0]["examples"] + found["senses"][1]["examples"]) == list(range(70))
    central = [found["uses"][i]["central"] for i in found["senses"][0]["examples"]]
    assert central == sorted(central, reverse=True)
    assert found["uses"][0]["left"] + found["uses"][0]["word"] + found["uses"][0]["right"] == texts[0]


def test_chinese_groups_are_told_by_pairs_of_characters() -> None:
    uses = [use_in(text, "花") for text in ["公园鲜花美丽", "春天鲜花美丽", "他花钱买书", "她花钱吃饭"] * 5]
    told = telling_words(uses, np.array([0, 0, 1, 1] * 5))
    assert {"鲜花", "美丽"} <= {word for word, _ in told[0][:3]}
    assert told[1][0][0] == "花钱"
