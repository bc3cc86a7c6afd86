"""No sentence objective, next sentence or sentence order: the same body, tokens and seeds, three ways to pretrain.

    python examples/ablate_sentence_objective.py CORPUS --tokens 2e6 --seeds 3

Prints the masked-LM loss of each on the same held-out rows with the same tokens hidden, 15 %, BERT's way (a model's own
held-out loss is that of its own rows, and pairs from two documents are harder), and the accuracy on its own pairs, one
half by guessing; with the spread over seeds.  The rows to judge by are packed text without a second sentence, which is
what the model without an objective was trained on.  Without a corpus it reads the documentation on this machine.
"""
from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import polysemy
from polysemy.errors import InputError
from polysemy.evaluation.masked_lm import masked_lm_loss
from polysemy.ladder.demo_corpus import demo_corpus
from polysemy.models import find_recipe, resolve
from polysemy.runtime import set_threads
from polysemy.text.corpus import Corpus
from polysemy.text.portions import hold_out
from polysemy.text.segments import FullSentences, NextSentence, SentenceOrder
from polysemy.training.budget import Budget
from polysemy.training.prepared import prepare_text
from polysemy.training.pretrain import pretrain


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="*")
    parser.add_argument("--tokens", type=float, default=2e6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="tiny")
    args = parser.parse_args(arguments)
    set_threads()
    base = resolve(find_recipe("bert").configure)(size=args.size, preset="ladder")
    plans = {"none": base.replace(segments=FullSentences(), heads=("masked_lm",)),
             "next sentence": base.replace(segments=NextSentence()),
             "sentence order": base.replace(segments=SentenceOrder())}
    train, held_out = hold_out(Corpus(args.corpus or [demo_corpus()]))
    if held_out is None:
        raise InputError(f"CORPUS must be long enough for some to be held out, got {train.bytes:,} bytes; add text")
    asked = [document.text for document in held_out]
    with tempfile.TemporaryDirectory() as work:
        text = prepare_text(train, base, Path(work) / "text", held_out=held_out)
        print(f"{'objective':16} {'masked-LM loss':>22} {'pairs right':>18}")
        for name, config in plans.items():
            losses, right = [], []
            for seed in range(args.seeds):
                folder = Path(work) / f"{name}-{seed}".replace(" ", "-")
                pretrain(config, text, folder, budget=Budget(tokens=int(args.tokens)), seed=seed)
                judged = masked_lm_loss(polysemy.load(folder), asked)
                losses.append(judged["masked_lm_loss"])
                last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
                right.append(last.get("held_out_pair_accuracy"))
            pairs = "" if right[0] is None else shown([100 * value for value in right], 1) + " %"
            print(f"{name:16} {shown(losses, 3):>22} {pairs:>18}", flush=True)
        print(f"the loss of all is that of the same {judged['targets']:,} hidden tokens")


def shown(values: list[float], digits: int) -> str:
    """Mean and standard deviation over seeds."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
