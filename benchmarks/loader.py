"""How fast training batches are made: each recipe's segments and corruption, beside Hugging Face's collator.

    python benchmarks/loader.py [--tokens 20] [--rows 32] [--length 128] [--step-seconds 0.4]

The corpus is synthetic: log-normal sentences and documents, Zipf ids, a quarter of the tokens inside a word. The peer,
DataCollatorForLanguageModeling, gets full rows of ids that lie ready and only masks single tokens; ours reads, packs,
pairs, corrupts and lays out. Medians over batches at random places of random epochs; one thread.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from polysemy.runtime import random_for
from polysemy.text.batches import Batches
from polysemy.text.masking import Corruption, MarkedSpans, NGrams, Spans, Tokens, WholeWords
from polysemy.text.segments import FullSentences, NextSentence, Segments, SentenceOrder, Stretch
from polysemy.text.shards import Shards

VOCAB_SIZE, FIRST = 8000, 7
RECIPES: dict[str, tuple[Segments, Corruption]] = {
    "bert": (NextSentence(), Tokens()),
    "bert, whole words": (NextSentence(), WholeWords()),
    "roberta": (FullSentences(), Tokens()),
    "albert": (SentenceOrder(), NGrams()),
    "spanbert": (Stretch(), Spans()),
    "spanbert, cut sentences": (Stretch(empty_rate=0.03), Spans()),
    "spanbert, marks": (Stretch(), MarkedSpans()),
}


def corpus(tokens: int) -> Shards:
    """About so many tokens: sentences of some 26, documents of some 60 sentences, the largest of thousands."""
    random = random_for("benchmark", "loader")
    count = max(10, tokens // 26)
    sizes = np.clip(random.lognormal(3.0, 0.7, count).astype(np.int64), 1, 400)
    sentence_starts = np.concatenate([[0], np.cumsum(sizes)])
    documents = np.cumsum(np.clip(random.lognormal(3, 1.5, count).astype(np.int64), 1, None))
    document_sentences = np.concatenate([[0], documents[documents < count], [count]])
    total = int(sentence_starts[-1])
    ids = (FIRST + np.minimum(random.zipf(1.3, total), VOCAB_SIZE - FIRST) - 1).astype("<u2")
    word_starts = random.random(total) < 0.75
    word_starts[sentence_starts[:-1]] = True
    arrays = {"ids": ids, "word_starts": word_starts, "sentence_starts": sentence_starts,
              "document_starts": sentence_starts[document_sentences], "document_sentences": document_sentences}
    facts = {"vocab_size": VOCAB_SIZE, "bytes": total, "words": int(word_starts.sum()), "hash": "synthetic"}
    return Shards(arrays, facts)


def tokenizer() -> Any:
    """What batches need of a tokenizer."""
    return SimpleNamespace(vocab_size=VOCAB_SIZE, pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4, marks=(5, 6),
                           ordinary_ids=np.arange(FIRST, VOCAB_SIZE))


def median_seconds(make: Callable[[int], Any], numbers: list[int]) -> float:
    """The median time of make(number)."""
    seconds = []
    for number in numbers:
        start = time.perf_counter()
        make(number)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def peer_seconds(batches: Batches, repeats: int) -> float | None:
    """The same number of ready rows through Hugging Face's collator; None where transformers is absent."""
    try:
        import torch
        from transformers import BertTokenizerFast, DataCollatorForLanguageModeling
    except ImportError:
        return None
    torch.set_num_threads(1)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"t{i}" for i in range(VOCAB_SIZE - 5)]
    collator = DataCollatorForLanguageModeling(BertTokenizerFast(vocab={name: i for i, name in enumerate(names)}))
    rows = [{"input_ids": row.tolist()} for row in batches[0].ids]
    return median_seconds(lambda _: collator(rows), list(range(repeats)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tokens", type=float, default=20, help="size of the corpus, million tokens")
    arguments.add_argument("--rows", type=int, default=32, help="rows a batch")
    arguments.add_argument("--length", type=int, default=128, help="columns a row")
    arguments.add_argument("--batches", type=int, default=200, help="batches timed for each recipe")
    arguments.add_argument("--step-seconds", type=float, default=0.4, help="length of a training step to compare with")
    options = arguments.parse_args()
    shards = corpus(int(options.tokens * 1e6))
    settings = {"batch_size": options.rows, "length": options.length, "seed": 0}
    for segments, corruption in RECIPES.values():  # compile, or read what was compiled before
        Batches(corpus(20_000), tokenizer(), segments, corruption, **settings)[0]
    print(f"{shards}; {options.rows} rows x {options.length} columns; share of a {options.step_seconds} s step")
    print(f"{'recipe':<26}{'ms a batch':>11}{'tokens/s':>13}{'share':>8}{'filled':>8}{'plan s':>8}{'late epoch s':>14}")
    slowest = 0.0
    for name, (segments, corruption) in RECIPES.items():
        start = time.perf_counter()
        batches = Batches(shards, tokenizer(), segments, corruption, **settings)
        planned = time.perf_counter() - start
        start = time.perf_counter()
        batches[100 * batches.num_batches(1)]
        late = time.perf_counter() - start
        starts = random_for("benchmark", "places").integers(0, 3 * batches.num_batches(1), options.batches // 20)
        numbers = [int(start) + i for start in starts for i in range(20)]
        filled = float(np.mean([batches[number].visible.mean() for number in numbers[::20]]))  # also makes the blocks
        seconds = median_seconds(lambda t: batches[t], numbers)  # noqa: B023
        slowest = max(slowest, seconds)
        speed = filled * options.rows * options.length / seconds
        print(f"{name:<26}{1e3 * seconds:>11.2f}{speed:>13,.0f}{seconds / options.step_seconds:>8.2%}{filled:>8.1%}"
              f"{planned:>8.2f}{late:>14.2f}")
    peer = peer_seconds(batches, options.batches)
    if peer is not None:
        print(f"{'Hugging Face collator':<26}{1e3 * peer:>11.2f}{options.rows * options.length / peer:>13,.0f}"
              f"{peer / options.step_seconds:>8.2%}")
        print(f"ratio, peer's time over our slowest recipe's: {peer / slowest:.1f}")
    print(f"target: a share under 3 %, got at most {slowest / options.step_seconds:.2%}")


if __name__ == "__main__":
    main()
