"""Does it matter where token vectors begin? Steps to a given loss from random, one-hot and word2vec starts.

    python benchmarks/embedding_init.py TEXT --vectors RUN [--recipe bert] [--steps 800] [--seeds 3] [--threads 1]
                                        [--out DIR] [--set a.b=c ...]

RUN: a run folder of word vectors of the same text (polysemy train word2vec TEXT -o RUN). The same body, text, order of
the batches and learning rates for all starts of a seed; only the directions of the token vectors differ, not their size
(`training/embedding_start.py`). One-hot rows are those of the identity where the width has room for all of them, else
blocks of random rows at right angles; what was done is printed. The levels are the losses (mean of the last tenth of
the steps so far, and over the seeds) that the random start has after a quarter, a half and all of the steps. With --out
the curves as embedding-init.png and .svg and the table as embedding-init.json.
"""
from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polysemy.artifact import new_folder, write_bytes, write_json
from polysemy.cli.printing import table
from polysemy.config import with_settings
from polysemy.models import find_recipe, resolve
from polysemy.models.recipe import EmbeddingStart, PretrainingConfig
from polysemy.report.layers_picture import standing_alone
from polysemy.report.style import axis_titles, new_figure, series, spread, to_png, to_svg, write
from polysemy.text.corpus import Corpus
from polysemy.training.budget import Budget
from polysemy.training.prepared import PreparedText, prepare_text
from polysemy.training.pretrain import fitted, pretrain

SHARES = {"1/4": 0.25, "1/2": 0.5, "1": 1.0}


def losses(config: PretrainingConfig, text: PreparedText, init: str, steps: int, seed: int) -> np.ndarray:
    """The training loss of every step."""
    with tempfile.TemporaryDirectory() as folder:
        run = pretrain(config.replace(embedding=EmbeddingStart(init=init)), text, Path(folder) / "run",
                       budget=Budget(steps=steps), seed=seed)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return np.array([row["loss"] for row in rows if "loss" in row])[:steps]


def smooth(values: np.ndarray) -> np.ndarray:
    """Each step's mean over the last tenth of the steps so far (at least 10)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - np.maximum(10, ends // 10))
    return (total[ends] - total[starts]) / (ends - starts)


def steps_to(curve: np.ndarray, level: float) -> str:
    """The first step after ten at which a smoothed curve is at a level or below it."""
    reached = np.flatnonzero(curve[10:] <= level)
    return f"{reached[0] + 11:,}" if len(reached) else f"over {len(curve):,}"


def picture(curves: dict[str, np.ndarray]) -> Any:
    """Loss by step, a line a start."""
    figure, axes = new_figure(width=6.0, height=3.7)
    ends = [float(curve.mean(0)[-1]) for curve in curves.values()]
    low, high = min(ends), max(float(curve.mean(0)[9:].max()) for curve in curves.values())
    heights = spread(ends, 0.07 * (high - low), low, high)
    for number, ((name, curve), height) in enumerate(zip(curves.items(), heights, strict=True)):
        tint, _ = series(number)
        steps = np.arange(1, curve.shape[1] + 1)[9:]
        axes.plot(steps, curve.mean(0)[9:], color=tint, linewidth=1.8)
        axes.fill_between(steps, curve.min(0)[9:], curve.max(0)[9:], color=tint, alpha=0.15, linewidth=0)
        write(axes, steps[-1] * 1.02, height, name, color=tint, va="center", clip_on=False)
    axis_titles(axes, "updates", "loss, nats a token (mean of the seeds, and their range)")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--recipe", default="bert")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    usual = {"training.batch_size": "16", "training.length": "64", "training.evaluate_every": "1000000"}
    settings = usual | dict(setting.split("=", 1) for setting in args.settings)
    config = with_settings(resolve(find_recipe(args.recipe, trains=True).configure)("tiny"), settings)
    with tempfile.TemporaryDirectory() as folder:
        text = prepare_text(Corpus([args.text]), config, Path(folder) / "text")
        body: Any = fitted(config, text.tokenizer).model
        width = getattr(getattr(body, "embedding", None), "factor_size", None) or body.hidden_size
        form = "rows of the identity" if body.vocab_size <= width else f"blocks of {width} random rows at right angles"
        print(f"{args.recipe} tiny, {body.vocab_size:,} pieces; one-hot: {form}")
        starts = {"random": "random", "one-hot": "onehot", "word2vec": str(args.vectors)}
        curves: dict[str, np.ndarray] = {}
        for name, init in starts.items():
            found = [smooth(losses(config, text, init, args.steps, seed)) for seed in range(args.seeds)]
            curves[name] = np.stack(found)
            print(f"{name}: loss {curves[name].mean(0)[-1]:.4f} after {args.steps} steps", flush=True)
    mean = curves["random"].mean(0)
    levels = {share: float(mean[max(10, round(part * args.steps)) - 1]) for share, part in SHARES.items()}
    heads = ("start", "loss at the end", "seeds differ by", *(f"steps to {level:.3f}" for level in levels.values()))
    rows = [(name, f"{curve.mean(0)[-1]:.4f}", f"{np.ptp(curve[:, -1]):.4f}",
             *(steps_to(curve.mean(0), level) for level in levels.values())) for name, curve in curves.items()]
    print(table(heads, rows, right=",".join(heads[1:])))
    if args.out:
        figure = picture(curves)
        with new_folder(args.out, overwrite=True) as out:
            write_json(out / "embedding-init.json", {
                "levels": levels, "curves": {name: curve.round(5).tolist() for name, curve in curves.items()}})
            write_bytes(out / "embedding-init.png", to_png(figure))
            svg = standing_alone(to_svg(figure, "embedding-init", "loss by updates of three starts"))
            write_bytes(out / "embedding-init.svg", svg.encode())


if __name__ == "__main__":
    main()
