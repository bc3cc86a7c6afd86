"""Greedy decoding of one text, Polysemy against transformers' generate with its cache: same weights, same tokens.

    python benchmarks/decode.py                       all sizes on all cores, a table on standard output
    python benchmarks/decode.py mini --rounds 9
    taskset -c 0 python benchmarks/decode.py          one core

GPT-2 with random weights (which cost what trained ones cost), a prompt of 16 tokens, 128 new ones.  All run in one
process with the same number of torch threads and take turns, so that whatever else the machine does hits all alike;
the figure is the median over the rounds of the ratio of their times.  Float32 tokens must be identical, else the run
stops; for bfloat16 and int8 weights the share of equal tokens is printed, and what they lose on real text is measured
by `python benchmarks/decode.py --loss RUN TEXT`.  `plain` is our loop without the compiled step.
"""
from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
CASES: dict[str, tuple[int, float, float]] = {"mini": (8_000, 5, 12), "small": (30_522, 2.5, 8), "base": (30_522, 2, 6)}
"""vocabulary, ratio to reach, and the ratio to reach with int8 weights"""
PROMPT, NEW = 16, 128


def make(size: str, vocab_size: int) -> tuple[Any, Any]:
    """(ours, transformers') with the same random weights."""
    import torch
    import transformers

    from polysemy.models import gpt
    from polysemy.models.hugging_face_causal_names import to_their_tensors
    from polysemy.models.pretrained import PretrainingModel

    transformers.logging.set_verbosity_error()
    config = gpt.configure(size, "paper", vocab_size).model
    ours = PretrainingModel(config, ("next_token",), seed=0).eval()
    with torch.no_grad():  # larger than the first weights, so that not every answer is the same token
        for name, parameter in ours.named_parameters():
            if parameter.ndim == 2 and "embedding" not in name:
                parameter.mul_(3)
    c = config.transformer
    settings = transformers.GPT2Config(
        vocab_size=vocab_size, n_embd=c.hidden_size, n_layer=c.num_layers, n_head=c.num_heads, n_positions=1024,
        bos_token_id=0, eos_token_id=None, pad_token_id=0)
    theirs = transformers.GPT2LMHeadModel(settings).eval()
    report = theirs.load_state_dict(to_their_tensors("gpt2", config, ours.state_dict()), strict=False)
    assert set(report.missing_keys) <= {"lm_head.weight"}, report
    return ours, theirs


def ways(ours: Any, theirs: Any, prompt: np.ndarray) -> dict[str, Callable[[], list[int]]]:
    """Everything that takes turns: name -> function that gives the new tokens."""
    import torch

    from polysemy.decoding.autoregressive import write
    from polysemy.decoding.compiled import CompiledReader
    from polysemy.decoding.reading import PlainReader, Reader
    from polysemy.decoding.sampling import GenerationConfig

    settings, ids = GenerationConfig(tokens=NEW, greedy=True), torch.from_numpy(prompt)[None]

    def run(reader: Reader) -> list[int]:
        return [event.id for event in write(ours, [prompt], settings, reader=reader) if event.id is not None]

    def peer() -> list[int]:
        found = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, min_new_tokens=NEW,
                                do_sample=False)
        return found[0, PROMPT:].tolist()

    return {"transformers": peer, "plain": lambda: run(PlainReader(ours)),
            **{name: (lambda name=name: run(CompiledReader(ours, PROMPT + NEW, weights=name)))
               for name in ("float32", "bfloat16", "int8")}}


