"""--overwrite: it removes a run and nothing else, and only once the new one has begun."""
from __future__ import annotations

from pathlib import Path

import pytest

from polysemy.cli.main import main
from polysemy.errors import InputError
from polysemy.training.lock import folder_lock
from polysemy.training.replacing import replacing
from small_runs import write_text


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt")


def train(corpus: Path, out: Path, *more: str) -> int:
    return main(["train", "word2vec", str(corpus), "-o", str(out), "--epochs", "1", "--set", "size=8", "--threads", "1",
                 *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_new_run_takes_the_place_of_the_old_one_and_nothing_stays_beside_it(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(corpus, out) == 0
    old = contents(out)
    assert train(corpus, out, "--seed", "5") == 2
    assert contents(out) == old
    assert train(corpus, out, "--seed", "5", "--overwrite") == 0
    assert contents(out)["model.safetensors"] != old["model.safetensors"]
    assert {path.name for path in tmp_path.iterdir()} == {"run", "text.txt"}


@pytest.mark.parametrize("wrong", [["--set", "size=0"], ["--set", "window=x"]])
def test_bad_input_keeps_the_old_run(corpus: Path, tmp_path: Path, wrong: list[str]) -> None:
    out, empty = tmp_path / "run", tmp_path / "empty.txt"
    empty.write_text("")
    assert train(corpus, out) == 0
    old = contents(out)
    assert train(corpus, out, "--overwrite", *wrong) == 2
    assert train(empty, out, "--overwrite") == 2
    assert main(["train", "bert", str(empty), "-o", str(out), "--steps", "1", "--size", "tiny", "--overwrite"]) == 2
    assert main(["train", "bert", str(corpus), "-o", str(out), "--steps", "1", "--size", "tiny", "--overwrite",
                 "--tokenizer", str(tmp_path / "none")]) == 2
    assert contents(out) == old
    assert {path.name for path in tmp_path.iterdir()} == {"run", "text.txt", "empty.txt"}


@pytest.mark.parametrize("files", [{"config.json": '{"my": "app"}', "thesis.txt": "x"}, {"metrics.jsonl": "", "a": ""},
                                   {"checkpoints/a": ""}, {"text/thesis.txt": "x"}])
def test_what_is_no_run_is_not_touched(corpus: Path, tmp_path: Path, files: dict[str, str]) -> None:
    out = tmp_path / "project"
    for name, text in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    before = contents(out)
    if "checkpoints/a" in files:  # no more than a run makes before it begins: nothing is removed either
        with replacing(out):
            assert contents(out) == before
    else:
        with pytest.raises(InputError, match="--overwrite must name a run folder"), replacing(out):
            pass
        assert train(corpus, out, "--overwrite") == 2
    assert contents(out) == before


def test_a_run_in_use_is_refused_and_left(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(corpus, out) == 0
    old = contents(out)
    with folder_lock(out):
        assert train(corpus, out, "--overwrite") == 2
        assert (out / "lock").is_file()
    assert contents(out) == old


def test_other_processes_of_torchrun_leave_the_folder_to_the_first(corpus: Path, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    assert train(corpus, out) == 0
    old = contents(out)
    monkeypatch.setenv("RANK", "1")
    with replacing(out):
        assert contents(out) == old


@pytest.mark.parametrize("text", ["", " \n \n", "One line only.\n"])
def test_bad_text_leaves_no_folder(tmp_path: Path, text: str) -> None:
    corpus, out = tmp_path / "bad.txt", tmp_path / "run"
    corpus.write_text(text)
    words = ["train", "bert", str(corpus), "-o", str(out), "--steps", "1", "--size", "tiny"]
    assert main(words) == 2
    assert not out.exists()
    assert main([*words, "--resume"]) == 2
