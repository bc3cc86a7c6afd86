"""fastText's word vectors and classifier: ours beside the original and gensim, words a second and quality.

    python benchmarks/fasttext.py CORPUS [--fasttext PROGRAM] [--words 4000000] [--mode skipgram] [--size 100]
    python benchmarks/fasttext.py --labels TRAIN TEST [--fasttext PROGRAM] [--word-ngrams 2]

CORPUS is a text file (.gz and .xz are unpacked; default: the English test data), cut to its first --words words: small
letters and digits between spaces, so that all tools see the same words. PROGRAM is the original's, built with its own
Makefile (`make` in a clone of facebookresearch/fastText); without it that row is skipped. All with the same settings:
subwords of 3-6, window 5, 5 negatives, min_count 5, subsampling 1e-4, rate 0.05, 2 million buckets, and as many
threads. Reading the words and compiling by Numba do not count; making the matrices and writing the folder count for
ours. For the original the time is that of the whole run less that of a run without training (-epoch 0), for gensim that
of `train`. A tool runs in a process of its own.
Quality: Spearman's rho on the similarity sets of the test data and the accuracy on its analogies (top 30,000 words).
Target: at least 10 times the original, quality equal within noise. The original draws a tenth of its
input matrix for each thread, up to ten, and leaves the rest as it finds it (mostly zeros): with 2 threads most buckets
start at zero. `--labels` takes two files of fastText's form.
"""
from __future__ import annotations