def compare(size: str, rounds: int, clock: Callable[[], float]) -> dict[str, Any]:
    """One row of the table."""
    vocab_size, target, moonshot = CASES[size]
    ours, theirs = make(size, vocab_size)
    prompt = np.random.default_rng(0).integers(5, vocab_size, PROMPT)
    runs = ways(ours, theirs, prompt)
    texts = {name: run() for name, run in runs.items()}  # also warms everything up
    for name in ("plain", "float32"):
        if texts[name] != texts["transformers"]:
            sys.exit(f"{size}: the tokens of {name} are not those of transformers")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        names = list(runs) if number % 2 == 0 else list(runs)[::-1]
        for name in names:
            start = clock()
            runs[name]()
            seconds[name].append(clock() - start)
    row: dict[str, Any] = {"size": size, "vocab_size": vocab_size, "target": target, "target_int8": moonshot,
                           "different_tokens": len(set(texts["float32"]))}
    for name in runs:
        row[f"{name}_ms"] = round(1000 * statistics.median(seconds[name]) / NEW, 3)
        row[f"{name}_ratio"] = round(statistics.median(
            theirs / mine for theirs, mine in zip(seconds["transformers"], seconds[name], strict=True)), 2)
        row[f"{name}_equal"] = sum(a == b for a, b in zip(texts[name], texts["transformers"], strict=True)) / NEW
    return row


def show(row: dict[str, Any]) -> None:
    """Milliseconds a token, and how many times faster than transformers."""
    cells = [f"{row[f'{name}_ms']:6.2f} {row[f'{name}_ratio']:6.2f} x" for name in
             ("plain", "float32", "bfloat16", "int8")]
    print(f"{row['size']:6} {row['transformers_ms']:9.2f} ms " + " ".join(f"{cell:>15}" for cell in cells) +
          f"   {row['target']} x, int8 {row['target_int8']} x", flush=True)


def loss(run: str, text: str, characters: int = 60_000) -> None:
    """Nats a token of a trained run on the beginning of a text, by each format of the weights; equal best tokens."""
    from pathlib import Path

    from polysemy.decoding.compiled import CompiledReader
    from polysemy.decoding.text import prompt_ids
    from polysemy.models.pretrained import open_run

    model, tokenizer, config = open_run(Path(run))
    ids = prompt_ids(tokenizer, Path(text).read_text()[:characters])
    length = config.training.length
    pieces = [ids[start:start + length] for start in range(0, len(ids) - length + 1, length)]
    best: dict[str, list[int]] = {}
    for name in ("float32", "bfloat16", "int8"):
        reader, total, best[name] = CompiledReader(model, length, weights=name), 0.0, []
        for piece in pieces:
            logits = reader.start([piece[:1]])
            for number in piece[1:].tolist():
                line = logits[0].astype(np.float64)
                total -= line[number] - line.max() - math.log(np.exp(line - line.max()).sum())
                best[name].append(int(line.argmax()))
                logits = reader.advance(np.array([number]))
        count = len(best[name])
        equal = sum(a == b for a, b in zip(best[name], best["float32"], strict=True)) / count
        print(f"{name:9} {total / count:.5f} nats a token over {count:,} tokens, likeliest token equal {equal:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=list(CASES), help="mini, small, base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="CPU seconds, for a machine that is shared (one core)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--loss", nargs=2, metavar=("RUN", "TEXT"))
    args = parser.parse_args()
    if args.loss:
        return loss(*args.loss)
    if not KEEP_MEMORY.items() <= os.environ.items():  # read when a process starts, so it starts again
        os.execvpe(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_MEMORY})
    import torch

    from polysemy.runtime import available_threads

    torch.set_num_threads(available_threads())
    clock = time.process_time if args.cpu else time.perf_counter
    if not args.json:
        clocks = "CPU" if args.cpu else "wall"
        print(f"{torch.get_num_threads()} threads, {clocks} time, {time.strftime('%Y-%m-%d')}")
        print(f"{'size':6} {'transformers':>12} {'plain':>15} {'float32':>15} {'bfloat16':>15} {'int8':>15}   to reach")
    rows = []
    for size in args.sizes:
        rows.append(compare(size, args.rounds, clock))
        if not args.json:
            show(rows[-1])
    if args.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}))
    return None


if __name__ == "__main__":
    main()
