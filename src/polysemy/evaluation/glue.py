"""A battery of tasks: each model fine-tuned on each set, several seeds, the field's metrics (Wang et al. 2019).

Every result is written as soon as it is there, so that a battery that was stopped goes on by the same call. Scores are
those of dev at its best epoch, as is the custom; the spread over seeds says how far to trust them, and the majority
control what no learning at all would score. Fine-tuned weights are not kept.
"""
from __future__ import annotations

import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from polysemy.artifact import read_folder, read_json, sha256, write_json
from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.evaluation.glue_sets import LEFT_OUT, MISMATCHED, GlueSet, OpenSet, find_sets, read_set
from polysemy.evaluation.task_metrics import majority_metrics, task_metrics
from polysemy.runtime import environment
from polysemy.training.outcome import InterruptError

FORMAT = 1
MAJORITY = "majority"
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class GlueConfig(Config):
    """How the battery is run; another setting makes other results, which are kept apart."""

    tasks: tuple[str, ...] = ()
    """sets to run; none: all that are there but WNLI"""
    seeds: int = 3
    """fine-tunings of each set, with seeds 0, 1, ...; the median is reported"""
    epochs: float | None = None
    """passes over each training set; none: the more, the smaller the set"""
    minutes: float | None = None
    """most training time of one fine-tuning; sets whose epochs take longer are read for so long instead"""
    learning_rate: float | None = None
    batch_size: int | None = None
    length: int | None = None
    """most pieces of a text; none of these: as `polysemy finetune` has them"""

    def check(self) -> None:
        if self.seeds < 1:
            raise InputError(f"seeds must be at least 1, got {self.seeds}")
        for name in ("epochs", "minutes", "learning_rate", "batch_size", "length"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} must be above 0, got {value}")


FineTune = Callable[[Path, OpenSet, Path, int, GlueConfig], dict[str, Any]]
"""(model, set, new folder, seed, config) -> {metrics: {...}, seconds, ...}"""


def run_glue(folders: Sequence[str | Path], data: str | Path, out: str | Path, config: GlueConfig | None = None, *,
             device: str = "auto", fine_tune: FineTune | None = None, tell: Tell | None = None) -> dict[str, Any]:
    """Fine-tune every model on every set, write `out` (.json) after each, and return what is in it.

    folders: run folders of any body, static vectors too. What `out` holds of the same models, sets and settings is kept
    and not run again. A set that a model cannot learn is told as its error and costs the others nothing. Raises
    InputError before anything is trained when a folder, a set or `out` is not as it must be.
    """
    config, data, out = config or GlueConfig(), Path(data), Path(out)
    sets, missing = find_sets(data, config.tasks)
    models = {label: Path(folder) for label, folder in zip(_labels(folders), folders, strict=True)}
    keys = {label: _fingerprint(folder) for label, folder in models.items()}
    opened = [read_set(one) for one in sets]
    battery = _Battery(out, config, fine_tune or partial(_fine_tune, device=device), tell or (lambda line: None))
    battery.begin(opened, missing, data)
    for label, folder in models.items():
        for one, source in zip(opened, sets, strict=True):
            for seed in range(config.seeds):
                battery.one(label, folder, one, seed, f"{keys[label]} {_data_key(source)}")
    return battery.finish(list(models))


