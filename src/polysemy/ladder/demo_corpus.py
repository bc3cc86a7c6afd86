"""A corpus from what is already on the machine: the documentation of Python and of the installed packages.

Sources are parsed, never imported or run. The order and the choice depend on the files alone, so that one machine
gives one corpus; another machine, with other packages, gives another one. A document is a module or a page.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import sysconfig
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from polysemy.artifact import write_bytes
from polysemy.ladder.documentation import docstrings, paragraphs, string_values

RULE = 1  # goes up when the extraction changes, so that a cached corpus of an older rule is not taken
SKIPPED_FOLDERS = frozenset(
    ("test", "tests", "testing", "idle_test", "_vendor", "vendor", "externals", "site-packages", "__pycache__")
)
LARGEST_FILE = 2_000_000  # bytes; larger sources are tables, not documentation
LARGEST_SOURCE = 24_000_000  # bytes read from one package, which bounds the time
TEXT_ENDINGS = (".rst", ".md")
SMALLEST_DOCUMENT, LARGEST_DOCUMENT = 60, 4_000  # words
MAIL_HEADER = re.compile(r"\A(?:[\w-]+:.*\n(?:[ \t].*\n)*)+")  # a package's METADATA begins like a letter
SHINGLE = 8  # words; a paragraph with half of its runs of 8 words seen before is a repeat

SourceFile = tuple[Path, int, int]  # path, bytes, time of change in nanoseconds


def demo_corpus(
    folder: str | Path | None = None,
    *,
    max_words: int = 1_000_000,
    roots: Sequence[str | Path] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Path of a text file of about `max_words` words: one paragraph a line, a blank line between documents.

    It is kept in `folder` (default: the user's cache, or the temporary folder where that cannot be written) under a
    name made of the sizes and times of all sources, so that the second call costs a look at the files. `roots` are
    folders of sources, the most trusted first (default: the standard library, then the installed packages).
    """
    tell = progress or (lambda line: None)
    sources = _sources([Path(root) for root in roots] if roots is not None else _installed())
    path = _cache_folder(folder) / f"documentation-{_key(sources, max_words)}.txt"
    if path.is_file() and path.stat().st_size:
        tell(f"text: documentation on this machine, from the cache {path}")
        return path
    tell(f"text: reading the documentation of {len(sources)} packages on this machine ...")
    collecting = gc.isenabled()
    gc.disable()  # syntax trees hold no cycles; walking them over and over costs a quarter of the time
    try:
        documents, words = _collect(sources, max_words)
    finally:
        if collecting:
            gc.enable()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, "\n\n".join("\n".join(document) for document in documents).encode() + b"\n")
    tell(f"text: {words:,} words in {len(documents):,} documents, kept in {path}")
    return path


def _installed() -> list[Path]:
    places = sysconfig.get_paths()
    return [Path(place) for place in dict.fromkeys(places[name] for name in ("stdlib", "purelib", "platlib"))]


def _sources(roots: list[Path]) -> list[tuple[str, list[SourceFile]]]:
    """(name, files with size and time) of each source: the first root as one, then packages, the largest first."""
    named: list[tuple[str, list[SourceFile]]] = []
    for number, root in enumerate(roots):
        groups: dict[str, list[SourceFile]] = {}
        for path, size, time in _files(root):
            first = path.relative_to(root).parts[0]
            name = "" if number == 0 else "*pages" if first.endswith(".dist-info") else first
            groups.setdefault(name, []).append((path, size, time))
        # Large packages are the better documented ones; the pages of all packages come before them.
        order = sorted(groups, key=lambda name: (name != "*pages", -sum(size for _, size, _ in groups[name]), name))
        named += [(f"{root}:{name}", groups[name]) for name in order]
    return named


def _files(root: Path) -> Iterator[SourceFile]:
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS and not name.startswith("."))
        for name in sorted(names):
            if name.endswith((".py", *TEXT_ENDINGS)) or name == "METADATA":
                path = Path(place, name)
                try:
                    facts = path.stat()
                except OSError:
                    continue
                if path.is_file() and 0 < facts.st_size <= LARGEST_FILE:
                    yield path, facts.st_size, facts.st_mtime_ns


def _key(sources: list[tuple[str, list[SourceFile]]], max_words: int) -> str:
    digest = hashlib.sha256(f"{RULE} {max_words}".encode())
    for _, files in sources:
        for path, size, time in files:
            digest.update(f"{path}\0{size}\0{time}\0".encode(errors="replace"))
    return digest.hexdigest()[:16]


def _cache_folder(folder: str | Path | None) -> Path:
    if folder is not None:
        return Path(folder)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME") or "", ".cache")
    place = Path(cache) / "polysemy"
    try:
        place.mkdir(parents=True, exist_ok=True)
        if place.is_absolute() and os.access(place, os.W_OK):
            return place
    except OSError:
        pass  # no home or a read-only one: the temporary folder does
    import tempfile

    return Path(tempfile.gettempdir()) / f"polysemy-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"


def _collect(sources: list[tuple[str, list[SourceFile]]], max_words: int) -> tuple[list[list[str]], int]:
    """Documents in a fixed order; the first source may fill 30 % and every further one 8 % of what is wanted."""
    seen: set[int] = set()
    documents: list[list[str]] = []
    total = 0
    for number, (_, files) in enumerate(sources):
        share = min(max_words - total, int(max_words * (0.30 if number == 0 else 0.08)))
        taken: list[tuple[Path, list[list[str]]]] = []
        words = size = 0
        # A keyed order: the share of a large package is a sample of it, not its first letters.
        for path, file_size, _ in sorted(files, key=lambda file: hashlib.sha256(file[0].name.encode()).digest()):
            if words >= share or size >= LARGEST_SOURCE:
                break
            size += file_size
            found = [document for page in _pages(path) for document in _documents(_new(page, seen))]
            taken.append((path, found))
            words += sum(line.count(" ") + 1 for document in found for line in document)
        documents += [document for _, found in sorted(taken, key=lambda pair: pair[0]) for document in found]
        total += words
        if total >= max_words:
            break
    return documents, total


def _pages(path: Path) -> list[Iterator[str]]:
    """The candidate paragraphs of a file, a list entry for each page: a module, a topic, a text file."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    if path.parts[-2:] == ("pydoc_data", "topics.py"):
        return [paragraphs(topic) for topic in string_values(text)]
    if path.suffix == ".py":
        # Two triple quotes are the least that documentation of some length needs.
        found = docstrings(text) if '"""' in text or "'''" in text else ()
        return [chain.from_iterable(map(paragraphs, found))]
    return [paragraphs(MAIL_HEADER.sub("", text) if path.name == "METADATA" else text)]


def _documents(lines: Iterator[str]) -> Iterator[list[str]]:
    """Pieces of a page that are neither scraps nor books, cut between paragraphs."""
    document: list[str] = []
    words = 0
    for line in lines:
        document.append(line)
        words += line.count(" ") + 1
        if words >= LARGEST_DOCUMENT:
            yield document
            document, words = [], 0
    if words >= SMALLEST_DOCUMENT:
        yield document


def _new(candidates: Iterator[str], seen: set[int]) -> Iterator[str]:
    """Those paragraphs that do not repeat earlier text; remembers their runs of words."""
    for paragraph in candidates:
        words = re.findall(r"[a-z]+", paragraph.lower())
        runs = [
            zlib.crc32(" ".join(words[start : start + SHINGLE]).encode())
            for start in range(max(1, len(words) - SHINGLE + 1))
        ]
        repeated = sum(run in seen for run in runs)
        seen.update(runs)
        if 2 * repeated < len(runs):
            yield paragraph
