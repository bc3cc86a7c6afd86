"""One whole run of a recipe that counts words or learns a vector each: read, train, leave a run folder.  No torch.

The folder is locked while the run goes on and everything is made in a hidden folder inside; config.json is moved out
last, so a folder that has one is whole.  A signal ends training early and keeps what was learned until then.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.artifact import finish, read_json, write_bytes
from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models import RECIPES, find_recipe, resolve
from polysemy.models.progress import Progress
from polysemy.runtime import available_threads, environment
from polysemy.text.corpus import Documents
from polysemy.text.encoded import encode
from polysemy.text.portions import hold_out
from polysemy.training.budget import Budget
from polysemy.training.card import words_card
from polysemy.training.characters import check_characters
from polysemy.training.lock import NAME as LOCK
from polysemy.training.lock import folder_lock
from polysemy.training.metrics import Metrics
from polysemy.training.outcome import InterruptError
from polysemy.training.signals import Signals

if TYPE_CHECKING:
    from polysemy.models.fasttext.labels import LabeledText

MOST_FILES = 100
"""names of files kept in the record"""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A moment of training, in the words of the neural loop's steps."""

    fraction: float
    seconds_left: float | None
    loss: float | None
    tokens: int
    """words read since the last one"""
    scores: dict[str, float] = field(default_factory=dict)


def train_words(config: Config, data: Documents | LabeledText, folder: str | Path, *, budget: Budget | None = None,
                seed: int = 0, threads: int | None = None, unit: str = "character", held_out: bool = True,
                progress: Callable[[Pass], None] | None = None) -> Path:
    """Train `config` on `data` and leave a run folder that `polysemy.load` opens.

    data      running text, or for a classifier its labeled texts (`models.fasttext.labels.read_labels`)
    budget    epochs, or minutes as an upper limit beside the config's epochs: the learning rate falls to its end with
              whichever is used up first; none: the config's epochs alone
    held_out  leave out of training what every recipe leaves out of this corpus, to be judged by it
    progress  is shown about twice a second

    A folder that holds this very run is left as it is.  Raises InputError for bad input, InterruptError after a signal
    (what was learned is in the folder).
    """
    folder, threads = Path(folder), threads or available_threads()
    config = _fitted(config, budget, unit)
    recipe = recipe_of(config)
    corpus: Any = data
    if held_out and not _labeled(corpus):
        corpus, _ = hold_out(corpus)
    record = {"recipe": recipe, "config": config.to_dict(), "budget_text": _said(budget, config), "seed": seed,
              "threads": threads, "text_hash": _fingerprint(corpus), "environment": environment()}
    if _done_before(folder, record):
        return folder
    with _made(folder), Signals() as signals, folder_lock(folder), \
            tempfile.TemporaryDirectory(prefix=".work-", dir=folder) as place:
        run = _Run(config, record, Path(place), threads, signals, budget, progress)
        run.train(corpus)
        _move(Path(place), folder)
        if signals.caught:
            raise InterruptError(signals.caught, f"stopped at {100 * run.done:.0f} %; what was learned is in {folder}, "
                                 "ready for use; the same command trains it anew", saved=True)
    return folder


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder, which goes again when nothing came to be in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output folder must be one that can be made, got {folder} ({error.strerror})") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it holds something, as it should
            folder.rmdir()


def recipe_of(config: Config) -> str:
    """The row of the table that a config belongs to: that of the module which makes such configs."""
    found = [row.name for row in RECIPES.values() if row.configure.partition(":")[0] == type(config).__module__]
    assert found, f"{type(config).__name__} belongs to no recipe"
    return found[0]


