"""The sets of a battery: GLUE's by name with the metrics of the field, and anybody's own folders of the same shape.

    DATA/NAME/train.tsv   DATA/NAME/dev.tsv      (.csv and .jsonl too, plain or compressed)

GLUE's test labels are not public, so scores are those of dev, as everybody reports them who has not submitted. A folder
of another name is judged by what is in it: pairs of texts where there are two columns of text, a score where the labels
are numbers with fractions, else labels.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.config import nearest
from polysemy.errors import InputError

if TYPE_CHECKING:
    from polysemy.models.tasks import Task

KINDS = (".tsv", ".csv", ".jsonl")
PACKED = ("", ".gz", ".xz", ".zst")
DEV_NAMES = ("dev", "dev_matched", "validation", "validation_matched", "valid")
MISMATCHED_NAMES = ("dev_mismatched", "validation_mismatched")
MISMATCHED = "mismatched_accuracy"
"""of MNLI's second dev set, whose kinds of text training lacks; the epoch is chosen without it"""
LEFT_OUT = "WNLI"
"""its dev set contradicts its training set on purpose, so that learning does harm; almost all reports leave it out"""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the benchmark says of a set."""

    kind: str
    """classify, pair or regress"""
    metrics: tuple[str, ...]
    """of the field, the first for a quick look; the set's score is their mean, as in GLUE's own average"""


GLUE: dict[str, Known] = {
    "CoLA": Known(kind="classify", metrics=("matthews",)),
    "SST-2": Known(kind="classify", metrics=("accuracy",)),
    "MRPC": Known(kind="pair", metrics=("f1", "accuracy")),
    "STS-B": Known(kind="regress", metrics=("pearson", "spearman")),
    "QQP": Known(kind="pair", metrics=("f1", "accuracy")),
    "MNLI": Known(kind="pair", metrics=("accuracy",)),
    "QNLI": Known(kind="pair", metrics=("accuracy",)),
    "RTE": Known(kind="pair", metrics=("accuracy",)),
    "WNLI": Known(kind="pair", metrics=("accuracy",)),
}
"""in the order of the published tables (Wang et al. 2019, table 1, without the diagnostic set)"""


@dataclass(frozen=True, kw_only=True)
class GlueSet:
    """A set that was found."""

    name: str
    train: Path
    dev: Path
    known: Known | None
    """None of a folder that is not GLUE's"""
    mismatched: Path | None = None
    """MNLI's second dev set, where it is there"""


@dataclass(frozen=True, kw_only=True)
class OpenSet:
    """A set that was read."""

    name: str
    kind: str
    task: Task
    train: Any
    """Examples"""
    dev: Any
    metrics: tuple[str, ...]
    mismatched: Any = None
    """Examples of MNLI's second dev set, or None"""


def find_sets(data: str | Path, names: Sequence[str] = ()) -> tuple[list[GlueSet], list[str]]:
    """(sets found, GLUE's names that were not), in the order of the published tables, then own folders by name.

    names: only these, in any case and with or without a hyphen (sst2); none: all but WNLI. Raises InputError when a
    name that was asked for is not there, or nothing is.
    """
    data = Path(data)
    if not data.is_dir():
        raise InputError(f"data must be a folder with a folder a set, got {data}")
    found = {folder.name: one for folder in sorted(data.iterdir()) if folder.is_dir() and (one := _set_at(folder))}
    found = {one.name: one for one in found.values()}
    order = [name for name in GLUE if name in found] + [name for name in found if name not in GLUE]
    missing = [name for name in GLUE if name not in found]
    if not found:
        raise InputError(f"data must hold folders with train and dev files ({', '.join(KINDS)}), got none in {data}")
    if not names:
        return [found[name] for name in order if name != LEFT_OUT or len(order) == 1], missing
    plain = {_plain(name): name for name in order}
    for name in names:
        if _plain(name) not in plain:
            raise InputError(f"tasks must be sets of {data}, got {name!r}{nearest(name, order)}; "
                             f"there are {', '.join(order)}")
    asked = {plain[_plain(name)] for name in names}
    return [found[name] for name in order if name in asked], missing


def read_set(one: GlueSet) -> OpenSet:
    """Examples and task of a set; labels are those of its training file. InputError as `read_examples`."""
    from polysemy.text.labeled import check_labels, read_examples
    from polysemy.training.fine_tuning_start import task_for

    kind = one.known.kind if one.known else kind_of_file(one.train)
    train, dev = read_examples(one.train, kind), read_examples(one.dev, kind)
    metrics, mismatched = one.known.metrics if one.known else _own_metrics(kind, len(train.labels)), None
    if one.mismatched is not None:
        mismatched = read_examples(one.mismatched, kind)
        check_labels(train, mismatched)
        metrics = (*metrics, MISMATCHED)
    return OpenSet(name=one.name, kind=kind, task=task_for(kind, train, dev), train=train, dev=dev, metrics=metrics,
                   mismatched=mismatched)


def _own_metrics(kind: str, labels: int) -> tuple[str, ...]:
    """What a set that is not GLUE's is judged by."""
    if kind == "regress":
        return "pearson", "spearman"
    return "accuracy", "f1" if labels == 2 else "macro_f1"


def kind_of_file(path: Path) -> str:
    """classify, pair or regress: two columns of text, numbers with fractions, or labels."""
    from polysemy.text.labeled import read_examples

    try:
        rows = read_examples(path, "pair")
    except InputError:
        rows = read_examples(path, "classify")
    if _are_scores(rows.labels):
        return "regress"
    return "pair" if rows.pair else "classify"


def _are_scores(labels: Sequence[str]) -> bool:
    """Whether labels are numbers, some with fractions or more than a few."""
    try:
        values = [float(label) for label in labels]
    except ValueError:
        return False
    return all(map(math.isfinite, values)) and (any(value != int(value) for value in values) or len(values) > 50)


def _set_at(folder: Path) -> GlueSet | None:
    train = _file(folder, ("train",))
    dev = _file(folder, DEV_NAMES)
    if train is None or dev is None:
        return None
    name = next((name for name in GLUE if _plain(name) == _plain(folder.name)), folder.name)
    return GlueSet(name=name, train=train, dev=dev, known=GLUE.get(name),
                   mismatched=_file(folder, MISMATCHED_NAMES) if name == "MNLI" else None)


def _file(folder: Path, stems: Sequence[str]) -> Path | None:
    for stem in stems:
        for kind in KINDS:
            for packed in PACKED:
                path = folder / f"{stem}{kind}{packed}"
                if path.is_file():
                    return path
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
