"""One pretraining step of BERT (and ALBERT), Polysemy against Hugging Face: same lines, same masks, one run.

    python benchmarks/pretraining_step.py                    all cases, a table on standard output
    python benchmarks/pretraining_step.py tiny-30k --rounds 9
    python benchmarks/pretraining_step.py --sharing          ALBERT beside BERT: size, step, latency

A step is batch making + forward + backward + optimizer, masters in float32.  Lines have log-normal lengths (mean 40 %
of the longest); 15 % of their tokens are hidden.  Variants take turns in one process, so that whatever else the machine
does hits all alike; the figure is the median of real (not padded) tokens a second.

Peers, all transformers' BertForMaskedLM with fused AdamW: D padded lines, dropout 0.1, float32; S lines concatenated to
full rows, dropout 0; S+ is S under bfloat16 autocast; S++ is S with a bfloat16 model (no masters).  S+k and S++k run
in a process that keeps freed memory (two environment variables), and so does ours beside them.  The peers do not clip
their gradients; ours always does.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
HIDDEN_RATE = 0.15
CLS, SEP, MASK, FIRST_ORDINARY = 2, 3, 4, 104


@dataclass(frozen=True, kw_only=True)
class Case:
    """Sizes, and the ratio over S+k to reach."""

    size: str
    vocab_size: int
    length: int
    lines: int
    target: float | None = None
    prototype: float | None = None


CASES = {
    "tiny-30k": Case(size="tiny", vocab_size=30_522, length=128, lines=64, target=4.0, prototype=2.9),
    "mini-30k": Case(size="mini", vocab_size=30_522, length=128, lines=64, target=2.6, prototype=2.1),
    "mini-8k": Case(size="mini", vocab_size=8_000, length=128, lines=64, target=1.7, prototype=1.4),
    "mini-512": Case(size="mini", vocab_size=8_000, length=512, lines=16, target=1.35, prototype=1.2),
    "base-30k": Case(size="base", vocab_size=30_522, length=128, lines=8, target=1.2, prototype=1.14),
    "albert-8k": Case(size="albert-mini", vocab_size=8_000, length=128, lines=64),
    "albert-30k": Case(size="albert-mini", vocab_size=30_000, length=128, lines=64),
}


# --- lines and masks, the same for all


def make_lines(case: Case, step: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Lines of ids with a skewed distribution, and which of their tokens are hidden."""
    lengths = np.random.default_rng(0)  # the same every step, so that steps compare
    deviation, mean = 0.8, np.log(0.4 * case.length)
    sizes = lengths.lognormal(mean - deviation**2 / 2, deviation, case.lines).astype(int).clip(8, case.length)
    random = np.random.default_rng(step + 1)
    lines, hidden = [], []
    for size in sizes:
        ids = np.minimum(random.zipf(1.2, size), case.vocab_size - FIRST_ORDINARY - 1) + FIRST_ORDINARY
        ids[0], ids[-1] = CLS, SEP
        lines.append(ids.astype(np.int64))
        hidden.append(np.sort(random.choice(np.arange(1, size - 1), max(1, round(HIDDEN_RATE * size)), replace=False)))
    return lines, hidden


def shown(line: np.ndarray, hidden: np.ndarray, case: Case, random: np.random.Generator) -> np.ndarray:
    """80 % [MASK], 10 % another token, 10 % as it is."""
    ids, draw = line.copy(), random.random(len(hidden))
    ids[hidden[draw < 0.8]] = MASK
    other = hidden[draw >= 0.9]
    ids[other] = random.integers(FIRST_ORDINARY, case.vocab_size, len(other))
    return ids


def first_fit(sizes: list[int], length: int) -> list[list[int]]:
    """Rows of at most `length`, longest line first into the first row with room."""
    rows: list[list[int]] = []
    free: list[int] = []
    for line in np.argsort(-np.asarray(sizes), kind="stable"):
        row = next((row for row, room in enumerate(free) if room >= sizes[line]), None)
        if row is None:
            row = len(rows)
            rows.append([])
            free.append(length)
        rows[row].append(int(line))
        free[row] -= sizes[line]
    return rows


