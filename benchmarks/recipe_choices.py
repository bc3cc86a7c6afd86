"""Which settings of the masked recipe learn most in minutes: cloze accuracy and loss of variants at one budget.

    python benchmarks/recipe_choices.py CORPUS --minutes 2 --size tiny

One variable is changed at a time from the ladder's preset.  All variants share text, tokenizer, questions, seed and
processor seconds (so a busy machine is fair); the loss is at the same held-out tokens, 15 % hidden, for all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from polysemy.config import with_settings
from polysemy.evaluation import QUICK, judge, prepare_items, split_corpus
from polysemy.evaluation.masked_lm import masked_lm_loss
from polysemy.evaluation.passages import passages_of
from polysemy.models import find_recipe, resolve
from polysemy.models.text_encoder import TextEncoder
from polysemy.runtime import set_threads
from polysemy.text.corpus import Corpus
from polysemy.training.budget import Budget
from polysemy.training.prepared import prepare_text
from polysemy.training.pretrain import pretrain

LEARNED = {"model.transformer.distance": "none", "model.embedding.position": "learned"}
VARIANTS: dict[str, dict[str, str]] = {
    "ladder preset": {},
    "learned positions": LEARNED,
    "15 % hidden": {"corruption.rate": "0.15"},
    "60 % hidden": {"corruption.rate": "0.6"},
    "learned positions, 15 % hidden": {**LEARNED, "corruption.rate": "0.15"},
    "32 rows a step": {"training.batch_size": "32"},
    "4 rows a step": {"training.batch_size": "4"},
    "norms after sublayers": {"model.transformer.norm": "post"},
    "half the learning rate": {"training.learning_rate": "1e-3"},
    "double the learning rate": {"training.learning_rate": "4e-3"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--variants", help="comma-separated names (default: all)")
    parser.add_argument("--work", default="/tmp/polysemy-recipe-choices")
    args = parser.parse_args()
    set_threads(args.threads)
    work = Path(args.work)
    base = resolve(find_recipe("roberta").configure)(size=args.size, preset="ladder")
    base = base.replace(training=base.training.replace(evaluate_every=10**6, checkpoint_every=10**6))
    split = split_corpus(Corpus(args.corpus), work / "split")
    text = prepare_text(split.corpus("train"), base, work / "text", held_out=split.corpus("dev"))
    items = prepare_items(split, work / "cloze.jsonl", QUICK, text.tokenizer)
    names = args.variants.split(",") if args.variants else list(VARIANTS)
    print(f"{'variant':32} {'steps':>7} {'tokens':>10} {'cloze':>14} {'loss':>7}", flush=True)
    for name in names:
        folder = work / args.size / f"{args.minutes:g}" / name.replace(" ", "-").replace("%", "")
        config = with_settings(base, VARIANTS[name])
        pretrain(config, text, folder, budget=Budget(minutes=args.minutes, clock="cpu"), seed=0)
        model = TextEncoder.load(folder)
        cloze = judge(model, items).summary()
        loss = masked_lm_loss(model, passages_of(split.test, words=12_000))["masked_lm_loss"]
        low, high = cloze["interval"]
        rows = (folder / "metrics.jsonl").read_text().splitlines()
        last = json.loads(rows[-1])
        print(
            f"{name:32} {last['step']:7,} {last['tokens']:10,} "
            f"{cloze['accuracy']:8.1%} ± {50 * (high - low):.1f} {loss:7.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
