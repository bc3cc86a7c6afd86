"""Judging trained models: by what they can do (capability.py), never by what they are.

The public names; each file has one idea. `docs/cloze.md` explains the cloze protocol.
"""
from __future__ import annotations

from polysemy.evaluation.bigram import BigramControl, UnigramControl
from polysemy.evaluation.cloze import ClozeResult, average, compare, judge
from polysemy.evaluation.cloze_items import QUICK, ClozeConfig, ClozeSet, Question, load_items, save_items
from polysemy.evaluation.controls import RandomControl, at_chance, find_planted, run_controls, shuffle_contexts
from polysemy.evaluation.perplexity import perplexity
from polysemy.evaluation.speed import bytes_on_disk, measure, measure_folder
from polysemy.evaluation.split import Split, open_split, split_corpus
from polysemy.evaluation.study import prepare_cloze, prepare_items
from polysemy.evaluation.tasks import TASKS, evaluate

__all__ = [
    "QUICK", "TASKS", "BigramControl", "ClozeConfig", "ClozeResult", "ClozeSet", "Question", "RandomControl", "Split",
    "UnigramControl", "at_chance", "average", "bytes_on_disk", "compare", "evaluate", "find_planted", "judge",
    "load_items", "measure", "measure_folder", "open_split", "perplexity", "prepare_cloze", "prepare_items",
    "run_controls", "save_items", "shuffle_contexts", "split_corpus",
]
