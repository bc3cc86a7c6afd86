"""The table of rungs, and what may be asked of it."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from polysemy.artifact import read_json, write_json
from polysemy.errors import InputError
from polysemy.ladder.builders import train_words_recipe
from polysemy.ladder.rungs import RUNGS, choose
from polysemy.ladder.settings import LadderConfig
from polysemy.models import RECIPES, load_run, resolve
from polysemy.text.corpus import text_documents


def test_every_row_can_be_built_and_every_text_recipe_is_a_rung() -> None:
    assert all(callable(resolve(rung.build)) for rung in RUNGS.values())
    trained = {row.name for row in RECIPES.values() if row.train}
    assert {rung.recipe for rung in RUNGS.values() if rung.recipe} == trained
    assert all(rung.sees and rung.costs and rung.good_for for rung in RUNGS.values())


def test_controls_always_come_along_and_the_table_gives_the_order() -> None:
    assert [rung.name for rung in choose(["roberta", "bert"])] == ["unigram", "bigram", "random weights", "bert",
                                                                   "roberta"]
    assert [rung.name for rung in choose()] == list(RUNGS)


def test_a_downloaded_model_is_a_rung_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    rung = choose(["bert", f"hf:{folder}"])[-1]
    assert rung.label == "hf:my model"
    assert rung.kind == "downloaded"
    assert rung.slug.startswith("hf-my-model-")
    assert "/" not in rung.slug


@pytest.mark.parametrize(("names", "message"), [
    (["brt"], r"rungs must be of the table or hf:PATH, got 'brt'; did you mean 'bert'\?"),
    (["bert", "bert"], "rungs must differ, got 'bert' twice"),
    (["unigram", "bigram"], "rungs must hold one that is no control"),
    (["hf:/nowhere"], r"hf:PATH must name a folder that holds config\.json"),
])
def test_wrong_rungs_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(names)


def test_a_total_is_shared_by_the_trained_rungs() -> None:
    assert LadderConfig(total=6.0).minutes_of(4) == 1.5
    assert LadderConfig(minutes=2.0).minutes_of(4) == 2.0
    assert LadderConfig().minutes_of(4) == 5.0


@pytest.mark.parametrize("settings", [{"minutes": 1.0, "total": 2.0}, {"minutes": 0.0}, {"max_ms": -1.0},
                                      {"threads": 0}, {"purpose": "generate"}])
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        LadderConfig(**settings)  # type: ignore[arg-type]


def test_a_rung_of_words_that_was_stopped_is_made_anew(tmp_path: Path) -> None:
    texts = text_documents([f"the bank of river {i % 7} was green and the boat lay there" for i in range(60)])
    split = SimpleNamespace(corpus=lambda name: texts)
    work = SimpleNamespace(split=split, minutes=1.0, clock="wall", seed=0, unit="character", tell=lambda *line: None)
    rung = replace(RUNGS["cbow"], settings=(("algorithm", "plain"), ("size", "8")))
    built = train_words_recipe(work, rung, tmp_path / "run")  # type: ignore[arg-type]
    record = read_json(tmp_path / "run" / "config.json")
    write_json(tmp_path / "run" / "config.json", {**record, "results": {**record["results"], "stopped": True}})
    again = train_words_recipe(work, rung, tmp_path / "run")  # type: ignore[arg-type]
    assert built.parameters == again.parameters
    assert not read_json(tmp_path / "run" / "config.json")["results"]["stopped"]
    assert [path.name for _, path in again.milestones] == ["0.0625", "0.25"]
    assert all("bank" in load_run(path) for _, path in again.milestones), "each is a whole run"
