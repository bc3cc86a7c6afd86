"""Labels by number format: `python benchmarks/prediction.py RUN dev.tsv [--dtypes float32,int16,int8] [--rounds 3]`.

A fine-tuned classifier predicts the texts of a labeled table in each format, by turns in one process, tokenization
included. Printed as Markdown: accuracy, texts a second of processor time (the best round), how many labels differ from
float32's, and by how much the probability of a label moves at most.
"""
from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import polysemy
from polysemy.models.tasks import kind_of
from polysemy.runtime import set_threads
from polysemy.text.labeled import read_examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dtypes", default="float32,int16,int8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    set_threads(args.threads)
    models: dict[str, Any] = {name: polysemy.load(args.run).to("cpu", name) for name in args.dtypes.split(",")}
    examples = read_examples(args.data, kind_of(next(iter(models.values())).task))
    found: dict[str, list[Any]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(1 + args.rounds):  # the first round loads the compiled code, and is not counted
        for name, model in models.items():
            start = time.process_time()
            found[name] = model.predict_examples(examples)
            seconds[name].append(time.process_time() - start)
    print("| dtype | accuracy | texts a CPU second | times as fast | labels that differ | largest shift |")
    print("|---|---|---|---|---|---|")
    first = next(iter(models))
    for name, took in seconds.items():
        pairs = list(zip(found[first], found[name], strict=True))
        right = sum(one.label == item.label for one, item in zip(found[name], examples, strict=True))
        differ = sum(a.label != b.label for a, b in pairs)
        shift = max(abs(a.probabilities[label] - b.probabilities[label]) for a, b in pairs for label in a.probabilities)
        print(f"| {name} | {right / len(pairs):.4f} | {len(pairs) / min(took[1:]):,.0f} | "
              f"{min(seconds[first][1:]) / min(took[1:]):.2f} | {differ} of {len(pairs):,} | {shift:.1e} |")


if __name__ == "__main__":
    main()
