"""The Unigram language model to read: learning, best cut, and random cuts (Kudo 2018).

The probability of a text is the sum over all ways to cut it into pieces of the product of the pieces' probabilities.
Learning starts with very many pieces and alternates two steps: expectation maximization finds the probabilities (how
often is each piece expected over all cuts?), pruning drops the quarter that the likelihood misses least, but never a
character. Expected counts pass through digamma, which favours few pieces (Liang and Klein 2007, as in sentencepiece).
`unigram_training` is the same in compiled loops; tests hold the two equal.
"""
from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

LONGEST = 16
KEPT_SHARE, SLACK, FEWEST_EXPECTED = 0.75, 1.1, 0.5


def learn(counts: Mapping[str, int], size: int, seeds_per_piece: int = 25) -> dict[str, float]:
    """Log-probability of each of at most `size` pieces, learnt from words and how often each stands in the text."""
    frequencies = seed_pieces(counts, max(seeds_per_piece * size, 1))
    total = sum(frequencies.values())
    scores = {piece: math.log(count / total) for piece, count in frequencies.items()}
    aim = int(size * SLACK)
    while True:
        for _ in range(2):
            scores = maximize(expect(counts, scores)[0], scores)
        if len(scores) <= aim:
            break
        scores = prune(counts, scores, aim)
    best = sorted(scores, key=lambda piece: (len(piece) > 1, -scores[piece]))[:size]
    return dict(sorted(((piece, scores[piece]) for piece in best), key=lambda entry: (-entry[1], entry[0])))


def seed_pieces(counts: Mapping[str, int], limit: int) -> dict[str, int]:
    """All characters and, up to `limit`, the substrings seen twice or more with most count x length; one that is always
    followed by the same character is left out."""
    found: defaultdict[str, int] = defaultdict(int)
    for word, count in counts.items():
        for start, end in itertools.combinations(range(len(word) + 1), 2):
            if end - start <= LONGEST:
                found[word[start:end]] += count
    covered = {piece[:-1] for piece in found if len(piece) > 2 and found[piece] == found[piece[:-1]]}
    characters = {piece: found[piece] for piece in found if len(piece) == 1}
    longer = [piece for piece, count in found.items() if len(piece) > 1 and count >= 2 and piece not in covered]
    longer.sort(key=lambda piece: (-found[piece] * len(piece), len(piece), piece))
    return {**characters, **{piece: found[piece] for piece in longer[:max(0, limit - len(characters))]}}


def expect(counts: Mapping[str, int], scores: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """(expected count of each piece over all cuts of all words, log-likelihood of the text): forward-backward."""
    expected = dict.fromkeys(scores, 0.0)
    likelihood = 0.0
    for word, count in counts.items():
        forward = forward_scores(word, scores)
        backward = [-math.inf] * len(word) + [0.0]
        for start in range(len(word) - 1, -1, -1):
            backward[start] = _log_sum([backward[end] + scores[word[start:end]] for end in _ends(word, start, scores)])
            for end in _ends(word, start, scores):
                share = forward[start] + scores[word[start:end]] + backward[end] - forward[-1]
                expected[word[start:end]] += count * math.exp(share)
        likelihood += count * forward[-1]
    return expected, likelihood


def forward_scores(word: str, scores: Mapping[str, float], sharpness: float = 1.0) -> list[float]:
    """Log of the summed probability (to the power `sharpness`) of all cuts of each beginning of the word."""
    forward = [0.0] + [-math.inf] * len(word)
    for end in range(1, len(word) + 1):
        forward[end] = _log_sum([forward[start] + sharpness * scores[word[start:end]]
                                 for start in range(max(0, end - LONGEST), end) if word[start:end] in scores])
    return forward


def maximize(expected: Mapping[str, float], scores: Mapping[str, float]) -> dict[str, float]:
    """New log-probabilities from expected counts; pieces expected less than half a time go, characters stay."""
    from scipy.special import digamma

    kept = {piece: max(expected[piece], FEWEST_EXPECTED) for piece in scores
            if len(piece) == 1 or expected[piece] >= FEWEST_EXPECTED}
    total = digamma(sum(kept.values()))
    return {piece: float(digamma(count) - total) for piece, count in kept.items()}


def prune(counts: Mapping[str, int], scores: Mapping[str, float], aim: int) -> dict[str, float]:
    """Three quarters of the pieces (no fewer than `aim`): those whose loss would cost the likelihood most.

    The cost is estimated on best cuts: the piece's count, times what its best replacement by other pieces loses.
    """
    uses = dict.fromkeys(scores, 0)
    for word, count in counts.items():
        for piece in best_cut(word, scores):
            uses[piece] += count
    total = sum(uses.values())
    losses: dict[str, float] = {}
    for piece in [piece for piece, used in uses.items() if len(piece) > 1 and used]:
        others = best_cut(piece, {other: score for other, score in scores.items() if other != piece})
        used, after = uses[piece], total + uses[piece] * (len(others) - 1)
        losses[piece] = used * (math.log(used / total) - sum(math.log((uses[o] + used) / after) for o in others))
    characters = [piece for piece in scores if len(piece) == 1]
    room = max(aim, int(KEPT_SHARE * len(scores))) - len(characters)
    kept = {*characters, *sorted(losses, key=lambda piece: -losses[piece])[:max(0, room)]}
    return {piece: score for piece, score in scores.items() if piece in kept}


def best_cut(word: str, scores: Mapping[str, float]) -> list[str]:
    """The cut of highest probability (Viterbi)."""
    values, starts = [0.0] + [-math.inf] * len(word), [0] * (len(word) + 1)
    for start in range(len(word)):
        for end in _ends(word, start, scores):
            value = values[start] + scores[word[start:end]]
            if value > values[end]:
                values[end], starts[end] = value, start
    return _walk_back(word, starts)


def sample_cut(word: str, scores: Mapping[str, float], sharpness: float, random: np.random.Generator) -> list[str]:
    """A random cut, with probability proportional to its probability to the power `sharpness` (subword regularization).

    Forward-filtering, backward-sampling: exact, without listing the cuts. Sharpness 0 draws all cuts alike.
    """
    forward = forward_scores(word, scores, sharpness)
    starts, end = [0] * (len(word) + 1), len(word)
    while end > 0:
        options = [start for start in range(max(0, end - LONGEST), end) if word[start:end] in scores]
        logs = np.array([forward[start] + sharpness * scores[word[start:end]] for start in options])
        starts[end] = options[int(random.choice(len(options), p=np.exp(logs - forward[end])))]
        end = starts[end]
    return _walk_back(word, starts)


def _ends(word: str, start: int, scores: Mapping[str, float]) -> list[int]:
    return [end for end in range(start + 1, min(len(word), start + LONGEST) + 1) if word[start:end] in scores]


def _walk_back(word: str, starts: Sequence[int]) -> list[str]:
    pieces, end = list[str](), len(word)
    while end > 0:
        pieces.append(word[starts[end]:end])
        end = starts[end]
    return pieces[::-1]


def _log_sum(logs: Sequence[float]) -> float:
    high = max(logs, default=-math.inf)
    return high if high == -math.inf else high + math.log(sum(math.exp(value - high) for value in logs))
