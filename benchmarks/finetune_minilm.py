"""GLUE from the real MiniLM: our recipe, and the same recipe in transformers, scores and CPU seconds of both.

    python benchmarks/finetune_minilm.py --checkpoint minilm                      SST-2, MRPC, CoLA, RTE, STS-B, whole
    python benchmarks/finetune_minilm.py --checkpoint minilm --data RTE --most 320 --epochs 1       a smoke run

The recipe is the same for both: epochs, rate, batch size, warm-up 10 % then linear decay, AdamW (0.9, 0.999, 1e-8,
decay 0.01 on matrices), clip 1, dropout 0.1, longest row 128, rows of like length together, bf16 where the processor
multiplies it, the best epoch on dev.  transformers' side is a plain loop (without the Trainer's bookkeeping) over
AutoModelForSequenceClassification under autocast, on the rows that we made.  CPU seconds are those of training;
evaluation is not counted on either side.  Only the order of the rows and the dropout masks differ.
"""
from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Recipe:
    kind: str
    metric: str
    target: float
    epochs: float
    rate: float
    batch: int


RECIPES = {
    "SST-2": Recipe("classify", "accuracy", 0.90, 2, 5e-5, 32),
    "MRPC": Recipe("pair", "f1", 0.86, 5, 5e-5, 16),
    "CoLA": Recipe("classify", "matthews", 0.35, 6, 5e-5, 16),
    "RTE": Recipe("pair", "accuracy", 0.60, 8, 5e-5, 16),
    "STS-B": Recipe("regress", "spearman", 0.86, 4, 5e-5, 16),
}


class Clock:
    """CPU seconds of training: stopped while dev is judged."""

    def __init__(self) -> None:
        self.spent, self.started = 0.0, time.process_time()

    def pause(self) -> None:
        self.spent += time.process_time() - self.started

    def go_on(self) -> None:
        self.started = time.process_time()


def ours(folder: Path, task: Any, train: Any, dev: Any, recipe: Recipe, seed: int, out: Path) -> tuple[float, float]:
    """(score of the best epoch, CPU seconds)."""
    from polysemy.evaluation.task_metrics import task_metrics
    from polysemy.training.fine_tuning_config import FineTuningConfig
    from polysemy.training.fine_tuning_run import Judge, SeedRun
    from polysemy.training.finetune import finetune

    clock, judged = Clock(), SeedRun.judged

    def paused(self: SeedRun) -> dict[str, Any]:
        clock.pause()
        found = judged(self)
        clock.go_on()
        return found

    begun = SeedRun.go

    def timed(self: SeedRun, *rest: Any) -> None:
        clock.go_on()
        begun(self, *rest)
        clock.pause()

    SeedRun.judged, SeedRun.go = paused, timed  # type: ignore[method-assign]
    config = FineTuningConfig(epochs=recipe.epochs, learning_rate=recipe.rate, batch_size=recipe.batch, dropout=0.1)
    try:
        results = finetune(folder, task, train, dev, out, config, seed=seed, judge=Judge(task_metrics, recipe.metric),
                           tell=lambda line: print(f"    ours: {line}", flush=True))
    finally:
        SeedRun.judged, SeedRun.go = judged, begun  # type: ignore[method-assign]
    return float(results["score"]), clock.spent


