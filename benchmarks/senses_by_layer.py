"""Senses of words by layer: `python benchmarks/senses_by_layer.py RUN... --data FOLDER`.

FOLDER holds train.jsonl.gz and dev.jsonl.gz with word, sense, index and tokens a line (hard, line, serve, interest).
Prints a table of macro F1 and accuracy, means over the words: always the commonest sense, then each layer, then `mix`.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import polysemy
from polysemy.evaluation.contextual_senses import judge_layers
from polysemy.evaluation.static_senses import read_occurrences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=10**9, help="training occurrences at most, taken evenly")
    args = parser.parse_args()
    known = read_occurrences(args.data / "train.jsonl.gz")
    known = known[::max(1, len(known) // args.limit)]
    asked = read_occurrences(args.data / "dev.jsonl.gz")
    print("| run | layer | macro F1 | accuracy |\n|---|---|---|---|")
    for run in args.runs:
        model = polysemy.load(run)
        layers = [*range(model.config.model.num_layers + 1), "mix"]
        found = judge_layers(model, layers, known, asked)
        for name in ("most_frequent", *map(str, layers)):
            macro_f1, accuracy = found[name]["macro_f1"], found[name]["accuracy"]
            print(f"| {run.name} | {name} | {macro_f1:.3f} | {accuracy:.3f} |", flush=True)


if __name__ == "__main__":
    main()