def our_batch(case: Case, lines: list[np.ndarray], hidden: list[np.ndarray]) -> Any:
    """Lines packed into rows."""
    from polysemy.text.batches import Batch

    rows, random = first_fit([len(line) for line in lines], case.length), np.random.default_rng(0)
    shape = len(rows), case.length
    ids, targets = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    positions, documents, where = np.zeros(shape, np.int64), np.full(shape, -1), np.zeros(shape, bool)
    for row, members in enumerate(rows):
        column = 0
        for number, member in enumerate(members):
            part = slice(column, column + len(lines[member]))
            ids[row, part] = shown(lines[member], hidden[member], case, random)
            targets[row, part], positions[row, part] = lines[member], np.arange(len(lines[member]))
            documents[row, part], where[row, column + hidden[member]] = number, True
            column = part.stop
    none = np.zeros(0, np.int64)
    return Batch(ids=ids, positions=positions, segments=np.zeros(shape, np.int64), documents=documents,
                 visible=documents >= 0, hidden=where, targets=targets[where], weights=np.ones(where.sum(), np.float32),
                 pair_at=none, pair_labels=none, span_at=none, span_left=none, span_right=none, span_offset=none,
                 span_targets=none, rows=np.arange(len(rows)), streams=np.full(len(rows), -1),
                 fresh=np.ones(len(rows), bool))


# --- those who train


class Ours:
    """Polysemy: the parts that `polysemy train` puts together."""

    def __init__(self, case: Case, dtype: str = "bfloat16", dropout: float = 0.0) -> None:
        from polysemy.models.pretrained import PretrainingModel
        from polysemy.objectives.pretraining import Pretraining
        from polysemy.training.optimizer import Optimizer, OptimizerConfig

        self.case = case
        self.model = PretrainingModel(our_config(case, dropout), ["masked_lm"], seed=0).train()
        self.objective = Pretraining(["masked_lm"])
        self.optimizer = Optimizer(self.model, OptimizerConfig(learning_rate=1e-4), dtype=dtype)

    def step(self, number: int) -> tuple[int, float]:
        """(real tokens, loss)."""
        from polysemy.nn.dropout import dropout_key
        from polysemy.objectives.pretraining import tensors_of

        batch = our_batch(self.case, *make_lines(self.case, number))
        counts = self.objective.counts(batch)
        with dropout_key(0, number, batch.rows):
            loss = self.objective.total(self.objective.losses(self.model, tensors_of(batch)), counts)
            loss.backward()
        self.optimizer.step()
        return batch.num_tokens, float(loss.detach())


