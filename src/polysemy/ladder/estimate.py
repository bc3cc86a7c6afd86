"""What a ladder will take, told before it starts: rungs, budget, time and memory."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from polysemy.ladder.builders import CURVE_SHARE, MILESTONES, config_of
from polysemy.ladder.rungs import Rung
from polysemy.ladder.settings import LadderConfig
from polysemy.models import RECIPES
from polysemy.report import wording

if TYPE_CHECKING:
    from polysemy.text.corpus import Documents

PREPARED_BYTES_A_SECOND = 3e6
BASE_BYTES = 700e6  # Python, torch and a tokenizer in memory
FLOPS_A_SECOND = 60e9  # of one thread in float32, with padding; rough on purpose
WORDS_BYTES_A_SECOND = 0.5e6  # counts and word vectors, with all their passes; rough too
QUESTION_TOKENS, QUESTION_PASSES = 110, 4
LANGUAGE_TOKENS = 110 + 16 * 5
STARTING, TIMING = 6.0, {True: 8.0, False: 14.0}  # seconds a rung


def estimate(corpus: Documents, rungs: Sequence[Rung], todo: Sequence[Rung], config: LadderConfig, minutes: float,
             threads: int) -> Iterator[str]:
    """Lines to print before the start."""
    trained = [rung for rung in todo if rung.kind == "trained"]
    yield (f"{len(rungs)} rungs: {', '.join(rung.label for rung in rungs)}"
           + (f" ({len(rungs) - len(todo)} done before)" if len(todo) < len(rungs) else ""))
    seconds = corpus.bytes / PREPARED_BYTES_A_SECOND + 20
    questions = (config.cloze.test_items + config.cloze.dev_items) * (1 + len(MILESTONES) * CURVE_SHARE)
    memory = BASE_BYTES
    if trained:
        from polysemy.models.cost import cost_of

        for rung in trained:
            if RECIPES[rung.recipe].fit:
                seconds += min(60 * minutes, corpus.bytes / WORDS_BYTES_A_SECOND) + STARTING
                continue
            recipe = config_of(rung.recipe, config.size)
            cost = cost_of(recipe)
            memory = max(memory, BASE_BYTES + cost.optimizer_bytes + cost.activation_bytes)
            judging = questions * QUESTION_TOKENS * QUESTION_PASSES * cost.inference_flops_per_token
            if recipe.heads == ("next_token",):  # every token of every candidate's text has its logits made
                judging = questions * LANGUAGE_TOKENS * cost.flops_per_token / 3
            seconds += 60 * minutes + judging / (FLOPS_A_SECOND * threads) + STARTING + TIMING[config.quick]
    plural = "s" * (threads != 1)
    yield (f"{wording.duration(60 * minutes)} of training for each of {len(trained)} at size {config.size}, {threads} "
           f"thread{plural}, seed {config.seed}; about {wording.duration(60 * round(seconds / 60))} in all, "
           f"about {wording.size(memory)} of memory")
