"""What each layer of a frozen model knows: a linear model on its states, layer by layer (Alain and Bengio 2016).

Nothing of the model is trained.  What a linear model finds in a layer is there plainly; what it does not find may still
be there in another form (Hewitt and Liang 2019), so a score is read beside its controls: the most frequent answer, and
the model's own token vectors without any context.

    classify, regress    the mean of a text's states
    pairs                u and v, the means of both texts: [u; v; |u - v|; u * v]
    tag                  the state of each word's first piece

Features have mean 0 and variance 1 on the training examples.  Labels are fitted by logistic regression, numbers by
ridge regression; how strongly the weights are held is chosen on every tenth training example.
"""
from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models.encoder import Encoded
from polysemy.models.reading import windows
from polysemy.models.tasks import Classify, Regress, Tag, Task, kind_of
from polysemy.models.text_model import Row, TextModel
from polysemy.runtime import random_for
from polysemy.text.labeled import Examples

MOST = 10_000
"""training examples (of tags: words) that a probe is fitted on; more are sampled"""
STRENGTHS = (0.001, 0.01, 0.1)
"""what the summed loss of logistic regression weighs against |w|^2 / 2"""
ALPHAS = (1.0, 10.0, 100.0, 1000.0, 10_000.0)
TENTH = 10
STATIC = "static"


class Span(NamedTuple):
    """Columns [start, stop) of a row that belong to one side (0, 1) of an example."""

    example: int
    side: int
    start: int
    stop: int


def probe(model: TextModel, task: Task, train: Examples, dev: Examples, layers: Sequence[int] | None = None, *,
          most: int = MOST, seed: int = 0) -> dict[str, Any]:
    """Scores on `dev` of a linear model on every layer (0 is the embedding), or on `layers`.

    Returns `task`, `metric` (matthews, or spearman of numbers: the correlation of answer and truth, 0 for a constant
    answer and 1 for the truth), `layers`: [{layer, accuracy, macro_f1, matthews | pearson, spearman}], `controls`
    (majority: the most frequent answer; static: the model's token vectors in the place of states), `best`, numbers of
    examples and features, seconds.  Deterministic; which of more than `most` examples are taken depends on `seed`.

    InputError for a task that is not classify, pair, regress or tag, and without scikit-learn.
    """
    _library()
    if not isinstance(task, Classify | Regress | Tag):
        raise InputError(f"task must be classify, pair, regress or tag to be probed, got {kind_of(task)}")
    count = model.config.model.num_layers
    wanted = list(range(count + 1)) if layers is None else sorted({_checked(layer, count) for layer in layers})
    begun = time.perf_counter()
    truth = task.labels if not isinstance(task, Regress) else None
    x, y = features(model, task, _some(train, most, seed, isinstance(task, Tag)), wanted)
    x_dev, y_dev = features(model, task, dev, wanted)
    if isinstance(task, Tag) and len(y) > most:
        kept = np.sort(random_for(seed, "probe", "words").permutation(len(y))[:most])
        x, y = {name: part[kept] for name, part in x.items()}, y[kept]
    if len(y) < 2 * TENTH:
        raise InputError(f"train must hold at least {2 * TENTH} examples to probe, got {len(y)}")
    fit, scores = (_ridge, numbers_scores) if truth is None else (_logistic, label_scores)
    found = {name: scores(y_dev, fit(x[name], y, x_dev[name])) for name in x}
    constant = np.full(len(y_dev), y.mean()) if truth is None else np.full(len(y_dev), np.bincount(y).argmax())
    metric = "spearman" if truth is None else "matthews"
    rows = [{"layer": layer, **found[layer]} for layer in wanted]
    return {"model": model.config.recipe, "task": kind_of(task), "metric": metric, "layers": rows,
            "best": max(rows, key=lambda row: row[metric])["layer"],
            "controls": {"majority": scores(y_dev, constant), STATIC: found[STATIC]},
            "train": len(y), "dev": len(y_dev), "features": int(x[STATIC].shape[1]),
            "seconds": round(time.perf_counter() - begun, 2)}


def _checked(layer: int, count: int) -> int:
    if not -count - 1 <= layer <= count:
        raise InputError(f"layers must be in 0..{count}, got {layer}")
    return layer % (count + 1)