class _Battery:
    """One results file on its way."""

    def __init__(self, out: Path, config: GlueConfig, fine_tune: FineTune, tell: Tell) -> None:
        self.out, self.config, self.fine_tune, self.tell = out, config, fine_tune, tell
        self.found: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        """identities of the runs of this call; the file may hold others, of other models, data or settings"""

    def begin(self, opened: Sequence[OpenSet], missing: Sequence[str], data: Path) -> None:
        old = _old(self.out)
        sets = {one.name: {"kind": one.kind, "metrics": list(one.metrics), "train": len(one.train),
                           "dev": len(one.dev), "majority": _majority(one)}
                for one in opened}
        self.found = {"format": FORMAT, "kind": "glue", "data": str(data), "config": self.config.to_dict(),
                      "sets": sets, "missing": list(missing), "environment": environment(),
                      "runs": list(old.get("runs", []))}
        self.out.parent.mkdir(parents=True, exist_ok=True)

    def one(self, label: str, folder: Path, one: OpenSet, seed: int, key: str) -> None:
        """A fine-tuning, unless its result is there."""
        settings = {name: value for name, value in self.config.to_dict().items()
                    if name not in ("tasks", "seeds", "kind")}
        identity = {"model": label, "set": one.name, "seed": seed, "key": key, "settings": settings}
        self.asked.append(identity)
        runs = self.found["runs"]
        if any(_same(run, identity) and "error" not in run for run in runs):
            self.tell(f"{label} on {one.name}, seed {seed}: done before")
            return
        self.found["runs"] = runs = [run for run in runs if not _same(run, identity)]
        start = time.perf_counter()
        result: dict[str, Any]
        try:
            with tempfile.TemporaryDirectory(prefix="polysemy-glue-") as work:
                result = self.fine_tune(folder, one, Path(work) / "run", seed, self.config)
        except (InterruptError, KeyboardInterrupt) as stop:
            kept = sum("error" not in run for run in runs)
            message = f"stopped in {label} on {one.name}, seed {seed}, which will begin anew; {kept} finished " \
                      f"result{'s' * (kept != 1)} in {self.out}, the same command goes on"
            raise InterruptError(getattr(stop, "number", signal.SIGINT), message, saved=True) from stop
        except (InputError, RuntimeError) as error:
            result = {"error": " ".join(str(error).split()) or type(error).__name__}
        runs.append({**identity, **result, "wall_seconds": round(time.perf_counter() - start, 3)})
        write_json(self.out, self.found)
        metrics: dict[str, Any] = result.get("metrics", {})
        shown = ", ".join(f"{name} {100 * metrics[name]:.1f}" for name in one.metrics if name in metrics)
        self.tell(f"{label} on {one.name}, seed {seed}: {result.get('error') or shown} "
                  f"({time.perf_counter() - start:.0f} s)")

    def finish(self, labels: Sequence[str]) -> dict[str, Any]:
        """Medians, spreads and means over the runs that this call asked for."""
        sets = self.found["sets"]
        mine = [run for run in self.found["runs"] if any(_same(run, identity) for identity in self.asked)]
        scores = {label: {name: summary_of([run for run in mine if (run["model"], run["set"]) == (label, name)],
                                           about["metrics"]) for name, about in sets.items()} for label in labels}
        floor = {name: {"score": _mean([about["majority"][metric] for metric in about["metrics"]])}
                 for name, about in sets.items()}
        self.found["scores"] = scores
        self.found["errors"] = [f"{run['model']} on {run['set']}, seed {run['seed']}: {run['error']}"
                                for run in mine if "error" in run]
        self.found["mean"] = {label: mean_of(found) for label, found in {**scores, MAJORITY: floor}.items()}
        self.found["note"] = note_of(list(sets), left_out=LEFT_OUT not in self.found["missing"])
        write_json(self.out, self.found)
        return self.found


def summary_of(runs: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, Any]:
    """{score, low, high, metrics {name: median}, spread {name: [lowest, highest]}, deviation {name}, seconds, seeds}.

    The score of a seed is the mean of the set's metrics, that of the set the median over seeds; `low` and `high` are
    the worst and best seed; a deviation is that of a sample (n - 1), None of one seed. Seconds are the median of one
    fine-tuning. With an error and no result: {error}.
    """
    good = [run for run in runs if "error" not in run]
    if not good:
        return {"error": next((run["error"] for run in runs), "not run")}
    values = {name: [run["metrics"][name] for run in good] for name in metrics}
    each = [_mean([run["metrics"][name] for name in metrics]) for run in good]
    return {"score": statistics.median(each), "low": min(each), "high": max(each), "seeds": len(good),
            "metrics": {name: statistics.median(found) for name, found in values.items()},
            "spread": {name: [min(found), max(found)] for name, found in values.items()},
            "deviation": {name: statistics.stdev(found) if len(found) > 1 else None for name, found in values.items()},
            "seconds": statistics.median(run["seconds"] for run in good)}


def mean_of(found: Mapping[str, Mapping[str, Any]]) -> float | None:
    """The plain mean of the sets' scores; None when one is missing, for means over other sets do not compare."""
    scores = [value.get("score") for value in found.values()]
    return None if any(score is None for score in scores) else _mean([score for score in scores if score is not None])


def note_of(names: Sequence[str], *, left_out: bool) -> str:
    """What the mean is a mean of; `left_out`: the set that is custom to leave out is there."""
    text = f"mean of {', '.join(names)}; dev sets at their best epoch"
    if left_out and LEFT_OUT not in names:
        text += f"; {LEFT_OUT} is left out, as is the custom: its dev set contradicts its training set"
    return text


