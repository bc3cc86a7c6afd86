"""Text from a model of counts: a word after the other, chosen by the rules that neural models write by.

There is no state to compute and nothing to batch: the loop walks along the n-grams on disk.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from polysemy.decoding.sampling import GenerationConfig, pick
from polysemy.decoding.written import Text
from polysemy.models.ngram.model import LN10, NgramModel, join_words
from polysemy.models.ngram.next_word import next_log10
from polysemy.models.ngram.scoring import Scorer
from polysemy.models.ngram.stream import BOUNDARY, FIRST_WORD, OFFSET, UNKNOWN_ID
from polysemy.runtime import random_for


def write_words(model: NgramModel, texts: Sequence[Text], settings: GenerationConfig) -> Iterator[tuple[int, str]]:
    """What `model` writes after each prompt: (row, piece) for each word, row after row; `texts` hold what there is.

    A text ends where `</s>` is chosen, or where no word can follow; `<unk>` never comes.  The repetition penalty takes
    natural log-probabilities for logits.  Draws are those of `NgramModel.generate`: they depend on the seed, the step,
    and how often the same prompt stood before.
    """
    before: Counter[str] = Counter()
    for row, text in enumerate(texts):
        for word in _words(model, text, settings, before[text.prompt]):
            text.ids.append(word)
            last = (text.pieces[-1] if text.pieces else text.prompt)[-1:]
            text.pieces.append(join_words(last, [model.vocabulary.words[word - FIRST_WORD]])[len(last):])
            yield row, text.pieces[-1]
        before[text.prompt] += 1


def _words(model: NgramModel, text: Text, settings: GenerationConfig, times: int) -> Iterator[int]:
    """Ids of the new words; says in `text` why there are no more."""
    scorer = Scorer(model.trie)
    scorer.advance(model.vocabulary.ids(text.prompt.rsplit("\n", 1)[-1]) + np.int32(OFFSET))
    seen = [word for word in (model.vocabulary.ids(text.prompt) + OFFSET).tolist() if word >= FIRST_WORD]
    for step in range(settings.tokens):
        scores = next_log10(model.trie, scorer).astype(np.float64) * LN10
        scores[UNKNOWN_ID] = -np.inf
        if scores.max() == -np.inf:
            text.ended = "stop"
            return
        share = random_for(settings.seed, "generate", step, *([times] if times else [])).random()
        word = pick(scores, settings, seen, share)
        if word == BOUNDARY:
            text.ended = "stop"
            return
        seen.append(word)
        scorer.advance(np.array([word]))
        yield word
    text.ended = "tokens"
