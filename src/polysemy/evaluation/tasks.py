"""The tasks of `polysemy evaluate`: each asks a model for one capability and gives plain values for tables and JSON."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from polysemy.capability import ScoresCloze, ScoresText
from polysemy.config import nearest
from polysemy.errors import InputError
from polysemy.evaluation.cloze import judge
from polysemy.evaluation.cloze_items import ClozeSet
from polysemy.evaluation.fingerprints import read_blocks
from polysemy.evaluation.masked_lm import masked_lm_loss
from polysemy.evaluation.order import judge_order
from polysemy.evaluation.passages import passages_of, passages_of_items, sentences_of
from polysemy.evaluation.perplexity import perplexity
from polysemy.evaluation.speed import answer_of, measure, measure_folder
from polysemy.evaluation.split import Split

Progress = Callable[[int, int], None]
SCORED_WORDS, PSEUDO_WORDS = 20_000, 2_000
"""A masked model runs once for every token it scores: fewer words for it, an error of some 3 % in perplexity."""
LOSS_WORDS = 100_000
TIMED_SECONDS = 5.0


def evaluate(model: Any, tasks: Sequence[str], source: Split | ClozeSet, *, items: ClozeSet | None = None,
             folder: str | Path | None = None, details: bool = False,
             progress: Progress | None = None) -> dict[str, dict[str, Any]]:
    """Results by task, as plain values.

    tasks: names of TASKS. source: where the text comes from, a split or the questions themselves;
    items: the questions, needed for cloze when the source is a split; folder: the model's, for speed in a process of
    its own; details: keep every answer (`ClozeResult.to_dict`) under "answers". Raises InputError for a task that is
    unknown or that the model cannot do.
    """
    for name in tasks:
        if name not in TASKS:
            raise InputError(f"task must be one of {', '.join(TASKS)}, got {name!r}{nearest(name, TASKS)}")
    questions = source if isinstance(source, ClozeSet) else items
    material = _Material(source, questions, Path(folder) if folder is not None else None, details, progress)
    return {name: TASKS[name](model, material) for name in tasks}


class _Material:
    """What the tasks work on; passages are drawn when a task asks for them."""

    def __init__(self, source: Split | ClozeSet, questions: ClozeSet | None, folder: Path | None, details: bool,
                 progress: Progress | None) -> None:
        self.source, self.questions, self.folder = source, questions, folder
        self.details, self.progress = details, progress

    def passages(self, words: int) -> list[str]:
        if isinstance(self.source, Split):
            return passages_of(self.source.test, words=words)
        return passages_of_items(self.source.test, words)


def _cloze(model: Any, material: _Material) -> dict[str, Any]:
    if not isinstance(model, ScoresCloze):
        raise InputError(f"model must score cloze items for this task, got {type(model).__name__}, which cannot")
    if material.questions is None:
        raise InputError("items must be given for the cloze task, got none; make them with prepare_cloze")
    result = judge(model, material.questions, progress=material.progress)
    summary = result.summary()
    return {**summary, "answers": result.to_dict()} if material.details else summary


def _perplexity(model: Any, material: _Material) -> dict[str, Any]:
    if not isinstance(model, ScoresText):
        raise InputError(f"model must score texts for this task, got {type(model).__name__}, which cannot")
    texts = material.passages(SCORED_WORDS)
    if model.score(texts[0]).pseudo:
        texts = material.passages(PSEUDO_WORDS)
    return perplexity(model, texts, progress=material.progress)


def _loss(model: Any, material: _Material) -> dict[str, Any]:
    if not hasattr(model, "tokenizer") or not hasattr(getattr(model, "model", None), "heads"):
        raise InputError(f"model must have a masked-LM head for this task, got {type(model).__name__}")
    return masked_lm_loss(model, material.passages(LOSS_WORDS))


def _order(model: Any, material: _Material) -> dict[str, Any]:
    if not callable(getattr(model, "order", None)):  # an n-gram model's is a number
        raise InputError(f"model must have a sentence-order head for this task, got {type(model).__name__}; train "
                         "albert, or any encoder with segments=sentenceorder")
    if not isinstance(material.source, Split):
        raise InputError("text must be whole paragraphs for the order task, got cloze questions; name text by --data, "
                         "or leave --items out")
    documents = (block for blocks in read_blocks(material.source.test) for block in blocks)
    return judge_order(model, documents, progress=material.progress)


def _speed(model: Any, material: _Material) -> dict[str, Any]:
    sentences = sentences_of(material.passages(SCORED_WORDS))
    if material.folder is not None:
        return measure_folder(material.folder, sentences, seconds=TIMED_SECONDS)
    name, answer = answer_of(model)
    return {"operation": name, **measure(answer, sentences, seconds=TIMED_SECONDS)}


TASKS: dict[str, Callable[[Any, _Material], dict[str, Any]]] = {
    "cloze": _cloze, "perplexity": _perplexity, "loss": _loss, "order": _order, "speed": _speed}