def theirs(folder: Path, task: Any, rows: tuple[Any, Any], dev: Any, recipe: Recipe, seed: int) -> tuple[float, float]:
    """The same recipe in transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

    from polysemy.runtime import choose_dtype
    from polysemy.text.task_batches import TaskBatches

    torch.manual_seed(seed)
    labels = len(getattr(task, "labels", ())) or 1
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=labels, problem_type="regression" if labels == 1 else "single_label_classification")
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
                                  lr=recipe.rate, fused=True)
    batches = TaskBatches(rows[0], recipe.batch, seed + 1000)
    steps = max(1, round(recipe.epochs * len(rows[0]) / recipe.batch))
    schedule = get_linear_schedule_with_warmup(optimizer, round(steps / 10), steps)
    ends = {min(steps, -(-(epoch + 1) * len(rows[0]) // recipe.batch)) for epoch in range(int(np.ceil(recipe.epochs)))}
    native, best, clock = choose_dtype() == "bfloat16", -np.inf, Clock()
    for step in range(steps):
        batch = batches[step]
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=native):
            loss = model(**inputs(batch), labels=torch.from_numpy(batch.targets)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step + 1 in ends:
            clock.pause()
            best = max(best, judged_by(model, task, rows[1], dev, recipe.metric))
            print(f"    transformers: step {step + 1} of {steps}, best {best:.4f}", flush=True)
            clock.go_on()
    clock.pause()
    return float(best), clock.spent


def inputs(batch: Any) -> dict[str, Any]:
    """What their model takes."""
    import torch

    return {"input_ids": torch.from_numpy(batch.ids), "token_type_ids": torch.from_numpy(batch.segments),
            "attention_mask": torch.from_numpy(batch.visible.astype(np.int64))}


def judged_by(model: Any, task: Any, rows: Any, dev: Any, metric: str) -> float:
    """Their score, by our metrics."""
    import torch

    from polysemy.evaluation.task_metrics import task_metrics
    from polysemy.models.predictions import Prediction
    from polysemy.text.task_batches import in_order_of_length

    found: list[Any] = [None] * len(rows)
    model.eval()
    with torch.inference_mode():
        for batch in in_order_of_length(rows, 4096):
            for source, logits in zip(batch.sources.tolist(), model(**inputs(batch)).logits.float(), strict=True):
                found[source] = (Prediction(label=task.labels[int(logits.argmax())]) if hasattr(task, "labels")
                                 else Prediction(value=float(logits[0])))
    return float(task_metrics(task, found, dev)[metric])


def run(name: str, recipe: Recipe, ours_at: Path, args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Both sides on one set."""
    from polysemy.models.fine_tuning import opened
    from polysemy.text.labeled import read_examples
    from polysemy.text.task_rows import task_rows
    from polysemy.training.fine_tuning_start import task_for

    train, dev = (read_examples(args.glue / name / f"{part}.tsv.gz", recipe.kind) for part in ("train", "dev"))
    if args.most:
        train = replace(train, items=train.items[:args.most])
    task = task_for(recipe.kind, train, dev)
    rows = tuple(task_rows(part, opened(ours_at), task, length=128) for part in (train, dev))
    score, seconds = ours(ours_at, task, train, dev, recipe, args.seed, work / name)
    found = {"set": name, "metric": recipe.metric, "target": recipe.target, "ours": score, "ours_seconds": seconds}
    if not args.alone:
        theirs_score, theirs_seconds = theirs(args.checkpoint, task, rows, dev, recipe, args.seed)
        found |= {"transformers": theirs_score, "transformers_seconds": theirs_seconds,
                  "time_ratio": theirs_seconds / max(seconds, 1e-9)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="MiniLM as transformers keeps it")
    parser.add_argument("--glue", type=Path, default=Path("../shared/data/glue"))
    parser.add_argument("--data", default=",".join(RECIPES), help="comma-separated sets")
    parser.add_argument("--most", type=int, help="so many training examples at most")
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="our side only, to look for recipes")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-o", "--output", type=Path, help="results as JSON")
    args = parser.parse_args()
    import torch
    import transformers

    from polysemy.models.hugging_face import from_hugging_face

    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    results = []
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        from_hugging_face(args.checkpoint, work / "start")
        for name in args.data.split(","):
            recipe = RECIPES[name]
            recipe = replace(recipe, epochs=args.epochs or recipe.epochs, rate=args.rate or recipe.rate,
                             batch=args.batch or recipe.batch)
            found = run(name, recipe, work / "start", args, work)
            results.append(found)
            print("  ".join(f"{key} {value:.4f}" if isinstance(value, float) else f"{value}"
                            for key, value in found.items()), flush=True)
            if args.output:
                args.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
