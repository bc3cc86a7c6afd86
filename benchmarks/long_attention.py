"""Time and memory of Full, Local and Linformer attention over the length of the text, at the width of `mini`.

    python benchmarks/long_attention.py                 the table in docs/efficient-attention.md
    python benchmarks/long_attention.py --part model    the whole model instead of one attention layer
    python benchmarks/long_attention.py --lengths 512,1024,2048,4096 --rounds 1 --seconds 0 -o figures.json
    python benchmarks/long_attention.py --figures figures.json --picture long-attention.png

The third is a quick look; the last draws what an earlier run wrote and measures nothing.

One row of text, float32, one thread.  Times are CPU seconds, the least of a few rounds in which the kinds take turns;
the column x says by what a doubling of the length multiplies it (2 is linear, 4 is square), and the verdict fits all
lengths on log-log axes.  Memory is what one run adds to the peak of a process that gives freed memory back at once
(Linux).  Local sees 64 tokens on each side, Linformer 128 mixtures.  The picture shows forward and backward.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
from polysemy.report.style import axis_titles, color, new_figure, series, spread, to_png, write
from polysemy.runtime import random_for

LENGTHS = (512, 1024, 2048, 4096, 8192)
REACH, RANK = 64, 128
TARGET_SLOPE, TARGET_RATIO = (1.8, 2.2), 4.0
DIRECTIONS = {"forward": False, "forward and backward": True}

Figures = dict[str, dict[int, float]]
"""by kind and length"""


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


def seconds_of(once: Callable[[], None], at_least: float) -> float:
    """The mean of as many repetitions as take so long, one or more."""
    count, start = 0, time.process_time()
    while True:
        once()
        count += 1
        passed = time.process_time() - start
        if passed > at_least:
            return passed / count


def times(part: str, lengths: Sequence[int], backward: bool, rounds: int, at_least: float) -> Figures:
    """Least CPU seconds."""
    found: Figures = {name: {} for name in kinds(lengths[-1])}
    for length in lengths:
        works = {name: work(part, kind, length, backward) for name, kind in kinds(lengths[-1]).items()}
        for once in works.values():
            once()
        for _ in range(rounds):
            for name, once in works.items():
                found[name][length] = min(found[name].get(length, 1e9), seconds_of(once, at_least))
    return found


def peaks(part: str, lengths: Sequence[int], backward: bool) -> Figures:
    """MiB that the work adds to the peak of a process that gives freed memory back."""
    command = [sys.executable, __file__, "--child", json.dumps([part, lengths, backward])]
    shown = subprocess.run(command, check=True, capture_output=True, text=True,
                           env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}).stdout
    return numbered(json.loads(shown))


def child(part: str, lengths: Sequence[int], backward: bool) -> None:
    found: Figures = {}
    for name, kind in kinds(lengths[-1]).items():
        work(part, kind, lengths[0], backward)()
        for length in lengths:
            once = work(part, kind, length, backward)
            Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is there
            before = status("VmHWM")
            once()
            found.setdefault(name, {})[length] = status("VmHWM") - before
    print(json.dumps(found))


def numbered(found: dict[str, dict[str, float]]) -> Figures:
    """Lengths as numbers again, which JSON has as texts."""
    return {name: {int(length): value for length, value in row.items()} for name, row in found.items()}


def status(name: str) -> float:
    """MiB"""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def show(title: str, unit: str, found: Figures, scale: float = 1.0) -> None:
    names = list(found)
    print(f"\n{title}\n\n| tokens | " + " | ".join(f"{name}, {unit} | x" for name in names) + " |")
    print("| ---: |" + " ---: | ---: |" * len(names))
    for length in found[names[0]]:
        cells = []
        for name in names:
            value, shorter = found[name][length], found[name].get(length // 2)
            cells += [f"{value * scale:.1f}", f"{value / shorter:.2f}" if shorter else ""]
        print(f"| {length:,} | " + " | ".join(cells) + " |")


def verdict(found: Figures) -> None:
    lengths = sorted(found["full"])
    for name in ("local", "linformer"):
        slope = 2 ** float(np.polyfit(np.log2(lengths), np.log2([found[name][length] for length in lengths]), 1)[0])
        ratio = found["full"][lengths[-1]] / found[name][lengths[-1]]
        met = TARGET_SLOPE[0] <= slope <= TARGET_SLOPE[1] and ratio >= TARGET_RATIO
        print(f"{name}: x {slope:.2f} a doubling, {ratio:.1f} times as fast as full at {lengths[-1]:,} tokens"
              f" ({'met' if met else 'NOT met'}: 2 +- 0.2 and >= {TARGET_RATIO:g})")


def picture(report: dict[str, Any]) -> bytes:
    """Time and memory of forward and backward against length, log-log, as a PNG."""
    found = report["forward and backward"]
    figure, left = new_figure(width=8.6, height=3.6)
    right = figure.add_axes((0.56, 0.15, 0.31, 0.72))
    left.set_position((0.06, 0.15, 0.31, 0.72))
    panels = ((left, "cpu_seconds", 1000.0, "CPU milliseconds", {"x 2": 1, "x 4": 2}),
              (right, "mebibytes", 1.0, "MiB more at the peak of memory", {"x 2": 1}))
    for axes, key, scale, title, guides in panels:
        draw(axes, numbered(found[key]), scale, guides)
        axis_titles(axes, "tokens in the row", f"{title}, forward and backward")
    return to_png(figure, 150)


def draw(axes: Any, found: Figures, scale: float, guides: dict[str, int]) -> None:
    """A line a kind; dotted, what a doubling of the length multiplies by in a linear and in a square law."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    lengths, ends = sorted(found["full"]), []
    for number, (name, values) in enumerate(found.items()):
        tint, marker = series(number)
        line = [values[length] * scale for length in lengths]
        axes.plot(lengths, line, color=tint, marker=marker, markersize=4.5, linewidth=1.9)
        ends.append((line[-1], name, tint))
    start = min(values[lengths[0]] for values in found.values()) * scale / 1.5
    for name, power in guides.items():
        line = [start * (length / lengths[0]) ** power for length in lengths]
        axes.plot(lengths, line, color=color("muted"), linewidth=1.0, linestyle=":")
        ends.append((line[-1], f"{name} a doubling", color("muted")))
    finish(axes, lengths)
    low, high = np.log(axes.get_ylim())
    places = spread([float(np.log(value) - low) / (high - low) for value, _, _ in ends], 0.075, 0.0, 1.0)
    for (_, name, tint), place in zip(ends, places, strict=True):
        write(axes, 1.03, place, name, color=tint, va="center", transform=axes.transAxes)


