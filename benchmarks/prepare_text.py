"""Speed and memory of preparing text (read, split, tokenize, find word starts, write shards), plain and fast encoder.

    python benchmarks/prepare_text.py [CORPUS] [--megabytes 100] [--processes 2] [--kind wordpiece] [--rounds 1]

Each encoder runs in a process of its own on the same text, by turns if there are several rounds; the best one counts.
Start-up of the workers and the self-check of the fast encoder are included. The peak of memory is that of the main
process plus so many times that of the largest worker (an upper bound). The stages of one process are measured apart.
Targets on 2 cores: 5 MB/s plain, 20 MB/s fast, under 1 GB.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("POLYSEMY_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
TARGETS = {"plain": 5, "fast": 20}
STAGE_CHARACTERS = 4_000_000


def main() -> None:
    args = arguments()
    if args.side:
        print(json.dumps(measure(args) if args.side != "stages" else stages(args)))
        return
    with tempfile.TemporaryDirectory() as work:
        set_up(args, Path(work))
        rounds = [{side: run_side(args, side, work) for side in TARGETS} for _ in range(args.rounds)]
        parts = run_side(args, "stages", work)
    megabytes = rounds[0]["plain"]["bytes"] / 1e6
    print(f"{args.processes} processes, {args.kind} {args.vocab_size:,}, {megabytes:.0f} MB of text")
    best = {side: max((one[side] for one in rounds), key=lambda result: result["speed"]) for side in TARGETS}
    for side, result in best.items():
        print(f"{side:>6}: {result['speed']:6.1f} MB/s of wall time (target {TARGETS[side]}), "
              f"{result['cpu_speed']:5.1f} MB per CPU-second, peak memory {result['memory']:.0f} MB (target < 1000)")
    same = best["plain"]["shards"] == best["fast"]["shards"]
    print(f"ratio fast / plain {best['fast']['speed'] / best['plain']['speed']:.1f}; ids and borders "
          f"{'equal' if same else 'DIFFER'}")
    print("stages, MB per CPU-second:", ", ".join(f"{name} {speed:.1f}" for name, speed in parts.items()))


def set_up(args: argparse.Namespace, work: Path) -> None:
    """A plain text of the wanted size and a tokenizer trained on its beginning."""
    from polysemy.text.corpus import Corpus
    from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

    size = 0
    with open(work / "corpus.txt", "w", encoding="utf-8") as file:
        for document in Corpus(args.corpus or default_corpus()):
            size += file.write(document.text.replace("\n\n", "\n") + "\n\n")
            if size > args.megabytes * 1e6:
                break
    head = (document.text for document in Corpus(work / "corpus.txt") if document.number < 2000)
    Tokenizer.train(head, TokenizerConfig(kind=args.kind, vocab_size=args.vocab_size)).save(work / "tokenizer")


def default_corpus() -> Path | str:
    """The English training text of the test data, or the sources of Python's standard library."""
    text = DATA / "english" / "train.txt.xz"
    return text if text.is_file() else str(Path(sysconfig.get_path("stdlib")) / "**" / "*.py")


def run_side(args: argparse.Namespace, side: str, work: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--work", work, "--processes", str(args.processes)]
    environment = {**os.environ, "POLYSEMY_PLAIN": "1" if side == "plain" else "0", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Prepare the corpus once; speed, memory and a key of the result."""
    from polysemy.artifact import sha256
    from polysemy.text.corpus import Corpus
    from polysemy.text.shards import prepare
    from polysemy.text.tokenizer import Tokenizer

    work = Path(args.work)
    tokenizer = Tokenizer.load(work / "tokenizer")
    with tempfile.TemporaryDirectory(dir=work) as folder:
        began, used = time.perf_counter(), cpu_seconds()
        shards = prepare(Corpus(work / "corpus.txt"), tokenizer, folder, processes=args.processes)
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - used
        assert shards.folder is not None, "prepared shards lie in a folder"
        key = [sha256(file) for file in sorted(shards.folder.glob("*.bin"))]
    own, child = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"bytes": shards.bytes, "speed": shards.bytes / seconds / 1e6, "cpu_speed": shards.bytes / cpu / 1e6,
            "memory": own + child * args.processes * (args.processes > 1), "shards": key}


def stages(args: argparse.Namespace) -> dict[str, float]:
    """Speed of each stage alone, in one process, after a first call of each."""
    from polysemy.text.corpus import Corpus
    from polysemy.text.fast_encoder import encoder_for
    from polysemy.text.fast_sentences import sentence_starts
    from polysemy.text.part import Encoder, encode_part
    from polysemy.text.sentences import sentence_spans
    from polysemy.text.tokenizer import Tokenizer
    from polysemy.text.words import word_flags

    work = Path(args.work)
    tokenizer = Tokenizer.load(work / "tokenizer")
    texts, size = [], 0
    for document in Corpus(work / "corpus.txt"):
        texts.append(document.text)
        size += len(document.text)
        if size > STAGE_CHARACTERS:
            break
    joined = "\n".join(texts)
    count = len(joined.encode())
    fast = encoder_for(tokenizer) or tokenizer
    corpus = Corpus(work / "corpus.txt")
    return {
        "reading": speed(lambda: [None for _ in corpus], corpus.bytes),
        "sentences by the plain rules": speed(lambda: [sentence_spans(text) for text in texts], count),
        "compiled": speed(lambda: sentence_starts(texts), count),
        "words": speed(lambda: word_flags(joined), count),
        "plain encoding": speed(lambda: tokenizer.encode_many(texts), count),
        "fast encoding": speed(lambda: fast.encode_many(texts), count),
        "a whole part, fast": speed(lambda: encode_part(Encoder(fast, "character", "<u4", True), texts), count),
    }


def speed(call: Callable[[], Any], count: int) -> float:
    call()
    used = time.process_time()
    call()
    return count / (time.process_time() - used) / 1e6


def cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="*")
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kind", default="wordpiece")
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--side", choices=["plain", "fast", "stages"], help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
