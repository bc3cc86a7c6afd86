from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from polysemy import artifact
from polysemy.artifact import (
    check_safetensors,
    finish,
    inside,
    load_tensors,
    new_folder,
    read_folder,
    read_json,
    save_tensors,
    write_json,
)
from polysemy.errors import InputError


@pytest.fixture
def tensors(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([7], dtype=np.int64)})
    return path


def made(tmp_path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "crafted.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_tensors_come_back_equal(tensors: Path) -> None:
    assert check_safetensors(tensors) == {"a": ("F32", (2, 3)), "b": ("I64", (1,))}
    loaded = load_tensors(tensors, torch=False)
    assert loaded["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded["b"].tolist() == [7]


def test_every_truncation_is_refused(tensors: Path, tmp_path: Path) -> None:
    whole = tensors.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(InputError):
            check_safetensors(cut)


@pytest.mark.parametrize(
    ("header", "data", "length"),
    [
        ({}, b"", 2**40),
        ({}, b"", 0),
        ({}, b"", 2**64 - 1),
        (b"not json", b"", None),
        (b'{"\xff": 1}', b"", None),
        (b"[" * 100_000, b"", None),
        ([], b"", None),
        ({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12), None),
        ({"a": entry([2], 0, 8)}, bytes(9), None),
        ({"a": entry([2], 4, 12)}, bytes(12), None),
        ({"a": entry([2], -4, 4)}, bytes(8), None),
        ({"a": entry([-2], 0, 8)}, bytes(8), None),
        ({"a": entry([2**40, 2**40], 0, 8)}, bytes(8), None),
        ({"a": entry([3], 0, 8)}, bytes(8), None),
        ({"a": entry([2], 0, 8, "F99")}, bytes(8), None),
        ({"a": entry([2.0], 0, 8)}, bytes(8), None),  # type: ignore[list-item]
        ({"a": 3}, b"", None),
        (
            b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
            b"",
            None,
        ),
        ({str(i): entry([0], 0, 0) for i in range(20_001)}, b"", None),
    ],
)
def test_a_lying_header_is_refused_at_once(tmp_path: Path, header: object, data: bytes, length: int | None) -> None:
    path = made(tmp_path, header, data, length)
    start = time.process_time()
    with pytest.raises(InputError, match="damaged"):
        check_safetensors(path)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", ["model.pt", "model.bin", "model.pkl", "renamed.safetensors"])
def test_a_pickle_is_refused_unopened(tmp_path: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    import pickle

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="pickle"):
        load_tensors(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "run") as work:
            (work / "part").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "run") as work:
        (work / "part").write_text("x")
        assert not (tmp_path / "run").exists()
    assert (tmp_path / "run" / "part").read_text() == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_in_use_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    with new_folder(tmp_path / "run") as work:
        (work / "old").touch()
    with pytest.raises(InputError, match="new or empty"), new_folder(tmp_path / "run"):
        pass
    with new_folder(tmp_path / "run", overwrite=True) as work:
        (work / "new").touch()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["new"]


def run_folder(path: Path) -> Path:
    with new_folder(path) as work:
        save_tensors(work / "model.safetensors", {"a": np.zeros(3, np.float32)})
        finish(work, {"recipe": "bert"})
    return path


def test_a_run_folder_opens_and_names_its_recipe(tmp_path: Path) -> None:
    assert read_folder(run_folder(tmp_path / "run")).recipe == "bert"


def test_a_flipped_byte_a_missing_file_and_another_format_are_found(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match="cut or altered"):
        read_folder(folder)
    weights.unlink()
    with pytest.raises(InputError, match="incomplete"):
        read_folder(folder)
    write_json(folder / "config.json", {"format": 99, "recipe": "bert", "files": {}})
    with pytest.raises(InputError, match="another version"):
        read_folder(folder)
    write_json(folder / "config.json", {"model_type": "bert"})
    with pytest.raises(InputError, match="convert"):
        read_folder(folder)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(artifact.os, name, lambda *_: (_ for _ in ()).throw(OSError("disk full")))
            with pytest.raises(OSError, match="disk"):
                write_json(path, {"new": 2})
        assert read_json(path) == {"old": 1}
        assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\0b", "a\nb", "x" * 300])
def test_a_name_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="inside"):
        inside(tmp_path, name)


def test_a_link_cannot_leave_its_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="inside"):
        inside(tmp_path / "run", "link")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"a": 1} trailing'])
def test_json_that_is_none_is_one_clear_line(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "c.json").write_bytes(text)
    with pytest.raises(InputError, match="must be JSON"):
        read_json(tmp_path / "c.json")


def test_a_json_file_beyond_its_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b" " * 2000)
    with pytest.raises(InputError, match="at most 1,000 bytes"):
        read_json(tmp_path / "c.json", max_bytes=1000)
