"""How each kind of rung comes about: trained, downloaded, counted, or drawn at random. The table names these functions.

Each takes what all rungs share (`Work`), its row and its own folder, and gives a `Built`.
"""
from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polysemy.artifact import read_json
from polysemy.evaluation.bigram import BigramControl, UnigramControl
from polysemy.evaluation.cloze_items import ClozeSet
from polysemy.evaluation.split import Split
from polysemy.ladder.piece_ngram import PieceNgram
from polysemy.ladder.rungs import Rung
from polysemy.models import RECIPES, resolve
from polysemy.report import wording

if TYPE_CHECKING:
    from polysemy.ladder.labels import Labels
    from polysemy.models.recipe import PretrainingConfig
    from polysemy.training.loop import Step
    from polysemy.training.prepared import PreparedText

MILESTONES = (1 / 16, 1 / 4)
"""Parts of the budget at which a rung in training is judged too: with the end they make its curve."""
CURVE_SHARE, CURVE_MOST = 0.3, 600
"""part of the questions asked of a model on its way, and the most of test and of dev"""
SHARED = "bert"
"""the recipe whose tokenizer all rungs share"""
TELL_EVERY = 5.0  # seconds between lines of progress
Tell = Callable[[str, bool], None]
"""(line, passing): a passing line is overtaken by the next one, so a terminal may write over it"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all rungs of a ladder share."""

    split: Split
    text: PreparedText
    items: ClozeSet
    minutes: float
    clock: Literal["cpu", "wall"]
    size: str
    seed: int
    unit: str
    device: str
    quick: bool
    tell: Tell
    labels: Labels | None = None
    """the task that every rung learns, where there is one"""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A rung ready to be judged."""

    model: Any
    """what answers cloze items"""
    seconds: float | None = None
    """time in training steps, by the budget's clock; of a control, time on the wall; None when it took none"""
    bytes: int | None = None
    parameters: int | None = None
    folder: Path | None = None
    """run folder that can be timed in a process of its own"""
    milestones: list[tuple[float, Path]] = field(default_factory=list)
    """(seconds, run folder) of the model on its way"""
    bits_per_byte: Callable[[Sequence[str]], float] | None = None
    """of texts, where the model itself cannot tell"""
    settings: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def config_of(name: str, size: str, *, quick: bool = False) -> PretrainingConfig:
    """The ladder's preset of a recipe, with rare held-out losses, since the ladder judges by itself."""
    config = resolve(RECIPES[name].configure)(size, "ladder")
    rare = max(config.training.evaluate_every, 100_000 if quick else 2_000)
    return config.replace(training=config.training.replace(evaluate_every=rare, keep=1))


def train_recipe(work: Work, rung: Rung, folder: Path) -> Built:
    """Train a recipe for the budget; a folder with a finished run is taken as it is, a begun one goes on."""
    from polysemy.models import load_run
    from polysemy.training.budget import Budget
    from polysemy.training.pretrain import pretrain

    shared = config_of(SHARED, work.size).tokenizer
    pretrain(config_of(rung.recipe, work.size, quick=work.quick).replace(tokenizer=shared), work.text, folder,
             budget=Budget(minutes=work.minutes, clock=work.clock), seed=work.seed, device=work.device, unit=work.unit,
             milestones=MILESTONES, progress=_teller(work, rung))
    record = read_json(folder / "config.json")
    milestones = []
    for part in MILESTONES:
        path = folder / "milestones" / f"{part:g}"
        if (path / "config.json").is_file():
            milestones.append((float(read_json(path / "config.json")["results"]["seconds"]), path))
    results = record["results"]
    return Built(model=load_run(folder).to(work.device), seconds=float(results["seconds"]),
                 bytes=_bytes(folder), parameters=results["parameters"], folder=folder, milestones=milestones,
                 settings=_settings(record), remarks=["one seed"])


def train_words_recipe(work: Work, rung: Rung, folder: Path) -> Built:
    """Train a recipe of counts or word vectors within the budget; a folder with a finished run is taken as it is.

    Word vectors take seconds, so their curve is made of shorter runs, each with a rate that falls to its end; counts
    have none.
    """
    from polysemy.models import load_run

    record = _words_run(work, rung, folder, work.minutes)
    results, milestones = record["results"], []
    if rung.recipe != "ngram":
        for part in MILESTONES:
            path = folder / "milestones" / f"{part:g}"
            shorter = _words_run(work, rung, path, results["seconds"] * part / 60)
            milestones.append((float(shorter["results"]["seconds"]), path))
    bits = PieceNgram(work.text.train, work.text.tokenizer).bits_per_byte if rung.recipe == "ngram" else None
    return Built(model=load_run(folder), bits_per_byte=bits, seconds=float(results["seconds"]), bytes=_bytes(folder),
                 parameters=results["parameters"], folder=folder, milestones=milestones, settings=_settings(record),
                 remarks=["one seed"])


