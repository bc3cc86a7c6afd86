"""One training step of GPT, Polysemy against transformers' GPT2LMHeadModel: same rows, same maths.

    python benchmarks/causal_step.py                    all cases, a table on standard output
    python benchmarks/causal_step.py mini-128 --rounds 9
    python benchmarks/causal_step.py mini-128 --profile where our step goes

A step is forward + backward + optimizer, masters in float32.  Every row is one document without padding and every token
predicts the next, so nobody gains by leaving work out.  Dropout is 0 on both sides.  Variants take turns in one
process; the figure is the median of tokens a second.

Peers, with fused AdamW: S+ under bfloat16 autocast, S++ with a bfloat16 model (no masters).  S+k and S++k run in a
process that keeps freed memory (two environment variables), and so does ours beside them.  The peers do not clip their
gradients; ours always does.
"""
from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from pretraining_step import FIRST_ORDINARY, Case, in_process, table, take_turns

CASES = {
    "mini-128": Case(size="mini", vocab_size=8_000, length=128, lines=64, target=1.5),
    "mini-512": Case(size="mini", vocab_size=8_000, length=512, lines=16, target=1.5),
    "base-128": Case(size="base", vocab_size=30_000, length=128, lines=8, target=1.2),
}
KINDS = ["S+", "S++", "ours", "S+k", "S++k", "ours k"]
HEADINGS = ["case", *KINDS, "over S+k", "by CPU time", "target", "over S++k", "over S+"]


def rows(case: Case, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids with a skewed distribution, and the token after each of them, both (lines, length)."""
    draws = np.random.default_rng(step + 1).zipf(1.2, (case.lines, case.length + 1))
    ids = np.minimum(draws, case.vocab_size - FIRST_ORDINARY - 1) + FIRST_ORDINARY
    return np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:])


class Ours:
    """Polysemy: the parts that `polysemy train gpt` puts together."""

    def __init__(self, case: Case) -> None:
        from polysemy.models.pretrained import PretrainingModel
        from polysemy.training.optimizer import Optimizer, OptimizerConfig

        self.case = case
        self.model = PretrainingModel(our_config(case), ["next_token"], seed=0).train()
        self.optimizer = Optimizer(self.model, OptimizerConfig(learning_rate=1e-4), dtype="bfloat16")

    def step(self, number: int) -> tuple[int, float]:
        """(tokens, loss)."""
        import torch

        ids, targets = map(torch.from_numpy, rows(self.case, number))
        loss = self.model({
            "ids": ids, "positions": torch.arange(ids.shape[1]).repeat(len(ids), 1),
            "documents": torch.zeros_like(ids), "hidden_at": torch.arange(ids.numel()),
            "targets": targets.flatten()})["next_token"] / ids.numel()
        loss.backward()
        self.optimizer.step()
        return ids.numel(), float(loss.detach())


class Peer:
    """Hugging Face: S+ or S++."""

    def __init__(self, case: Case, kind: str) -> None:
        import torch

        self.case, self.kind = case, kind.removesuffix("k")
        self.model = their_model(case).train()
        if self.kind == "S++":
            self.model = self.model.bfloat16()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)

    def step(self, number: int) -> tuple[int, float]:
        """(tokens, loss)."""
        import torch

        ids, targets = map(torch.from_numpy, rows(self.case, number))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.kind == "S+"):
            loss = self.model(input_ids=ids, labels=targets, shift_labels=targets, use_cache=False).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return ids.numel(), loss.item()


def our_config(case: Case) -> Any:
    """GPT-2's layout as published, without dropout."""
    from polysemy.models.gpt import configure

    model = configure(size=case.size, preset="paper", vocab_size=case.vocab_size).model
    return model.replace(embedding=model.embedding.replace(dropout=0.0),
                         transformer=model.transformer.replace(dropout=0.0, attention_dropout=0.0))


def their_model(case: Case) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    t = our_config(case).transformer
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=case.vocab_size, n_positions=1024, n_embd=t.hidden_size,
                                      n_layer=t.num_layers, n_head=t.num_heads, n_inner=t.intermediate_size,
                                      activation_function="gelu_new", layer_norm_epsilon=t.norm_eps, embd_pdrop=0.0,
                                      resid_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0))


def measure(case: Case, kinds: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Median tokens a second by the wall and by processor time, and the first loss, of each kind."""
    return take_turns({kind: Peer(case, kind) if kind[0] == "S" else Ours(case) for kind in kinds}, rounds)


def compare(name: str, args: argparse.Namespace) -> list[str]:
    """The cells of one case."""
    found = in_process(name, ["S+k", "S++k", "ours k"], args, keep=True, script=__file__)
    if not args.quick:
        found |= in_process(name, ["S+", "S++", "ours"], args, keep=False, script=__file__)
    rate = {kind: values["tokens_per_second"] for kind, values in found.items()}
    processor = found["ours k"]["tokens_per_cpu_second"] / found["S+k"]["tokens_per_cpu_second"]
    over_plain = f"{rate['ours'] / rate['S+']:.2f}" if "S+" in rate else ""
    return [name, *(f"{rate[kind]:,.0f}" if kind in rate else "" for kind in KINDS),
            f"**{rate['ours k'] / rate['S+k']:.2f}**", f"{processor:.2f}", f"{CASES[name].target}",
            f"{rate['ours k'] / rate['S++k']:.2f}", over_plain]


def profile(case: Case, rounds: int) -> None:
    """What a step of ours spends its time on."""
    import torch

    trainer = Ours(case)
    for number in range(2):
        trainer.step(number)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        start = time.perf_counter()
        for number in range(rounds):
            trainer.step(number)
        wall = (time.perf_counter() - start) / rounds
    events = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
    print(f"{wall * 1000:.0f} ms a step")
    table(["operation", "ms a step", "calls"], ([event.key, f"{event.self_cpu_time_total / rounds / 1000:.1f}",
                                                 f"{event.count / rounds:.0f}"] for event in events[:25]))


def main() -> None:
    args = arguments()
    from polysemy.runtime import set_threads

    set_threads(args.threads)
    if args.kinds:
        print(json.dumps(measure(CASES[args.cases[0]], args.kinds.split(","), args.rounds)))
        return
    if args.profile:
        for name in args.cases or CASES:
            profile(CASES[name], args.rounds)
        return
    print(f"tokens a second, {args.threads} threads, median of {args.rounds} steps; k: freed memory kept\n")
    table(HEADINGS, (compare(name, args) for name in args.cases or CASES))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--rounds", type=int, default=7, help="steps of each variant that count; one more goes before")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="only in the process that keeps memory")
    parser.add_argument("--profile", action="store_true", help="what a step of ours spends its time on")
    parser.add_argument("--kinds", help="measure these variants in this process and print one JSON object")
    args = parser.parse_args()
    for name in args.cases:
        if name not in CASES:
            parser.error(f"CASE must be of {', '.join(CASES)}, got {name}")
    return args


if __name__ == "__main__":
    main()
