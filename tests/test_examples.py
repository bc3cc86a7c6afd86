"""The examples run, and what they compare is asked of all in the same way."""
from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from polysemy.models import bert
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.text.corpus import Corpus
from polysemy.text.segments import FullSentences
from polysemy.training.prepared import PreparedText, prepare_text
from polysemy.training.pretrain import fitted
from small_runs import small_config, write_text

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An example as a module, which leaves the number of threads alone."""
    found = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setattr(module, "set_threads", lambda: None)
    return module


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    return str(write_text(tmp_path / "corpus.txt", 200))


def untrained(config: PretrainingConfig, text: PreparedText, folder: Path, *, seed: int, **_: Any) -> None:
    """In the place of `pretrain`: a run folder with first weights, and a loss that would be that of its own rows."""
    config = fitted(config, text.tokenizer)
    write_run(folder, PretrainingModel(config.model, config.heads, seed=seed), text.tokenizer, config)
    pairs = {"held_out_pair_accuracy": 0.5} if "pair" in config.heads else {}
    (folder / "metrics.jsonl").write_text(json.dumps({"held_out_masked_lm": float(len(str(folder)))} | pairs) + "\n")


def test_sentence_objectives_run(corpus: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                                 ) -> None:
    example("ablate_sentence_objective", monkeypatch).main([corpus, "--tokens", "3000", "--seeds", "1"])
    _, *rows, last = capsys.readouterr().out.splitlines()
    assert [row[:16].strip() for row in rows] == ["none", "next sentence", "sentence order"]
    assert all(2 < float(row[16:39]) < 9 for row in rows)
    assert [row[39:].endswith("%") for row in rows] == [False, True, True]
    assert "hidden tokens" in last


def test_sentence_objectives_are_judged_by_the_same_hidden_tokens(
        corpus: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same weights have the same loss, whichever rows they would have been trained on."""
    module = example("ablate_sentence_objective", monkeypatch)
    monkeypatch.setattr(module, "pretrain", untrained)
    module.main([corpus, "--seeds", "1"])
    losses = [row[16:39].strip() for row in capsys.readouterr().out.splitlines()[1:4]]
    assert len(set(losses)) == 1
    assert 2 < float(losses[0]) < 9


def test_masking_runs(corpus: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    example("ablate_masking", monkeypatch).main([corpus, "--tokens", "3000", "--seeds", "2"])
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split("  ")[-1].strip() == "probed %"
    assert [row[:18].strip() for row in rows] == ["first weights", "80/10/10", "100 % [MASK]"]
    numbers = np.array([[float(row[at:at + 18].split("±")[0]) for at in range(18, 90, 18)] for row in rows])
    assert np.isfinite(numbers).all()
    assert numbers[0, 3] > 90, "what goes into a layer without learned weights comes out of it"
    assert (numbers[1:, 0] < numbers[0, 0]).all(), "a few steps are better than none"


@pytest.fixture
def text(corpus: str, tmp_path: Path) -> PreparedText:
    return prepare_text(Corpus([corpus]), small_config(), tmp_path / "text")


def test_masking_asks_for_the_same_tokens_hidden_or_not(text: PreparedText, monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("ablate_masking", monkeypatch)
    masked, itself = (next(module.rows_of(text, text.held_out, how)) for how in (module.MASKED, module.ITSELF))
    np.testing.assert_array_equal(masked.hidden, itself.hidden)
    np.testing.assert_array_equal(itself.ids[itself.hidden], itself.targets)
    assert (masked.ids[masked.hidden] == text.tokenizer.mask_id).all()
    np.testing.assert_array_equal(masked.ids[~masked.hidden], itself.ids[~itself.hidden])


def test_a_model_that_guesses_evenly_loses_the_logarithm_of_the_vocabulary(
        text: PreparedText, monkeypatch: pytest.MonkeyPatch) -> None:
    module, config = example("ablate_masking", monkeypatch), bert.configure("tiny")
    config = fitted(config.replace(segments=FullSentences(), heads=("masked_lm",)), text.tokenizer)
    model = PretrainingModel(config.model, config.heads).eval()
    with torch.no_grad():
        model.table.zero_()
    loss, _ = module.asked(model, text, module.ITSELF)
    assert loss == pytest.approx(math.log(text.tokenizer.vocab_size), rel=1e-4)


def test_a_linear_map_names_what_is_there_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    module, draws = example("ablate_masking", monkeypatch), torch.Generator().manual_seed(0)
    codes = torch.randn(40, 64, generator=draws, dtype=torch.float64)
    numbers, new = (torch.randint(40, (2_000,), generator=draws) for _ in range(2))
    noise = torch.randn(2, 2_000, 64, generator=draws, dtype=torch.float64)
    assert module.probed(codes[numbers] + 0.1 * noise[0], numbers, codes[new] + 0.1 * noise[1], new) > 0.99
    assert module.probed(noise[0], numbers, noise[1], new) < 0.1
