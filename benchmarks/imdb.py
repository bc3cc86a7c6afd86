"""IMDB reviews, 12,500 to learn from and 5,000 to be judged by: fastText's classifier, and a fine-tuned body.

    python benchmarks/imdb.py fasttext --data FOLDER [--tune]
    python benchmarks/imdb.py body RUN -o OUT --data FOLDER [--rows N] [--length 256] [--epochs 2] [--check]

FOLDER holds train.tsv.gz and test.tsv.gz with columns label and text. Settings are chosen on a fifth of train (--tune,
--check); test is read once, with the chosen ones. Long reviews keep their first quarter of the length and their end
(Sun et al. 2019: head and tail): what is thought of a film stands at the end.
"""
from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.runtime import random_for, set_threads
from polysemy.text.labeled import Examples, read_examples

TUNED = {"epochs": 10, "learning_rate": 0.5, "word_ngrams": 3, "size": 20, "buckets": 500_000}
"""the best of GRID on a fifth of train"""
GRID = [(1, 10, 0.5), (2, 5, 0.5), (2, 10, 0.25), (2, 10, 0.5), (2, 20, 0.5), (3, 5, 0.5), (3, 10, 0.25), (3, 10, 0.5),
        (4, 10, 0.5)]
"""word n-grams, epochs, rate"""
HEAD_SHARE = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fasttext", "body"))
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--tune", action="store_true", help="fasttext: try the grid on a fifth of train")
    parser.add_argument("--check", action="store_true", help="body: be judged by a fifth of train, not by test")
    parser.add_argument("--rows", type=int, help="body: learn from so many reviews")
    parser.add_argument("--dev-rows", type=int, default=500, help="body: reviews that choose the epoch")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--layer-decay", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    set_threads(args.threads)
    train = read_examples(args.data / "train.tsv.gz", "classify", "text=text,label=label")
    rest, chosen = cut(train, 0.2, "dev")
    if args.what == "fasttext":
        if args.tune:
            for words, epochs, rate in GRID:
                settings = {**TUNED, "word_ngrams": words, "epochs": epochs, "learning_rate": rate}
                say({**settings, **classifier(rest, chosen, settings, args.threads or 1)})
            return
        test = read_examples(args.data / "test.tsv.gz", "classify", "text=text,label=label")
        say({"what": "fasttext", **TUNED, **classifier(train, test, TUNED, args.threads or 1)})
        return
    if args.run is None or args.output is None:
        parser.error("body needs a run folder and -o")
    if args.check:
        train, test = rest, first(chosen, 500)
    else:
        test = read_examples(args.data / "test.tsv.gz", "classify", "text=text,label=label")
    say(body(args, train, test))


def classifier(train: Examples, test: Examples, settings: dict[str, Any], threads: int) -> dict[str, Any]:
    """Accuracy of fastText's classifier with these settings, and the seconds of its training."""
    import tempfile

    from polysemy import load
    from polysemy.models.fasttext.config import FasttextConfig
    from polysemy.models.fasttext.labels import LabeledText
    from polysemy.training.words import train_words

    clock, wall = time.process_time(), time.perf_counter()
    data, asked = (LabeledText([one.text for one in part], [(str(one.label),) for one in part])
                   for part in (train, test))
    with tempfile.TemporaryDirectory(prefix="imdb-") as work:
        config: Any = FasttextConfig(task="classify", **settings)
        folder = train_words(config, data, Path(work) / "run", threads=threads, held_out=False)
        spent = {"cpu_seconds": time.process_time() - clock, "seconds": time.perf_counter() - wall}
        model: Any = load(folder)
        return {"accuracy": model.evaluate(asked)["accuracy"], "train": len(train), "test": len(asked), **spent}


def body(args: argparse.Namespace, train: Examples, test: Examples) -> dict[str, Any]:
    """Accuracy of a fine-tuned body: the epoch is chosen by some reviews of train, test is read once."""
    from polysemy import load
    from polysemy.evaluation.judged_tuning import judged_tuning
    from polysemy.models.fine_tuning import opened
    from polysemy.training.fine_tuning_config import FineTuningConfig
    from polysemy.training.fine_tuning_start import task_for

    reader = opened(args.run)
    learned, chosen = cut(train, min(0.5, args.dev_rows / len(train)), "choose")
    learned = first(learned, args.rows or len(learned))
    learned, chosen, asked = (head_and_tail(part, reader, args.length) for part in (learned, chosen, test))
    config = FineTuningConfig(epochs=args.epochs, learning_rate=args.learning_rate, batch_size=args.batch_size,
                              length=args.length, layer_decay=args.layer_decay)
    clock, wall = time.process_time(), time.perf_counter()
    found = judged_tuning(args.run, task_for("classify", learned), (learned, chosen), args.output, config,
                          seed=args.seed)
    spent = {"training_seconds": found["seconds"], "cpu_seconds": time.process_time() - clock,
             "seconds": time.perf_counter() - wall}
    model: Any = load(args.output)
    right = [answer.label == one.label for answer, one in zip(model.predict_examples(asked), asked, strict=True)]
    return {"what": str(args.run), "accuracy": float(np.mean(right)), "chosen": found["score"], "train": len(learned),
            "test": len(asked), "epoch": found["epoch"], "steps": found["step"], **config.to_dict(), **spent}


def head_and_tail(examples: Examples, reader: Any, length: int) -> Examples:
    """The texts cut to `length` pieces: the first quarter of them, and the last ones."""
    room = length - reader.specials(False)
    head = int(HEAD_SHARE * room)
    cut_texts = []
    for start in range(0, len(examples), 512):
        part = examples.items[start:start + 512]
        for one, found in zip(part, reader.encode([one.text for one in part]), strict=True):
            text = one.text
            if len(found.ids) > room:  # two pieces less: the seam may be cut otherwise than before
                text = f"{text[:found.ends[head - 1]]} {text[found.starts[len(found.ids) - (room - head) + 2]:]}"
            cut_texts.append(replace(one, text=text))
    return replace(examples, items=tuple(cut_texts))


def cut(examples: Examples, share: float, name: str) -> tuple[Examples, Examples]:
    """(rest, share) of the examples, in a keyed order."""
    order = random_for("imdb", name).permutation(len(examples)).tolist()
    count = round(share * len(examples))
    parts = (order[count:], order[:count])
    rest, taken = (replace(examples, items=tuple(examples[number] for number in part)) for part in parts)
    return rest, taken


def first(examples: Examples, count: int) -> Examples:
    return replace(examples, items=examples.items[:count])


def say(row: dict[str, Any]) -> None:
    print(json.dumps({name: round(value, 4) if isinstance(value, float) and abs(value) > 1e-2 else value
                      for name, value in row.items()}), flush=True)


if __name__ == "__main__":
    main()
