"""word2vec: words a second and quality, ours beside gensim, word2vec.c, fastText and pWord2Vec.

    python benchmarks/word2vec.py CORPUS [--words 2e6] [--sizes 100,300] [--kinds skipgram,cbow,hierarchical]
        [--seeds 3 --sets shared/data/wordsim] [--epochs 1] [--threads 2]
        [--word2vec-c word2vec.c] [--fasttext FOLDER] [--pword2vec FOLDER [--blas "-lopenblas"]]
    python benchmarks/word2vec.py --vocabulary-sizes 500,1000,2000,4000,8000,64000

CORPUS is text (.gz and .xz are unpacked); every tool reads the same file of lower-case words between spaces and has the
same settings: window 5, 5 negatives, min_count 5, subsampling 1e-4, rate 0.025 (CBOW 0.05). The time is that of
training alone, without counting words, compiling and writing; raw words a second, wall clock, with CPU seconds beside
it, because only those can be compared on a busy machine. gensim trains from the file, its fastest way; there each of n
threads lets the rate fall by only 1 / n within an epoch, which helps it on short texts, so compare quality with
--gensim-lines or one thread. The tools in C are built here with `-O3 -march=native -ffast-math` from the named sources;
their speed is what they print of themselves at the end (word2vec.c and fastText count CPU time; pWord2Vec's CPU seconds
here are those of its whole run). Calls of MKL go to any CBLAS.
Quality: Spearman's rho of WordSim-353 and SimLex, percent of analogies, mean over seeds.
The second form prints the time of a step against the size of the vocabulary: the full softmax grows with it, a tree
with its logarithm, negatives not at all.
"""
from __future__ import annotations

import argparse
import gzip
import lzma
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word2vec.fit import train
from polysemy.models.word_vectors import WordVectors
from polysemy.runtime import random_for
from polysemy.text.corpus import Corpus
from polysemy.text.encoded import EncodedText, encode
from polysemy.text.vocabulary import Vocabulary, WordConfig
from polysemy.text.words import word_spans

KINDS = {"skipgram": ("skipgram", "negative"), "cbow": ("cbow", "negative"),
         "hierarchical": ("skipgram", "hierarchical"), "cbow-hierarchical": ("cbow", "hierarchical")}
TARGETS = {("skipgram", 100, "gensim"): 10, ("skipgram", 300, "gensim"): 7, ("cbow", 100, "gensim"): 5,
           ("hierarchical", 100, "gensim"): 3, ("skipgram", 100, "word2vec.c"): 20, ("skipgram", 300, "word2vec.c"): 12,
           ("skipgram", 100, "fasttext"): 20, ("skipgram", 300, "fasttext"): 12, ("skipgram", 100, "pword2vec"): 2.5,
           ("skipgram", 300, "pword2vec"): 2}
SETS = {"WordSim": "EN-WS-353-ALL.txt", "SimLex": "EN-SIMLEX-999.txt", "analogies": "questions-words.txt"}


class Run(NamedTuple):
    """One training: words a second by the clock and by CPU seconds (0: not known), and the vectors."""

    by_clock: float
    by_cpu: float
    vectors: WordVectors


Tool = Callable[[argparse.Namespace, Path, EncodedText, Word2VecConfig, int], Run]


def main() -> None:
    args = arguments()
    if args.vocabulary_sizes:
        step_times([int(float(size)) for size in args.vocabulary_sizes.split(",")], args.threads)
        return
    with tempfile.TemporaryDirectory() as work:
        path = cut(Path(args.corpus), Path(work) / "corpus.txt", args.words)
        text = encode(Corpus([path], document="line"), WordConfig(tokens="space"), threads=args.threads)
        print(f"{args.corpus}: {text.num_tokens:,} words, vocabulary {len(text.vocabulary):,}; {args.epochs} epochs, "
              f"{args.threads} threads")
        args.work, tools = Path(work), the_tools(args, Path(work))
        for kind in args.kinds.split(","):
            for size in map(int, args.sizes.split(",")):
                compare(args, path, text, kind, size, tools)


