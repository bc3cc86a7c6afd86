"""Co-occurrence ratios of a text, from the command line."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from polysemy.cli.main import main
from polysemy.models.glove.config import GloveConfig
from polysemy.runtime import random_for
from polysemy.text.corpus import Corpus
from polysemy.training.words import train_words


@pytest.fixture(scope="module")
def glove(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random, folder = random_for("ratios of a text"), tmp_path_factory.mktemp("ratios")
    lines = []
    for _ in range(3000):
        word = str(random.choice(["ice", "steam"]))
        near = {"ice": "solid", "steam": "gas"}[word]
        lines.append(f"{word} {random.choice([near, near, near, 'solid', 'gas', 'water'])}")
    (folder / "text.txt").write_text("\n".join(lines))
    config = GloveConfig(size=6, window=2, min_count=1, epochs=60, algorithm="plain", learning_rate=0.1)
    return train_words(config, Corpus([folder / "text.txt"], document="line"), folder / "run", threads=1)


def test_solid_goes_with_ice_and_gas_with_steam(glove: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "ratios", str(glove), "--words", "ice,steam,solid,gas,water", "--json"]) == 0
    rows = {row["probe"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    for kind in ("counted_ratio", "learned_ratio"):
        assert rows["solid"][kind] > 2
        assert rows["gas"][kind] < 0.5
        assert 0.6 < rows["water"][kind] < 1.7


def test_a_text_that_is_gone_is_said(glove: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (glove.parent / "text.txt").rename(glove.parent / "moved.txt")
    assert main(["demo", "ratios", str(glove), "--words", "ice,steam,solid"]) == 2
    assert "must still be there" in capsys.readouterr().err
    (glove.parent / "moved.txt").rename(glove.parent / "text.txt")


@pytest.mark.parametrize("words", ["ice,steam", "ice,steam,unheard"])
def test_words_must_be_known_and_three(glove: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "ratios", str(glove), "--words", words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
