"""Sentence vectors: `python benchmarks/sentence_vectors.py --data STS-B [--minilm FOLDER] [--vectors RUN] [--body RUN]`

Prints Spearman's correlation of cosines with people's scores on STS-B dev, a row a model:

    the real MiniLM as it comes (published: 0.867), beside sentence-transformers with --peer
    averaged static vectors, as they are and after the same supervised pairs
    a body of one's own: as pretrained, after dropout twins, after adjacent sentences, after supervised pairs of STS-B

`--text` is the plain text for twins and adjacent sentences, `--sentences`, `--pairs` and `--epochs` the sizes: with
`--sentences 2000 --pairs 500 --epochs 1` it is a smoke run.  Training seconds are of this machine's clock.
"""
from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import polysemy
from polysemy.evaluation.sentence_similarity import judge_of, judge_similarity
from polysemy.models.sentence_transformers_files import from_sentence_transformers
from polysemy.runtime import random_for, set_threads
from polysemy.text.corpus import Corpus
from polysemy.text.sentence_examples import SentenceExamples, from_documents, read_scored, read_training
from polysemy.training.embedder import EmbedderConfig, train_embedder


def main() -> None:
    args = arguments()
    set_threads(args.threads)
    dev = read_scored(args.data / "dev.tsv.gz")
    supervised = few(read_training(args.data / "train.tsv.gz"), args.pairs)
    print("| model | STS-B dev Spearman | seconds |\n|---|---|---|\n| chance | 0.000 | |")
    with tempfile.TemporaryDirectory(prefix="polysemy-") as work:
        folder = Path(work)
        if args.minilm:
            minilm(args, dev, folder)
        if args.vectors:
            show("averaged static vectors", lambda: judge_similarity(polysemy.load(args.vectors), dev))
            learned("the same, after scored pairs", args.vectors, supervised, dev, folder / "static",
                    EmbedderConfig(epochs=args.epochs))
        if args.body:
            body(args, supervised, dev, folder)


def body(args: argparse.Namespace, supervised: SentenceExamples, dev: SentenceExamples, folder: Path) -> None:
    """An own body before training, and after each way to train it."""
    name = args.body.name
    show(f"{name}, mean of its last layer", lambda: judge_similarity(polysemy.load(args.body), dev))
    starts = {name: args.body}
    if args.text:
        for making in ("twins", "adjacent"):
            examples = from_documents((d.text for d in Corpus([args.text])), making, most=args.sentences)
            learned(f"{name}, after {len(examples):,} {examples.source}", args.body, examples, dev, folder / making,
                    EmbedderConfig(epochs=args.text_epochs, both=making == "adjacent"))
            starts[f"{name}, {making}"] = folder / making
    for told, start in starts.items():
        learned(f"{told}, then scored pairs", start, supervised, dev, folder / f"after {len(list(folder.iterdir()))}",
                EmbedderConfig(epochs=args.epochs))


def minilm(args: argparse.Namespace, dev: SentenceExamples, folder: Path) -> None:
    """The real checkpoint, zero-shot, and in the library it was made with."""
    from_sentence_transformers(args.minilm, folder / "minilm")
    show("MiniLM, zero-shot", lambda: judge_similarity(polysemy.load(folder / "minilm"), dev))
    if args.peer:
        from sentence_transformers import SentenceTransformer

        class Peer:
            model: Any = SentenceTransformer(str(args.minilm), device="cpu", local_files_only=True)

            def embed(self, texts: list[str]) -> np.ndarray:
                return self.model.encode(texts, batch_size=64)

        show("MiniLM, sentence-transformers", lambda: judge_similarity(Peer(), dev))


def learned(name: str, start: Path, examples: SentenceExamples, dev: SentenceExamples, out: Path,
            config: EmbedderConfig) -> None:
    """Train, and show what it reached."""
    started = time.perf_counter()
    results = train_embedder(start, examples, out, config, judge=judge_of(dev))
    row(name, results["scores"]["spearman"], time.perf_counter() - started)


def show(name: str, judge: Callable[[], dict[str, Any]]) -> None:
    started = time.perf_counter()
    row(name, judge()["spearman"], time.perf_counter() - started)


def row(name: str, spearman: float | None, seconds: float) -> None:
    print(f"| {name} | {'not defined' if spearman is None else f'{spearman:.4f}'} | {seconds:.0f} |", flush=True)


def few(examples: SentenceExamples, count: int) -> SentenceExamples:
    """A fixed random part of the pairs."""
    if count >= len(examples):
        return examples
    assert examples.scores is not None
    chosen = np.sort(random_for("benchmark", 0).permutation(len(examples))[:count])
    return SentenceExamples(examples.texts, examples.pairs[chosen], examples.scores[chosen], examples.source)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with STS-B's train.tsv.gz and dev.tsv.gz")
    parser.add_argument("--minilm", type=Path, help="all-MiniLM-L6-v2 as a folder of sentence-transformers")
    parser.add_argument("--peer", action="store_true", help="ask sentence-transformers too")
    parser.add_argument("--vectors", type=Path, help="run folder of word vectors")
    parser.add_argument("--body", type=Path, help="run folder of an own pretrained model")
    parser.add_argument("--text", type=Path, help="plain text for twins and adjacent sentences")
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--text-epochs", type=float, default=1.0)
    parser.add_argument("--pairs", type=int, default=10**9, help="of STS-B's training pairs")
    parser.add_argument("--epochs", type=float, default=4.0, help="over the scored pairs")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