def compare(args: argparse.Namespace, path: Path, text: EncodedText, kind: str, size: int,
            tools: dict[str, Tool | str]) -> None:
    """Print one table: a row a tool, seeds by turns."""
    mode, loss = KINDS[kind]
    config = Word2VecConfig(mode=mode, loss=loss, size=size, epochs=args.epochs)  # pyright: ignore
    runs: dict[str, list[Run]] = {}
    for seed in range(1, max(args.seeds, 1) + 1):
        for name, tool in tools.items():
            if not isinstance(tool, str) and not (name == "pword2vec" and kind != "skipgram"):
                try:
                    runs.setdefault(name, []).append(tool(args, path, text, config, seed))
                except subprocess.CalledProcessError as error:
                    tools = {**tools, name: f"it ended with {error.returncode}: {error.stderr[-80:].strip()}"}
                    del runs[name]
    print(f"\n{kind}, size {size}: thousand words\n{'':12}{'a second':>10}{'a CPU second':>14}{'ours':>8}{'by CPU':>8}"
          f"{'target':>8}  quality")
    fastest = {name: [max(run[n] for run in found) for n in (0, 1)] for name, found in runs.items()}
    for name, tool in tools.items():
        if name not in runs:
            print(f"{name:12}{'skipped: ' + tool if isinstance(tool, str) else 'has no such training'}")
            continue
        target = TARGETS.get((kind, size, name))
        cells = [f"{rate / 1e3:,.0f}" if rate else "-" for rate in fastest[name]]
        cells += [f"{ours / rate:.1f}x" if rate and name != "ours" else ""
                  for ours, rate in zip(fastest["ours"], fastest[name], strict=True)]
        print(f"{name:12}{cells[0]:>10}{cells[1]:>14}{cells[2]:>8}{cells[3]:>8}{f'{target}x' if target else '':>8}  "
              f"{quality(args, [run.vectors for run in runs[name]])}", flush=True)


def quality(args: argparse.Namespace, found: list[WordVectors]) -> str:
    """Mean and standard deviation over seeds of each set there is."""
    if not args.sets:
        return ""
    rows = []
    for vectors in found:
        rows.append([vectors.evaluate_word_pairs(args.sets / SETS[name])[1][0] for name in ("WordSim", "SimLex")]
                    + [100 * vectors.evaluate_word_analogies(args.sets / SETS["analogies"], restrict_vocab=30_000)[0]])
    mean, spread = np.mean(rows, 0), np.std(rows, 0, ddof=1) if len(rows) > 1 else np.zeros(3)
    form = ("{:.3f} ± {:.3f}", "{:.3f} ± {:.3f}", "{:.1f} ± {:.1f} %")
    return ", ".join(f"{name} {shape.format(m, s)}" for name, shape, m, s in zip(SETS, form, mean, spread, strict=True))


# -- the tools


def the_tools(args: argparse.Namespace, work: Path) -> dict[str, Tool | str]:
    """Each tool, or why it is left out."""
    tools: dict[str, Tool | str] = {"ours": ours}
    try:
        import gensim  # noqa: F401
        tools["gensim"] = gensim_word2vec
    except ImportError:
        tools["gensim"] = "pip install gensim"
    builds = {"word2vec.c": (args.word2vec_c, build_word2vec_c), "fasttext": (args.fasttext, build_fasttext),
              "pword2vec": (args.pword2vec, build_pword2vec)}
    for name, (source, build) in builds.items():
        if not source:
            tools[name] = f"name its source with --{name.replace('.', '-')}"
        elif not shutil.which("g++"):
            tools[name] = "no compiler (g++)"
        else:
            tools[name] = build(args, Path(source), work)
    return tools


def ours(args: argparse.Namespace, path: Path, text: EncodedText, config: Word2VecConfig, seed: int) -> Run:
    matrices, results = train(config, text, seed=seed, threads=args.threads, report=lambda progress: None,
                              stop=lambda: False)
    vectors = WordVectors(text.vocabulary.words, matrices.inputs[:, : config.size], text.vocabulary.counts)
    return Run(results["words"] / results["seconds"], results["words"] / results["cpu_seconds"], vectors)


