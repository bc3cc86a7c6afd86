"""A model folder, read and written safely: JSON and safetensors only, checked before it is believed.

A folder is complete or absent: it is built under a temporary name beside its place, flushed to disk and renamed.
`config.json` lists the size and sha256 of every other file, so a cut or altered file is found when it is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysemy.errors import InputError

FORMAT = 1
MAX_JSON_BYTES = 64 << 20
MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 20_000
MAX_DIMENSION = 2**40
DTYPE_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
PICKLE_SUFFIXES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib"}
PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A run folder whose config was read and whose listed files were found with the right size and sha256."""

    path: Path
    config: dict[str, Any]

    @property
    def recipe(self) -> str:
        return str(self.config["recipe"])

    def file(self, name: str) -> Path:
        return inside(self.path, name)


@contextlib.contextmanager
def new_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well and vanishes when it does not.

    With `overwrite` an existing folder is moved aside first and removed once the new one stands.
    """
    path = Path(path)
    if path.exists() and not overwrite and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"output folder must be new or empty, got {path}; choose another name or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(f"output folder must be writable, got {path} ({error.strerror})") from error
    try:
        work.chmod(0o777 & ~_umask())
        yield work
        for file in sorted(work.rglob("*")):
            if file.is_file():
                flush(file)
        flush(work)
        _swap(work, path)
        flush(path.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def finish(folder: Path, config: Mapping[str, Any]) -> None:
    """Write `config.json` with the format number and the size and sha256 of every file already in `folder`."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != "config.json")
        if name not in ("metrics.jsonl", "README.md", "lock")
    }
    write_json(folder / "config.json", {"format": FORMAT, **config, "files": files})


def read_folder(path: str | Path, *, verify: bool = True) -> Folder:
    """Open a run folder: known format, no listed file missing, every size (and sha256 with `verify`) as written."""
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"model must be a run folder, got {path}{'' if path.exists() else ', which does not exist'}")
    if not (path / "config.json").is_file():
        hint = (
            "; training there has not finished, go on with the same train command"
            if (path / "checkpoints").is_dir()
            else ""
        )
        raise InputError(f"model folder must contain config.json, got {path}{hint}")
    config = read_json(path / "config.json")
    if not isinstance(config, dict) or "recipe" not in config:
        hint = (
            "; for a folder of transformers run: polysemy convert SRC DST --from hf" if "model_type" in config else ""
        )
        raise InputError(f"config.json must be one that polysemy wrote, got {path}{hint}")
    if config.get("format") != FORMAT:
        raise InputError(
            f"format must be {FORMAT}, got {config.get('format')!r} in {path}; "
            "it was written by another version of polysemy"
        )
    for name, entry in config.get("files", {}).items():
        file = inside(path, name)
        if not file.is_file():
            raise InputError(f"{path} must contain {name}, which its config.json lists; the folder is incomplete")
        if file.stat().st_size != entry["bytes"] or (verify and sha256(file) != entry["sha256"]):
            raise InputError(f"{file} must be as it was written, got another size or sha256; it was cut or altered")
    return Folder(path=path, config=config)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file under a temporary name, flush it, rename it: a reader sees the old or the new one."""
    path = Path(path)
    work = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(work, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, path)
    finally:
        work.unlink(missing_ok=True)
    flush(path.parent)


def write_json(path: str | Path, value: Any) -> None:
    """Atomic JSON; NaN and infinity are bugs here, never written."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: str | Path, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parsed JSON of a bounded file; anything else is an InputError."""
    path = Path(path)
    try:
        if path.stat().st_size > max_bytes:
            raise InputError(f"{path} must be at most {max_bytes:,} bytes, got {path.stat().st_size:,}")
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path} must be readable ({error.strerror})") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} must be JSON, got {type(error).__name__}: {error}") from error


