"""Vocabulary and numbers of words of a corpus, words a second: ours beside gensim, word2vec.c and Python's Counter.

    python benchmarks/encode_words.py CORPUS [--min-count 5] [--threads 2] [--word2vec WORD2VEC.C] [--skip gensim]

CORPUS is a text file (.gz and .xz are unpacked first; default: the English test data). All tools cut at white space,
with capitals kept, and count every running word once. Ours makes vocabulary and numbers of the whole text in one
pass over the file. gensim reads the lines twice: build_vocab, then a look-up of every word, as training does.
word2vec.c counts only, and reads the file again in every epoch: its program is built from the source that you name (it
is in no package) with `-O3 -march=native`, run with `-iter 0`, skipped without compiler or source. Each tool runs in
its own process, which gives wall time, CPU time and peak memory; compiling by Numba and imports are not counted.
Targets: vocabulary and numbers at 10 million words a second on 2 cores; counts of all words equal; the peak of memory
of a whole training (skip-gram, 100 dimensions), less what the process had before reading, at most the vectors and 1.2
times the numbers. The same peak of reading alone is printed beside it.
"""
from __future__ import annotations

import argparse
import gzip
import json
import lzma
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("POLYSEMY_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
CORPUS = DATA / "english/train.txt.xz"
TARGET, MEMORY_TARGET = 10e6, 1.2
ROUNDS = 3  # the best one counts
TOOLS = ("ours", "ours-words", "training", "gensim", "counter", "word2vec")
NOTES = {"ours": "vocabulary and numbers", "ours-words": "the same, our word rule and small letters",
         "training": "reading and training", "gensim": "build_vocab, then look-up",
         "counter": "Python's Counter, counts only",
         "word2vec": "counts only, one thread"}


def main() -> None:
    args = arguments()
    if args.tool:
        print(json.dumps(globals()["run_" + args.tool.replace("-", "_")](args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = unpacked(Path(args.corpus), Path(folder))
        size = path.stat().st_size / 1e6
        print(f"{args.corpus}: {size:.1f} MB, min_count {args.min_count}, {args.threads} threads")
        results: dict[str, dict[str, Any]] = {}
        for tool in TOOLS:
            if tool in args.skip.split(","):
                continue
            results[tool] = found = measure(tool, path, args, Path(folder))
            if "reason" in found:
                print(f"  {tool:11s} skipped: {found['reason']}")
                continue
            if tool != "training":
                show(tool, found, size, results["ours"])
    ours = results["ours"]
    for tool in ("ours", "ours-words", "training"):
        if (found := results.get(tool)) and "reason" not in found:
            vectors = found.get("vectors", 0)
            print(f"  {tool}: peak memory {found['peak'] / 1e6:.0f} MB, {found['before'] / 1e6:.0f} before reading; "
                  f"the numbers take {found['encoded'] / 1e6:.0f} MB, vectors {vectors / 1e6:.0f}: vectors and "
                  f"{(found['peak'] - found['before'] - vectors) / found['encoded']:.2f} times the numbers"
                  + (f" (target {MEMORY_TARGET})" if vectors else ""))
    speed = ours["words"] / ours["wall"]
    print(f"  target {TARGET / 1e6:.0f} million words/s on 2 cores: {'reached' if speed >= TARGET else 'MISSED'}")


def measure(tool: str, path: Path, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What the tool says of itself, run in its own process; or the reason why it cannot run."""
    command = [sys.executable, __file__, str(path), "--tool", tool, "--min-count", str(args.min_count),
               "--threads", str(args.threads)]
    if tool == "word2vec":
        program = built(args.word2vec, folder)
        if program.startswith("!"):
            return {"reason": program[1:]}
        command += ["--word2vec", program]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"reason": (done.stderr.strip().splitlines() or ["no message"])[-1][:100]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def show(tool: str, found: dict[str, Any], size: float, ours: dict[str, Any]) -> None:
    millions = found["words"] / 1e6
    line = (f"  {tool:11s} {millions / found['wall']:6.2f} million words/s  {size / found['wall']:6.1f} MB/s"
            f"  {millions / found['cpu']:6.2f} million words/CPU-s  peak {found['peak'] / 1e6:5.0f} MB")
    if tool not in ("ours", "ours-words"):
        line += f"  ours {found['wall'] / ours['wall']:.1f}x"
        if found["counts"] is not None:
            line += ", counts equal" if found["counts"] == ours["counts"] else ", COUNTS DIFFER"
    print(f"{line}  ({NOTES[tool]})")


def run_ours(args: argparse.Namespace, tokens: str = "space") -> dict[str, Any]:
    from polysemy.text.corpus import Corpus, text_documents
    from polysemy.text.encoded import encode
    from polysemy.text.vocabulary import WordConfig

    config = WordConfig(tokens="space" if tokens == "space" else "words", lowercase=tokens != "space",
                        min_count=args.min_count)
    encode(text_documents(["compile a a"]), config.replace(min_count=1))
    corpus = Corpus(args.corpus)
    before = peak()
    encode(corpus, config, threads=args.threads)
    most = peak()  # of a first reading: what later ones add is what Python kept of the one before
    text, wall, cpu = best(lambda: encode(corpus, config, threads=args.threads))
    words = text.vocabulary
    return {"words": words.total, "wall": wall, "cpu": cpu, "peak": most, "before": before,
            "encoded": text.tokens.nbytes, "counts": [len(words), int(words.counts.sum())]}


def run_training(args: argparse.Namespace) -> dict[str, Any]:
    """The memory of reading and training; the steps need none beyond what stands there after the first."""
    from polysemy.models.word2vec.config import Word2VecConfig
    from polysemy.models.word2vec.fit import train
    from polysemy.text.corpus import Corpus, text_documents
    from polysemy.text.encoded import EncodedText, encode
    from polysemy.text.vocabulary import WordConfig

    words, config = WordConfig(tokens="space", lowercase=False, min_count=args.min_count), Word2VecConfig(epochs=1)

    def some(text: EncodedText) -> Any:
        return train(config, text, seed=0, threads=args.threads, report=lambda now: None,
                     stop=lambda: time.perf_counter() > ends)[0]

    ends = time.perf_counter() + 60
    some(encode(text_documents(["compile a a b b"]), words.replace(min_count=1)))
    before = memory()  # not the peak, which was in compiling
    text = encode(Corpus(args.corpus), words, threads=args.threads)
    ends = time.perf_counter() + 5
    matrices = some(text)
    return {"peak": peak(), "before": before, "encoded": text.tokens.nbytes,
            "vectors": matrices.inputs.nbytes + matrices.outputs.nbytes}


def run_ours_words(args: argparse.Namespace) -> dict[str, Any]:
    return run_ours(args, "words")


def run_gensim(args: argparse.Namespace) -> dict[str, Any]:
    """What gensim does before it can train, and the look-up that each of its epochs repeats in Python."""
    from gensim.models import Word2Vec
    from gensim.models.word2vec import LineSentence

    def work() -> Any:
        model = Word2Vec(vector_size=1, min_count=args.min_count, workers=args.threads, sample=0)
        model.build_vocab(LineSentence(args.corpus))
        numbers = model.wv.key_to_index
        rows = [[numbers[word] for word in line if word in numbers] for line in LineSentence(args.corpus)]
        return model, rows

    (model, _), wall, cpu = best(work, rounds=1)
    counts = [model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key]
    return {"words": model.corpus_total_words, "wall": wall, "cpu": cpu, "peak": peak(),
            "counts": [len(counts), int(sum(counts))]}


def run_counter(args: argparse.Namespace) -> dict[str, Any]:
    def work() -> Counter:
        counts: Counter = Counter()
        with open(args.corpus, "rb") as file:
            for line in file:
                counts.update(line.split())
        return counts

    counts, wall, cpu = best(work, rounds=1)
    kept = [count for count in counts.values() if count >= args.min_count]
    return {"words": counts.total(), "wall": wall, "cpu": cpu, "peak": peak(), "counts": [len(kept), sum(kept)]}


def run_word2vec(args: argparse.Namespace) -> dict[str, Any]:
    """`-iter 0` ends after counting; the words of its vocabulary are read from the file that it saves."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "vocabulary"
        command = [args.word2vec, "-train", args.corpus, "-min-count", str(args.min_count), "-save-vocab", str(saved),
                   "-iter", "0", "-size", "1", "-threads", "1"]
        _, wall, _ = best(lambda: subprocess.run(command, capture_output=True, check=False))
        rows = [line.rsplit(" ", 1) for line in saved.read_text("utf-8", "replace").splitlines()]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    counts = [int(count) for word, count in rows if word != "</s>"]
    cpu = (used.ru_utime + used.ru_stime) / ROUNDS
    with open(args.corpus, "rb") as file:
        words = sum(len(line.split()) for line in file)
    return {"words": words, "wall": wall, "cpu": cpu, "peak": used.ru_maxrss * 1024,
            "counts": [len(counts), sum(counts)]}


def built(source: str | None, folder: Path) -> str:
    """The program made from the source; "!" and a reason where there is none."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if source is None:
        return "!no source named, see --word2vec"
    if compiler is None:
        return "!no C compiler"
    program = folder / "word2vec"
    command = [compiler, source, "-o", str(program), "-O3", "-march=native", "-funroll-loops", "-lm", "-pthread", "-w"]
    done = subprocess.run(command, capture_output=True, text=True)
    return str(program) if done.returncode == 0 else f"!does not compile: {done.stderr.strip()[:80]}"


def best(work: Callable[[], Any], rounds: int = ROUNDS) -> tuple[Any, float, float]:
    """(last result, least wall seconds, least CPU seconds)."""
    wall = cpu = float("inf")
    result = None
    for _ in range(rounds):
        result = None
        began = time.perf_counter(), time.process_time()
        result = work()
        wall, cpu = min(wall, time.perf_counter() - began[0]), min(cpu, time.process_time() - began[1])
    return result, wall, cpu


def peak() -> int:
    """The most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory() -> int:
    """What this process has now, in bytes; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def unpacked(path: Path, folder: Path) -> Path:
    opened: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix)
    if opened is None:
        return path
    target = folder / "corpus.txt"
    with opened(path, "rb") as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 22)
    return target


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", default=str(CORPUS), help="a text file, .gz or .xz")
    parser.add_argument("--min-count", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--word2vec", help="path of word2vec.c")
    parser.add_argument("--skip", default="", help=f"tools to leave out, of {', '.join(TOOLS)}")
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
