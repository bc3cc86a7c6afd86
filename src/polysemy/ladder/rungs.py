"""The table of rungs: what a ladder can train or judge, one row each. A new paradigm becomes a rung by one more row.

`build` names a function `build(work, rung, folder) -> Built` (see `builders`); the words beside it stand in the report.
"""
from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from polysemy.config import nearest
from polysemy.errors import InputError

Kind = Literal["control", "trained", "downloaded"]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One row: how a model comes about, and what a reader should know of its paradigm."""

    name: str
    kind: Kind
    build: str
    """`module:function`"""
    recipe: str = ""
    """row of the recipe table that it trains"""
    settings: tuple[tuple[str, str], ...] = ()
    """what of the recipe's settings makes this rung"""
    path: str = ""
    """folder of a downloaded model"""
    counts: bool = False
    """a control that has learned something: the report says when others overtake it"""
    learn: str = "polysemy.ladder.downstream:fine_tune"
    """`module:function` that learns the labels of a task"""
    shown: str = ""
    """label, where the name is longer"""
    sees: str
    costs: str
    good_for: str

    @property
    def label(self) -> str:
        """Short name for tables and pictures."""
        return f"hf:{Path(self.path).resolve().name}" if self.path else self.shown or self.name

    @property
    def slug(self) -> str:
        """Name of its folder."""
        if not self.path:
            return self.name.replace(" ", "-")
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(self.path).resolve().name).strip(".-")[:40]
        return f"hf-{plain}-{hashlib.sha256(str(Path(self.path).resolve()).encode()).hexdigest()[:8]}"


def _control(name: str, function: str, learn: str, sees: str, costs: str, good_for: str, counts: bool = False) -> Rung:
    return Rung(name=name, kind="control", build=f"polysemy.ladder.builders:{function}", sees=sees, costs=costs,
                good_for=good_for, counts=counts, learn=f"polysemy.ladder.downstream:{learn}")


def _words(name: str, recipe: str, sees: str, costs: str, good_for: str, *, learn: str = "fine_tune",
           **settings: str) -> Rung:
    return Rung(name=name, kind="trained", build="polysemy.ladder.builders:train_words_recipe", recipe=recipe,
                settings=tuple(settings.items()), sees=sees, costs=costs, good_for=good_for,
                learn=f"polysemy.ladder.downstream:{learn}")


def _trained(recipe: str, sees: str, costs: str, good_for: str) -> Rung:
    return Rung(name=recipe, kind="trained", build="polysemy.ladder.builders:train_recipe", recipe=recipe, sees=sees,
                costs=costs, good_for=good_for)


NEAR = {"window": "2", "epochs": "20"}
"""for filling gaps: near words decide, and a small text must be read often (a larger one stops at its minutes)"""

