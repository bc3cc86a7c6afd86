"""Fine-tuning steps: Polysemy against the Hugging Face Trainer, same model, rows, batch size and threads, one run.

    python benchmarks/finetune_step.py                        mini and MiniLM on SST-2 and MRPC
    python benchmarks/finetune_step.py --model mini --data SST-2 --steps 20 --rounds 3

A step is batch making + forward + backward + clipping + AdamW.  Both begin with rows that are tokenized already.  The
Trainer runs with train_sampling_strategy="group_by_length" (group_by_length in older versions), bf16 autocast where the
processor multiplies bfloat16, fused AdamW, dropout 0.1; ours with its defaults and dropout 0.1.  They take turns, each
in a process of its own, for ours keeps the memory that it frees, which the Trainer does not do by itself; a second
ratio is over a Trainer whose process keeps it too (`Trainer+k`).  The figure is the median over rounds of real (not
padded) tokens a CPU second.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WAYS = ("Trainer", "Trainer+k", "polysemy")
KINDS = {"SST-2": "classify", "CoLA": "classify", "MRPC": "pair", "RTE": "pair"}


def folders(model: str, tokenizer: Path, work: Path) -> tuple[Path, Path]:
    """(theirs, ours): the same weights in both formats."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    from polysemy.models.hugging_face import from_hugging_face

    theirs, ours = work / f"{model}-hf", work / model
    if model == "minilm":
        theirs = tokenizer
    else:
        words = AutoTokenizer.from_pretrained(tokenizer)
        sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
        BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(theirs)
        words.save_pretrained(theirs)
    from_hugging_face(theirs, ours)
    return theirs, ours


class Theirs:
    """The Trainer on a list of token ids."""

    def __init__(self, folder: Path, rows: Any, batch: int) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

        self.model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.collate = DataCollatorWithPadding(self.tokenizer)
        self.batch, self.tokens = batch, 0
        self.rows = []
        for i in range(len(rows)):
            row = rows[i]
            self.rows.append({"input_ids": row.ids.tolist(), "token_type_ids": row.segments.tolist(),
                              "attention_mask": [1] * len(row.ids), "labels": int(row.targets)})

    def __call__(self, steps: int, seed: int) -> tuple[int, float]:
        from torch.utils.data import Dataset
        from transformers import Trainer, TrainerCallback, TrainingArguments

        from polysemy.runtime import choose_dtype

        outer, rows = self, self.rows

        class Rows(Dataset):
            def __len__(self) -> int:
                return len(rows)

            def __getitem__(self, i: int) -> Any:
                return rows[i]

        clock = {}

        class Clock(TrainerCallback):
            def on_step_begin(self, *args: Any, **more: Any) -> None:
                clock.setdefault("start", time.process_time())

            def on_step_end(self, *args: Any, **more: Any) -> None:
                clock["end"] = time.process_time()

        def collate(items: Any) -> Any:
            outer.tokens += sum(len(item["input_ids"]) for item in items)
            return self.collate(items)

        settings: dict[str, Any] = {"train_sampling_strategy": "group_by_length"}
        with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()):
            arguments = TrainingArguments(
                work, max_steps=steps, per_device_train_batch_size=self.batch, use_cpu=True, seed=seed,
                bf16=choose_dtype() == "bfloat16", report_to=[], save_strategy="no", logging_strategy="no",
                disable_tqdm=True, optim="adamw_torch_fused", learning_rate=5e-5, dataloader_num_workers=0, **settings)
            trainer = Trainer(self.model, arguments, train_dataset=Rows(), data_collator=collate, callbacks=[Clock()])
            self.tokens = 0
            trainer.train()
        return self.tokens, clock["end"] - clock["start"]


