"""An LSTM language model on WikiText-2, word by word: perplexity after every epoch, beside the CPU minutes it took.

    W=../shared/data/wikitext-2
    python benchmarks/lstm_wikitext.py $W/train.txt.gz $W/valid.txt.gz $W/test.txt.gz --out FOLDER [--epochs 20]

The tokens are those of the 5-gram's figure (`benchmarks/kneser_ney.py`, test 224.81): words between white space, lines
without the blank ones, `<unk>` an ordinary word, one end mark a line; every word and every end mark counts.

The text is cut into as many streams as there are rows; the state is carried from batch to batch in training and through
the whole text in evaluation.  Printed is the perplexity of a running average of the weights, which late in a run stands
for the fall of the learning rate that is still to come (Polyak and Juditsky 1992; weights of step n count as n**8).
The folder holds the last epoch's end; the same command goes on from there, to the same bits.

Target: test perplexity at most 99.3 (Grave et al. 2017, an LSTM of 1,024).
"""
from __future__ import annotations

import argparse
import gzip
import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polysemy.artifact import load_tensors, new_folder, read_json, save_tensors, write_json
from polysemy.models.recurrent import Recurrent, RecurrentConfig
from polysemy.nn.adaptive import AdaptiveSoftmax
from polysemy.nn.cross_entropy import linear_cross_entropy
from polysemy.nn.dropout import dropout_key
from polysemy.nn.initialization import initialize
from polysemy.nn.transformer import TransformerConfig
from polysemy.runtime import choose_device, choose_dtype
from polysemy.training.optimizer import Optimizer, OptimizerConfig, rate_factor

END = "</s>"
TARGET = 99.3
AVERAGE_EVERY, AVERAGE_POWER = 4, 8
EVALUATION_ROWS, EVALUATION_LENGTH = 16, 256


class Model(nn.Module):
    """The body with an output tied to its table, in clusters or whole."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.body = Recurrent(config)
        self.softmax = None
        if config.cutoffs:
            self.softmax = AdaptiveSoftmax(config.table_size, config.vocab_size, config.cutoffs, tied=True)
        self.bias = None if config.cutoffs else nn.Parameter(torch.zeros(config.vocab_size))

    def loss(self, ids: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The summed loss of (b, t) targets, and the state after them."""
        states, state = self.body.advance(ids, state)
        features, targets = states.flatten(0, 1), targets.flatten()
        if self.softmax is not None:
            return self.softmax.loss(features, targets, self.body.table), state
        return linear_cross_entropy(features, self.body.table, self.bias, targets), state


def main() -> None:
    args = arguments()
    device = choose_device(args.device)
    words = [read(path) for path in (args.train, args.valid, args.test)]
    vocabulary = {word: i for i, (word, _) in enumerate(Counter(words[0]).most_common())}
    texts = [torch.tensor([vocabulary[END], *(vocabulary[word] for word in text)]) for text in words]
    print(f"{len(vocabulary):,} words; tokens " + ", ".join(f"{len(text):,}" for text in words), flush=True)
    torch.manual_seed(args.seed)
    model = Model(RecurrentConfig(
        vocab_size=len(vocabulary), hidden_size=args.hidden_size, num_layers=args.layers, cutoffs=tuple(args.cutoffs),
        dropout=args.dropout, input_dropout=args.input_dropout, variational=not args.per_step,
        weight_drop=args.weight_drop, embedding_dropout=args.embedding_dropout))
    initialize(model, TransformerConfig(), args.seed)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {vars(args)}", flush=True)
    run(model.to(device), texts, args, device)