def gensim_word2vec(args: argparse.Namespace, path: Path, text: EncodedText, config: Word2VecConfig, seed: int) -> Run:
    from gensim.models import Word2Vec
    from gensim.models.word2vec import LineSentence

    tree = config.loss == "hierarchical"
    model = Word2Vec(vector_size=config.size, window=config.window, min_count=5, sg=int(config.mode == "skipgram"),
                     hs=int(tree), negative=0 if tree else config.negatives, sample=config.subsample, seed=seed,
                     alpha=config.first_rate, workers=args.threads, epochs=config.epochs)
    model.build_vocab(corpus_file=str(path))
    began, cpu = time.perf_counter(), time.process_time()
    if args.gensim_lines:
        model.train(LineSentence(str(path)), total_examples=model.corpus_count, epochs=config.epochs)
    else:
        model.train(corpus_file=str(path), total_words=model.corpus_total_words, epochs=config.epochs)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    words = text.num_tokens * config.epochs
    return Run(words / seconds, words / cpu, WordVectors(list(model.wv.index_to_key), model.wv.vectors))


def build_word2vec_c(args: argparse.Namespace, source: Path, work: Path) -> Tool | str:
    program = work / "word2vec-c"
    return compiled(["gcc", str(source), "-o", str(program), "-O3", "-march=native", "-ffast-math", "-funroll-loops",
                     "-w", "-lm", "-lpthread"], lambda: in_c([str(program)], per_thread=True))


def build_pword2vec(args: argparse.Namespace, source: Path, work: Path) -> Tool | str:
    (work / "mkl.h").write_text("#include <cblas.h>\n#include <mm_malloc.h>\n#define mkl_set_num_threads(n)\n")
    program = work / "pword2vec"
    return compiled(["g++", "-std=c++11", "-fopenmp", "-O3", "-march=native", "-ffast-math", "-w", "-DUSE_MKL",
                     f"-I{work}", str(source / "pWord2Vec.cpp"), "-o", str(program), *args.blas.split()],
                    lambda: in_c([str(program)], per_thread=False))


def build_fasttext(args: argparse.Namespace, source: Path, work: Path) -> Tool | str:
    program = work / "fasttext"
    files = sorted(str(file) for file in (source / "src").glob("*.cc"))
    return compiled(["g++", "-std=c++17", "-pthread", "-O3", "-march=native", "-ffast-math", "-funroll-loops", "-w",
                     *files, "-o", str(program)], lambda: fasttext(str(program)))


def compiled(command: list[str], tool: Callable[[], Tool]) -> Tool | str:
    done = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "error" in line] or ["the compiler failed"]
    return said[0] if done.returncode else tool()


def in_c(command: list[str], per_thread: bool) -> Tool:
    """word2vec.c and what has its options."""
    def run(args: argparse.Namespace, path: Path, text: EncodedText, config: Word2VecConfig, seed: int) -> Run:
        out, tree = args.work / "vectors.bin", config.loss == "hierarchical"
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        said = spoken([*command, "-train", path, "-output", out, "-size", config.size, "-window", config.window,
                       "-sample", config.subsample, "-negative", 0 if tree else config.negatives, "-hs", int(tree),
                       "-cbow", int(config.mode == "cbow"), "-threads", args.threads, "-iter", config.epochs,
                       "-min-count", 5, "-alpha", config.first_rate, "-binary", 1])
        rate = 1e3 * float(re.findall(r"Words/(?:thread/)?sec: ([\d.]+)k", said)[-1])
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu
        vectors = without_end(WordVectors.load_word2vec_format(out, binary=True))
        by_cpu = rate if per_thread else text.num_tokens * config.epochs / cpu
        return Run(rate * (args.threads if per_thread else 1), by_cpu, vectors)

    return run


