"""More heads are not always better: the same width, the same number of weights, one head to many.

Every position says which symbols stood 1, 3, 5 and 7 places before, in that order: four places to look at at once.
One head gives one mixture, in which the order is lost. With many heads each is narrow: it has too few numbers to tell
places apart and to carry a symbol. Every head projects the whole input, not its own slice of it.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polysemy.errors import InputError
from polysemy.runtime import seed_for

if TYPE_CHECKING:
    import torch
    from torch import Tensor

HEADS = (1, 2, 4, 8, 16, 32)
LAGS = (1, 3, 5, 7)
SYMBOLS = 8
LENGTH, ROWS = 16, 32


def heads(counts: Sequence[int] = HEADS, *, size: int = 32, steps: int = 150, seed: int = 0) -> dict[str, Any]:
    """{"rows": [{heads, head_size, parameters, accuracy, loss}], "chance", "lags", "steps", "size"}, plain values.

    accuracy: share of symbols said right on fresh rows after `steps` steps.
    """
    for count in counts:
        if count < 1 or size % count:
            raise InputError(f"heads must divide the width {size}, got {count}")
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    rows = []
    for count in counts:
        model = Looker(size, count, seed)
        train(model, steps, seed)
        right, loss = judge(model, seed)
        rows.append({"heads": count, "head_size": size // count, "accuracy": right, "loss": loss,
                     "parameters": sum(parameter.numel() for parameter in model.modules.parameters())})
    return {"rows": rows, "chance": 1 / SYMBOLS, "lags": list(LAGS), "steps": steps, "size": size}


class Looker:
    """Symbols and places added up, one layer of attention, one linear layer that answers for each lag."""

    def __init__(self, size: int, count: int, seed: int) -> None:
        import torch
        from torch import nn

        from polysemy.nn.attention import Attention

        self.symbols, self.places = nn.Embedding(SYMBOLS, size), nn.Embedding(LENGTH, size)
        self.attention, self.output = Attention(size, count), nn.Linear(size, len(LAGS) * SYMBOLS)
        self.modules = nn.ModuleList([self.symbols, self.places, self.attention, self.output])
        with torch.no_grad():
            for name, parameter in self.modules.named_parameters():
                generator = _generator(seed, "weights", name)
                bound = 0.0 if name.endswith("bias") else 1.0 if name[0] in "01" else (3 / size) ** 0.5
                parameter.uniform_(-bound, bound, generator=generator) if bound else parameter.zero_()

    def answer(self, ids: Tensor) -> Tensor:
        """(b, t) symbols -> (b, t, lags, SYMBOLS) logits."""
        from polysemy.nn.attention import Visibility

        x = self.symbols(ids) + self.places.weight
        return self.output(self.attention(x, Visibility(causal=True))).unflatten(-1, (len(LAGS), SYMBOLS))


def train(model: Looker, steps: int, seed: int) -> None:
    """Adam at 1e-2, falling to 0 along a line."""
    import torch

    optimizer = torch.optim.Adam(model.modules.parameters(), 1e-2)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        logits, targets = _asked(model, _generator(seed, "train", step), ROWS)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, targets).backward()
        optimizer.step()


def judge(model: Looker, seed: int) -> tuple[float, float]:
    """(share right, loss in nats) on fresh rows."""
    import torch

    with torch.no_grad():
        logits, targets = _asked(model, _generator(seed, "test"), 256)
        loss = torch.nn.functional.cross_entropy(logits, targets)
        return float((logits.argmax(-1) == targets).float().mean()), float(loss)


def told(found: dict[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """(sentences, rows: heads, numbers a head, weights, accuracy, loss) for people."""
    best = max(found["rows"], key=lambda row: row["accuracy"])
    most = found["rows"][-1]
    lines = [
        f"width {found['size']}, {len(found['lags'])} places to look at: best with {best['heads']} heads "
        f"({100 * best['accuracy']:.0f} %); one head {100 * found['rows'][0]['accuracy']:.0f} %, {most['heads']} heads "
        f"of {most['head_size']} {100 * most['accuracy']:.0f} % (chance {100 * found['chance']:.0f} %)"
    ]
    rows = [(str(row["heads"]), str(row["head_size"]), f"{row['parameters']:,}", f"{100 * row['accuracy']:.1f} %",
             f"{row['loss']:.3f}") for row in found["rows"]]
    return lines, rows


def _asked(model: Looker, generator: torch.Generator, rows: int) -> tuple[Tensor, Tensor]:
    """Logits (n, SYMBOLS) and targets (n,) at the places that have all lags before them."""
    import torch

    ids = torch.randint(SYMBOLS, (rows, LENGTH), generator=generator)
    first = max(LAGS)
    targets = torch.stack([ids[:, first - lag:LENGTH - lag] for lag in LAGS], -1)
    return model.answer(ids)[:, first:].reshape(-1, SYMBOLS), targets.flatten()


def _generator(*key: int | str) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed_for("demo heads", *key) >> 1)
