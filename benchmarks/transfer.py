"""What is transferred: the embeddings and the first m layers of a pretrained model, the rest with random weights.

    python benchmarks/transfer.py MODEL [--glue ../shared/data/glue] [--tasks SST-2,CoLA] [--examples 4000] [--epochs 3]
                                  [--seeds 1] [--kept 0,1,2,...] [--threads 1] [--out DIR]

score(m) for m = 0 .. layers: fine-tuning with `reuse_layers=m`, all else equal; `none` begins with nothing pretrained,
not even the embeddings, and `most frequent` is what no model at all gets. If shallow layers are common to all texts and
tasks, most of the way from `none` to the last row is made in the first rows. Median over seeds; the best epoch of each
run counts. With --out the table as transfer.json, transfer.png and transfer.svg.
"""
from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from polysemy.artifact import new_folder, write_bytes, write_json
from polysemy.cli.printing import table
from polysemy.evaluation.task_metrics import headline, majority_metrics, task_metrics
from polysemy.models.fine_tuning import opened
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.report.layers_picture import standing_alone
from polysemy.report.style import axis_titles, color, new_figure, series, to_png, to_svg, write
from polysemy.runtime import random_for
from polysemy.text.labeled import Examples, read_examples
from polysemy.training.fine_tuning_config import FineTuningConfig
from polysemy.training.fine_tuning_run import Judge
from polysemy.training.fine_tuning_start import task_for
from polysemy.training.finetune import finetune

DATA = Path(__file__).parents[2] / "shared" / "data" / "glue"
METRICS = {"CoLA": "matthews"}
NONE, MAJORITY = "none", "most frequent"


def cut(examples: Examples, count: int) -> Examples:
    """So many of them, drawn once and for all."""
    kept = sorted(random_for("transfer", examples.path.rsplit("/", 1)[-1]).permutation(len(examples))[:count].tolist())
    return Examples(tuple(examples[i] for i in kept), examples.kind, examples.path)


def untrained(model: Path, folder: Path) -> Path:
    """A run folder of the same body with first weights."""
    reader = opened(model)
    config = reader.config
    write_run(folder, PretrainingModel(config.model, config.heads, seed=0), reader.tokenizer, config)
    return folder


def score(start: Path, kept: int | None, train: Examples, dev: Examples, name: str, args: argparse.Namespace) -> float:
    """Median over seeds of the best epoch's score."""
    task = task_for("classify", train, dev)
    judge = Judge(task_metrics, METRICS.get(name) or headline(task))
    config = FineTuningConfig(epochs=args.epochs, reuse_layers=kept, learning_rate=args.learning_rate, length=64)
    scores = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            found = finetune(start, task, train, dev, Path(folder) / "run", config, seed=seed, judge=judge)
            scores.append(float(found["score"]))
    return statistics.median(scores)


def picture(results: Mapping[str, Mapping[str, float]]) -> Any:
    """score(m), a line a task; the dashed line is the model with nothing pretrained."""
    figure, axes = new_figure(width=6.0, height=3.7)
    for number, (name, scores) in enumerate(results.items()):
        tint, marker = series(number)
        places = sorted(int(m) for m in scores if m.isdigit())
        values = [scores[str(m)] for m in places]
        axes.plot(places, values, color=tint, marker=marker, markersize=4.5, linewidth=1.9)
        axes.axhline(scores[NONE], color=tint, linewidth=1.0, linestyle=(0, (3, 3)))
        write(axes, places[-1] + 0.15, values[-1], f"{name}  {values[-1]:.3f}", color=tint, va="center", clip_on=False)
        write(axes, places[-1] + 0.15, scores[NONE], f"nothing kept  {scores[NONE]:.3f}", color=tint, va="center",
              fontsize=8, clip_on=False)
    axes.set_xticks(places)
    axes.tick_params(axis="x", colors=color("muted"))
    axis_titles(axes, "pretrained layers kept, with the embeddings (the rest is random)", "score on dev")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--glue", type=Path, default=DATA)
    parser.add_argument("--tasks", default="SST-2,CoLA")
    parser.add_argument("--examples", type=int, default=4000)
    parser.add_argument("--dev", type=int, default=10_000)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kept", help="numbers of layers, by default all from 0 on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not args.glue.is_dir():
        print(f"skipped: no {args.glue}")
        return
    torch.set_num_threads(args.threads)
    layers = opened(args.model).config.model.num_layers
    kept = [int(m) for m in args.kept.split(",")] if args.kept else list(range(layers + 1))
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bare = untrained(args.model, Path(folder) / "untrained")
        for name in args.tasks.split(","):
            files = (args.glue / name / f"{part}.tsv.gz" for part in ("train", "dev"))
            train, dev = (read_examples(path, "classify") for path in files)
            train, dev = cut(train, args.examples), cut(dev, args.dev)
            task = task_for("classify", train, dev)
            metric = METRICS.get(name) or headline(task)
            scores = {MAJORITY: float(majority_metrics(task, train, dev)[metric])}
            for m in [None, *kept]:
                begun, row = time.process_time(), NONE if m is None else str(m)
                scores[row] = score(bare if m is None else args.model, m, train, dev, name, args)
                print(f"{name} {row}: {scores[row]:.4f} ({time.process_time() - begun:.0f} s)", flush=True)
            results[name] = scores
    lines = [(name, *(f"{scores[name]:.3f}" for scores in results.values())) for name in next(iter(results.values()))]
    heads = tuple(f"{name} ({METRICS.get(name, 'accuracy')})" for name in results)
    print(table(("layers kept", *heads), lines, right=",".join(heads)))
    if args.out:
        figure = picture(results)
        with new_folder(args.out, overwrite=True) as out:
            write_json(out / "transfer.json", results)
            write_bytes(out / "transfer.png", to_png(figure))
            svg = standing_alone(to_svg(figure, "transfer", "score by layers kept"))
            write_bytes(out / "transfer.svg", svg.encode())


if __name__ == "__main__":
    main()
