"""GloVe here and in the original's C: counting words that stand near each other, and AdaGrad, at equal cost.

    python benchmarks/glove.py [CORPUS] [--glove-c DIR] [--words 8000000] [--size 100] [--passes 2] [--threads 2]

CORPUS: text, plain or compressed (default ../shared/data/english/train.txt.xz), of which the first `--words` running
words are taken, cut at white space, capitals kept, min_count 5, window 15, x_max 10: the same words, lines and pairs on
both sides. DIR: a checkout of stanfordnlp/GloVe, built with `make` when its build folder is missing; without it or
without a compiler only our own side is timed. Times are wall and processor seconds of the whole step, counting with its
merge, AdaGrad without reading and shuffling. cost: mean of f (w.c + b + b - log X)^2 / 2 in each pass.
"""
from __future__ import annotations

import argparse
import re
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from polysemy.models.glove.counting import Counts, count_pairs
from polysemy.models.glove.training import FastTables
from polysemy.runtime import available_threads
from polysemy.text.decompress import read_blocks

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "english" / "train.txt.xz"
WINDOW, X_MAX, MIN_COUNT = 15, 10.0, 5


def plain_text(corpus: Path, words: int, target: Path) -> None:
    """The first so many words of the corpus, line by line, spaces between words."""
    taken, rest = 0, b""
    with open(target, "wb") as file:
        for block in read_blocks(corpus):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                tokens = line.split()
                taken += len(tokens)
                file.write(b" ".join(tokens) + b"\n")
            if taken >= words:
                return


def encoded(text: Path) -> tuple[np.ndarray, int]:
    """int32 tokens, -1 at line ends, words by falling count; and the number of words."""
    lines = [line.split(b" ") for line in text.read_bytes().split(b"\n")]
    counts: dict[bytes, int] = {}
    for line in lines:
        for word in line:
            counts[word] = counts.get(word, 0) + 1
    counts.pop(b"", None)
    kept = sorted((word for word, count in counts.items() if count >= MIN_COUNT), key=lambda w: (-counts[w], w))
    numbers = {word: number for number, word in enumerate(kept)}
    rows: list[int] = []
    for line in lines:
        rows += [numbers[word] for word in line if word in numbers]
        rows.append(-1)
    return np.array(rows, np.int32), len(kept)


def ours(tokens: np.ndarray, num_words: int, args: argparse.Namespace) -> dict[str, float]:
    """Seconds and costs of our side, compiled before."""
    count_pairs(tokens[:1000], num_words, window=WINDOW)
    start, cpu = time.perf_counter(), time.process_time()
    counts = count_pairs(tokens, num_words, window=WINDOW, threads=args.threads)
    found = {"count": time.perf_counter() - start, "count_cpu": time.process_time() - cpu,
             "entries": float(counts.num_entries)}
    found |= adagrad(counts, num_words, args)
    return found


def adagrad(counts: Counts, num_words: int, args: argparse.Namespace) -> dict[str, float]:
    """Seconds a pass and the cost of each."""
    small = count_pairs(np.zeros(10, np.int32), 1)
    next(FastTables(1, args.size, 0).passes(small, X_MAX, 0.75, 0.05, 0, 1, lambda part: False))
    passes = FastTables(num_words, args.size, 1).passes(counts, X_MAX, 0.75, 0.05, 1, args.threads, lambda part: False)
    start, cpu = time.perf_counter(), time.process_time()
    costs = [next(passes).cost for _ in range(args.passes)]
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    found = {"pass": wall / args.passes, "pass_cpu": cpu / args.passes}
    return found | {f"cost {number}": cost for number, cost in enumerate(costs, 1)}


def theirs(folder: Path, text: Path, work: Path, args: argparse.Namespace) -> dict[str, float]:
    """Seconds and costs of GloVe C."""
    build = folder / "build"
    if not (build / "glove").is_file():
        if shutil.which("gcc") is None or shutil.which("make") is None:
            raise FileNotFoundError("no compiler")
        subprocess.run(["make", "-C", str(folder)], check=True, capture_output=True)
    vocabulary, counts, mixed = work / "vocab.txt", work / "counts.bin", work / "mixed.bin"
    timed([build / "vocab_count", "-min-count", MIN_COUNT, "-verbose", 0], text, vocabulary)
    wall, cpu, _ = timed([build / "cooccur", "-memory", 4.0, "-vocab-file", vocabulary, "-verbose", 0, "-window-size",
                          WINDOW, "-overflow-file", work / "overflow"], text, counts)
    found = {"count": wall, "count_cpu": cpu, "entries": counts.stat().st_size / 16}
    timed([build / "shuffle", "-memory", 4.0, "-verbose", 0, "-temp-file", work / "shuffle"], counts, mixed)
    wall, cpu, said = timed(
        [build / "glove", "-save-file", work / "vectors", "-threads", args.threads, "-input-file", mixed, "-x-max",
         X_MAX, "-iter", args.passes, "-vector-size", args.size, "-binary", 0, "-vocab-file", vocabulary, "-verbose",
         2],
        None, work / "said")
    costs = re.findall(r"iter: (\d+), cost: ([\d.]+)", said)
    return found | {"pass": wall / args.passes, "pass_cpu": cpu / args.passes} | {
        f"cost {int(number)}": float(cost) for number, cost in costs}


def timed(command: list[object], source: Path | None, target: Path) -> tuple[float, float, str]:
    """(wall seconds, processor seconds, what it said) of a command from a file to a file."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with open(source or "/dev/null", "rb") as read, open(target, "wb") as write:
        done = subprocess.run([str(word) for word in command], stdin=read, stdout=write, stderr=subprocess.PIPE,
                              check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, (done.stderr + (target.read_bytes() if target.name == "said" else b"")).decode("utf-8", "replace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", nargs="?", type=Path, default=CORPUS)
    parser.add_argument("--glove-c", type=Path, metavar="DIR")
    parser.add_argument("--words", type=int, default=8_000_000)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=min(2, available_threads()))
    args = parser.parse_args()
    if not args.corpus.is_file():
        print(f"skipped: no corpus at {args.corpus}; give CORPUS")
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        plain_text(args.corpus, args.words, work / "text")
        tokens, num_words = encoded(work / "text")
        print(f"{int((tokens >= 0).sum()):,} running words, {num_words:,} words, size {args.size}, "
              f"{args.threads} threads")
        sides = {"polysemy": ours(tokens, num_words, args)}
        try:
            if args.glove_c is None:
                raise FileNotFoundError("give --glove-c DIR, a checkout of stanfordnlp/GloVe")
            sides["GloVe C"] = theirs(args.glove_c, work / "text", work, args)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"GloVe C skipped: {error}")
    mine = sides["polysemy"]
    for name in mine:
        values = "  ".join(f"{side} {found.get(name, float('nan')):14,.4f}" for side, found in sides.items())
        times = name.split("_")[0] in ("count", "pass") and "GloVe C" in sides
        print(f"{name:10}  {values}" + (f"  {sides['GloVe C'][name] / mine[name]:.1f}x" if times else ""))
    print(f"counts learned from a processor second: {mine['entries'] / mine['pass_cpu'] / 1e6:.1f} million")


if __name__ == "__main__":
    main()
