"""A safetensors file from arrays in pieces, written as they lie: a copy would double the memory of a large model."""
from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polysemy.artifact import flush

KINDS = {"I64": np.dtype(np.int64), "I32": np.dtype(np.int32), "F32": np.dtype(np.float32)}


def save_pieces(path: Path, tensors: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Write vectors, each the pieces of one type one behind the other; the file appears when it is whole."""
    names = {dtype: name for name, dtype in KINDS.items()}
    order = sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))  # at multiples of their size
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        begin, end = end, end + sum(piece.nbytes for piece in tensors[name])
        dtype = tensors[name][0].dtype
        assert all(piece.dtype == dtype for piece in tensors[name])
        header[name] = {"dtype": names[dtype], "shape": [(end - begin) // dtype.itemsize], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    work = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(work, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                for piece in tensors[name]:
                    file.write(np.ascontiguousarray(piece).data)
        flush(work)
        os.replace(work, path)
    finally:
        work.unlink(missing_ok=True)
    flush(path.parent)


def map_pieces(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a checked safetensors file, read-only views of the mapped file."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    data = np.asarray(np.memmap(path, np.uint8, "r"))  # plain arrays: Numba recognizes a memmap's type slowly
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, stop = (8 + length + offset for offset in entry["data_offsets"])
            arrays[name] = data[start:stop].view(KINDS[entry["dtype"]]).reshape(entry["shape"])
    return arrays
