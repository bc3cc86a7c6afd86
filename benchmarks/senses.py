"""Senses of words by layer: `python benchmarks/senses.py RUN... [--static RUN...] [--data FOLDER] [--corpus FILE...]`.

FOLDER holds train.jsonl.gz and dev.jsonl.gz with word, sense, index and tokens a line (hard, line, serve, interest);
of CORPUS, pseudo-words are made. For both a Markdown table: the commonest sense, static vectors (the word's own; the
mean of the words around it), every layer of every run and the best layer of the same body untrained; accuracy, macro
F1, macro F1 from 1, 3, 10 and 30 examples a sense, and how alike two uses of a word are beyond two of different words.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polysemy
from polysemy.evaluation.pseudo_words import make_pseudo_words
from polysemy.evaluation.sense_curves import SHOTS, SenseUse, from_occurrences, judge_uses
from polysemy.evaluation.static_senses import read_occurrences
from polysemy.text.corpus import Corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--static", nargs="*", type=Path, default=[])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--corpus", nargs="*", type=Path)
    parser.add_argument("--limit", type=int, default=10**9, help="training and test uses at most, taken evenly")
    parser.add_argument("--pairs", type=int, default=10)
    args = parser.parse_args()
    if args.data:
        train, test = (from_occurrences(read_occurrences(args.data / name)) for name in ("train.jsonl.gz",
                                                                                        "dev.jsonl.gz"))
        show("hard, line, serve, interest", args, train[::max(1, len(train) // args.limit)],
             test[::max(1, len(test) // args.limit)])
    if args.corpus:
        made = make_pseudo_words(Corpus(args.corpus), args.pairs, min(200, max(2, args.limit // (2 * args.pairs))))
        show("pseudo-words " + ", ".join("/".join(pair) for pair in made.pairs), args, made.train, made.test)


def show(title: str, args: argparse.Namespace, train: Sequence[SenseUse], test: Sequence[SenseUse]) -> None:
    """One table, a row as soon as it is known."""
    print(f"\n{title}: {len(train):,} training and {len(test):,} test uses\n")
    print("| run | vector | accuracy | macro F1 | " + " | ".join(f"from {count}" for count in SHOTS) + " | alike |")
    print("|---" * (len(SHOTS) + 5) + "|")
    for number, run in enumerate((*args.static, *args.runs)):
        methods = judge_uses(polysemy.load(run), train, test, control=run in args.runs)["methods"]
        for name, scores in methods.items():
            if name != "most_frequent" or not number:
                print(row(run.name, name, scores), flush=True)


def row(run: str, name: str, scores: dict[str, Any]) -> str:
    """One line of the table."""
    label = f"layer {name}" if name.isdigit() else name
    label = f"untrained, layer {scores['layer']}" if name == "untrained" else label
    curve = [f"{scores['curve'][str(count)]['macro_f1']:.3f}" if "curve" in scores else "" for count in SHOTS]
    known = scores.get("alike") is not None and scores.get("others") is not None
    return "| " + " | ".join(["" if name == "most_frequent" else run, label.replace("_", " "),
                              f"{scores['accuracy']:.3f}", f"{scores['macro_f1']:.3f}", *curve,
                              f"{scores['alike'] - scores['others']:.2f}" if known else ""]) + " |"


if __name__ == "__main__":
    main()