@dataclass
class _Run:
    config: Any
    record: dict[str, Any]
    work: Path
    threads: int
    signals: Signals
    budget: Budget | None
    progress: Callable[[Pass], None] | None
    done: float = 0.0
    words: int = 0
    began: float = 0.0
    rows: int = 0

    def train(self, corpus: Any) -> None:
        """Read, fit and write all files of the run into the work folder."""
        metrics = Metrics(self.work / "metrics.jsonl")
        with tempfile.TemporaryDirectory(prefix=".text-", dir=self.work) as spill:
            text, facts = self.read(corpus, Path(spill))
            if self.signals.caught:
                raise InterruptError(self.signals.caught, "stopped while the text was being read; nothing was learned "
                                     "yet", saved=False)
            self.began = self.clock()
            fit: Callable[..., dict[str, Any]] = resolve(find_recipe(self.record["recipe"]).fit)
            results = fit(self.config, text, self.work, seed=self.record["seed"], threads=self.threads,
                          report=lambda moment: self.show(moment, metrics), stop=self.stop,
                          limit=self.limit())
            del text  # it may be mapped from the folder that goes now
        results = {**results, "seconds": self.clock() - self.began, "stopped": self.signals.caught is not None}
        if _labeled(corpus):  # only training cuts them into words
            facts |= {"vocabulary": results["vocabulary"],
                      "words": round(results["words"] / max(results["epochs"], 1)), "kept_words": results["words"]}
        record = {**self.record, "text": facts, "results": results}
        metrics.append({"step": self.rows + 1, "seconds": results["seconds"], "tokens": self.words or facts["words"],
                        "loss": results.get("loss"), "fraction": self.done or 1.0})
        write_bytes(self.work / "README.md", words_card(record).encode())
        finish(self.work, record)

    def read(self, corpus: Any, spill: Path) -> tuple[Any, dict[str, Any]]:
        """What `fit` trains on, and the facts of it for the record; labeled texts are taken as they are."""
        if _labeled(corpus):
            words = sum(len(text.split()) for text in corpus.texts)
            report = {"documents": len(corpus), "characters": sum(map(len, corpus.texts))}
            return corpus, {"files": [], "rule": "labels", "report": report, "words": words, "kept_words": words,
                            "reading_seconds": 0.0}
        try:
            text = encode(corpus, self.config.word_config, folder=spill, threads=self.threads, stop=self.stop)
        except InputError:  # no words, perhaps because of the encoding
            check_characters(corpus.report.invalid, corpus.report.characters)
            raise
        if not self.stop():  # else only a part was read
            check_characters(corpus.report.invalid or text.report.invalid, corpus.report.characters or text.bytes)
        files = [str(path.resolve()) for path in getattr(corpus, "files", [])]
        return text, {"files": files[:MOST_FILES], "num_files": len(files),
                      "rule": corpus.document_rule, "report": asdict(corpus.report),
                      "words": int(text.vocabulary.total), "kept_words": text.num_tokens,
                      "vocabulary": len(text.vocabulary), "reading_seconds": text.seconds, "bytes": text.bytes}

    def stop(self) -> bool:
        return self.signals.caught is not None

    def clock(self) -> float:
        """Seconds by the budget's clock."""
        cpu = self.budget is not None and self.budget.clock == "cpu"
        return time.process_time() / self.threads if cpu else time.perf_counter()

    def limit(self) -> Callable[[], float] | None:
        """Part of the minutes, counted from now, that is used up; None without such a budget."""
        if self.budget is None or self.budget.minutes is None:
            return None
        start, seconds = self.clock(), 60 * self.budget.minutes
        return lambda: min(1.0, (self.clock() - start) / seconds)

    def show(self, moment: Progress, metrics: Metrics) -> None:
        seconds = self.clock() - self.began
        left = seconds * (1 - moment.done) / moment.done if moment.done > 0.01 else None
        self.rows += 1
        metrics.append({"step": self.rows, "seconds": seconds, "tokens": moment.words, "loss": moment.loss,
                        "fraction": moment.done})
        step = Pass(fraction=moment.done, seconds_left=left, loss=moment.loss, tokens=moment.words - self.words)
        self.done, self.words = self.done if self.signals.caught and moment.done == 1 else moment.done, moment.words
        if self.progress is not None:
            self.progress(step)


def _fitted(config: Any, budget: Budget | None, unit: str) -> Any:
    """The config with the epochs and the Chinese unit asked for; InputError for a budget it cannot have."""
    if unit != "character":
        config = config.replace(words=config.words.replace(unit=unit))
    if budget is None or budget.minutes is not None:
        return config
    if budget.epochs is None or not hasattr(config, "epochs"):
        allowed = "minutes or epochs" if hasattr(config, "epochs") else "minutes, or left out: the text is read once"
        raise InputError(f"budget must be {allowed} for {recipe_of(config)}, got {budget}")
    if budget.epochs != int(budget.epochs):
        raise InputError(f"budget.epochs must be a whole number for {recipe_of(config)}, got {budget.epochs:g}")
    return config.replace(epochs=int(budget.epochs))


def _labeled(data: Any) -> bool:
    return hasattr(data, "labels")


def _fingerprint(corpus: Any) -> str:
    if not _labeled(corpus):
        return corpus.fingerprint()
    digest = hashlib.sha256()
    for text, labels in zip(corpus.texts, corpus.labels, strict=True):
        digest.update(json.dumps([text, *labels]).encode())
    return digest.hexdigest()


def _said(budget: Budget | None, config: Any) -> str:
    if budget is not None:
        return str(budget)
    return f"{config.epochs} epochs" if hasattr(config, "epochs") else "one pass"


def _done_before(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the folder holds this very run, finished; InputError when it holds something else."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output folder must be a folder, got the file {folder}")
    if not folder.exists() or not any(path.name != LOCK for path in folder.iterdir()):
        return False
    if (folder / "config.json").is_file():
        old = read_json(folder / "config.json")
        same = all(old.get(name) == record[name] for name in ("recipe", "config", "seed", "text_hash", "budget_text"))
        if same:  # one that was stopped is trained anew, and what was learned stays until then
            return not (old.get("results") or {}).get("stopped")
    elif all(path.name == LOCK or path.name.startswith(".work-") for path in folder.iterdir()):
        return False  # the remains of a killed run
    raise InputError(f"output folder must be new, empty or hold this very run, got {folder}; choose another name, or "
                     "use --overwrite")


def _move(work: Path, folder: Path) -> None:
    """All files of `work` into `folder`, config.json last."""
    for path in sorted(work.iterdir(), key=lambda path: path.name == "config.json"):
        path.replace(folder / path.name)
    for path in folder.glob(".work-*"):
        if path != work and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # what a killed run left, folders with its text among it
