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
    """empty: it is only read from files of other tools"""
    load: str
    """`load(folder) -> object with the capabilities`"""
    fit: str = ""
    """of a recipe that counts words or learns a vector each: `fit(config, encoded text, folder, ...) -> results`"""
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


def _language(name: str, summary: str, paper: str, *, module: str = "", cloze: str = "the text with the word in it",
              capabilities: tuple[str, ...] = ("score", "fill", "generate", "embed", "cloze"),
              exports: tuple[str, ...] = ()) -> Recipe:
    return Recipe(
        name=name,
        summary=summary,
        paper=paper,
        configure=f"polysemy.models.{module or name}:configure",
        train="polysemy.training.pretrain:pretrain",
        load="polysemy.models.language_model:LanguageModel.load",
        capabilities=capabilities,
        cloze=cloze,
        exports=exports,
    )


def _words(name: str, summary: str, paper: str, model: str, *, fit: str = "fit", cloze: str,
           capabilities: tuple[str, ...], exports: tuple[str, ...]) -> Recipe:
    return Recipe(
        name=name,
        summary=summary,
        paper=paper,
        configure=f"polysemy.models.{name}.config:configure",
        train="polysemy.training.words:train_words",
        fit=f"polysemy.models.{name}.{fit}:fit",
        load=f"polysemy.models.{name}.model:{model}",
        capabilities=capabilities,
        cloze=cloze,
        exports=exports,
    )


VECTORS = ("words", "cloze", "embed")

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _words("ngram", "counts of up to six words in a row, smoothed by interpolated modified Kneser-Ney",
               "Chen and Goodman 1998", "NgramModel.load", fit="fitting", cloze="the whole window with the word in it",
               capabilities=("score", "fill", "generate", "cloze"), exports=("arpa",)),
        _words("word2vec", "a vector a word, from predicting a word and its neighbors from one another",
               "Mikolov et al. 2013", "Word2VecModel.load", cloze="both matrices, over the words around the gap",
               capabilities=VECTORS, exports=("word2vec", "glove", "fasttext")),
        _words("glove", "a vector a word, from counts of words near each other", "Pennington et al. 2014",
               "GloveModel.load", cloze="both matrices and biases", capabilities=VECTORS,
               exports=("word2vec", "glove", "fasttext")),
        _words("fasttext", "word2vec with vectors for the letters inside words; a fast classifier of texts",
               "Bojanowski et al. 2017", "load", cloze="as word2vec's, with composed vectors",
               capabilities=(*VECTORS, "classify"), exports=("fasttext", "word2vec", "glove")),
        Recipe(name="vectors", summary="word vectors read from a file of another tool", paper="none", configure="",
               train="", load="polysemy.models.imported_vectors:ImportedVectors.load", capabilities=VECTORS,
               cloze="cosine with the mean of the words around the gap", exports=("word2vec", "glove", "fasttext")),
        Recipe(name="static", summary="static word vectors as the body of a task: the control without context",
               paper="none", configure="", train="", load="polysemy.models.static_text:StaticText.load",
               capabilities=("embed",)),
        _language("nnlm", "the next word from the vectors of the few before it", "Bengio et al. 2003",
                  exports=("word2vec", "glove", "fasttext")),
        _language("rnn", "a state that every word changes; it forgets within a dozen steps", "Mikolov et al. 2010"),
        _language("lstm", "a state with gates, which keeps what it needs for long", "Zaremba et al. 2014"),
        _language("elmo", "two LSTMs, one from each side, and the mix of their layers", "Peters et al. 2018",
                  cloze="the word given each side", capabilities=("score", "fill", "embed", "cloze")),
        _language("gpt", "the next token by attention to all before it", "Radford et al. 2018, 2019", exports=("hf",)),
        _language("transformer-xl", "a GPT that remembers the states of what it read before", "Dai et al. 2019",
                  module="transformer_xl"),
        _masked("bert", "both sides at once: hidden tokens and next sentence", "Devlin et al. 2019"),
        _masked("roberta", "BERT trained better: full rows, fresh masks, no sentence pairs", "Liu et al. 2019"),
        _masked("albert", "BERT with shared layers, a narrow table and sentence order", "Lan et al. 2020", "order"),
        _masked("spanbert", "BERT that hides spans and predicts them from their borders", "Joshi et al. 2020"),
        _masked("distilbert", "half of BERT's layers, no segments, no pooler", "Sanh et al. 2019"),
    )
}


def find_recipe(name: str, *, trains: bool = False) -> Recipe:
    """The table's row; an unknown name, or with `trains` one that is only read, is an error that names the nearest."""
    names = [row.name for row in RECIPES.values() if row.train or not trains]
    if name not in names:
        raise InputError(f"recipe must be one of the table, got {name!r}{nearest(name, names)}")
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
    if (task := opened.config.get("task")) is not None:
        embeds = isinstance(task, dict) and task.get("kind") == "Embed"
        return resolve("polysemy.models.sentence_vectors:SentenceVectors.load" if embeds
                       else "polysemy.models.task_use:TaskUser.load")(folder)
    return resolve(find_recipe(opened.recipe).load)(folder)
