"""Machine code is kept where it can be, and never used after its sources changed."""
from __future__ import annotations

from pathlib import Path

import numba
import pytest

from polysemy.machine_code import code_folder, compiled, kept_in

find = code_folder.__wrapped__


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    (tmp_path / "loops.py").write_text("import numba")
    return tmp_path


def test_the_folder_is_named_by_the_sources_that_define_loops(package: Path) -> None:
    first = find(package)
    (package / "other.py").write_text("nothing is compiled here")
    assert find(package) == first
    (package / "loops.py").write_text("import numba  # changed")
    second = find(package)
    assert first.parent == second.parent == package / "__pycache__"
    assert first != second


def test_a_change_in_what_is_called_counts_too(package: Path, tmp_path: Path) -> None:
    called = tmp_path / "called"
    called.mkdir()
    (called / "routine.py").write_text("from polysemy.machine_code import compiled")
    first = find(package, called)
    (called / "routine.py").write_text("from polysemy.machine_code import compiled as made")
    assert find(package, called) != first


def test_sources_that_cannot_be_written_beside_use_the_users_cache(package: Path, monkeypatch: pytest.MonkeyPatch,
                                                                   tmp_path: Path) -> None:
    (package / "__pycache__").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert find(package).parent == tmp_path / "cache" / "polysemy"
    (tmp_path / "cache").rename(tmp_path / "gone")
    (tmp_path / "cache").write_text("no folder either")
    assert find(package) is None


def test_a_place_that_the_user_names_is_taken(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "named"))
    assert find(package).parent == tmp_path / "named"


def test_the_setting_of_numba_is_as_before_afterwards(tmp_path: Path) -> None:
    settings = numba.config
    before = settings.CACHE_DIR
    with kept_in(tmp_path):
        within = settings.CACHE_DIR
    after = settings.CACHE_DIR
    assert (within, after) == (str(tmp_path), before)


def test_loops_are_compiled_with_the_options_given() -> None:
    @compiled(fastmath=True)
    def twice(x: float) -> float:
        return 2 * x

    assert twice(1.5) == 3
    assert twice.targetoptions["fastmath"]
    assert twice.targetoptions["nogil"]