def table_of(found: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(header, rows) for a terminal: a row a model and the majority control, scores in points with half the spread."""
    sets = found["sets"]
    header = ("model", *(f"{name} {'/'.join(SHORT[metric] for metric in about['metrics'])}"
                         for name, about in sets.items()), "mean", "seconds")
    rows = []
    for label, scores in found["scores"].items():
        cells = [_cell(scores[name], about["metrics"]) for name, about in sets.items()]
        seconds = sum(scores[name].get("seconds", 0.0) * scores[name].get("seeds", 0) for name in sets)
        rows.append((label, *cells, _points(found["mean"][label]), f"{seconds:,.0f}"))
    floor = ["/".join(_points(about["majority"][metric]) for metric in about["metrics"]) for about in sets.values()]
    rows.append((MAJORITY, *floor, _points(found["mean"][MAJORITY]), ""))
    return header, rows


SHORT = {"matthews": "Matthews", "accuracy": "accuracy", "f1": "F1", "macro_f1": "macro F1", "pearson": "Pearson",
         "spearman": "Spearman", MISMATCHED: "mismatched"}


def _cell(scores: Mapping[str, Any], metrics: Sequence[str]) -> str:
    if "error" in scores:
        return "failed"
    shown = "/".join(_points(scores["metrics"][metric]) for metric in metrics)
    return shown if scores["seeds"] < 2 else f"{shown} ±{50 * (scores['high'] - scores['low']):.1f}"


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _same(run: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    return all(run.get(name) == value for name, value in identity.items())


def _old(out: Path) -> dict[str, Any]:
    """What the results file holds; InputError when it is something else."""
    if not out.exists():
        return {}
    found = read_json(out)
    if not isinstance(found, dict) or found.get("kind") != "glue" or found.get("format") != FORMAT:
        raise InputError(f"output must be a new file or one of polysemy glue, got {out}; choose another name")
    return found


def _labels(folders: Sequence[str | Path]) -> list[str]:
    """The shortest names that differ."""
    if not folders:
        raise InputError("models must be at least one run folder, got none")
    paths = [Path(folder).resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise InputError(f"models must differ, got {twice} twice")
    parts = next(n for n in range(1, 99) if len({path.parts[-n:] for path in paths}) == len(paths))
    return ["/".join(path.parts[-parts:]) for path in paths]


def _fingerprint(folder: Path) -> str:
    """Changes with any file of the model."""
    files = read_folder(folder).config.get("files", {})
    return blake2b("".join(entry["sha256"] for _, entry in sorted(files.items())).encode(), digest_size=8).hexdigest()


def _data_key(one: GlueSet) -> str:
    return "".join(sha256(path)[:8] for path in (one.train, one.dev, one.mismatched) if path is not None)


def _majority(one: OpenSet) -> dict[str, Any]:
    found = majority_metrics(one.task, one.train, one.dev)
    if one.mismatched is not None:
        found[MISMATCHED] = majority_metrics(one.task, one.train, one.mismatched)["accuracy"]
    return found


def _fine_tune(folder: Path, one: OpenSet, out: Path, seed: int, config: GlueConfig, *, device: str) -> dict[str, Any]:
    """The library's own fine-tuning, one seed."""
    import polysemy
    from polysemy.evaluation.judged_tuning import judged_tuning
    from polysemy.training.fine_tuning_config import FineTuningConfig

    given = FineTuningConfig(epochs=config.epochs, learning_rate=config.learning_rate, batch_size=config.batch_size,
                             length=config.length)
    clock = time.process_time()
    found = judged_tuning(folder, one.task, (one.train, one.dev), out, given, metric=one.metrics[0],
                          minutes=config.minutes, seed=seed, device=device)
    metrics = {name: value for name, value in found["metrics"].items() if isinstance(value, int | float)}
    if one.mismatched is not None:
        model = polysemy.load(out).to(device)
        scores = task_metrics(model.task, model.predict_examples(one.mismatched), one.mismatched)
        metrics[MISMATCHED] = scores["accuracy"]
    return {"metrics": metrics, "seconds": found["seconds"], "cpu_seconds": time.process_time() - clock,
            "epoch": found["epoch"], "steps": found["step"]}
