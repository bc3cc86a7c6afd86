"""The demo corpus: parsed and never run, the same every time, bounded, and prose."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from polysemy.ladder.demo_corpus import demo_corpus
from polysemy.runtime import random_for

THINGS = ("list", "file", "name", "folder", "number", "color", "window", "letter", "garden", "river", "answer", "table")
GLUE = ("of the", "with a", "and then", "for this", "in that", "by which", "so if", "when all", "to any", "from one")


def sentence(number: int) -> str:
    """Something with the looks of prose that repeats no other sentence for long."""
    random = random_for("sentence", number)
    words = [f"{GLUE[random.integers(len(GLUE))]} {THINGS[random.integers(len(THINGS))]}" for _ in range(8)]
    return f"Number {number} is {' '.join(words)}."


def write_module(path: Path, first: int, code: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    functions = "\n".join(f'def f{i}():\n    """{sentence(i)}"""' for i in range(first, first + 12))
    path.write_text(f'"""Module {first}."""\n{code}\n{functions}\n')


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w').write('x')"
    write_module(tmp_path / "lib" / "planted.py", 0, trap)
    write_module(tmp_path / "lib" / "sub" / "second.py", 100)
    write_module(tmp_path / "lib" / "tests" / "hidden.py", 700)
    write_module(tmp_path / "site" / "package" / "__init__.py", 200, trap + "\nimport does_not_exist_at_all")
    (tmp_path / "site" / "package" / "broken.py").write_text("def (:\n")
    (tmp_path / "site" / "package" / "latin.py").write_bytes(b'"""caf\xe9"""')
    info = tmp_path / "site" / "package-1.0.dist-info"
    info.mkdir()
    story = " ".join(f"The {thing} of this package is what you should read about when you begin to use it." for thing in
                     THINGS)
    (info / "METADATA").write_text(f"Name: package\nVersion: 1.0\nSummary: the thing\n\n# Title\n\n{story}\n")
    return [tmp_path / "lib", tmp_path / "site"]


def test_nothing_is_imported_or_run(roots: list[Path], tmp_path: Path) -> None:
    before = set(sys.modules)
    text = demo_corpus(tmp_path / "out", roots=roots).read_text()
    assert not (tmp_path / "ran").exists()
    assert not {name for name in set(sys.modules) - before if name.startswith(("planted", "package", "second"))}
    assert sentence(3) in text
    assert sentence(205) in text


def test_the_same_files_give_the_same_bytes(roots: list[Path], tmp_path: Path) -> None:
    first, second = (demo_corpus(tmp_path / name, roots=roots) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert first.name == second.name


def test_documents_are_blocks_with_a_paragraph_a_line(roots: list[Path], tmp_path: Path) -> None:
    text = demo_corpus(tmp_path / "out", roots=roots).read_text()
    blocks = text.rstrip("\n").split("\n\n")
    assert len(blocks) == 4  # two modules, the package's page, its module
    assert all(line.strip() == line and line for block in blocks for line in block.split("\n"))


def test_tests_headers_and_repeats_are_left_out(roots: list[Path], tmp_path: Path) -> None:
    write_module(roots[0] / "copy_of_planted.py", 0)
    text = demo_corpus(tmp_path / "out", roots=roots).read_text()
    assert sentence(705) not in text
    assert "Version: 1.0" not in text
    assert text.count(sentence(3)) == 1


def test_a_second_call_takes_the_cache_and_a_changed_file_does_not(roots: list[Path], tmp_path: Path) -> None:
    lines: list[str] = []
    first = demo_corpus(tmp_path / "out", roots=roots, progress=lines.append)
    again = demo_corpus(tmp_path / "out", roots=roots, progress=lines.append)
    assert again == first
    assert "cache" in lines[-1]
    write_module(roots[0] / "new.py", 300)
    assert demo_corpus(tmp_path / "out", roots=roots) != first


def test_the_wanted_number_of_words_bounds_the_corpus(roots: list[Path], tmp_path: Path) -> None:
    small = demo_corpus(tmp_path / "small", roots=roots, max_words=300).read_text()
    assert 0 < len(small.split()) < 700


def test_a_home_that_cannot_be_written_is_no_obstacle(roots: list[Path], tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocker))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    assert demo_corpus(roots=roots).is_relative_to(tmp_path / "tmp")


@pytest.mark.slow
def test_this_machine_gives_a_million_words_of_prose_in_half_a_minute(tmp_path: Path) -> None:
    import time

    start = time.process_time()
    text = demo_corpus(tmp_path).read_text()
    assert time.process_time() - start < 45
    assert 400_000 < len(text.split()) < 1_300_000
    assert not any(line.lstrip().startswith(">>>") for line in text.splitlines())  # prose may speak of prompts
