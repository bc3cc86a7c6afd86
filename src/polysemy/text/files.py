"""Which files a corpus consists of: files, folders and patterns become a checked, ordered list."""
from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polysemy.errors import InputError

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".log", ".jsonl", ".ndjson", ".parquet")
COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")
RECORD_SUFFIXES = (".jsonl", ".ndjson")
KINDS = {stat.S_ISCHR: "a character device", stat.S_ISBLK: "a block device", stat.S_ISFIFO: "a named pipe",
         stat.S_ISSOCK: "a socket"}


@dataclass(frozen=True)
class TextFile:
    """One file as it was when it was found; `check_unchanged` tells when it is another one."""

    path: Path
    size: int
    modified: int  # nanoseconds
    inode: int

    @classmethod
    def at(cls, path: Path) -> TextFile:
        facts = _stat(path)
        for test, kind in KINDS.items():
            if test(facts.st_mode):
                raise InputError(f"corpus must be regular files or folders, got {path}, {kind}")
        return cls(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)

    @property
    def suffix(self) -> str:
        """The suffix in small letters without that of the compression: `.jsonl` of `a.JSONL.gz`."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        if suffixes and suffixes[-1] in COMPRESSED_SUFFIXES:
            suffixes.pop()
        return suffixes[-1] if suffixes else ""

    def check_unchanged(self) -> None:
        """Refuse a file that was changed, replaced or deleted since it was found."""
        try:
            now = TextFile.at(self.path)
        except InputError as error:
            raise InputError(f"corpus must stay as it is during the run, but {self.path} is gone ({error})") from error
        if now != self:
            raise InputError(
                f"corpus must stay as it is during the run, but {self.path} was changed "
                f"({self.size:,} bytes before, {now.size:,} now); start again"
            )


def find_files(paths: Sequence[str | Path] | str | Path) -> list[TextFile]:
    """All files that the paths mean, in the order given, each once.

    A folder stands for every text file below it, by suffix and in the order of the names (hidden ones left out,
    linked folders not followed); a name with * ? or [ that is no file is a pattern (`**` crosses folders). Nothing
    found, a device, a pipe, a missing or unreadable file: InputError with the path.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    if not paths:
        raise InputError("corpus must be at least one file, folder or pattern, got none")
    found: dict[str, TextFile] = {}
    for path in paths:
        for file in _expand(str(path)):
            found.setdefault(os.path.realpath(file.path), file)
    return list(found.values())


def _expand(name: str) -> list[TextFile]:
    if not name or "\0" in name:
        raise InputError(f"corpus must be a file, folder or pattern, got {name!r}")
    path = Path(name).expanduser()
    if not os.path.lexists(path) and glob.has_magic(name):
        matches = sorted(glob.glob(str(path), recursive=True))
        files = [file for match in matches for file in _expand(match) if not Path(match).is_dir()]
        if not files:
            raise InputError(f"corpus must match at least one file, got {name!r}, which matches none")
        return files
    if path.is_dir():
        return _folder(path)
    return [TextFile.at(path)]


def _folder(folder: Path) -> list[TextFile]:
    def refuse(error: OSError) -> None:
        raise InputError(f"corpus must be readable, got {error.filename} ({error.strerror})") from error

    files = []
    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if not name.startswith(".") and path.is_file() and TextFile.at(path).suffix in TEXT_SUFFIXES:
                files.append(TextFile.at(path))
    if not files:
        raise InputError(
            f"corpus folder must hold text files ({' '.join(TEXT_SUFFIXES)}, also with "
            f"{' '.join(COMPRESSED_SUFFIXES)}), got {folder} without any; name the files if they end otherwise"
        )
    return files


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise InputError(f"corpus must be an existing, readable file, got {path} ({error.strerror})") from error
