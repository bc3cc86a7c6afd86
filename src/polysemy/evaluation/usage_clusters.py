"""The senses of a word from its uses alone: groups of like vectors, their words, their examples, and a map.

Spherical k-means on vectors less their mean (states of a network share a large common part), from keyed starts. Where
nobody says how many groups, the number from 2 to 8 with the best mean silhouette by cosine (Rousseeuw 1987). A group
is told by the words that stand near its uses and not near the others': log-odds with an informative prior (Monroe et
al. 2008). The map is the plane of the two largest principal components of the unit vectors: no neighbor is invented,
but what lies in other directions is not seen.

Groups are of uses, and need not be a dictionary's senses: they follow topic and grammar too.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from polysemy.errors import InputError
from polysemy.evaluation.occurrences import Use
from polysemy.models.vector_search import normalized
from polysemy.runtime import random_for
from polysemy.text.words import is_han, word_spans

MOST = 8
STARTS, STEPS = 10, 50
WINDOW = 12
"""words on each side that tell a group"""
PRIOR = 200.0
"""pseudo-counts of the prior: the words of all uses together"""
ENGLISH = """
about after again all also and any are because been before being between both but can could did does doing done down
each even every few for from get had has have having her here hers him himself his how however into its itself just like
made make many may might more most much must never not now off one only onto other our out over own said same say see
shall she should since some still such than that the their them themselves then there these they this those though
through thus too two under until upon very was were what when where whether which while who whom whose why will with
within without would yet you your
"""
COMMON = frozenset(ENGLISH.split())
"""English words that tell no group, though grammar may bind them to one"""
COMMON_HAN = frozenset("的了是在和也就都而及与着把被这那我你他她它们不有个没很到说要会对又上下吗呢吧啊么什之其为以于")
"""pairs with one of these characters tell no group"""
LEAST = 2
"""uses of a group in which a word must stand to tell it"""


class Groups(NamedTuple):
    """The group of each use (0 the largest), the unit vectors they were found with, and how well numbers of groups fit.
    """

    labels: np.ndarray
    units: np.ndarray
    silhouettes: dict[int, float]
    """mean silhouette by number of groups, -1..1: how much nearer a use is to its own group than to the next"""

    @property
    def count(self) -> int:
        return int(self.labels.max()) + 1


def group_uses(vectors: np.ndarray, count: int | None = None, seed: int = 0) -> Groups:
    """Groups of the rows of `vectors` (n, d); `count` None: the number with the best silhouette.

    InputError for fewer than two rows a group. Vectors that are all the same (a static word's) are one group.
    """
    n = len(vectors)
    if count is not None and not 1 <= count <= min(n, MOST):
        raise InputError(f"senses must be 1..{min(n, MOST)} for {n} uses, got {count}")
    units = normalized(vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64))
    if n < 3 or np.ptp(vectors, axis=0).max() <= 1e-6 * max(1e-12, float(np.abs(vectors).max())):
        return Groups(np.zeros(n, np.int64), units, {})
    distances = 1 - units @ units.T
    tried = range(2, min(MOST, n // 2) + 1)
    found = {k: _k_means(units, k, seed) for k in (tried if count is None else [count])}
    fits = {k: silhouette(distances, labels) for k, labels in found.items() if k > 1}
    best = count if count is not None else max(fits, key=lambda k: fits[k]) if fits else 1
    labels = found.get(best, np.zeros(n, np.int64))
    order = np.argsort(-np.bincount(labels), kind="stable")
    return Groups(np.argsort(order, kind="stable")[labels], units, fits)


def silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean over rows of (b - a) / max(a, b): a, b the mean distances to the own and to the nearest other group."""
    member = labels[:, None] == np.arange(labels.max() + 1)
    sizes = member.sum(0)
    sums = distances @ member
    own = np.arange(len(labels)), labels
    a = sums[own] / np.maximum(sizes[labels] - 1, 1)
    others = sums / np.maximum(sizes, 1)
    others[own] = np.inf
    b = others.min(1)
    return float(np.mean(np.where(sizes[labels] > 1, (b - a) / np.maximum(np.maximum(a, b), 1e-12), 0)))


def _k_means(units: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Labels of the best of STARTS runs of spherical k-means, begun as k-means++ does."""
    best, best_fit = np.zeros(len(units), np.int64), -np.inf
    for start in range(STARTS):
        random = random_for(seed, "k-means", k, start)
        means = units[[int(random.integers(len(units)))]]
        while len(means) < k:
            far = np.maximum(1 - (units @ means.T).max(1), 0)
            share = far / far.sum() if far.sum() > 0 else np.full(len(far), 1 / len(far))
            means = np.concatenate([means, units[[int(random.choice(len(units), p=share))]]])
        labels = np.full(len(units), -1)
        for _ in range(STEPS):
            cosines = units @ means.T
            new = cosines.argmax(1)
            for empty in set(range(k)) - set(new.tolist()):
                new[cosines[np.arange(len(new)), new].argmin()] = empty
            if (new == labels).all():
                break
            labels = new
            means = normalized(np.stack([units[labels == i].mean(0) for i in range(k)]))
        fit = float((units * means[labels]).sum())
        if fit > best_fit and len(set(labels.tolist())) == k:
            best, best_fit = labels, fit
    return best


def centrality(groups: Groups) -> np.ndarray:
    """float64 (n,): cosine of each use with the mean of its group; the highest ones are its best examples."""
    means = np.stack([groups.units[groups.labels == i].mean(0) for i in range(groups.count)])
    return (groups.units * normalized(means)[groups.labels]).sum(1)


def telling_words(uses: Sequence[Use], labels: np.ndarray, top: int = 6) -> list[list[tuple[str, float]]]:
    """For each group the words near its uses that tell it from the others, with their log-odds times its z-score.

    Each word counts once a use. Chinese is told by pairs of neighboring characters: one alone seldom is a word. With a
    single group: the words near it most often, with their share of the uses.
    """
    near = [_near(use) for use in uses]
    total = Counter(word for words in near for word in words)
    groups = [Counter(word for i in np.flatnonzero(labels == g) for word in near[i]) for g in range(labels.max() + 1)]
    if len(groups) == 1:
        return [[(word, count / len(uses)) for word, count in total.most_common(top)]]
    return [_log_odds(counts, total, top) for counts in groups]


def _near(use: Use) -> set[str]:
    """The words within WINDOW of a use, in small letters, without the word itself."""
    text, own = use.text.lower(), use.word.lower()
    if len(text) != len(use.text):  # small letters of another length: places would not fit
        text, own = use.text, use.word
    spans = word_spans(text)
    left = [span for span in spans if span[1] <= use.start][-WINDOW:]
    right = [span for span in spans if span[0] >= use.stop][:WINDOW]
    found = set()
    for part in (left, right):
        for (a, b), (c, d) in zip(part, [*part[1:], (-1, -1)], strict=False):
            if not is_han(text[a]):
                found.add(text[a:b])
            elif b == c and is_han(text[c]):
                found.add(text[a:d])
    found = {word for word in found if _tells(word) and word not in own and own not in word}
    for pair in (text[max(0, use.start - 1):use.stop], text[use.start:use.stop + 1]):
        if len(pair) > len(own) and all(map(is_han, pair)) and _tells(pair.replace(own, "")):
            found.add(pair)  # in Chinese, what it is part of
    return found


def _tells(word: str) -> bool:
    if is_han(word[:1] or " "):
        return not COMMON_HAN & set(word)
    return len(word) > 2 and not word.isdigit() and word not in COMMON


def _log_odds(counts: Counter[str], total: Counter[str], top: int) -> list[tuple[str, float]]:
    """Words by d * z, d the difference of log-odds and z = d over its deviation, highest first; only those with z > 1.
    """
    n, everything = sum(counts.values()), sum(total.values())
    scored = []
    for word, count in counts.items():
        prior = PRIOR * total[word] / everything
        rest = total[word] - count
        inside, outside = count + prior, rest + prior
        odds = np.log(inside / (n + PRIOR - inside)) - np.log(outside / (everything - n + PRIOR - outside))
        z = odds / np.sqrt(1 / inside + 1 / outside)
        if count >= LEAST and z > 1:  # times the odds: a word of every sentence has a high z by its count alone
            scored.append((float(z * odds), word))
    return [(word, score) for score, word in sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:top]]


def plane(units: np.ndarray) -> tuple[np.ndarray, float]:
    """(n, 2) places on the map, from -1 to 1 in the wider direction, and the share of the variance that they show."""
    centered = units - units.mean(0)
    u, s, _ = np.linalg.svd(centered, full_matrices=False)
    places = np.zeros((len(units), 2))
    wide = min(2, len(s))
    places[:, :wide] = u[:, :wide] * s[:wide]
    for axis in range(2):  # a sign that does not depend on the solver: the largest value is positive
        if places[np.abs(places[:, axis]).argmax(), axis] < 0:
            places[:, axis] *= -1
    share = float((s[:2] ** 2).sum() / max((s**2).sum(), 1e-12))
    return places / max(float(np.abs(places).max()), 1e-12), share


def self_similarity(vectors: np.ndarray) -> float:
    """Mean cosine of two uses of the word (Ethayarajh 2019); 1 for a static vector."""
    units = normalized(vectors.astype(np.float64))
    n = len(units)
    return 1.0 if n < 2 else float((np.square(np.linalg.norm(units.sum(0))) - n) / (n * (n - 1)))


def usage_map(uses: Sequence[Use], vectors: np.ndarray, count: int | None = None, seed: int = 0) -> dict[str, Any]:
    """All that a page or a table tells of the uses of a word, as plain values.

    {"uses": [{left, word, right, document, sense, x, y, central}], "senses": [{words, count, examples}], "silhouettes",
    "shown", "self_similarity"}; examples are numbers of uses, the most central first.
    """
    groups = group_uses(vectors, count, seed)
    central, (places, shown) = centrality(groups), plane(groups.units)
    telling = telling_words(uses, groups.labels)
    senses = []
    for number in range(groups.count):
        members = np.flatnonzero(groups.labels == number)
        order = members[np.argsort(-central[members], kind="stable")]
        senses.append({"words": [word for word, _ in telling[number]], "count": len(members),
                       "examples": order.tolist()})
    rows = [{"left": use.text[:use.start], "word": use.word, "right": use.text[use.stop:], "document": use.document,
             "sense": int(groups.labels[i]), "x": float(places[i, 0]), "y": float(places[i, 1]),
             "central": float(central[i])} for i, use in enumerate(uses)]
    return {"uses": rows, "senses": senses, "silhouettes": {str(k): fit for k, fit in groups.silhouettes.items()},
            "shown": shown, "self_similarity": self_similarity(vectors)}