import argparse
import gzip
import json
import lzma
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(os.environ.get("POLYSEMY_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
CORPUS = DATA / "english/train.txt.xz"
TARGET = 10
TOOLS = ("ours", "original", "gensim")
SETS = {"WordSim": "EN-WS-353-ALL.txt", "SimLex": "EN-SIMLEX-999.txt", "RW": "EN-RW-STANFORD.txt",
        "MEN": "EN-MEN-TR-3k.txt"}
TOKEN = re.compile(r"[a-z]+|[0-9]+")


def main() -> None:
    args = arguments()
    if args.tool:
        print(json.dumps(globals()[f"run_{args.tool}_{'labels' if args.labels else 'vectors'}"](args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        args.work = folder
        if not args.labels:
            args.corpus = str(cut(Path(args.corpus), Path(folder), args.words))
        what = "classifier" if args.labels else args.mode
        print(f"{args.labels or args.corpus}: {what}, size {args.size}, {args.epochs} epochs, {args.threads} threads")
        results: dict[str, dict[str, Any]] = {}
        for tool in TOOLS:
            if tool not in args.skip.split(","):
                results[tool] = found = measure(tool, args)
                print(f"  {tool:9s} {shown(found, results['ours'])}", flush=True)
    ratio = results.get("original", {}).get("wall")
    if ratio and not args.labels:
        ratio /= results["ours"]["wall"]
        print(f"  target {TARGET}x the original: {'reached' if ratio >= TARGET else 'MISSED'} ({ratio:.1f}x)")


def measure(tool: str, args: argparse.Namespace) -> dict[str, Any]:
    """What the tool says of itself, run in its own process; or the reason why it cannot run."""
    if tool == "original" and not args.fasttext:
        return {"reason": "no program named, see --fasttext"}
    if tool == "gensim" and args.labels:
        return {"reason": "it has no classifier"}
    names = ("fasttext", "mode", "size", "epochs", "threads", "work", "seed", "word_ngrams")
    options = [part for name in names if getattr(args, name) is not None
               for part in ("--" + name.replace("_", "-"), str(getattr(args, name)))]
    data = ["--labels", *args.labels] if args.labels else [args.corpus]
    done = subprocess.run([sys.executable, __file__, *data, "--tool", tool, *options], capture_output=True, text=True)
    if done.returncode:
        return {"reason": (done.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def shown(found: dict[str, Any], ours: dict[str, Any]) -> str:
    if "reason" in found:
        return f"skipped: {found['reason']}"
    line = (f"{found['words'] / found['wall'] / 1e3:7.0f} thousand words/s  {found['wall']:6.1f} s, "
            f"{found['cpu']:6.1f} CPU-s, peak {found['peak'] / 1e6:5.0f} MB")
    if found is not ours:
        line += f"  ours {found['wall'] / ours['wall']:.1f}x (CPU {found['cpu'] / ours['cpu']:.1f}x)"
    return line + "  " + ", ".join(f"{name} {value:.3f}" for name, value in found["quality"].items())


# -- word vectors


def run_ours_vectors(args: argparse.Namespace) -> dict[str, Any]:
    from polysemy.models.fasttext.config import FasttextConfig
    from polysemy.models.fasttext.fit import fit
    from polysemy.models.fasttext.model import FasttextModel
    from polysemy.text.corpus import Corpus, text_documents
    from polysemy.text.encoded import encode
    from polysemy.text.vocabulary import WordConfig

    config = FasttextConfig(mode=args.mode, size=args.size, epochs=args.epochs, words=WordConfig(tokens="space"))
    small = encode(text_documents(["a b c d\n" * 50]), config.word_config)
    fit(config, small, place(args, "compile"), seed=args.seed, threads=args.threads)
    text = encode(Corpus(args.corpus, document="line"), config.word_config, threads=args.threads)
    folder = place(args, "ours")
    results, wall, cpu = timed(lambda: fit(config, text, folder, seed=args.seed, threads=args.threads))
    from polysemy.artifact import finish

    finish(folder, {"recipe": "fasttext", "config": config.to_dict()})
    model = FasttextModel.load(folder)
    return {"words": results["words"], "wall": wall, "cpu": cpu, "peak": peak(),
            "quality": quality(model.index_to_key, model.vectors)}


def run_original_vectors(args: argparse.Namespace) -> dict[str, Any]:
    saved = Path(args.work) / "original"
    fixed = [args.fasttext, args.mode, "-input", args.corpus, "-output", str(saved), "-dim", str(args.size),
             "-minCount", "5", "-t", "1e-4", "-lr", "0.05", "-thread", str(args.threads), "-verbose", "0",
             "-seed", str(args.seed)]
    _, idle, idle_cpu = timed(lambda: subprocess.run([*fixed, "-epoch", "0"], check=True, capture_output=True))
    _, wall, cpu = timed(lambda: subprocess.run([*fixed, "-epoch", str(args.epochs)], check=True, capture_output=True))
    words, vectors = read_vec(saved.with_suffix(".vec"))
    with open(args.corpus) as file:
        known = set(words)
        count = sum(word in known for line in file for word in line.split())
    return {"words": count * args.epochs, "wall": wall - idle, "cpu": cpu - idle_cpu, "peak": peak(children=True),
            "quality": quality(words, vectors)}


def run_gensim_vectors(args: argparse.Namespace) -> dict[str, Any]:
    from gensim.models import FastText

    model = FastText(vector_size=args.size, window=5, min_count=5, sg=int(args.mode == "skipgram"), negative=5,
                     sample=1e-4, alpha=0.05, workers=args.threads, ns_exponent=0.5, bucket=2_000_000, seed=args.seed)
    model.build_vocab(corpus_file=args.corpus)
    _, wall, cpu = timed(lambda: model.train(
        corpus_file=args.corpus, total_words=model.corpus_total_words, total_examples=model.corpus_count,
        epochs=args.epochs))
    counts = sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key)
    return {"words": int(counts) * args.epochs, "wall": wall, "cpu": cpu, "peak": peak(),
            "quality": quality(model.wv.index_to_key, model.wv.vectors)}


def quality(words: list[str], vectors: np.ndarray) -> dict[str, float]:
    """rho of each similarity set over its known pairs, and the accuracy on the analogies; nothing without the data."""
    from scipy.stats import spearmanr

    from polysemy.models.word_vectors import WordVectors

    if not (DATA / "wordsim").is_dir():
        return {}
    known = [(word, vector) for word, vector in zip(words, vectors, strict=True) if word != "</s>"]
    found = WordVectors([word for word, _ in known], np.stack([vector for _, vector in known]))
    result = {}
    for name, file in SETS.items():
        rows = [line.split()[:3] for line in (DATA / "wordsim" / file).read_text().splitlines()]
        pairs = [(a.lower(), b.lower(), float(n)) for a, b, n in (row for row in rows if len(row) == 3) if number(n)]
        pairs = [(a, b, n) for a, b, n in pairs if a in found and b in found]
        result[name] = float(spearmanr([found.similarity(a, b) for a, b, _ in pairs], [n for *_, n in pairs])[0])
    result["analogies"] = found.evaluate_word_analogies(DATA / "wordsim/questions-words.txt", restrict_vocab=30_000)[0]
    return result


# -- the classifier


def run_ours_labels(args: argparse.Namespace) -> dict[str, Any]:
    from polysemy.artifact import finish
    from polysemy.models.fasttext.classifier import FasttextClassifier
    from polysemy.models.fasttext.config import FasttextConfig
    from polysemy.models.fasttext.fit import fit
    from polysemy.models.fasttext.labels import LabeledText, read_labels
    from polysemy.text.vocabulary import WordConfig

    train, test = map(read_labels, args.labels)
    words = WordConfig(tokens="space", lowercase=False)
    config = FasttextConfig(task="classify", size=args.size, epochs=args.epochs, word_ngrams=args.word_ngrams,
                            words=words)
    fit(config, LabeledText(["a", "b"], [("x",), ("y",)]), place(args, "compile"), seed=1)
    folder = place(args, "ours")
    results, wall, cpu = timed(lambda: fit(config, train, folder, seed=args.seed, threads=args.threads))
    finish(folder, {"recipe": "fasttext", "config": config.to_dict()})
    found = FasttextClassifier.load(folder).evaluate(test)
    return {"words": results["words"], "wall": wall, "cpu": cpu, "peak": peak(), "quality": {"P@1": found["precision"]}}


def run_original_labels(args: argparse.Namespace) -> dict[str, Any]:
    saved = str(Path(args.work) / "labels")
    command = [args.fasttext, "supervised", "-input", args.labels[0], "-output", saved, "-dim", str(args.size),
               "-epoch", str(args.epochs), "-wordNgrams", str(args.word_ngrams), "-thread", str(args.threads),
               "-verbose", "0"]
    _, wall, cpu = timed(lambda: subprocess.run(command, check=True, capture_output=True))
    done = subprocess.run([args.fasttext, "test", saved + ".bin", args.labels[1]], check=True, capture_output=True)
    precision = next(float(line.split()[1]) for line in done.stdout.decode().splitlines() if line.startswith("P@1"))
    with open(args.labels[0]) as file:
        words = sum(len(line.split()) + 1 for line in file)
    return {"words": words * args.epochs, "wall": wall, "cpu": cpu, "peak": peak(children=True),
            "quality": {"P@1": precision}}


# -- tools of the measurement


def timed(work: Any) -> tuple[Any, float, float]:
    """(result, wall seconds, CPU seconds of this process and its children)."""
    began = time.perf_counter(), cpu_seconds()
    result = work()
    return result, time.perf_counter() - began[0], cpu_seconds() - began[1]


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak(children: bool = False) -> int:
    """The most memory this process, or a child, has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss * 1024


def place(args: argparse.Namespace, name: str) -> Path:
    folder = Path(args.work) / name
    folder.mkdir()
    return folder


def number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+", text) is not None


def read_vec(path: Path) -> tuple[list[str], np.ndarray]:
    rows = [line.split() for line in path.read_text("utf-8").splitlines()[1:]]
    return [row[0] for row in rows], np.array([row[1:] for row in rows], np.float32)


def cut(path: Path, folder: Path, words: int) -> Path:
    """The first words of a text, plain, a line each as it has them."""
    opened: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    target, count = folder / "corpus.txt", 0
    with opened(path, "rt", encoding="utf-8") as source, open(target, "w") as file:
        for line in source:
            found = TOKEN.findall(line.lower())
            if found:
                file.write(" ".join(found) + "\n")
                count += len(found)
            if count >= words:
                break
    return target


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", default=str(CORPUS), help="a text file, .gz or .xz")
    parser.add_argument("--labels", nargs=2, metavar=("TRAIN", "TEST"), help="compare classifiers on these files")
    parser.add_argument("--fasttext", help="path of the original's program")
    parser.add_argument("--words", type=int, default=4_000_000)
    parser.add_argument("--mode", choices=("skipgram", "cbow"), default="skipgram")
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--word-ngrams", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", default="", help=f"tools to leave out, of {', '.join(TOOLS)}")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
