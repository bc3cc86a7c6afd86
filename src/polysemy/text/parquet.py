"""The text column of a parquet file, row by row (extra `formats`)."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from polysemy.errors import InputError

ROWS = 1024


def read_parquet(path: Path, field: str) -> Iterator[str]:
    """The strings of one column; rows without one are left out. InputError where the file or column is not fit."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f'corpus must not be parquet unless its reader is installed, got {path}; pip install "polysemy[formats]"'
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if field not in names:
                raise InputError(f"{path} must have a column {field!r}, got {', '.join(names[:8])}")
            kind = file.schema_arrow.field(field).type
            if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
                raise InputError(f"column {field!r} of {path} must hold strings, got {kind}")
            for batch in file.iter_batches(ROWS, columns=[field]):
                yield from (text for text in batch.column(0).to_pylist() if text and not text.isspace())
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} must be an undamaged parquet file: {error}") from error
