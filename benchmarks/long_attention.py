"""Time and memory of Full, Local and Linformer attention over the length of the text, at the width of `mini`.

    python benchmarks/long_attention.py                 the table in docs/efficient-attention.md
    python benchmarks/long_attention.py --part model    the whole model instead of one attention layer
    python benchmarks/long_attention.py --longest 4096

One row of text, float32, one thread.  Times are CPU seconds, the least of a few rounds in which the kinds take turns;
the column x says by what a doubling of the length multiplies it (2 is linear, 4 is square), and the verdict fits all
lengths on log-log axes.  Memory is what one run adds to the peak of a process that gives freed memory back at once
(Linux).  Local sees 64 tokens on each side, Linformer 128 mixtures.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from polysemy.models.bert import configure
from polysemy.models.encoder import Encoder
from polysemy.nn.attention import Attention, AttentionKind, Full, Visibility
from polysemy.nn.initialization import initialize
from polysemy.nn.linformer import Linformer
from polysemy.nn.local import Local
from polysemy.runtime import random_for

SHORTEST, REACH, RANK = 512, 64, 128
TARGET_SLOPE, TARGET_RATIO = (1.8, 2.2), 4.0
SECONDS = 0.5
"""a round of a kind at a length repeats its work until it has taken so long, and shows the mean"""


def kinds(longest: int) -> dict[str, AttentionKind]:
    return {"full": Full(), "local": Local(reach=REACH), "linformer": Linformer(length=longest, rank=RANK)}


def work(part: str, kind: AttentionKind, length: int, backward: bool) -> Callable[[], None]:
    """One forward, or a forward and its backward."""
    config = configure("mini").model
    transformer = config.transformer.replace(attention=kind)
    torch.manual_seed(0)
    if part == "layer":
        layer = Attention(transformer.hidden_size, transformer.num_heads, kind)
        x = torch.randn(1, length, transformer.hidden_size, requires_grad=backward)

        def run() -> torch.Tensor:
            return layer(x, Visibility.build(kind))
    else:
        body = Encoder(config.replace(transformer=transformer))
        initialize(body, transformer)
        ids = torch.from_numpy(random_for("long attention").integers(0, config.vocab_size, (1, length)))

        def run() -> torch.Tensor:
            states = body(ids)
            assert isinstance(states, torch.Tensor)
            return states

    def once() -> None:
        with torch.set_grad_enabled(backward):
            states = run()
        if backward:
            states.sum().backward()

    return once


def seconds_of(once: Callable[[], None]) -> float:
    count, start = 0, time.process_time()
    while True:
        once()
        count += 1
        passed = time.process_time() - start
        if passed > SECONDS:
            return passed / count


def times(part: str, longest: int, backward: bool, rounds: int) -> dict[str, dict[int, float]]:
    """Least CPU seconds by kind and length."""
    found: dict[str, dict[int, float]] = {name: {} for name in kinds(longest)}
    length = SHORTEST
    while length <= longest:
        works = {name: work(part, kind, length, backward) for name, kind in kinds(longest).items()}
        for once in works.values():
            once()
        for _ in range(rounds):
            for name, once in works.items():
                found[name][length] = min(found[name].get(length, 1e9), seconds_of(once))
        length *= 2
    return found


def peaks(part: str, longest: int, backward: bool) -> dict[str, dict[int, float]]:
    """MiB by kind and length that the work adds to the peak of a process that gives freed memory back."""
    command = [sys.executable, __file__, "--child", json.dumps([part, longest, backward])]
    shown = subprocess.run(command, check=True, capture_output=True, text=True,
                           env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}).stdout
    return {name: {int(length): value for length, value in row.items()} for name, row in json.loads(shown).items()}


def child(part: str, longest: int, backward: bool) -> None:
    found: dict[str, dict[int, float]] = {}
    for name, kind in kinds(longest).items():
        work(part, kind, SHORTEST, backward)()
        length = SHORTEST
        while length <= longest:
            once = work(part, kind, length, backward)
            Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is there
            before = status("VmHWM")
            once()
            found.setdefault(name, {})[length] = status("VmHWM") - before
            length *= 2
    print(json.dumps(found))


def status(name: str) -> float:
    """MiB"""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def show(title: str, unit: str, found: dict[str, dict[int, float]], scale: float = 1.0) -> None:
    names = list(found)
    print(f"\n{title}\n\n| tokens | " + " | ".join(f"{name}, {unit} | x" for name in names) + " |")
    print("| ---: |" + " ---: | ---: |" * len(names))
    for length in found[names[0]]:
        cells = []
        for name in names:
            value, shorter = found[name][length], found[name].get(length // 2)
            cells += [f"{value * scale:.1f}", f"{value / shorter:.2f}" if shorter else ""]
        print(f"| {length:,} | " + " | ".join(cells) + " |")


def verdict(found: dict[str, dict[int, float]], longest: int) -> None:
    for name in ("local", "linformer"):
        lengths = sorted(found[name])
        slope = 2 ** float(np.polyfit(np.log2(lengths), np.log2([found[name][length] for length in lengths]), 1)[0])
        ratio = found["full"][longest] / found[name][longest]
        met = TARGET_SLOPE[0] <= slope <= TARGET_SLOPE[1] and ratio >= TARGET_RATIO
        print(f"{name}: x {slope:.2f} a doubling, {ratio:.1f} times as fast as full at {longest:,} tokens"
              f" ({'met' if met else 'NOT met'}: 2 +- 0.2 and >= {TARGET_RATIO:g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["layer", "model"], default="layer")
    parser.add_argument("--longest", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.child:
        child(*json.loads(arguments.child))
        return
    for backward in (False, True):
        what = f"{'One attention layer' if arguments.part == 'layer' else 'The mini model'}, " + (
            "forward and backward" if backward else "forward")
        found = times(arguments.part, arguments.longest, backward, arguments.rounds)
        show(f"{what}: CPU time", "ms", found, 1000)
        print()
        verdict(found, arguments.longest)
        show(f"{what}: peak memory", "MiB", peaks(arguments.part, arguments.longest, backward))


if __name__ == "__main__":
    main()
