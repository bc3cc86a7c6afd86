"""Building a Kneser-Ney model from text: CPU seconds beside KenLM's, and the perplexity of held-out text.

    python benchmarks/kneser_ney.py CORPUS [--order 5] [--held-out FILE ...] [--megabytes N] [--threads 1]
                                    [--lmplz PATH] [--build-binary PATH]
    W=../shared/data/wikitext-2
    python benchmarks/kneser_ney.py $W/train.txt.gz --held-out $W/valid.txt.gz $W/test.txt.gz

Both tools read one plain file, made here: no blank lines, tokens as they stand between white space, and `<unk>`, `<s>`
and `</s>` in the text written `[unk]`, `[s]`, `[/s]`, since KenLM takes them for marks; so `<unk>` is an ordinary word.
Ours is encoding, building and writing the model folder, which can be queried as it is; the hash table for large
batches is timed apart. KenLM is lmplz to an ARPA file, then build_binary (probing). Kernels are compiled before the
clock starts.

Targets: build from text at least 3 times lmplz, to a queryable file at least 4.5 times lmplz + build_binary.
WikiText-2: order 5 valid 239.98, test 224.81, order 3 test 230.89, each within 0.05.
"""
from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from polysemy.models.ngram import NgramConfig, NgramModel, fit
from polysemy.models.ngram.trie import Trie
from polysemy.text.corpus import Corpus, text_documents
from polysemy.text.encoded import EncodedText, encode
from polysemy.text.vocabulary import WordConfig

WORDS = WordConfig(tokens="space", lowercase=False, min_count=1, keep_unknown=True)
MARKS = {"<unk>": "[unk]", "<s>": "[s]", "</s>": "[/s]"}
TARGETS = {("valid", 5): 239.98, ("test", 5): 224.81, ("test", 3): 230.89}


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        folder = Path(scratch)
        config = NgramConfig(order=args.order, words=WORDS)
        plain = clean(Path(args.corpus), folder / "train.txt", int(args.megabytes * 1e6))
        print(f"{args.corpus}: {plain.stat().st_size / 1e6:.1f} MB, order {args.order}")
        warm_up(config, folder)
        model, text, spent = ours(config, plain, folder, args.threads)
        print(f"  {text.num_tokens:,} words, {len(text.vocabulary):,} different, n-grams "
              + " ".join(f"{n:,}" for n in model.trie.sizes.tolist()))
        show("ours", spent)
        _, hashing = timed(lambda: model.hashed)
        print(f"    hash table for batches {hashing:.2f} s; peak memory {peak():.2f} GB")
        if args.lmplz:
            kenlm(args, plain, folder, spent, hashing)
        for path in map(Path, args.held_out):
            perplexity(model, clean(path, folder / path.name.removesuffix(".gz"), 0), args.order)


def ours(config: NgramConfig, plain: Path, folder: Path, threads: int
         ) -> tuple[NgramModel, EncodedText, dict[str, float]]:
    """The model, its text, and the CPU seconds of each stage."""
    out = folder / "model"
    out.mkdir()
    text, encoding = timed(lambda: encode(Corpus([plain]), config.word_config, threads=threads))
    results, fitting = timed(lambda: fit(config, text, out, threads=threads))
    print(f"  discounts {[[round(d, 5) for d in row] for row in results['discounts']]}")
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"  model folder {size / 1e6:.1f} MB")
    model = NgramModel(Trie.load(out / "model.safetensors"), text.vocabulary, config)
    return model, text, {"encode": encoding, "count, smooth, write": fitting}


def kenlm(args: argparse.Namespace, plain: Path, folder: Path, spent: dict[str, float], hashing: float) -> None:
    """The same by KenLM's programs."""
    arpa, binary = folder / "kenlm.arpa", folder / "kenlm.bin"
    settings = ["-o", str(args.order), "-S", args.lmplz_memory, "-T", str(folder)]
    theirs = {"lmplz": program([args.lmplz, *settings, "--text", str(plain), "--arpa", str(arpa)])}
    if args.build_binary:
        theirs["build_binary"] = program([args.build_binary, "probing", str(arpa), str(binary)])
        sizes = [file.stat().st_size / 1e6 for file in (arpa, binary)]
        print(f"  KenLM's ARPA file {sizes[0]:.1f} MB, probing file {sizes[1]:.1f} MB")
    show("KenLM", theirs)
    total = sum(spent.values())
    print(f"    build from text: {theirs['lmplz'] / total:.2f} x lmplz (target 3)")
    if args.build_binary:
        both = sum(theirs.values())
        print(f"    to a queryable file: {both / total:.2f} x, with the hash table {both / (total + hashing):.2f} x "
              "lmplz + build_binary (target 4.5)")


def perplexity(model: NgramModel, path: Path, order: int) -> None:
    """One line: the perplexity of a held-out file, and the target where one is known."""
    text = encode(Corpus([path]), model.config.word_config, vocabulary=model.vocabulary, threads=1)
    found, seconds = timed(lambda: model.perplexity_of(text.tokens))
    target = TARGETS.get((path.name.split(".")[0], order))
    print(f"  {path.name}: perplexity {found.with_unknown:.3f}, without unknown {found.without_unknown:.3f}, "
          f"{found.tokens:,} tokens, {found.unknown:,} unknown, {seconds:.2f} s"
          + (f" (of WikiText-2: {target})" if target else ""))


def warm_up(config: NgramConfig, folder: Path) -> None:
    """Compile every kernel on a few lines."""
    out = folder / "warm"
    out.mkdir()
    text = encode(text_documents(["a b c d e f\nb c d\n" * 20]), config.word_config, threads=1)
    fit(config, text, out)
    model = NgramModel(Trie.load(out / "model.safetensors"), text.vocabulary, config)
    assert model.hashed
    model.score_tokens(text.tokens)


def clean(path: Path, out: Path, limit: int) -> Path:
    """The plain file that both tools read."""
    written = 0
    with open(out, "w") as file:
        for line in lines(path):
            line = " ".join(MARKS.get(word, word) for word in line.split())
            if line:
                written += file.write(line + "\n")
            if limit and written >= limit:
                break
    return out


def lines(path: Path) -> Iterator[str]:
    for document in Corpus([path], document="file"):
        yield from document.text.split("\n")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    return work(), time.process_time() - began


def program(command: list[str]) -> float:
    """CPU seconds of another program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(name: str, spent: dict[str, float]) -> None:
    print(f"  {name}: {sum(spent.values()):.2f} CPU s ("
          + ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in spent.items()) + ")")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--held-out", nargs="*", default=[])
    parser.add_argument("--megabytes", type=float, default=0, help="only so much of the corpus")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lmplz", type=os.path.abspath)
    parser.add_argument("--build-binary", type=os.path.abspath)
    parser.add_argument("--lmplz-memory", default="2G", help="its -S; far more costs it time to clear")
    parser.add_argument("--scratch", default=None, help="folder for temporary files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
