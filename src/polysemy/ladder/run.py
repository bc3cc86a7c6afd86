"""The main job: train every rung on one text with one budget, ask all the same questions, write one report.

    study/  plan.json       what makes this study this study; another plan needs another folder
            split/ cloze.jsonl text/    made once, shared by all rungs
            rungs/NAME/     a run folder each, which `polysemy.load` opens
            results/NAME.json           what the judge found, with every answer
            labels/TASK/NAME.json NAME/ how well a rung learned a task, and what was fine-tuned for it
            study.json report.html report.csv report-*.png

A rung whose result is there is not trained again, so a ladder that was stopped goes on by the same command. A rung that
fails is a row of the table and costs the others nothing; the same command tries it again.
"""
from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.artifact import read_json, write_json
from polysemy.errors import InputError
from polysemy.evaluation.split import split_corpus
from polysemy.evaluation.study import ITEMS, prepare_items
from polysemy.ladder.builders import SHARED, Tell, Work, config_of
from polysemy.ladder.downstream import SHARE, classifier_rung, learn_labels
from polysemy.ladder.estimate import estimate
from polysemy.ladder.judging import controls_of, judge_rung
from polysemy.ladder.labels import Labels, read_task
from polysemy.ladder.rungs import Rung, choose
from polysemy.ladder.settings import LadderConfig
from polysemy.ladder.study import assemble
from polysemy.models import RECIPES, load_run, resolve
from polysemy.report import wording
from polysemy.training.outcome import InterruptError

if TYPE_CHECKING:
    from polysemy.text.corpus import Documents