class Ours:
    """Our loop on the same rows."""

    def __init__(self, folder: Path, task: Any, rows: Any, batch: int) -> None:
        from polysemy.models.fine_tuning import opened
        from polysemy.objectives.task import TaskObjective
        from polysemy.training.fine_tuning_config import FineTuningConfig
        from polysemy.training.fine_tuning_start import first_model
        from polysemy.training.layer_rates import tables
        from polysemy.training.learner import Learner

        config = FineTuningConfig(batch_size=batch, learning_rate=5e-5, epochs=1, dropout=0.1)
        model = first_model(opened(folder), task, config, 0, lambda line: None)
        self.training = config.training(int(rows.lengths.max()))
        self.learner = Learner.make(model, TaskObjective(task), self.training, undecayed=tables(model))
        self.rows, self.batch = rows, batch

    def __call__(self, steps: int, seed: int) -> tuple[int, float]:
        from polysemy.text.task_batches import TaskBatches
        from polysemy.training.budget import Budget, Course
        from polysemy.training.loop import train

        batches = TaskBatches(self.rows, self.batch, seed)
        start, tokens = time.process_time(), 0
        for step in train(self.learner, batches, self.training, course=Course(Budget(steps=steps), batches=batches)):
            tokens += step.tokens
        return tokens, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("mini", "minilm", "all"), default="all")
    parser.add_argument("--checkpoint", type=Path, required=True, help="MiniLM as transformers keeps it")
    parser.add_argument("--glue", type=Path, default=Path("../shared/data/glue"))
    parser.add_argument("--data", default="SST-2,MRPC", help=f"comma-separated: {', '.join(KINDS)}")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=60, help="steps that are not measured: each number of rows that "
                        "the matrix library meets for the first time is compiled")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for model in ("mini", "minilm") if args.model == "all" else (args.model,):
            theirs, ours = folders(model, args.checkpoint, Path(work))
            for name in args.data.split(","):
                with contextlib.ExitStack() as stack:
                    runs = {which: stack.enter_context(Worker(which, args, theirs, ours, name)) for which in WAYS}
                    print(row_of(model, name, runs, args), flush=True)


class Worker:
    """One of the ways in a process of its own: call it for (tokens, CPU seconds) of so many steps."""

    def __init__(self, which: str, args: argparse.Namespace, theirs: Path, ours: Path, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, which, args, theirs, ours, name), daemon=True)

    def __enter__(self) -> Worker:
        self.process.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.process.kill()

    def __call__(self, steps: int, seed: int) -> tuple[int, float]:
        self.pipe.send((steps, seed))
        return self.pipe.recv()


def serve(pipe: Any, which: str, args: argparse.Namespace, theirs: Path, ours: Path, name: str) -> None:
    import torch
    import transformers

    from polysemy.memory import keep_freed_memory
    from polysemy.models.fine_tuning import opened
    from polysemy.text.labeled import read_examples
    from polysemy.text.task_rows import task_rows
    from polysemy.training.fine_tuning_start import task_for

    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    if which != "Trainer":
        keep_freed_memory()
    examples = read_examples(args.glue / name / "train.tsv.gz", KINDS[name])
    task = task_for(KINDS[name], examples)
    rows = task_rows(examples, opened(ours), task, length=128)
    run = Ours(ours, task, rows, args.batch) if which == "polysemy" else Theirs(theirs, rows, args.batch)
    while True:
        steps, seed = pipe.recv()
        pipe.send(run(steps, seed))


def row_of(model: str, name: str, runs: dict[str, Any], args: argparse.Namespace) -> str:
    """All measured in turns."""
    found: dict[str, list[float]] = {which: [] for which in runs}
    for seed in range(args.rounds + 1):
        for which, run in runs.items():
            tokens, seconds = run(args.steps if seed else args.warm_up, seed)
            if seed:
                found[which].append(tokens / seconds)
    ours = np.array(found.pop("polysemy"))
    shown = []
    for which, values in found.items():
        ratios = ours / values
        shown.append(f"over {which} {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")
    speeds = "  ".join(f"{which} {statistics.median(values):,.0f}" for which, values in found.items())
    return (f"{model:7} {name:6} batch {args.batch}: tokens a CPU second {speeds}  polysemy {np.median(ours):,.0f}   "
            + ", ".join(shown))


if __name__ == "__main__":
    main()