def run(model: Model, texts: list[Tensor], args: argparse.Namespace, device: str) -> None:
    """Train to the end, epoch by epoch, from wherever the folder stands."""
    optimizer = Optimizer(model, OptimizerConfig(
        learning_rate=args.rate, beta2=args.beta2, weight_decay=args.weight_decay, clip=args.clip),
        dtype=choose_dtype(args.dtype, device))
    trainer = Trainer(model, optimizer, args, device)
    trainer.load()
    rows = texts[0][:(len(texts[0]) - 1) // args.batch * args.batch + 1]
    ids, targets = rows[:-1].view(args.batch, -1).to(device), rows[1:].view(args.batch, -1).to(device)
    for epoch in range(trainer.epoch, args.epochs):
        loss = trainer.train_epoch(ids, targets, epoch)
        valid, test = (perplexity(trainer.averaged(), text.to(device)) for text in texts[1:])
        print(f"epoch {epoch + 1:3} of {args.epochs}: training {math.exp(loss):8.2f}, valid {valid:8.2f}, "
              f"test {test:8.2f} (target {TARGET}), {trainer.seconds / 60:6.1f} CPU minutes of training, "
              f"{trainer.tokens_a_second:,.0f} tokens a CPU second", flush=True)
        trainer.save()


class Trainer:
    """Steps, the running average of the weights, and the folder they are kept in."""

    def __init__(self, model: Model, optimizer: Optimizer, args: argparse.Namespace, device: str) -> None:
        self.model, self.optimizer, self.args, self.device = model, optimizer, args, device
        self.folder = Path(args.out) / "last"
        self.epoch, self.seconds, self.tokens_a_second = 0, 0.0, 0.0
        self.average = {name: master.clone() for name, master in optimizer.masters().items()}
        self.averages = 0

    def train_epoch(self, ids: Tensor, targets: Tensor, epoch: int) -> float:
        """Mean loss of one pass."""
        self.model.train()
        began, total, state = time.process_time(), torch.zeros((), device=self.device), None
        steps = list(self.cuts(ids.shape[1], epoch))
        for number, (first, last) in enumerate(steps):
            step = epoch * 1_000_000 + number
            with dropout_key(self.args.seed, step, torch.arange(len(ids), device=self.device)):
                loss, state = self.model.loss(ids[:, first:last], targets[:, first:last], state)
            state = tuple(part.detach() for part in state)
            (loss / ids[:, first:last].numel()).backward()
            done = (epoch + number / len(steps)) / self.args.epochs
            self.optimizer.step(self.args.floor + (1 - self.args.floor) * rate_factor(done, "linear", 0.01))
            total += loss.detach()
            if number % AVERAGE_EVERY == 0:
                self.add()
            if number % 100 == 99:
                print(f"  {number + 1}/{len(steps)} loss {float(total) / ids[:, :last].numel():.3f} "
                      f"{(time.process_time() - began) / 60:.1f} CPU min", flush=True)
        spent = time.process_time() - began
        self.seconds, self.epoch, self.tokens_a_second = self.seconds + spent, epoch + 1, ids.numel() / spent
        return float(total) / ids.numel()

    def cuts(self, columns: int, epoch: int) -> Iterator[tuple[int, int]]:
        """Pieces of the streams; the first of an epoch is shorter, so that the cuts fall elsewhere each time."""
        first = 0
        while first < columns:
            length = self.args.length if first else 8 + int(np.random.default_rng([self.args.seed, epoch]).integers(
                self.args.length))
            yield first, min(first + length, columns)
            first += length

    @torch.no_grad()
    def add(self) -> None:
        """Let the average follow the weights."""
        self.averages += 1
        share = min(1.0, (AVERAGE_POWER + 1) / (AVERAGE_POWER + self.averages))
        masters = self.optimizer.masters()
        torch._foreach_lerp_([self.average[name] for name in masters], list(masters.values()), share)

    def averaged(self) -> Model:
        """A model with the averaged weights, to be asked."""
        model = Model(self.model.body.config).to(self.device)
        model.load_state_dict(self.average)
        return model.eval()

    def save(self) -> None:
        """Weights, moments and average as safetensors, whole or not at all."""
        tensors = {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        facts = {"averages": self.averages, "epoch": self.epoch, "seconds": self.seconds}
        with new_folder(self.folder, overwrite=True) as work:
            save_tensors(work / "state.safetensors", {name: x.contiguous().cpu() for name, x in tensors.items()})
            write_json(work / "state.json", facts)

    def load(self) -> None:
        """Take over the folder, if it holds anything."""
        if not self.folder.exists():
            return
        held = {name: x.to(self.device) for name, x in load_tensors(self.folder / "state.safetensors").items()}
        parts = {part: {name.removeprefix(f"{part}."): x for name, x in held.items() if name.startswith(f"{part}.")}
                 for part in ("optimizer", "average")}
        self.optimizer.load_state_dict(parts["optimizer"])
        self.average = parts["average"]
        facts = read_json(self.folder / "state.json")
        self.averages, self.epoch, self.seconds = (facts[name] for name in ("averages", "epoch", "seconds"))


@torch.no_grad()
def perplexity(model: Model, text: Tensor) -> float:
    """Of all tokens but the first (an end mark); streams go on through the whole text."""
    count = len(text) - 1
    columns = -(-count // EVALUATION_ROWS)
    total, state = 0.0, None
    rows = nn.functional.pad(text, (0, columns * EVALUATION_ROWS - count))
    ids, targets = rows[:-1].view(EVALUATION_ROWS, -1), rows[1:].view(EVALUATION_ROWS, -1)
    extra = columns * EVALUATION_ROWS - count  # at the end of the last row
    for first in range(0, columns, EVALUATION_LENGTH):
        part = slice(first, first + EVALUATION_LENGTH)
        loss, state = model.loss(ids[:, part], targets[:, part], state)
        total += float(loss)
    if extra:  # what the padding added: read the last row once more
        whole, _ = model.loss(ids[-1:], targets[-1:], None)
        real, _ = model.loss(ids[-1:, :-extra], targets[-1:, :-extra], None)
        total -= float(whole) - float(real)
    return math.exp(total / count)


def read(path: str) -> list[str]:
    """The words of a file, an end mark after each line that is not blank."""
    with open(path, "rb") as raw:
        data = raw.read()
    text = (gzip.decompress(data) if path.endswith(".gz") else data).decode()
    return [word for line in text.split("\n") if line.split() for word in (*line.split(), END)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("test")
    parser.add_argument("--out", required=True, help="folder of the checkpoint")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--cutoffs", type=int, nargs="*", default=[2000, 6000, 14000], help="none: the full softmax")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--floor", type=float, default=0.02, help="part of the rate that is left at the end")
    parser.add_argument("--beta2", type=float, default=0.99)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--clip", type=float, default=0.5)
    parser.add_argument("--dropout", type=float, default=0.4)
    parser.add_argument("--input-dropout", type=float, default=0.3)
    parser.add_argument("--embedding-dropout", type=float, default=0.1)
    parser.add_argument("--weight-drop", type=float, default=0.2)
    parser.add_argument("--per-step", action="store_true", help="a dropout mask for each step instead of each row")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