RUNGS: dict[str, Rung] = {rung.name: rung for rung in (
    _control("unigram", "count_words", "majority", "nothing but how frequent a word is", "one pass over the text",
             "the floor: it must be at chance"),
    _control("bigram", "count_bigrams", "count_classes", "one word on each side",
             "one pass over the text, a table of pairs", "the first minutes, tiny texts, no hardware at all",
             counts=True),
    _control("random weights", "draw_weights", "fine_tune_random", "both sides, but it has learned nothing", "nothing",
             "the check that no answer leaks through the machinery"),
    _words("ngram", "ngram", "up to four words on the left, and through the words that follow the right",
           "one pass over the text; the file grows with it", "probabilities of texts, spelling, the first hours",
           learn="count_classes"),
    _words("cbow", "word2vec", "the words around the gap as one bag, without their order",
           "millions of words a second; a row of numbers a word", "similar words, features, no hardware",
           mode="cbow", **NEAR),
    _words("skip-gram", "word2vec", "the words around the gap, each by itself",
           "as CBOW's, some times slower", "similar words, rare ones too", mode="skipgram", **NEAR),
    _words("glove", "glove", "counts of words that stand near each other", "a table of pairs, then passes over it",
           "similar words and analogies"),
    _words("fasttext", "fasttext", "as skip-gram, with the letters inside each word",
           "some times skip-gram's; a large table of letter groups", "rich inflection, misspellings, unseen words",
           **NEAR),
    _trained("nnlm", "the few pieces before the gap, in their order; what follows through its probability",
             "a product over the whole vocabulary for each piece", "the first step from counts to vectors"),
    _trained("rnn", "all before the gap in one state that fades", "token after token; little memory",
             "short dependencies, tiny devices"),
    _trained("lstm", "all before the gap in one state that keeps", "token after token; little memory",
             "streams without end, tiny devices"),
    _trained("elmo", "everything on each side, by a model for each; the two meet only at the end",
             "token after token, so slow on long texts; two models", "features of words in context"),
    _trained("gpt", "all before the gap, by attention; what follows only through its probability",
             "a short text for every candidate; every token teaches", "writing, probabilities of texts, any prompt"),
    _trained("transformer-xl", "all before the gap, and the states of what came before that",
             "as GPT's, and a second product for distances", "long texts read as a stream"),
    _trained("bert", "both sides at once; whether a second sentence follows the first",
             "a full pass for each gap; only the hidden tokens teach", "gaps, labels for texts and pairs, features"),
    _trained("roberta", "both sides at once, rows filled over sentence borders",
             "as BERT's, without the pair task", "gaps and features when there are no pairs to judge"),
    _trained("albert", "both sides at once; the order of two neighboring sentences",
             "a small file; time as BERT's, for every layer still runs", "small devices, ordering sentences"),
    _trained("spanbert", "both sides at once, whole spans hidden, and their borders",
             "a harder question, so more steps to learn it", "answers that are phrases, finding spans"),
    _trained("distilbert", "both sides at once, through half of the layers",
             "half of BERT's time a text", "low latency; better after distilling from a teacher"),
)}

CLASSIFIER = Rung(name="fastText classifier", kind="control", build="polysemy.ladder.downstream:build_classifier",
                  recipe="fasttext", counts=True, learn="polysemy.ladder.downstream:ask_classifier",
                  sees="which words and pairs of words stand in a text, and its label; no other text",
                  costs="seconds; a row of numbers a word and pair", good_for="labels, with no hardware")
"""joins the ladder when there is a task"""

DOWNLOADED = Rung(name="hf", kind="downloaded", build="polysemy.ladder.builders:load_downloaded",
                  sees="both sides at once, on text that you did not choose",
                  costs="no training here; its size is given",
                  good_for="the question whether training your own is worth it")


def choose(names: Sequence[str] = ()) -> list[Rung]:
    """The rungs of these names (`hf:PATH` for a downloaded model) with all controls, in the order of the table.

    Without names: all. Raises InputError for an unknown or repeated name, and for a path that holds no model.
    """
    wanted: dict[str, Rung] = {}
    for name in names or RUNGS:
        rung = _downloaded(name.removeprefix("hf:")) if name.startswith("hf:") else RUNGS.get(name)
        if rung is None:
            raise InputError(f"rungs must be of the table or hf:PATH, got {name!r}{nearest(name, RUNGS)}")
        if rung.name in wanted:
            raise InputError(f"rungs must differ, got {name!r} twice")
        wanted[rung.name] = rung
    if all(rung.kind == "control" for rung in wanted.values()):
        raise InputError(f"rungs must hold one that is no control, got {', '.join(wanted)}")
    rows = [rung for rung in RUNGS.values() if rung.kind == "control" or rung.name in wanted]
    return rows + [rung for rung in wanted.values() if rung.path]


def _downloaded(path: str) -> Rung:
    folder = Path(path).expanduser()
    if not (folder / "config.json").is_file():
        raise InputError(f"rung hf:PATH must name a folder that holds config.json, got {path!r}")
    return replace(DOWNLOADED, name=f"hf:{path}", path=str(folder))
