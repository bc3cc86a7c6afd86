"""The one table of recipes: where each is, what it reads, what it can do, how it is judged and what it exports to.

Nothing is imported until a recipe is used; the command line, `load`, the README table and the contract suite read this.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysemy.config import nearest
from polysemy.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row of the table; strings `module:name` are imported when asked for."""

    name: str
    summary: str
    paper: str
    configure: str
    """`configure(size, preset) -> config`"""
    train: str
    load: str
    """`load(folder) -> object with the capabilities`"""
    reads: str = "text"
    """text | pairs | labels | pictures"""
    capabilities: tuple[str, ...] = ()
    cloze: str = ""
    """how a candidate is scored in the gap (docs/cloze.md)"""
    exports: tuple[str, ...] = ()


def _masked(name: str, summary: str, paper: str, *more: str) -> Recipe:
    return Recipe(
        name=name,
        summary=summary,
        paper=paper,
        configure=f"polysemy.models.{name}:configure",
        train="polysemy.training.pretrain:pretrain",
        load="polysemy.models.text_encoder:TextEncoder.load",
        capabilities=("fill", "embed", "cloze", "score", *more),
        cloze="a mask for each piece",
        exports=("hf",),
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _masked("bert", "both sides at once: hidden tokens and next sentence", "Devlin et al. 2019"),
        _masked("roberta", "BERT trained better: full rows, fresh masks, no sentence pairs", "Liu et al. 2019"),
        _masked("albert", "BERT with shared layers, a narrow table and sentence order", "Lan et al. 2020", "order"),
        _masked("spanbert", "BERT that hides spans and predicts them from their borders", "Joshi et al. 2020"),
        _masked("distilbert", "half of BERT's layers, no segments, no pooler", "Sanh et al. 2019"),
    )
}


def find_recipe(name: str) -> Recipe:
    """The table's row; an unknown name is an error that names the nearest."""
    if name not in RECIPES:
        raise InputError(f"recipe must be one of the table, got {name!r}{nearest(name, RECIPES)}")
    return RECIPES[name]


def resolve(reference: str) -> Any:
    """The object behind `module:name` or `module:Class.method`."""
    module, _, path = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def load_run(folder: Path) -> Any:
    """The trained model in a run folder."""
    from polysemy.artifact import read_folder

    opened = read_folder(folder)
    return resolve(find_recipe(opened.recipe).load)(folder)