def _some(examples: Examples, most: int, seed: int, tags: bool) -> Examples:
    """At most so many of them, drawn by seed; of sentences a quarter as many, for each has several words."""
    limit = max(2 * TENTH, most // 4) if tags else most
    if len(examples) <= limit:
        return examples
    kept = np.sort(random_for(seed, "probe").permutation(len(examples))[:limit])
    return Examples(tuple(examples[int(i)] for i in kept), examples.kind, examples.path)


# features


def features(model: TextModel, task: Task, examples: Examples, layers: Sequence[int]
             ) -> tuple[dict[Any, np.ndarray], np.ndarray]:
    """({layer: float32 (n, features), "static": ...}, targets (n,)) in the order of the examples, or of their words.

    All layers are read in one pass.
    """
    if isinstance(task, Tag):
        return _of_words(model, task, examples, layers)
    pairs = bool(getattr(task, "pair", False))
    rows, spans = _rows(model, examples, pairs)
    sums: dict[Any, np.ndarray] = {}
    totals = np.zeros((len(examples), 1 + pairs, 1), np.float32)
    for group, states in _layers_of(model, rows, layers):
        for name, part in states.items():
            if name not in sums:
                sums[name] = np.zeros((len(examples), 1 + pairs, part.shape[-1]), np.float32)
            for line, i in enumerate(group):
                for span in spans[i]:
                    sums[name][span.example, span.side] += part[line, span.start:span.stop].sum(0)
        for i in group:
            for span in spans[i]:
                totals[span.example, span.side] += span.stop - span.start
    means = {name: part / np.maximum(totals, 1) for name, part in sums.items()}
    assert isinstance(task, Classify | Regress)
    return {name: _joined(part) for name, part in means.items()}, _targets(task, examples)


def _rows(model: TextModel, examples: Examples, pairs: bool) -> tuple[list[Row], list[list[Span]]]:
    """The rows that show the examples, and for each which columns count for what.

    A pair is one row where the model reads pairs, else one row for each text.  Special tokens count with the text
    alone, and not in pairs.
    """
    first = model.encode([example.text for example in examples])
    second = model.encode([example.pair or "" for example in examples]) if pairs else None
    if second is None or model.two_sided:
        rows, owners, shown = windows(model, first, second)
        edge = min(1, model.specials(False))
        spans = []
        for row, owner, (a, b) in zip(rows, owners, shown, strict=True):
            end = len(row.ids) - edge
            spans.append([Span(owner, 0, edge, edge + a), Span(owner, 1, end - b, end)] if pairs
                         else [Span(owner, 0, 0, len(row.ids))])
        return rows, spans
    rows, spans = [], []
    for side, encodings in enumerate((first, second)):
        found, owners, _ = windows(model, encodings, None)
        rows += found
        spans += [[Span(owner, side, 0, len(row.ids))] for row, owner in zip(found, owners, strict=True)]
    return rows, spans


def _layers_of(model: TextModel, rows: Sequence[Row], layers: Sequence[int]
               ) -> Iterator[tuple[np.ndarray, dict[Any, np.ndarray]]]:
    """(indices into rows, {layer: float32 (b, t, d)}) for groups of rows, the token vectors under "static"."""
    for group, shown in model.run(rows, hidden_states=True):
        assert isinstance(shown, Encoded)
        found: dict[Any, Tensor] = {layer: shown.layers[layer] for layer in layers}
        found[STATIC] = _token_vectors(model, [rows[i].ids for i in group], shown)
        yield group, {name: states.float().cpu().numpy() for name, states in found.items()}


def _token_vectors(model: TextModel, ids: Sequence[np.ndarray], shown: Encoded) -> Tensor:
    """The rows of the token table in the place of states; of a body that reads characters layer 0, which is static."""
    if getattr(model.model.body, "characters", None) is not None:
        return shown.layers[0]
    padded = np.zeros(shown.layers[0].shape[:2], np.int64)
    for line, row in enumerate(ids):
        padded[line, :len(row)] = row
    table = model.model.table.detach()
    return table[torch.from_numpy(padded).to(table.device)]


def _joined(means: np.ndarray) -> np.ndarray:
    """(n, 1, d) or the two means of a pair (n, 2, d) as features."""
    if means.shape[1] == 1:
        return means[:, 0]
    u, v = means[:, 0], means[:, 1]
    return np.concatenate([u, v, np.abs(u - v), u * v], 1)


def _targets(task: Classify | Regress, examples: Examples) -> np.ndarray:
    numbers = {} if isinstance(task, Regress) else {label: i for i, label in enumerate(task.labels)}
    found = []
    for example in examples:
        value = example.label if isinstance(task, Regress) else numbers.get(example.label)
        if value is None:
            wanted = "a score" if isinstance(task, Regress) else f"one of {', '.join(map(repr, task.labels))[:200]}"
            raise InputError(f"{examples.path}, line {example.row:,}: label must be {wanted}, got {example.label!r}")
        found.append(value)
    return np.array(found, np.float64 if isinstance(task, Regress) else np.int64)


def _of_words(model: TextModel, task: Tag, examples: Examples, layers: Sequence[int]
              ) -> tuple[dict[Any, np.ndarray], np.ndarray]:
    """The state at each word's first piece, and its tag."""
    from polysemy.text.task_rows import task_rows

    made = task_rows(examples, model, task)
    rows = [Row(made[i].ids.astype(np.int64), made[i].segments.astype(np.int64)) for i in range(len(made))]
    found: dict[Any, Any] = {}
    for group, states in _layers_of(model, rows, layers):
        for name, part in states.items():
            kept = found.setdefault(name, [None] * len(rows))
            for line, i in enumerate(group):
                kept[i] = part[line, made[i].at]
    return {name: np.concatenate(parts) for name, parts in found.items()}, made.targets.astype(np.int64)


# linear models


def _library() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise InputError('scikit-learn must be installed to probe, got none; pip install "polysemy[tasks]"') from error


def _standard(x: np.ndarray, x_dev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    std = np.where(std > 1e-6 * max(1e-12, float(std.max())), std, 1.0)
    return ((x - mean) / std).astype(np.float32), ((x_dev - mean) / std).astype(np.float32)


def _logistic(x: np.ndarray, y: np.ndarray, x_dev: np.ndarray) -> np.ndarray:
    """Label numbers for `x_dev`."""
    x, x_dev = _standard(x, x_dev)
    if len(np.unique(y)) < 2:
        return np.full(len(x_dev), y[0])
    held = np.arange(len(y)) % TENTH == 0
    if len(np.unique(y[~held])) < 2:
        return np.full(len(x_dev), np.bincount(y).argmax())
    tried = [float((_fitted(x[~held], y[~held], strength)(x[held]) == y[held]).mean()) for strength in STRENGTHS]
    return _fitted(x, y, STRENGTHS[int(np.argmax(tried))])(x_dev)


def _fitted(x: np.ndarray, y: np.ndarray, strength: float) -> Callable[[np.ndarray], Any]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last weights serve as well
        fitted.fit(x, y)
    return fitted.predict


def _ridge(x: np.ndarray, y: np.ndarray, x_dev: np.ndarray) -> np.ndarray:
    """Values for `x_dev`."""
    from sklearn.linear_model import RidgeCV

    x, x_dev = _standard(x, x_dev)
    return RidgeCV(alphas=ALPHAS).fit(x, y).predict(x_dev)


def label_scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """accuracy, macro F1 and the Matthews correlation of label numbers."""
    from sklearn.metrics import f1_score, matthews_corrcoef

    return {"accuracy": float((truth == found).mean()),
            "macro_f1": float(f1_score(truth, found, average="macro",
                                       zero_division=0)),  # pyright: ignore[reportArgumentType]
            "matthews": float(matthews_corrcoef(truth, found))}


def numbers_scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Pearson's and Spearman's correlation of numbers; 0 where one of the two does not vary."""
    from scipy.stats import pearsonr, spearmanr

    if np.ptp(truth) == 0 or np.ptp(found) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    found_by: dict[str, Any] = {"pearson": pearsonr(truth, found), "spearman": spearmanr(truth, found)}
    return {name: float(result.statistic) for name, result in found_by.items()}
