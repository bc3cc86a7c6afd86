"""Why 80/10/10: the same body, tokens and seeds with every hidden token shown as [MASK], and BERT's way.

    python examples/ablate_masking.py CORPUS --tokens 1e6 --seeds 3

In use no text has a [MASK].  A model that sees one at each place it is asked about may let the states of all other
places answer for nothing.  Held-out rows are asked four things:

    at [MASK]    the loss (nats) at hidden tokens that are shown as [MASK], 15 %: what both were trained for
    at itself    the loss of the same head at the same places with nothing hidden: "name the token that stands here"
    named        how often its first answer there is right
    probed       how often a linear map of the last layer's state names its token among the 200 most frequent, learned
                 on other text; beside it the same for first weights, for a layer's input goes through by itself

Without a corpus it reads the documentation on this machine.
"""
from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from polysemy.ladder.demo_corpus import demo_corpus
from polysemy.models import find_recipe, resolve
from polysemy.models.pretrained import PretrainingModel, open_run
from polysemy.objectives.pretraining import correct, encode, tensors_of
from polysemy.runtime import set_threads
from polysemy.text.batches import Batch, Batches
from polysemy.text.corpus import Corpus
from polysemy.text.masking import Tokens
from polysemy.text.segments import FullSentences
from polysemy.text.shards import Shards
from polysemy.training.budget import Budget
from polysemy.training.prepared import PreparedText, prepare_text
from polysemy.training.pretrain import count_tokens, fitted, pretrain

MASKED, ITSELF = Tokens(mask_rate=1.0, random_rate=0.0), Tokens(mask_rate=0.0, random_rate=0.0)
WAYS = {"80/10/10": (0.8, 0.1), "100 % [MASK]": (1.0, 0.0)}
MOST_ROWS = 256
FREQUENT = 200
RIDGE = 1.0
MEASURES = ("at [MASK]", "at itself", "named %", "probed %")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="*")
    parser.add_argument("--tokens", type=float, default=1e6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="tiny")
    args = parser.parse_args(arguments)
    set_threads()
    base = resolve(find_recipe("bert").configure)(size=args.size, preset="ladder")
    base = base.replace(segments=FullSentences(), heads=("masked_lm",))
    with tempfile.TemporaryDirectory() as work:
        text = prepare_text(Corpus(args.corpus or [demo_corpus()]), base, Path(work) / "text")
        print(f"{'hidden tokens are':18}" + "".join(f"{name:>18}" for name in MEASURES))
        found: dict[str, list[list[float]]] = {"first weights": [], **{name: [] for name in WAYS}}
        for seed in range(args.seeds):
            first = fitted(base, text.tokenizer)
            found["first weights"].append(judge(PretrainingModel(first.model, first.heads, seed=seed).eval(), text))
            for name, (mask_rate, random_rate) in WAYS.items():
                corruption = base.corruption.replace(mask_rate=mask_rate, random_rate=random_rate)
                folder = Path(work) / f"{mask_rate}-{seed}"
                pretrain(base.replace(corruption=corruption), text, folder, budget=Budget(tokens=int(args.tokens)),
                         seed=seed)
                found[name].append(judge(open_run(folder)[0], text))
        for name, rows in found.items():
            print(f"{name:18}" + "".join(f"{shown(values):>18}" for values in zip(*rows, strict=True)))


@torch.no_grad()
def judge(model: PretrainingModel, text: PreparedText) -> list[float]:
    """MEASURES of one model, on the same held-out rows for all."""
    masked, _ = asked(model, text, MASKED)
    itself, named = asked(model, text, ITSELF)
    counts = count_tokens(text.train)
    counts[sorted(text.tokenizer.special_ids)] = 0
    frequent = np.argsort(-counts, kind="stable")[:min(FREQUENT, np.count_nonzero(counts))]
    right = probed(*states_of(model, text, text.train, frequent), *states_of(model, text, text.held_out, frequent))
    return [masked, itself, 100 * named, 100 * right]


@torch.no_grad()
def asked(model: PretrainingModel, text: PreparedText, corruption: Tokens) -> tuple[float, float]:
    """(mean loss, share right) of the model's own head at 15 % of the held-out tokens, shown as `corruption` says."""
    loss, right, count = 0.0, 0, 0
    for batch in rows_of(text, text.held_out, corruption):
        tensors = tensors_of(batch)
        states = encode(model, tensors)
        loss += float(model.loss("masked_lm", states, tensors))
        right += correct(model, states, tensors, "masked_lm")
        count += len(batch.targets)
    return loss / count, right / count


def states_of(model: PretrainingModel, text: PreparedText, shards: Shards | None,
              frequent: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Last states of the frequent pieces in whole text, (n, d) float64, and which of `frequent` each is."""
    number = np.full(text.tokenizer.vocab_size, -1)
    number[frequent] = np.arange(len(frequent))
    states, numbers = [], []
    for batch in rows_of(text, shards, ITSELF):
        names = torch.from_numpy(np.where(batch.visible, number[batch.ids], -1))
        states.append(encode(model, tensors_of(batch))[names >= 0].double())
        numbers.append(names[names >= 0])
    return torch.cat(states), torch.cat(numbers)


def rows_of(text: PreparedText, shards: Shards | None, corruption: Tokens) -> Iterator[Batch]:
    """The first rows of some text, the same whatever is done to the tokens that are asked for."""
    assert shards is not None, "text too short to hold some out"
    batches = Batches(shards, text.tokenizer, FullSentences(), corruption, batch_size=16, length=128, seed=0)
    num_rows = min(batches.rows_per_epoch(0), MOST_ROWS)
    return (batches.at(range(start, min(start + 16, num_rows))) for start in range(0, num_rows, 16))


def probed(states: torch.Tensor, numbers: torch.Tensor, new: torch.Tensor, truth: torch.Tensor) -> float:
    """Share of the new states whose number a linear map, by ridge regression of standardized states, gets right."""
    mean, scale = states.mean(0), states.std(0).clamp_min(1e-9)
    x, y = (states - mean) / scale, torch.nn.functional.one_hot(numbers, FREQUENT).double()
    held = RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(x.T @ x + held, x.T @ (y - y.mean(0)))
    return float((((new - mean) / scale @ weights + y.mean(0)).argmax(-1) == truth).double().mean())


def shown(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


if __name__ == "__main__":
    main()
