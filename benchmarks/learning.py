"""Held-out masked-LM loss against wall time: Polysemy and Hugging Face, same text, tokenizer, rows and held-out masks.

    python benchmarks/learning.py CORPUS --minutes 20 -o docs/benchmarks

The peer is BertForMaskedLM trained as a careful user would: rows concatenated to full length, dropout 0, bf16 autocast
(S+k: freed memory kept in the process) or a pure bf16 model (S++k), fused AdamW, warm-up and linear decay over the
same wall time, gradient clipping; learning rate and rows a step are the best of `--peer-rates` and `--peer-rows` after
a short trial each.  Our side is `polysemy train roberta` as it comes.  Both see the same shards; the loss is of the
same held-out rows with the same masks, in float32.  Evaluation is not counted.
One run at a time on `--threads` threads, each side in its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
HELD_OUT_ROWS = 256
READINGS = 16


def main() -> None:
    args = arguments()
    if args.side:
        print(json.dumps(SIDES[args.side](args)))
        return
    work = Path(args.work)
    prepare(args.corpus, work, args.vocab_size)
    peers = {}
    for kind in args.peers.split(","):
        rates = [float(rate) for rate in args.peer_rates.split(",")]
        choices = [(rate, int(rows)) for rate in rates for rows in args.peer_rows.split(",")]
        trials = (
            {choice: run_side(args, "peer", choice, kind, args.trial_minutes)["loss"] for choice in choices}
            if len(choices) > 1
            else {choices[0]: 0.0}
        )
        best = min(trials, key=trials.__getitem__)
        print(f"{kind}: trial losses by (rate, rows) {trials}: {best}", flush=True)
        peers[kind] = run_side(args, "peer", best, kind, args.minutes)
    ours = run_side(args, "ours", (0.0, 0), "", args.minutes)
    best_kind = min(peers, key=lambda kind: peers[kind]["loss"])
    gain = peers[best_kind]["loss"] - ours["loss"]
    report = {
        "minutes": args.minutes,
        "size": args.size,
        "vocab_size": args.vocab_size,
        "threads": args.threads,
        "ours": ours,
        "peers": peers,
        "best_peer": best_kind,
        "gain_nat": gain,
    }
    output = Path(args.output)
    (output / "learning.json").write_text(json.dumps(report, indent=1) + "\n")
    draw(report, output / "learning.svg")
    theirs = peers[best_kind]
    print(f"held-out masked-LM loss after {args.minutes:g} minutes: polysemy {ours['loss']:.3f}", end=" ")
    print(f"({ours['tokens'] / 1e6:.1f} M tokens), {best_kind} {theirs['loss']:.3f}", end=" ")
    print(f"({theirs['tokens'] / 1e6:.1f} M), lower by {gain:.3f} nat")


def prepare(corpus: list[str], work: Path, vocab_size: int) -> None:
    """Tokenizer and shards of the training text, and held-out shards, once for both sides."""
    from polysemy.text.corpus import Corpus, text_documents
    from polysemy.text.shards import prepare as write_shards
    from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

    if (work / "held-out").exists():
        return
    documents = [document.text for document in Corpus(corpus)]
    held_out = documents[::100]
    training = [text for i, text in enumerate(documents) if i % 100]
    tokenizer = Tokenizer.train(training, TokenizerConfig(kind="wordpiece", vocab_size=vocab_size))
    work.mkdir(parents=True, exist_ok=True)
    tokenizer.save(work / "tokenizer")
    write_shards(text_documents(training), tokenizer, work / "train")
    write_shards(text_documents(held_out), tokenizer, work / "held-out")


def opened(work: Path, rows: int, length: int, corruption=None):
    """(training batches, one held-out batch, tokenizer): full rows; 15 % hidden there, and here unless told else."""
    from polysemy.text.batches import Batches
    from polysemy.text.masking import Tokens
    from polysemy.text.segments import FullSentences
    from polysemy.text.shards import Shards
    from polysemy.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(work / "tokenizer")
    parts = [
        Batches(
            Shards.open(work / name), tokenizer, FullSentences(), hidden, batch_size=size, length=length, seed=seed
        )
        for name, size, seed, hidden in (
            ("train", rows, 1, corruption or Tokens()),
            ("held-out", HELD_OUT_ROWS, 0, Tokens()),
        )
    ]
    return parts[0], parts[1][0], tokenizer


def run_side(args: argparse.Namespace, side: str, choice: tuple[float, int], kind: str, minutes: float) -> dict:
    """One side in a fresh process with freed memory kept; its progress goes to standard error."""
    command = [
        sys.executable,
        __file__,
        *args.corpus,
        "--side",
        side,
        "--rate",
        str(choice[0]),
        "--batch-size",
        str(choice[1]),
        "--kind",
        kind,
        "--minutes",
        str(minutes),
        "--work",
        args.work,
        "--size",
        args.size,
        "--threads",
        str(args.threads),
        "--vocab-size",
        str(args.vocab_size),
        *(f"--set={word}" for word in args.settings),
    ]
    found = subprocess.run(command, env={**os.environ, **KEEP_MEMORY}, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def peer(args: argparse.Namespace) -> dict:
    """Hugging Face BertForMaskedLM, kind s+k (bf16 autocast) or s++k (bf16 weights)."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    from polysemy.models.recipe import SIZES

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    layers, width = SIZES[args.size]
    batches, held_out, tokenizer = opened(Path(args.work), args.batch_size, 128)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    pure = args.kind == "s++k"
    if pure:
        model = model.bfloat16()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        lr=args.rate,
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )

    def loss_of(batch, no_gradient=False):
        ids = torch.from_numpy(batch.ids)
        labels = torch.full(ids.shape, -100)
        labels[torch.from_numpy(batch.hidden)] = torch.from_numpy(batch.targets)
        mask = torch.from_numpy(batch.visible).long()
        with torch.autocast("cpu", torch.bfloat16, enabled=not pure and not no_gradient):
            return model(input_ids=ids, attention_mask=mask, labels=labels).loss

    def evaluate():
        model.eval()
        with torch.no_grad():
            total = sum(float(loss_of(part, True)) * len(part.targets) for part in pieces(held_out))
        model.train()
        return total / len(held_out.targets)

    curve, clock, tokens, step = [], Clock(args.minutes), 0, 0
    while clock.fraction() < 1:
        clock.read(curve, tokens, step, evaluate)
        batch = batches[step]
        rate = schedule(clock.fraction())
        for group in optimizer.param_groups:
            group["lr"] = args.rate * rate
        loss_of(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens, step = tokens + batch.num_tokens, step + 1
    clock.read(curve, tokens, step, evaluate, last=True)
    return {
        "kind": args.kind,
        "rate": args.rate,
        "rows": args.batch_size,
        "loss": curve[-1]["loss"],
        "tokens": tokens,
        "steps": step,
        "curve": curve,
    }


def ours(args: argparse.Namespace) -> dict:
    """Polysemy's training step over the same batches."""
    import torch

    from polysemy.config import with_settings
    from polysemy.models import find_recipe, resolve
    from polysemy.models.pretrained import PretrainingModel
    from polysemy.nn.dropout import dropout_key
    from polysemy.objectives.pretraining import Pretraining, tensors_of
    from polysemy.runtime import set_threads
    from polysemy.training.learner import Learner
    from polysemy.training.optimizer import rate_factor
    from polysemy.training.pretrain import fitted

    set_threads(args.threads)
    config = resolve(find_recipe("roberta").configure)(size=args.size, preset="ladder", vocab_size=args.vocab_size)
    config = with_settings(config, dict(word.split("=", 1) for word in args.settings))
    batches, held_out, tokenizer = opened(Path(args.work), config.training.batch_size, 128, config.corruption)
    config = fitted(config, tokenizer)
    learner = Learner.make(
        PretrainingModel(config.model, config.heads, seed=1), Pretraining(config.heads), config.training, seed=1
    )
    judged = PretrainingModel(config.model, config.heads)

    def gradient(step, batch):
        with dropout_key(1, step, torch.from_numpy(batch.rows)):
            sums = learner.objective.losses(learner.module, tensors_of(batch))
            learner.objective.total(sums, learner.objective.counts(batch)).backward()

    def evaluate():
        judged.load_state_dict(learner.weights())
        judged.eval()
        with torch.no_grad():
            total = sum(float(judged(tensors_of(part))["masked_lm"]) for part in pieces(held_out))
        return total / len(held_out.targets)

    gradient(0, batches[0])  # compiling is not learning
    learner.optimizer.zero_grad()
    curve, clock, tokens, step = [], Clock(args.minutes), 0, 0
    while clock.fraction() < 1:
        clock.read(curve, tokens, step, evaluate)
        batch = batches[step]
        gradient(step, batch)
        learner.optimizer.step(rate_factor(clock.fraction(), config.training.schedule, config.training.warmup_rate))
        tokens, step = tokens + batch.num_tokens, step + 1
    clock.read(curve, tokens, step, evaluate, last=True)
    return {"loss": curve[-1]["loss"], "tokens": tokens, "steps": step, "curve": curve, "config": config.to_dict()}


SIDES = {"peer": peer, "ours": ours}


class Clock:
    """Training time without the time of readings."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.start, self.paused, self.next = minutes * 60, time.perf_counter(), 0.0, 0

    def spent(self) -> float:
        return time.perf_counter() - self.start - self.paused

    def fraction(self) -> float:
        return self.spent() / self.seconds

    def read(self, curve: list, tokens: int, step: int, evaluate, last: bool = False) -> None:
        """Append a reading at every 1/READINGS of the time."""
        if not last and self.fraction() * READINGS < self.next:
            return
        seconds, before = self.spent(), time.perf_counter()
        curve.append({"seconds": round(seconds, 1), "tokens": tokens, "step": step, "loss": evaluate()})
        self.next += 1
        self.paused += time.perf_counter() - before
        print(curve[-1], file=sys.stderr, flush=True)


def pieces(batch, rows: int = 32):
    """The held-out batch in parts that fit memory."""
    for start in range(0, len(batch.ids), rows):
        yield batch.take(np.arange(start, min(start + rows, len(batch.ids))))


def schedule(fraction: float, warmup: float = 0.06) -> float:
    """Warm-up, then linear decay to zero over the wall time."""
    return min(fraction / warmup, (1 - fraction) / (1 - warmup)) if fraction < 1 else 0.0


def draw(report: dict, path: Path) -> None:
    """Both curves against minutes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, side in {"polysemy": report["ours"], **report["peers"]}.items():
        axes.plot(
            [r["seconds"] / 60 for r in side["curve"]], [r["loss"] for r in side["curve"]], marker="o", label=name
        )
    axes.set_xlabel(f"minutes of training, {report['threads']} threads")
    axes.set_ylabel("held-out masked-LM loss (nat)")
    axes.legend(frameon=False)
    figure.savefig(path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--trial-minutes", type=float, default=2)
    parser.add_argument("--size", default="mini")
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--batch-size", type=int, default=32, help="rows of one side (set by the benchmark)")
    parser.add_argument("--peer-rows", default="8,32", help="rows a step that the peer may choose from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="s+k,s++k")
    parser.add_argument("--peer-rates", default="5e-4,1e-3,2e-3")
    parser.add_argument("--rate", type=float, default=0.0, help="of one side (set by the benchmark)")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--work", default="/tmp/polysemy-learning")
    parser.add_argument("--side", choices=("peer", "ours"))
    parser.add_argument("--kind", default="s+k")
    parser.add_argument("-o", "--output", default="docs/benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    main()