def save_tensors(path: str | Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write NumPy arrays or torch tensors as one safetensors file, atomically."""
    path = Path(path)
    work = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save = _safetensors(tensors).save_file
    try:
        save(dict(tensors), work, metadata={"format": "pt", **(metadata or {})})
        work.chmod(0o666 & ~_umask())  # the library makes it for this user alone
        flush(work)
        os.replace(work, path)
    finally:
        work.unlink(missing_ok=True)
    flush(path.parent)


def load_tensors(path: str | Path, *, torch: bool = True, device: str = "cpu") -> dict[str, Any]:
    """The tensors of a checked safetensors file, as torch tensors or NumPy arrays."""
    path = Path(path)
    check_safetensors(path)
    if torch:
        from safetensors.torch import load_file

        return load_file(path, device=device)
    from safetensors.numpy import load_file as load_arrays

    return load_arrays(path)


def map_tensors(path: str | Path, *, integers: Collection[str] = ()) -> dict[str, Any]:
    """The float32 matrices of a checked safetensors file, memory-mapped: nothing is read before its use.

    integers: names of tensors that are int32 and may be empty.
    """
    import numpy as np

    path = Path(path)
    shapes = check_safetensors(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    for name, (dtype, shape) in shapes.items():
        if dtype != ("I32" if name in integers else "F32") or (0 in shape and name not in integers):
            kind = "int32" if name in integers else "float32"
            raise InputError(f"{name} must be {kind} numbers, got {dtype} {shape} in {path}")
    return {name: np.zeros(shape, np.int32) if 0 in shape else
            np.memmap(path, np.int32 if name in integers else np.float32, "r",
                      8 + length + header[name]["data_offsets"][0], shape)
            for name, (_, shape) in shapes.items()}


def check_safetensors(path: str | Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> (dtype, shape), after the header was held against the file: size, count, duplicates, ranges, holes.

    The library accepts duplicate names and hundreds of thousands of empty tensors; this refuses them first.
    """
    path = Path(path)
    refuse_pickle(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise _damaged(path, f"its header claims {length:,} bytes in a file of {size:,}")
            header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_no_duplicates)
    except OSError as error:
        raise InputError(f"{path} must be readable ({error.strerror})") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, _DuplicateErrorError) as error:
        raise _damaged(path, f"its header is not valid ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not an object")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise _damaged(path, f"it lists {len(header):,} tensors, more than {MAX_TENSORS:,}")
    return _check_ranges(path, header, size - 8 - length)


def refuse_pickle(path: Path) -> None:
    """Refuse a pickle by its name or first bytes, without opening it as one."""
    head = b""
    if path.is_file():
        with open(path, "rb") as file:
            head = file.read(4)
    if path.suffix in PICKLE_SUFFIXES or head.startswith(PICKLE_MAGIC):
        raise InputError(
            f"weights must be safetensors, got {path}, a pickle, which can run code when opened; "
            "convert it with a tool you trust (transformers: save_pretrained)"
        )


def inside(folder: Path, name: str) -> Path:
    """`folder/name`, refused when the name is absolute, climbs out, links out or holds control characters."""
    path = folder / name
    bad = not name or name.startswith(("/", "\\")) or any(ord(ch) < 32 for ch in name) or len(name) > 255
    if bad or not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"file name must stay inside {folder}, got {name!r}")
    return path


def sha256(path: str | Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """fsync a file or folder, so that a rename after it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(work: Path, path: Path) -> None:
    if not path.exists():
        os.rename(work, path)
        return
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    os.rename(path, old)
    try:
        os.rename(work, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_ranges(path: Path, header: Mapping[str, Any], room: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    found, ranges = {}, []
    for name, entry in header.items():
        try:
            dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        except (TypeError, KeyError, ValueError) as error:
            raise _damaged(path, f"{name!r} lacks dtype, shape or data_offsets") from error
        whole = isinstance(shape, list) and all(type(n) is int for n in (*shape, start, stop))
        if dtype not in DTYPE_BYTES or not whole or any(not 0 <= n <= MAX_DIMENSION for n in shape):
            raise _damaged(path, f"{name!r} has dtype {dtype!r} and shape {shape!r}")
        count = 1
        for n in shape:
            count *= n
        if not 0 <= start <= stop <= room or stop - start != count * DTYPE_BYTES[dtype]:
            raise _damaged(path, f"{name!r} has shape {shape} but bytes {start}..{stop} of {room:,}")
        found[name] = (dtype, tuple(shape))
        ranges.append((start, stop))
    end = 0
    for start, stop in sorted(ranges):
        if start != end:
            raise _damaged(path, "its tensors overlap or leave holes")
        end = stop
    if end != room:
        raise _damaged(path, f"its tensors end at {end:,} of {room:,} bytes")
    return found


class _DuplicateErrorError(ValueError):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateErrorError("a name stands twice")
    return result


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} must be a safetensors file, but {reason}; it is damaged or not one")


def _safetensors(tensors: Mapping[str, Any]) -> Any:
    if any(type(tensor).__module__ == "numpy" for tensor in tensors.values()):
        import safetensors.numpy

        return safetensors.numpy
    import safetensors.torch

    return safetensors.torch


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