def fasttext(program: str) -> Tool:
    def run(args: argparse.Namespace, path: Path, text: EncodedText, config: Word2VecConfig, seed: int) -> Run:
        out = args.work / "fasttext-vectors"
        said = spoken([program, config.mode, "-input", path, "-output", out, "-dim", config.size, "-ws", config.window,
                       "-neg", config.negatives, "-loss", "hs" if config.loss == "hierarchical" else "ns",
                       "-minCount", 5, "-epoch", config.epochs, "-thread", args.threads, "-t", config.subsample,
                       "-lr", config.first_rate, "-minn", 0, "-maxn", 0, "-bucket", 1, "-seed", seed])
        rate = float(re.findall(r"words/sec/thread: +(\d+)", said)[-1])
        vectors = without_end(WordVectors.load_word2vec_format(out.with_suffix(".vec")))
        return Run(rate * args.threads, rate, vectors)

    return run


def spoken(command: list[Any]) -> str:
    """What a program says on both streams; BLAS on one thread."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True,
                          env={"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"})
    return done.stdout + done.stderr


def without_end(vectors: WordVectors) -> WordVectors:
    """Without the sentence end, which these tools count as a word."""
    kept = [i for i, word in enumerate(vectors.index_to_key) if word != "</s>"]
    return WordVectors([vectors.index_to_key[i] for i in kept], np.asarray(vectors.vectors)[kept])


# -- text


def cut(source: Path, target: Path, most: float) -> Path:
    """The corpus as lower-case words between spaces, a line a line, up to `most` words."""
    opened: Any = {".xz": lzma.open, ".gz": gzip.open}.get(source.suffix, open)
    count = 0.0
    with opened(source, "rt", encoding="utf-8", errors="replace") as lines, open(target, "w", encoding="utf-8") as file:
        for line in lines:
            words = [line[start:stop].lower() for start, stop in word_spans(line)]
            if words:
                file.write(" ".join(words) + "\n")
                count += len(words)
            if count >= most:
                break
    return target


def step_times(sizes: list[int], threads: int) -> None:
    """Microseconds a place of skip-gram, by loss and size of the vocabulary, on words drawn by Zipf's law."""
    print(f"microseconds a word in the middle of its window, size 100, window 5, {threads} threads (softmax: 1)\n"
          f"{'vocabulary':>10}{'softmax':>12}{'hierarchical':>14}{'negative':>10}")
    for size in sizes:
        shares = 1 / np.arange(1, size + 1)
        row = []
        for loss, count in (("softmax", max(60, 600_000 // size)), ("hierarchical", 400_000), ("negative", 400_000)):
            if loss == "softmax" and size > 5000:
                row.append(float("nan"))
                continue
            tokens = random_for(size, loss).choice(size, count, p=shares / shares.sum()).astype(np.int32)
            tokens[19::20] = -1
            counts = np.ceil(shares * 1e6).astype(np.int64)
            words = Vocabulary([f"w{i}" for i in range(size)], counts, WordConfig(), count)
            config = Word2VecConfig(loss=loss, subsample=0.0, epochs=1)  # pyright: ignore
            _, results = train(config, EncodedText(tokens, words), seed=1, threads=threads,
                               report=lambda progress: None, stop=lambda: False)
            row.append(1e6 * results["cpu_seconds"] / results["words"])
        print(f"{size:10,}{row[0]:12,.1f}{row[1]:14,.2f}{row[2]:10,.2f}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", help="a text file, .gz or .xz")
    parser.add_argument("--words", type=float, default=float("inf"), help="read so many words of it")
    parser.add_argument("--sizes", default="100")
    parser.add_argument("--kinds", default="skipgram,cbow,hierarchical", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sets", type=Path, help="folder of WordSim-353, SimLex-999 and analogies")
    parser.add_argument("--gensim-lines", action="store_true", help="train gensim line by line, not from the file")
    parser.add_argument("--word2vec-c", help="word2vec.c")
    parser.add_argument("--fasttext", help="folder of fastText's repository")
    parser.add_argument("--pword2vec", help="folder of pWord2Vec's repository")
    parser.add_argument("--blas", default="-lopenblas", help="what the compiler is told of a CBLAS")
    parser.add_argument("--vocabulary-sizes", help="time steps for these sizes instead")
    args = parser.parse_args()
    if not args.corpus and not args.vocabulary_sizes:
        parser.error("name a corpus, or --vocabulary-sizes")
    return args


if __name__ == "__main__":
    main()