def _words_run(work: Work, rung: Rung, folder: Path, minutes: float) -> dict[str, Any]:
    """Train for at most so long, and the record of it; a run that was stopped is made anew, for it does not go on."""
    from polysemy.training.budget import Budget
    from polysemy.training.words import train_words

    start = time.monotonic()
    if (folder / "config.json").is_file() and read_json(folder / "config.json")["results"]["stopped"]:
        shutil.rmtree(folder)

    def show(step: Any) -> None:
        nonlocal start
        if time.monotonic() - start >= TELL_EVERY:
            start = time.monotonic()
            work.tell(f"{rung.label}: {step.fraction:.0%} of its passes or minutes", True)

    train_words(words_config_of(rung, work.unit), work.split.corpus("train"), folder,
                budget=Budget(minutes=minutes, clock=work.clock), seed=work.seed, held_out=False, progress=show)
    return read_json(folder / "config.json")


def words_config_of(rung: Rung, unit: str) -> Any:
    """The ladder's preset of a recipe of counts or word vectors, with the rung's own settings."""
    from polysemy.config import with_settings

    config = with_settings(resolve(RECIPES[rung.recipe].configure)("mini", "ladder"), dict(rung.settings))
    return config.replace(words=config.words.replace(unit=unit))


def load_downloaded(work: Work, rung: Rung, folder: Path) -> Built:
    """A downloaded model as it is: converted once, never trained here."""
    from polysemy.models.hugging_face import from_hugging_face
    from polysemy.models.pretrained import count_parameters
    from polysemy.models.text_encoder import TextEncoder

    if not (folder / "config.json").is_file():
        from_hugging_face(rung.path, folder, overwrite=True)
    model = TextEncoder.load(folder).to(work.device)
    return Built(model=model, bytes=_bytes(folder), parameters=count_parameters(model.model), folder=folder,
                 settings=_settings(read_json(folder / "config.json")), remarks=["may have seen this text"])


def count_words(work: Work, rung: Rung, folder: Path) -> Built:
    """The frequencies that the questions carry along."""
    return Built(model=UnigramControl())


def count_bigrams(work: Work, rung: Rung, folder: Path) -> Built:
    """Counts of neighbors in the training text."""
    start = time.perf_counter()
    model = BigramControl.train(work.split.train, unit=work.unit)
    size = sum(array.nbytes for counts in (model.units, model.pairs) for array in counts)
    return Built(model=model, seconds=time.perf_counter() - start, bytes=size,
                 settings={"smoothing": model.smoothing, "pairs": len(model.pairs[0]), "words": len(model.units[0])})


def draw_weights(work: Work, rung: Rung, folder: Path) -> Built:
    """The first trained recipe's body as it is before the first step."""
    from polysemy.models.pretrained import PretrainingModel
    from polysemy.models.text_encoder import TextEncoder
    from polysemy.training.pretrain import fitted

    config = fitted(config_of(SHARED, work.size), work.text.tokenizer)
    model = PretrainingModel(config.model, config.heads, seed=work.seed)
    return Built(model=TextEncoder(model, work.text.tokenizer, config).to(work.device), settings={"seed": work.seed})


def _bytes(folder: Path) -> int:
    from polysemy.evaluation.speed import bytes_on_disk

    return bytes_on_disk(folder)


def _settings(record: dict[str, Any]) -> dict[str, Any]:
    """What of a run's record a reader of the report may ask for."""
    config = record.get("config", {})
    names = ("budget_text", "seed", "dtype", "processes", "threads", "tokenizer", "text_hash")
    results = {name: value for name, value in record.get("results", {}).items() if name in ("step", "tokens", "loss")}
    return {**{name: record[name] for name in names if name in record}, **results,
            "weights sha256": record.get("files", {}).get("model.safetensors", {}).get("sha256"), **config}


def _teller(work: Work, rung: Rung) -> Callable[[Step], None]:
    last = time.monotonic()

    def show(step: Step) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_EVERY or step.last:
            last = time.monotonic()
            speed = step.state.tokens / max(step.state.seconds, 1e-9)
            work.tell(f"{rung.label}: {wording.duration(step.state.seconds)} of {wording.duration(60 * work.minutes)}, "
                      f"step {step.number:,}, loss {step.loss:.2f}, {speed:,.0f} tokens a second", not step.last)

    return show