def finish(axes: Any, lengths: Sequence[int]) -> None:
    """Plain numbers at the ticks, few lines."""
    ticks = [step * 10.0**power for power in range(-3, 9) for step in (1, 2, 5)]
    low, high = axes.get_ylim()
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([], minor=True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(color("line"))
    axes.grid(axis="y", color=color("line"), linewidth=0.6)
    axes.tick_params(axis="both", which="both", length=0, labelsize=9, colors=color("muted"), pad=5)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was measured and how, by direction."""
    lengths = sorted(int(length) for length in arguments.lengths.split(","))
    report = {"part": arguments.part, "rounds": arguments.rounds, "seconds": arguments.seconds,
              "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "load": os.getloadavg()[1],
              "reach": REACH, "rank": RANK}
    for name, backward in DIRECTIONS.items():
        report[name] = {
            "cpu_seconds": times(arguments.part, lengths, backward, arguments.rounds, arguments.seconds),
            "mebibytes": peaks(arguments.part, lengths, backward),
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["layer", "model"], default="layer")
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)), help="in tokens (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="a round of a kind, at least (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, help="write the figures into this .json")
    parser.add_argument("--figures", type=Path, help="measure nothing, take the figures of this .json")
    parser.add_argument("--picture", type=Path, help="draw time and memory of forward and backward into this .png")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.child:
        child(*json.loads(arguments.child))
        return
    report = json.loads(arguments.figures.read_text()) if arguments.figures else measure(arguments)
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    for direction in DIRECTIONS:
        what = f"{'One attention layer' if report['part'] == 'layer' else 'The mini model'}, {direction}"
        seconds, memory = (numbered(report[direction][unit]) for unit in ("cpu_seconds", "mebibytes"))
        show(f"{what}: CPU time", "ms", seconds, 1000)
        print()
        verdict(seconds)
        show(f"{what}: peak memory", "MiB", memory)
    if arguments.picture:
        arguments.picture.write_bytes(picture(report))


if __name__ == "__main__":
    main()
