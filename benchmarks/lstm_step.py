"""One training step of an LSTM language model, Polysemy against torch.nn.LSTM: same sizes, same tokens, one run.

    python benchmarks/lstm_step.py [--tied] [--rounds 15] [--hidden-size 200] [--layers 2] [--vocabulary 10000]

A step is look-up, layers, full softmax with its loss, backward and AdamW, batch x length tokens, the state carried on.
Both keep float32 masters.  The peer is nn.Embedding + nn.LSTM + nn.Linear under bfloat16 autocast with fused AdamW; it
does not clip, ours always does.  Both take turns in one process, so that whatever else the machine does hits both
alike; the figures are medians of CPU seconds.  There are two such processes: one as it comes, and one that keeps freed
memory (two environment variables), which spares the peer the page faults of its full logits.

Target: at least 1.5 times the peer at 2 x 200, vocabulary 10,000, 20 x 35 tokens.
"""
from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from polysemy.models.recurrent import Recurrent, RecurrentConfig
from polysemy.nn.cross_entropy import linear_cross_entropy
from polysemy.nn.initialization import initialize
from polysemy.nn.transformer import TransformerConfig
from polysemy.training.optimizer import Optimizer, OptimizerConfig

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
TARGET = 1.5
Step = Callable[[Tensor, Tensor], float]


class Ours(nn.Module):
    """The body and its output layer."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.body = Recurrent(RecurrentConfig(vocab_size=args.vocabulary, hidden_size=args.hidden_size,
                                              num_layers=args.layers, tied=args.tied))
        self.output = None if args.tied else nn.Linear(args.hidden_size, args.vocabulary, bias=False)
        self.bias = nn.Parameter(torch.zeros(args.vocabulary))

    def stepper(self) -> Step:
        initialize(self, TransformerConfig())
        optimizer = Optimizer(self, OptimizerConfig(), dtype="bfloat16")
        state: tuple[Tensor, ...] | None = None

        def step(ids: Tensor, targets: Tensor) -> float:
            nonlocal state
            states, state = self.body.advance(ids, state)
            state = tuple(part.detach() for part in state)
            weight = self.body.table if self.output is None else self.output.weight
            loss = linear_cross_entropy(states.flatten(0, 1), weight, self.bias, targets.flatten()) / targets.numel()
            loss.backward()
            optimizer.step(1.0)
            return loss.item()
        return step


class Peer(nn.Module):
    """The same of torch's own parts."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.table = nn.Embedding(args.vocabulary, args.hidden_size)
        self.lstm = nn.LSTM(args.hidden_size, args.hidden_size, args.layers)
        self.output = nn.Linear(args.hidden_size, args.vocabulary)
        nn.init.uniform_(self.table.weight, -0.1, 0.1)
        if args.tied:
            self.output.weight = self.table.weight

    def stepper(self) -> Step:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3, fused=True)
        state: tuple[Tensor, Tensor] | None = None

        def step(ids: Tensor, targets: Tensor) -> float:
            nonlocal state
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                states, (h, c) = self.lstm(self.table(ids.t()), state)
                logits = self.output(states)
                loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.t().flatten())
            state = h.detach(), c.detach()
            loss.backward()
            optimizer.step()
            return loss.item()
        return step


def main() -> None:
    args = arguments()
    if args.here:
        measure(args)
        return
    for name, more in (("memory as it comes", {}), ("freed memory kept", KEEP_MEMORY)):
        print(name, flush=True)
        subprocess.run([sys.executable, *sys.argv, "--here"], env={**os.environ, **more}, check=True)


def measure(args: argparse.Namespace) -> None:
    """Steps of both in turn, in this process."""
    torch.manual_seed(0)
    steps = {"ours": Ours(args).stepper(), "torch.nn.LSTM, bf16 autocast": Peer(args).stepper()}
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(args.rounds + 3):
        text = torch.randint(args.vocabulary, (args.batch, args.length + 1))
        for name, step in steps.items():
            began = time.process_time()
            loss = step(text[:, :-1].contiguous(), text[:, 1:].contiguous())
            if number == 0:
                print(f"  first loss {loss:.3f}: {name}")
            if number >= 3:
                spent[name].append(time.process_time() - began)
    tokens = args.batch * args.length
    for name, seconds in spent.items():
        middle = statistics.median(seconds)
        print(f"  {name:32} {1000 * middle:7.1f} ms a step, {tokens / middle:8,.0f} tokens a CPU second")
    ratio = statistics.median(theirs / own for own, theirs in zip(*spent.values(), strict=True))
    print(f"  {args.layers} x {args.hidden_size}, vocabulary {args.vocabulary:,}, {args.batch} x {args.length}, "
          f"{'tied' if args.tied else 'untied'}, {torch.get_num_threads()} threads: {ratio:.2f} x (target {TARGET})")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tied", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hidden-size", type=int, default=200)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--length", type=int, default=35)
    parser.add_argument("--here", action="store_true", help="measure in this process, with its memory as it is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
