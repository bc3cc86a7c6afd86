"""Promises about the project itself: layers, no pickle, no machine's paths, every row of the glossary exists."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from polysemy.models import RECIPES, resolve
from polysemy.models.fasttext.classifier import FasttextClassifier
from polysemy.models.fasttext.model import FasttextModel

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_layers_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed")
    found = subprocess.run([command], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_no_source_imports_pickle_a_peer_or_a_network_client() -> None:
    refused = {
        "pickle",
        "dill",
        "joblib",
        "shelve",
        "marshal",
        "transformers",
        "gensim",
        "kenlm",
        "sentence_transformers",
        "requests",
        "urllib",
        "urllib3",
        "http",
        "socket",
        "huggingface_hub",
    }
    allowed = {"processes.py": {"pickle"}}  # between a process and its own children, never from a file
    found = {path.name: imports_of(path) & refused for path in SOURCES}
    assert {name: names for name, names in found.items() if names - allowed.get(name, set())} == {}


def test_text_never_imports_torch() -> None:
    code = (
        "import sys, pkgutil, importlib, polysemy.text as t\n"
        "[importlib.import_module(m.name) for m in pkgutil.iter_modules(t.__path__, 'polysemy.text.')]\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_no_file_names_a_folder_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|home|root|Users)/\w")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = {name: (ROOT / name).read_text(errors="replace") for name in files if (ROOT / name).is_file()}
    assert [name for name, text in texts.items() if pattern.search(text) and name != "tests/test_project.py"] == []


def test_every_row_of_the_table_resolves_and_offers_what_it_says() -> None:
    methods = {"fill": "fill", "embed": "embed", "cloze": "cloze_scores", "score": "score", "order": "order",
               "words": "most_similar", "classify": "predict_many", "generate": "generate"}
    several = {"fasttext": (FasttextModel, FasttextClassifier)}  # which one a folder holds, its config says
    for row in RECIPES.values():
        assert all(callable(resolve(what)) for what in (row.configure, row.train, row.fit) if what)
        assert row.train or not row.configure
        offers = several.get(row.name) or (resolve(row.load.rpartition(".")[0]),)
        assert all(any(hasattr(one, methods[name]) for one in offers) for name in row.capabilities), row.name


def test_the_readme_table_holds_every_recipe() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in RECIPES if f"`{name}`" not in readme] == []


def test_every_row_of_the_glossary_has_its_file_command_and_test() -> None:
    from polysemy.cli.arguments import build_parser

    commands = next(a for a in build_parser()._actions if hasattr(a, "choices") and a.choices).choices
    lines = [line for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][1:]
    built = [row for row in rows if len(row) == 6]
    assert len(built) >= 18
    for term, _, _, file, command, test in built:
        assert (ROOT / file.strip("`")).exists(), term
        words = shlex.split(command.strip("`"))
        assert words[0] in ("polysemy", "python"), term
        if words[0] == "polysemy":
            assert words[1] in commands, term
            build_parser().parse_args(words[1:])
        else:
            assert (ROOT / words[1]).exists(), term
        path, _, name = test.strip("`").partition("::")
        assert re.search(rf"def {name}\b", (ROOT / path).read_text()), (term, test)