class Peer:
    """Hugging Face, one of D, S, S+, S++."""

    def __init__(self, case: Case, kind: str) -> None:
        import torch

        self.case, self.kind = case, kind.removesuffix("k")
        self.model = their_model(case, 0.1 if kind == "D" else 0.0).train()
        if self.kind == "S++":
            self.model = self.model.bfloat16()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)

    def step(self, number: int) -> tuple[int, float]:
        """(real tokens, loss)."""
        import torch

        ids, labels, visible = (self.padded if self.kind == "D" else self.concatenated)(number)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.kind == "S+"):
            loss = self.model(input_ids=ids, attention_mask=visible, labels=labels).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return ids.numel() if visible is None else int(visible.sum()), loss.item()

    def lines(self, number: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Shown ids and labels of each line."""
        random = np.random.default_rng(0)
        ids, labels = [], []
        for line, hidden in zip(*make_lines(self.case, number), strict=True):
            ids.append(shown(line, hidden, self.case, random))
            label = np.full(len(line), -100)
            label[hidden] = line[hidden]
            labels.append(label)
        return ids, labels

    def padded(self, number: int) -> tuple[Any, Any, Any]:
        import torch

        ids, labels = self.lines(number)
        width = max(len(line) for line in ids)
        ids, labels, visible = (torch.from_numpy(np.stack([np.pad(part, (0, width - len(part)), constant_values=fill)
                                                           for part in parts]))
                                for parts, fill in ((ids, 0), (labels, -100), ([np.ones_like(x) for x in ids], 0)))
        return ids, labels, visible

    def concatenated(self, number: int) -> tuple[Any, Any, None]:
        import torch

        parts = [np.concatenate(part) for part in self.lines(number)]
        rows = max(1, len(parts[0]) // self.case.length)
        ids, labels = (torch.from_numpy(part[:rows * self.case.length].reshape(rows, -1)) for part in parts)
        return ids, labels, None


def our_config(case: Case, dropout: float) -> Any:
    """The published architecture (norms after their sublayers), with the same dropout everywhere."""
    from polysemy.models import find_recipe, resolve

    recipe, _, size = case.size.rpartition("-")
    config = resolve(find_recipe(recipe or "bert").configure)(size=size, preset="paper", vocab_size=case.vocab_size)
    return config.model.replace(embedding=config.model.embedding.replace(dropout=dropout),
                                transformer=config.model.transformer.replace(dropout=dropout,
                                                                             attention_dropout=dropout))


def their_model(case: Case, dropout: float) -> Any:
    import torch
    from transformers import AlbertConfig, AlbertForMaskedLM, BertConfig, BertForMaskedLM

    ours = our_config(case, dropout)
    t, e = ours.transformer, ours.embedding
    sizes = {"vocab_size": e.vocab_size, "hidden_size": t.hidden_size, "num_hidden_layers": t.num_layers,
             "num_attention_heads": t.num_heads, "intermediate_size": t.intermediate_size,
             "max_position_embeddings": 512, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    torch.manual_seed(0)
    if e.factor_size:
        return AlbertForMaskedLM(AlbertConfig(**sizes, embedding_size=e.factor_size, num_hidden_groups=1,
                                              inner_group_num=1, hidden_act="gelu_new"))
    return BertForMaskedLM(BertConfig(**sizes))


# --- measuring


def measure(case: Case, kinds: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Median tokens a second by the wall and by processor time, and the first loss, of each kind."""
    return take_turns({kind: Peer(case, kind) if kind[0] in "DS" else
                       Ours(case, dropout=0.1 if "dropout" in kind else 0.0) for kind in kinds}, rounds)


def take_turns(trainers: dict[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """`measure` for trainers whose `step(number)` gives (tokens, loss)."""
    walls, processors, losses = ({kind: [] for kind in trainers} for _ in range(3))
    for number in range(rounds + 1):
        for kind, trainer in trainers.items():
            wall, processor = time.perf_counter(), time.process_time()
            tokens, loss = trainer.step(number)
            walls[kind].append((time.perf_counter() - wall) / tokens)
            processors[kind].append((time.process_time() - processor) / tokens)
            losses[kind].append(loss)
    return {kind: {"tokens_per_second": 1 / statistics.median(walls[kind][1:]),
                   "tokens_per_cpu_second": 1 / statistics.median(processors[kind][1:]),
                   "loss": losses[kind][0]} for kind in trainers}


def in_process(name: str, kinds: list[str], args: argparse.Namespace, keep: bool,
               script: str = __file__) -> dict[str, dict[str, float]]:
    """`measure` in a fresh process, whose allocator keeps freed memory or does as it does."""
    environment = {key: value for key, value in os.environ.items() if key not in KEEP_MEMORY}
    command = [sys.executable, script, name, "--kinds", ",".join(kinds), "--rounds", str(args.rounds), "--threads",
               str(args.threads)]
    found = subprocess.run(command, env=environment | (KEEP_MEMORY if keep else {}), stdout=subprocess.PIPE, check=True,
                           text=True)
    return json.loads(found.stdout.splitlines()[-1])


def compare(name: str, args: argparse.Namespace) -> list[str]:
    """The cells of one case."""
    case = CASES[name]
    found = in_process(name, ["S+k", "S++k", "ours k", "dropout 0.1"], args, keep=True)
    if not args.quick:
        found |= in_process(name, ["D", "S", "S+", "S++", "ours"], args, keep=False)
    rate = {kind: values["tokens_per_second"] for kind, values in found.items()}
    over = {kind: rate["ours k" if kind[-1] == "k" else "ours"] / rate[kind] for kind in rate if kind[0] in "DS"}
    processor = found["ours k"]["tokens_per_cpu_second"] / found["S+k"]["tokens_per_cpu_second"]
    return [name, *(f"{rate[kind]:,.0f}" if kind in rate else "" for kind in KINDS), f"**{over['S+k']:.2f}**",
            f"{processor:.2f}", f"{case.target or ''}", f"{case.prototype or ''}",
            *(f"{over[kind]:.2f}" if kind in over else "" for kind in ("S++k", "S+", "D")),
            f"{rate['ours k'] / rate['dropout 0.1'] - 1:.1%}"]


KINDS = ["D", "S", "S+", "S++", "ours", "S+k", "S++k", "ours k", "dropout 0.1"]
HEADINGS = ["case", *KINDS, "over S+k", "by CPU time", "target", "prototype", "over S++k", "over S+", "over D",
            "dropout costs"]


def sharing(args: argparse.Namespace) -> list[list[str]]:
    """ALBERT beside BERT: what sharing and a narrow table save, and what they do not.  Best on one thread."""
    from polysemy.models import find_recipe, resolve
    from polysemy.models.cost import cost_of

    rows = []
    for size, vocab_size, lines in (("mini", 8_000, 64), ("mini", 30_000, 64), ("base", 30_000, 8)):
        cases = {recipe: Case(size=f"{recipe}-{size}", vocab_size=vocab_size, length=128, lines=lines)
                 for recipe in ("bert", "albert")}
        trainers = {recipe: Ours(case) for recipe, case in cases.items()}
        times: dict[str, list[float]] = {recipe: [] for recipe in cases}
        for number in range(args.rounds + 1):
            for recipe, trainer in trainers.items():
                start = time.process_time()
                trainer.step(number)
                times[recipe].append(time.process_time() - start)
        for recipe, trainer in trainers.items():
            cost = cost_of(resolve(find_recipe(recipe).configure)(size=size, preset="paper", vocab_size=vocab_size))
            rows.append([f"{recipe} {size}, {vocab_size:,}", f"{cost.parameters / 1e6:.2f} M",
                         f"{cost.file_bytes / 1e6:.1f} MB", f"{cost.optimizer_bytes / 1e6:.1f} MB",
                         f"{statistics.median(times[recipe][1:]) * 1000:.0f} ms", f"{latency(trainer):.2f} ms"])
    return rows


def latency(trainer: Ours, tokens: int = 32) -> float:
    """Median processor milliseconds of one text through the body, float32, without gradients."""
    import torch

    model = trainer.model.float().eval()
    ids, times = torch.randint(FIRST_ORDINARY, trainer.case.vocab_size, (1, tokens)), []
    with torch.inference_mode():
        for _ in range(60):
            start = time.process_time()
            model.body(ids)
            times.append(time.process_time() - start)
    return statistics.median(times[10:]) * 1000


def table(headings: list[str], rows: Iterable[list[str]]) -> None:
    """Markdown, row by row as they come."""
    print("| " + " | ".join(headings) + " |\n" + "|---" * len(headings) + "|", flush=True)
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    args = arguments()
    from polysemy.runtime import set_threads

    set_threads(args.threads)
    if args.kinds:
        print(json.dumps(measure(CASES[args.cases[0]], args.kinds.split(","), args.rounds)))
        return
    if args.sharing:
        table(["recipe", "parameters", "file", "optimizer and weights", "step, CPU time",
               "one text of 32 tokens, CPU time"], sharing(args))
        return
    print(f"real tokens a second, {args.threads} threads, median of {args.rounds} steps; k: freed memory kept\n")
    table(HEADINGS, (compare(name, args) for name in args.cases or CASES))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--rounds", type=int, default=7, help="steps of each variant that count; one more goes before")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="only the peers that keep memory")
    parser.add_argument("--sharing", action="store_true", help="ALBERT beside BERT: size, step, latency")
    parser.add_argument("--kinds", help="measure these variants in this process and print one JSON object")
    args = parser.parse_args()
    for name in args.cases:
        if name not in CASES:
            parser.error(f"CASE must be of {', '.join(CASES)}, got {name}")
    return args


if __name__ == "__main__":
    main()