PLAN, STUDY, REPORT = "plan.json", "study.json", "report.html"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the text comes from and how the study is called."""

    corpus: Documents
    title: str = ""
    command: str = ""
    """shown in the report, so that it can be repeated"""


def run_ladder(source: Source | Documents, folder: str | Path, config: LadderConfig | None = None, *,
               overwrite: bool = False, tell: Tell | None = None) -> Path:
    """Train, judge, recommend; returns the path of the report. `tell` is given lines of progress.

    Raises InputError for bad input before anything is trained, Interrupted after a signal (the same call goes on).
    With `overwrite` a finished study, or one of another plan, is replaced; one that was stopped still goes on.
    """
    from polysemy.runtime import choose_device, set_threads
    from polysemy.training.lock import folder_lock

    source = source if isinstance(source, Source) else Source(corpus=source)
    config, folder = config or LadderConfig(), Path(folder)
    rungs = choose(config.rungs)
    trained = [rung for rung in rungs if rung.kind == "trained"]
    config_of(SHARED, config.size)  # a wrong size is found now, not after the first rung
    for rung in trained:
        if not RECIPES[rung.recipe].fit:
            config_of(rung.recipe, config.size)
    labels = read_task(config.task, config.task_dev, config.seed) if config.task is not None else None
    device, threads = choose_device(config.device), set_threads(config.threads)
    minutes = config.minutes_of(len(trained))
    plan = _plan(source.corpus, config, minutes, threads)
    _claim(folder, plan, overwrite)
    with folder_lock(folder):
        ladder = _Ladder(source, folder, config, rungs, plan, tell or _quiet, labels)
        return ladder.climb(minutes, device)


def _quiet(line: str, passing: bool) -> None:
    pass


def _plan(corpus: Documents, config: LadderConfig, minutes: float, threads: int) -> dict[str, Any]:
    """What must not change while a study goes on."""
    return {"format": FORMAT, "corpus": corpus.fingerprint(), "document_rule": corpus.document_rule,
            "minutes": round(minutes, 6), "clock": config.clock, "size": config.size, "seed": config.seed,
            "unit": config.unit, "quick": config.quick, "questions": config.cloze.test_items, "threads": threads}


def _claim(folder: Path, plan: dict[str, Any], overwrite: bool) -> None:
    """Make the folder, or make sure that it holds this study or, with `overwrite`, any study."""
    old = read_json(folder / PLAN) if (folder / PLAN).is_file() else None
    if old is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"output must be a new or empty folder or hold a study, got {folder}; choose another name")
    changed = [name for name in plan if old is not None and old.get(name) != plan[name]]
    if changed and old is not None and not overwrite:
        name = changed[0]
        raise InputError(f"{name} must stay {old.get(name)!r} when a study goes on, got {plan[name]!r}; choose another "
                         f"folder than {folder}, or use --overwrite")
    if old is not None and overwrite and (changed or (folder / STUDY).is_file()):
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output must be a folder that can be made, got {folder} ({error.strerror})") from error
    write_json(folder / PLAN, plan)


class _Ladder:
    """One study in its folder."""

    def __init__(self, source: Source, folder: Path, config: LadderConfig, rungs: list[Rung], plan: dict[str, Any],
                 tell: Tell, labels: Labels | None = None) -> None:
        self.source, self.folder, self.config, self.labels = source, folder, config, labels
        self.rungs = rungs + ([classifier_rung(labels)] if labels is not None else [])
        self.plan, self.tell = plan, tell
        self.started = time.monotonic()

    def climb(self, minutes: float, device: str) -> Path:
        todo = [rung for rung in self.rungs if not self._result(rung).is_file()]
        for line in estimate(self.source.corpus, self.rungs, todo, self.config, minutes, self.plan["threads"]):
            self.tell(line, False)
        if self.labels is not None:
            self.tell(f"{self.labels.describe()}; up to {wording.duration(60 * SHARE * minutes)} each", False)
        work = self._prepare(minutes, device)
        errors: dict[str, str] = {}
        unlearned: dict[str, str] = {}
        for number, rung in enumerate(self.rungs, 1):
            step = f"[{number}/{len(self.rungs)}] {rung.label}"
            if rung not in todo:
                self.tell(f"{step}: done before", False)
            else:
                self.tell(f"{step} ...", True)
                self._contained(lambda: self._climb_one(work, rung, number), rung, step, errors)  # noqa: B023
            if self.labels is not None and rung.name not in errors and not self._learned(rung).is_file():
                self.tell(f"{step}: learning the labels ...", True)
                self._contained(lambda: self._learn_one(work, rung, step), rung, step, unlearned)  # noqa: B023
        return self._report(work, errors, unlearned)

    def _contained(self, work: Callable[[], None], rung: Rung, step: str, errors: dict[str, str]) -> None:
        """Do it; whatever goes wrong is this rung's: the others must not be lost."""
        try:
            work()
        except InterruptError:
            raise
        except Exception as error:
            errors[rung.name] = wording.one_line(error) or type(error).__name__
            self.tell(f"{step}: FAILED, {errors[rung.name]}", False)

    def _prepare(self, minutes: float, device: str) -> Work:
        """Split, tokenizer, questions and shards: made once, from the training part alone."""
        from dataclasses import replace

        from polysemy.training.prepared import prepare_text

        self.tell("reading and splitting the text ...", True)
        split = split_corpus(self.source.corpus, self.folder / "split")
        for line in split.describe():
            self.tell(line, False)
        self.tell("training the tokenizer that all rungs share ...", True)
        settings = config_of(SHARED, self.config.size)
        text = prepare_text(split.corpus("train"), settings, self.folder / "text", held_out=split.corpus("dev"),
                            unit=self.config.unit)
        if self.config.quick:
            text = replace(text, held_out=None)  # the judge measures the loss; twice would cost a short run dearly
        self.tell("making the questions ...", True)
        items = prepare_items(split, self.folder / ITEMS, self.config.cloze, text.tokenizer)
        self.tell(items.describe(), False)
        clock = "wall" if device.startswith("cuda") else self.config.clock
        return Work(split=split, text=text, items=items, minutes=minutes, clock=clock, size=self.config.size,
                    seed=self.config.seed, unit=self.config.unit, device=device, quick=self.config.quick,
                    tell=self.tell, labels=self.labels)

    def _climb_one(self, work: Work, rung: Rung, number: int) -> None:
        start = time.monotonic()
        build: Callable[..., Any] = resolve(rung.build)
        built = build(work, rung, self.folder / "rungs" / rung.slug)
        self.tell(f"{rung.label}: answering {len(work.items.test) + len(work.items.dev):,} questions ...", True)
        found = judge_rung(work, built)
        path = self._result(rung)
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"name": rung.name, **found})
        if found["cloze"] is None:
            self.tell(f"[{number}/{len(self.rungs)}] {rung.label}: {found['remarks'][-1]}", False)
            return
        accuracy = wording.percent(found["cloze"]["accuracy"])
        low, high = found["cloze"]["interval"]
        self.tell(f"[{number}/{len(self.rungs)}] {rung.label}: {accuracy} ± {50 * (high - low):.1f} "
                  f"({wording.duration(time.monotonic() - start)} with judging)", False)

    def _learn_one(self, work: Work, rung: Rung, step: str) -> None:
        path = self._learned(rung)
        path.parent.mkdir(parents=True, exist_ok=True)
        learned = learn_labels(work, rung, self.folder / "rungs" / rung.slug, path.with_suffix(""))
        write_json(path, learned)
        self.tell(f"{step}: {wording.percent(learned['score'])} of the labels, "
                  f"{wording.duration(learned['cpu_seconds'])} of processor time", False)

    def _report(self, work: Work, errors: dict[str, str], unlearned: dict[str, str]) -> Path:
        from polysemy.report.page import write_report

        found = {rung.name: read_json(self._result(rung)) for rung in self.rungs if self._result(rung).is_file()}
        for rung in self.rungs if self.labels is not None else ():
            if rung.name in found and self._learned(rung).is_file():
                found[rung.name]["downstream"] = read_json(self._learned(rung))
            elif rung.name in unlearned:
                found[rung.name]["downstream"] = {"error": unlearned[rung.name]}
        self.tell("checking the questions themselves, drawing the report ...", True)
        controls = self._controls(work, found)
        study = assemble(self.rungs, found, errors, work, self.config, controls)
        study |= {"title": self.source.title or study["title"], "command": self.source.command or None}
        write_json(self.folder / STUDY, json.loads(json.dumps(study)))
        path = write_report(study, self.folder / REPORT)
        self.tell(f"{path}: {wording.duration(time.monotonic() - self.started)} in all", False)
        return path

    def _controls(self, work: Work, found: dict[str, Any]) -> list[dict[str, Any]]:
        """Verdicts on the questions; kept, for they need models to answer."""
        path = self.folder / "results" / "controls.json"
        best = max((rung for rung in self.rungs if rung.kind == "trained" and found.get(rung.name, {}).get("cloze")),
                   key=lambda rung: found[rung.name]["cloze"]["accuracy"], default=None)
        key = [work.items.hash, best.name if best else None]
        if path.is_file() and (kept := read_json(path)).get("key") == key:
            return kept["controls"]
        controls = controls_of(work, *models_for_controls(work, best, self.folder / "rungs"))
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"key": key, "controls": controls})
        return controls

    def _result(self, rung: Rung) -> Path:
        return self.folder / "results" / f"{rung.slug}.json"

    def _learned(self, rung: Rung) -> Path:
        """Result of the task; a run folder of the same name without .json lies beside it where one was made."""
        assert self.labels is not None
        return self.folder / "labels" / self.labels.fingerprint / f"{rung.slug}.json"


def models_for_controls(work: Work, best: Rung | None, runs: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The best trained model, to be asked with shuffled contexts, and one with random weights; both by name."""
    from polysemy.ladder.builders import draw_weights
    from polysemy.ladder.rungs import RUNGS

    trained = {} if best is None else {best.label: load_run(runs / best.slug)}
    return trained, {"random weights": draw_weights(work, RUNGS["random weights"], runs).model}
