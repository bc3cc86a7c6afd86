"""Vectors of texts, against sentence-transformers: `python benchmarks/embedding.py HF RUN --sts STS-B --text FILE`

HF is a checkpoint that sentence-transformers opens, RUN the same one as a run folder (`polysemy convert HF RUN --from
hf`).  Both get the same texts in the same process by turns, tokenization included:

    short, long   batches of 64: sentences of STS-B, and paragraphs of --text of about 67 tokens
    one           a sentence of STS-B at a time, `--single` of them after a warm-up, median

Ratios are of CPU seconds of the process, which other programs on the machine disturb least; wall seconds stand beside
them.  Cosines are with sentence-transformers' float32 vectors, the lowest over all texts; the last column is
Spearman's correlation on STS-B dev times 100.
"""
from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
FORMATS = ("float32", "int16", "int8")


def main() -> None:
    args = arguments()
    os.environ.update(OMP_NUM_THREADS=str(args.threads), RAYON_NUM_THREADS=str(args.threads),
                      TOKENIZERS_PARALLELISM="true" if args.threads > 1 else "false")
    import polysemy
    from polysemy.runtime import set_threads

    set_threads(args.threads)
    from sentence_transformers import SentenceTransformer

    set_threads(args.threads)
    theirs = SentenceTransformer(str(args.peer), device="cpu")
    theirs.max_seq_length = 256

    def peer(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(theirs.encode(list(texts), batch_size=BATCH, show_progress_bar=False))

    ways: dict[str, Callable[[Sequence[str]], np.ndarray]] = {"sentence-transformers": peer}
    for form in args.formats.split(","):
        model = polysemy.load(args.run).to("cpu", form)
        ways[f"polysemy {form}"] = model.embed
    if args.onnx:
        from polysemy.compression.onnx_session import OnnxUser

        ways |= {f"onnx {Path(path).name}": OnnxUser.load(path, threads=args.threads).embed for path in args.onnx}
    pairs, scores = sts(args.sts / "dev.tsv.gz")
    sentences = list(dict.fromkeys(itertools.chain.from_iterable(pairs)))
    sets = {"short": spread(sentences, BATCH * args.batches), "long": paragraphs(args.text, BATCH * args.batches)}
    quality = {name: spearman(embed, pairs, scores) for name, embed in ways.items()}
    for name, texts in sets.items():
        tokens = [len(ids) + 2 for ids in theirs.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        print(f"\n{name}: {len(texts)} texts, {np.mean(tokens) - 2:.1f} pieces, batches of {BATCH}, "
              f"{args.threads} thread{'s' * (args.threads > 1)}")
        batches = [texts[i:i + BATCH] for i in range(0, len(texts), BATCH)]
        show(by_turns(ways, batches, args.rounds), lowest(ways, texts), quality, per=len(texts))
    single = [[text] for text in spread(sentences, args.single)]
    print(f"\none sentence at a time, {len(single)} of them, median, {args.threads} thread{'s' * (args.threads > 1)}")
    show(by_turns(ways, single, 1, warm=20), lowest(ways, [text for text, in single]), quality, per=1)


def by_turns(ways: dict[str, Callable[..., Any]], inputs: Sequence[Sequence[str]], rounds: int, warm: int = 1
             ) -> dict[str, np.ndarray]:
    """(inputs, 2) CPU and wall seconds of each way, the least of all rounds; the ways take turns at every input."""
    for embed in ways.values():
        for texts in inputs[:warm]:
            embed(texts)
    found = {name: np.full((len(inputs), 2), np.inf) for name in ways}
    for _ in range(rounds):
        for i, texts in enumerate(inputs):
            for name, embed in ways.items():
                cpu, wall = time.process_time(), time.perf_counter()
                embed(texts)
                took = time.process_time() - cpu, time.perf_counter() - wall
                found[name][i] = np.minimum(found[name][i], took)
    return found


def show(times: dict[str, np.ndarray], cosines: dict[str, float], quality: dict[str, float], per: int) -> None:
    rows = {name: np.median(seconds, 0) if per == 1 else seconds.sum(0) / per for name, seconds in times.items()}
    first = next(iter(rows.values()))
    print("| | CPU ms a text | wall ms | times as fast (CPU) | (wall) | 1 - cosine, worst | STS-B |\n"
          "|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        ratio = first / row
        print(f"| {name} | {1e3 * row[0]:.3f} | {1e3 * row[1]:.3f} | {ratio[0]:.2f} | {ratio[1]:.2f} "
              f"| {cosines[name]:.1e} | {quality[name]:.2f} |")


def lowest(ways: dict[str, Callable[..., Any]], texts: Sequence[str]) -> dict[str, float]:
    """The largest 1 - cosine with the first way's vectors."""
    found = {name: unit(embed(texts)) for name, embed in ways.items()}
    first = next(iter(found.values()))
    return {name: max(0.0, float((1 - (vectors * first).sum(1)).max())) for name, vectors in found.items()}


def spread(texts: Sequence[str], count: int) -> list[str]:
    """So many of the texts, at even distances."""
    return [texts[i * len(texts) // count] for i in range(count)]


def unit(vectors: np.ndarray) -> np.ndarray:
    wide = np.asarray(vectors, np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def spearman(embed: Callable[..., Any], pairs: Sequence[tuple[str, str]], scores: Sequence[float]) -> float:
    from scipy.stats import spearmanr

    first, second = (unit(embed([pair[side] for pair in pairs])) for side in (0, 1))
    return 100 * float(spearmanr((first * second).sum(1), scores).statistic)


def sts(path: Path) -> tuple[list[tuple[str, str]], list[float]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(row["sentence1"], row["sentence2"]) for row in rows], [float(row["score"]) for row in rows]


def paragraphs(path: Path, count: int) -> list[str]:
    """Stretches of 25 to 62 words, some 67 pieces on the average."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        words = (line.split() for line in lines)
        found = list(itertools.islice((" ".join(some[:62]) for some in words if len(some) >= 25), count))
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sts", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--onnx", nargs="*", metavar="DIR", help="folders of `polysemy convert RUN DIR --to onnx`")
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--single", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
