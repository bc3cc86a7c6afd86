"""Asking a Kneser-Ney model: million tokens a CPU-second beside KenLM's, and the whole distribution of the next word.

    python benchmarks/ngram_query.py CORPUS TEXT [--order 5] [--megabytes N] [--repeat 10]
                                     [--query PATH] [--build-binary PATH]
    python benchmarks/ngram_query.py ../shared/data/wikitext-2/train.txt.gz ../shared/data/wikitext-2/test.txt.gz

The model is built from CORPUS, TEXT is scored. KenLM's Python module is measured when it is installed, its C++ program
`query` when its path is given; both read the ARPA file that we write, as a probing file when `build_binary` is given.

`ids` is scoring of text that is numbered already; `text` includes cutting and numbering it, as KenLM's figures do.
The next-word distribution is compared with a loop over the vocabulary that scores each word after a stored state.
Targets: batch scoring at least 1.3 times the C++ program and 4.5 times `full_scores` (a score a token, as ours), a
distribution at least 100 times faster than the loop.
"""
from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from kneser_ney import WORDS, clean, program, timed, warm_up

from polysemy.models.ngram import NgramConfig, NgramModel
from polysemy.models.ngram.arpa_writing import write_arpa
from polysemy.models.ngram.building import build
from polysemy.text.corpus import Corpus
from polysemy.text.encoded import encode

HISTORIES = 200
LOOP_HISTORIES = 3


def main() -> None:
    args = arguments()
    config = NgramConfig(order=args.order, words=WORDS)
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        folder = Path(scratch)
        warm_up(config, folder)
        text = encode(Corpus([clean(Path(args.corpus), folder / "train.txt", int(args.megabytes * 1e6))]),
                      config.word_config, threads=1)
        trie, _ = build(text.tokens, len(text.vocabulary), config)
        model = NgramModel(trie, text.vocabulary, config)
        plain = clean(Path(args.text), folder / "test.txt", 0)
        print(f"order {args.order}, {len(trie.words):,} n-grams, {len(text.vocabulary):,} words, hash table in "
              f"{timed(lambda: model.hashed)[1]:.2f} CPU s")
        ids, fast = scoring(model, plain, args.repeat)
        peers = kenlm(model, plain, folder, args)
        for name, speed in peers.items():
            for kind, ours in fast.items():
                print(f"    {kind}: {ours:.2f} M tokens a CPU-second = {ours / speed:.1f} x KenLM's {name} "
                      f"({speed:.2f})")
        distribution(model, ids, folder)


def scoring(model: NgramModel, plain: Path, repeat: int) -> tuple[np.ndarray, dict[str, float]]:
    """The ids of the text, and how many million of them are scored in a CPU-second."""
    many = plain.with_name("many.txt")
    many.write_text(plain.read_text() * repeat)
    text, numbering = best(lambda: encode(Corpus([many]), model.config.word_config, vocabulary=model.vocabulary,
                                          threads=1))
    ids = text.tokens
    million = len(ids) / 1e6
    _, batch = best(lambda: model.score_tokens(ids))
    lines = plain.read_text().splitlines()[:300]
    tokens = sum(len(line.split()) + 1 for line in lines) / 1e6
    _, single = best(lambda: [model.score(line) for line in lines])
    print(f"  ours, M tokens a CPU-second: batch of ids {million / batch:.2f}, batch of text "
          f"{million / (batch + numbering):.2f}, one sentence at a time {tokens / single:.2f}")
    began = time.perf_counter()
    model.score_tokens(ids, threads=2)
    print(f"  ours on 2 threads: {million / (time.perf_counter() - began):.2f} M tokens a second of the clock")
    return ids[: len(ids) // repeat], {"ids": million / batch, "text": million / (batch + numbering)}


def kenlm(model: NgramModel, plain: Path, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """Million tokens a CPU-second of what there is of KenLM."""
    path, found = folder / "ours.arpa", {}
    write_arpa(model, path)
    if args.build_binary:
        binary = folder / "ours.bin"
        program([args.build_binary, "probing", str(path), str(binary)])
        path = binary
    lines = plain.read_text().splitlines()
    tokens = sum(len(line.split()) + 1 for line in lines) / 1e6
    try:
        import kenlm as module
    except ImportError:
        print("  KenLM's Python module is not installed: not measured")
    else:
        peer = module.Model(str(path))
        total, spent = best(lambda: sum(peer.score(line) for line in lines))
        found["Python score"] = tokens / spent
        _, spent = best(lambda: [list(peer.full_scores(line)) for line in lines])
        found["Python full_scores"] = tokens / spent
        ours = model.perplexity(plain.read_text())
        print(f"  perplexity {ours.with_unknown:.4f}, KenLM's from our ARPA file {10 ** (-total / tokens / 1e6):.4f}")
    if args.query:
        many = folder / "many.txt"
        few = folder / "few.txt"
        few.write_text(lines[0] + "\n")
        spent = min(_query(args.query, path, many) - _query(args.query, path, few) for _ in range(3))
        found["C++ query, from text"] = tokens * args.repeat / spent
    return found


def _query(command: str, model: Path, text: Path) -> float:
    return program(["/bin/sh", "-c", f'"{command}" -v summary "{model}" < "{text}"'])


def distribution(model: NgramModel, ids: np.ndarray, folder: Path) -> None:
    """Milliseconds for the distribution of the next word over the whole vocabulary."""
    random = np.random.default_rng(0)
    places = random.integers(10, len(ids) - 10, HISTORIES)
    histories = [row[np.flatnonzero(np.append(-1, row) == -1)[-1]:] for row in (ids[at - 8 : at] for at in places)]
    _, spent = best(lambda: [model.next_word_distribution(row) for row in histories])
    ours = spent / HISTORIES * 1e3
    worst = max(abs(model.next_word_distribution(row).sum() - 1) for row in histories)
    print(f"  next-word distribution {ours:.3f} ms over {model.trie.size:,} words, farthest sum from 1: {worst:.1e}")
    try:
        import kenlm as module
    except ImportError:
        return
    peer = module.Model(str(folder / ("ours.bin" if (folder / "ours.bin").exists() else "ours.arpa")))
    names = model.vocabulary.words

    def loop(row: np.ndarray) -> list[float]:
        state, after = module.State(), module.State()
        peer.BeginSentenceWrite(state)
        for word in row.tolist():
            peer.BaseScore(state, names[word] if word >= 0 else "<unk>", after)
            state, after = after, module.State()
        return [peer.BaseScore(state, name, after) for name in names]

    theirs, spent = timed(lambda: [loop(row) for row in histories[:LOOP_HISTORIES]])
    for row, logs in zip(histories, theirs, strict=False):
        assert np.abs(np.log10(model.next_word_distribution(row)[2:]) - logs).max() < 1e-4
    loop_ms = spent / LOOP_HISTORIES * 1e3
    print(f"    a loop of KenLM's Python {loop_ms:.1f} ms = {loop_ms / ours:.0f} times ours (target 100)")


def best(work: Callable[[], Any], rounds: int = 3) -> tuple[Any, float]:
    found = [timed(work) for _ in range(rounds)]
    return found[0][0], min(spent for _, spent in found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("text")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=0, help="only so much of the corpus")
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--query", type=os.path.abspath, help="KenLM's program query")
    parser.add_argument("--build-binary", type=os.path.abspath)
    parser.add_argument("--scratch", default=None, help="folder for temporary files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
