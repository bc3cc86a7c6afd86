"""Does the way of drawing cloze candidates decide who wins? One bigram model, three ways, three ways of ranking.

    python benchmarks/cloze_stability.py CORPUS [--seeds 3] [--quick]

A score that jumps between ranking by log p and by log p - log q measures how candidates were drawn, not what the model
knows. Printed for each way of drawing: accuracy by either, accuracy calibrated, accuracy of word frequency alone
(chance is 6.25 %), and how much the calibrated score moves from one set of questions to the next.
"""
from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from polysemy.evaluation import QUICK, BigramControl, ClozeConfig, ClozeSet, Question, UnigramControl, judge
from polysemy.evaluation.bootstrap import band_mean
from polysemy.evaluation.cloze import ClozeResult
from polysemy.evaluation.cloze_making import Lexicon, make_items
from polysemy.evaluation.split import split_corpus
from polysemy.runtime import random_for
from polysemy.text.corpus import Corpus


def redrawn(items: ClozeSet, lexicon: Lexicon, by_frequency: bool) -> ClozeSet:
    """The same gaps with candidates drawn from the whole vocabulary, by frequency or uniformly."""
    counts = lexicon.vocabulary.counts * (lexicon.pools.pool >= 0)
    share = counts / counts.sum() if by_frequency else (counts > 0) / (counts > 0).sum()
    sums = np.cumsum(share)

    def draw(question: Question, number: int) -> Question:
        random = random_for(items.config.seed, "redrawn", number)
        wrong: list[int] = []
        while len(wrong) < len(question.candidates) - 1:
            word = min(int(np.searchsorted(sums, random.random())), len(sums) - 1)
            if word not in wrong and word != question.rank - 1:
                wrong.append(word)
        words = [question.rank - 1, *wrong]
        return dataclasses.replace(
            question, candidates=tuple(lexicon.vocabulary.words[word] for word in words), gold=0,
            log_frequency=tuple(lexicon.log_frequency[words].tolist()), pieces=tuple(lexicon.pieces[words].tolist()))

    return dataclasses.replace(items, dev=tuple(draw(q, n) for n, q in enumerate(items.dev)),
                               test=tuple(draw(q, -n - 1) for n, q in enumerate(items.test)))


class WithoutFrequency:
    """A model whose scores have log q taken away."""

    def __init__(self, model: BigramControl) -> None:
        self.model = model

    def cloze_scores(self, items: list[Question]) -> np.ndarray:
        """float64 (items, candidates): log p - log q."""
        return self.model.cloze_scores(items) - np.array([item.log_frequency for item in items])


def raw(result: ClozeResult) -> float:
    """Accuracy by the score itself."""
    return band_mean(result.raw_accuracy, result.bands)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        split = split_corpus(Corpus(args.corpus), Path(folder) / "split")
        print("\n".join(split.describe()))
        config = QUICK if args.quick else ClozeConfig()
        model, lexicon = BigramControl.train(split.train), Lexicon.of_text(split.train, config)
        rows: dict[str, list[list[float]]] = {}
        for seed in range(args.seeds):
            matched = make_items(split, config.replace(seed=seed))
            ways = {"matched pools (the protocol)": matched, "by frequency": redrawn(matched, lexicon, True),
                    "uniformly": redrawn(matched, lexicon, False)}
            for name, items in ways.items():
                result, without = judge(model, items), judge(WithoutFrequency(model), items)
                unigram = judge(UnigramControl(), items)
                rows.setdefault(name, []).append([raw(result), raw(without), result.summary()["accuracy"],
                                                  unigram.summary()["accuracy"]])
    print(f"\nbigram control, {args.seeds} sets of {len(matched.test):,} questions, accuracy in %")
    print(f"{'candidates drawn':30} {'log p':>7} {'- log q':>8} {'moves by':>9} {'calibrated':>11} {'spread':>7} "
          f"{'frequency alone':>16}")
    for name, values in rows.items():
        p, q, calibrated, unigram = 100 * np.mean(values, axis=0)
        spread = 100 * np.std([row[2] for row in values], ddof=1) if len(values) > 1 else float("nan")
        print(f"{name:30} {p:7.1f} {q:8.1f} {abs(p - q):9.1f} {calibrated:11.1f} {spread:7.2f} {unigram:16.1f}")


if __name__ == "__main__":
    main()
