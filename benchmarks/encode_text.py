"""Encoding speed, MB of text per CPU-second: our fast encoder beside the tokenizers library and its accelerators.

    python benchmarks/encode_text.py [CORPUS] [--megabytes 8] [--vocab-size 8000] [--kinds wordpiece,bpe,...] [--files]

Every tool reads the same tokenizer and the same lines in one process, by turns; ids are compared line by line. For the
library, `ids` is encode_batch_fast (no offsets) and `spans` is encode_batch with offsets as Python gives them. Ours
gives ids and spans together: `first` with an empty cache of words (what preparing a corpus costs), `again` on the same
text. tokie and fastokens are measured when they are installed and can read the tokenizer; they give ids only.
Target: ours at least 12 at first meeting on English, with every id equal.
"""
from __future__ import annotations

import argparse
import gzip
import lzma
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.text.fast_encoder import FastEncoder, encoder_for, why_plain
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

DATA = Path(os.environ.get("POLYSEMY_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
CORPORA = {"english": "english/train.txt.xz", "chinese": "chinese/corpus-zh.txt.xz"}
FILES = ("bert-base-uncased-vocab.txt.gz", "gpt2-bpe")
KINDS = "wordpiece,bpe,bytebpe,unigram"
TARGET = 12.0
PEER_SHARE = 4  # the slow tools read a quarter of the text
ROUNDS = 3  # the best one counts, for the fast tools
Rows = list[np.ndarray]


def main() -> None:
    args = arguments()
    corpora = {"corpus": Path(args.corpus)} if args.corpus else {name: DATA / path for name, path in CORPORA.items()}
    for name, path in corpora.items():
        lines = read_lines(path, int(args.megabytes * 1e6))
        print(f"\n{name}: {megabytes(lines):.1f} MB, {len(lines):,} lines")
        for kind in args.kinds.split(","):
            config = TokenizerConfig(kind=kind, vocab_size=args.vocab_size, sample_megabytes=4)
            began = time.process_time()
            tokenizer = Tokenizer.train(lines, config)
            trained = f"trained in {time.process_time() - began:.1f} CPU s"
            report(f"{kind} {tokenizer.vocab_size:,}, {trained}", tokenizer, lines)
        for file in FILES if args.files else ():
            report(file, Tokenizer.load(DATA / "pretrained" / file), lines)


def report(title: str, tokenizer: Tokenizer, lines: Sequence[str]) -> None:
    """One block: a line for each tool, its speed and how many lines have other ids than the library."""
    some = lines[::PEER_SHARE]
    backend = tokenizer._plain
    print(f"  {title}")
    expected, plain = timed(
        lambda: [np.array(found.ids) for found in backend.encode_batch_fast(some, add_special_tokens=False)])
    spans, slow = timed(lambda: tokenizer.encode_many(some))
    show("tokenizers, ids", megabytes(some) / plain, 1.0)
    show("tokenizers, spans", megabytes(some) / slow, slow and plain / slow)
    if encoder_for(tokenizer) is None:
        print(f"    ours: none ({why_plain(tokenizer)})")
    else:
        ours(tokenizer, lines, some, spans, plain)
    for name, make in (("tokie", tokie), ("fastokens", fastokens)):
        try:
            encode = make(tokenizer.definition)
        except Exception as error:  # peers refuse in ways of their own
            print(f"    {name:18s} cannot: {str(error)[:80]}")
            continue
        rounds = [timed(lambda encode=encode: encode(lines)) for _ in range(ROUNDS)]
        rows, seconds = rounds[0][0], min(spent for _, spent in rounds)
        wrong = sum(not np.array_equal(a, b) for a, b in zip(rows[::PEER_SHARE], expected, strict=True))
        show(f"{name}, ids", megabytes(lines) / seconds, plain * megabytes(lines) / megabytes(some) / seconds, wrong)


def ours(tokenizer: Tokenizer, lines: Sequence[str], some: Sequence[str], expected: Any, plain: float) -> None:
    """The fast encoder with an empty and with a full cache."""
    seconds = {"first": np.inf, "again": np.inf}
    wrong = 0
    for _ in range(ROUNDS):
        encoder = FastEncoder(tokenizer)
        for when in seconds:
            found, spent = timed(lambda encoder=encoder: encoder.encode_many(lines))
            seconds[when] = min(seconds[when], spent)
        ids, starts, ends, splits = found
        rows = np.flatnonzero(np.arange(len(lines)) % PEER_SHARE == 0)
        places = np.concatenate([np.arange(splits[row], splits[row + 1]) for row in rows])
        wrong += sum(not np.array_equal(a[places], b)
                     for a, b in zip((ids, starts, ends), expected[:3], strict=True))
    for when, spent in seconds.items():
        speed = megabytes(lines) / spent
        show(f"ours, {when}", speed, speed * plain / megabytes(some), wrong)
    reached = megabytes(lines) / seconds["first"] >= TARGET
    print(f"      target {TARGET:.0f} at first: {'reached' if reached else 'MISSED'}")


def tokie(definition: str) -> Callable[[Sequence[str]], Rows]:
    import tempfile

    import tokie as library

    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        file.write(definition)
        file.flush()
        made = library.Tokenizer.from_json(file.name)
    return lambda lines: _rows(*made.encode_batch_flat(list(lines), add_special_tokens=False))


def fastokens(definition: str) -> Callable[[Sequence[str]], Rows]:
    import json

    import fastokens as library

    data = json.loads(definition)
    data["post_processor"] = None
    made = library.Tokenizer.from_json_str(json.dumps(data))

    def encode(lines: Sequence[str]) -> Rows:
        ids, borders = made.encode_batch_flat(list(lines), add_special_tokens=False)
        return np.split(np.frombuffer(ids, np.uint32), np.frombuffer(borders, np.int64)[1:-1])

    return encode


def _rows(ids: np.ndarray, lengths: np.ndarray) -> Rows:
    return np.split(ids, np.cumsum(lengths)[:-1].astype(np.int64))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """(result, CPU seconds of all threads)."""
    began = time.process_time()
    result = work()
    return result, max(time.process_time() - began, 1e-9)


def show(name: str, speed: float, ratio: float, wrong: int | None = None) -> None:
    equal = "" if wrong is None else "  ids equal" if wrong == 0 else f"  {wrong:,} LINES DIFFER"
    print(f"    {name:18s} {speed:7.1f} MB/CPU-s {ratio:6.1f}x{equal}")


def megabytes(lines: Sequence[str]) -> float:
    return sum(len(line.encode()) for line in lines) / 1e6


def read_lines(path: Path, size: int) -> list[str]:
    opened = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opened(path, "rb") as file:
        text = file.read(size).decode("utf-8", errors="replace")
    return [line for line in text.split("\n") if line]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", help="a text file, .gz or .xz (default: English and Chinese test data)")
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--kinds", default=KINDS)
    parser.add_argument("--files", action="store_true", help="also the files of BERT and GPT-2")
    return parser.parse_args()


if __name__ == "__main__":
    main()
