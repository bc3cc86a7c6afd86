"""Uses of a word in running text: where they stand, and the vector each model gives to each of them.

A use is a text with the place of a word in it. A model that reads in context gives the mean of the states of the
pieces that touch the word, for every layer in one pass; a model that reads from left to right is shown the text only
as far as the word, since it sees no further. A table of word vectors gives the word's one vector, whatever stands
around it.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from polysemy.errors import InputError
from polysemy.models.vector_search import normalized
from polysemy.runtime import random_for
from polysemy.text.words import word_bounds

LONGEST = 320
"""characters of a use's text; a longer sentence is cut on both sides, between words"""
NEAR = 1_500
"""characters around a word in which its sentence is looked for"""
SPARE = 2
"""so many times the uses that are wanted are held, for those that turn out to be equal"""
LATIN = "[A-Za-z\u00c0-\u024f]"
STATIC = "static"
"""the name of the only layer of a table of word vectors"""


class Use(NamedTuple):
    """A word in its sentence: text[start:stop] is the word; `document` is where the text was found."""

    text: str
    start: int
    stop: int
    document: int = 0

    @property
    def word(self) -> str:
        return self.text[self.start:self.stop]


def places(text: str, word: str) -> list[tuple[int, int]]:
    """(start, stop) of each time the word stands in the text, in any case, between borders of words.

    The borders are those of `text.words`: each Chinese character is a word there, so Chinese is found inside of text
    without spaces, and `bank` is found in `bank's` and not in `banking`.
    """
    found = [match.span() for match in _pattern(word).finditer(text)]
    if not found:
        return []
    starts, stops = (set(bounds.tolist()) for bounds in word_bounds(text))
    return [(start, stop) for start, stop in found if start in starts and stop in stops]


def use_in(text: str, word: str) -> Use:
    """The first use of a word in a text; InputError where it does not stand there."""
    found = places(text, word)
    if not found:
        raise InputError(f"text must hold the word {word!r}, got {text[:80]!r}")
    return Use(text, *found[0])


def find_uses(documents: Iterable[Any], word: str, limit: int = 400, seed: int = 0) -> tuple[list[Use], int]:
    """At most `limit` uses of a word in a corpus, each in its sentence, and how often the word stands there.

    documents   things with `text` and `number`, as a `Corpus` gives them
    Of more, a uniform sample, keyed by seed and word; equal sentences are taken once. In the order of the corpus.
    """
    if limit < 1:
        raise InputError(f"uses must be at least 1, got {limit}")
    random, pattern = random_for(seed, "uses", word), _pattern(word)
    kept: list[tuple[int, str, int, int, int]] = []
    seen = 0
    for document in documents:
        for match in pattern.finditer(document.text):
            seen += 1
            place = len(kept) if len(kept) < SPARE * limit else int(random.integers(seen))
            if place < SPARE * limit:
                first = max(0, match.start() - NEAR)
                found = (seen, document.text[first:match.end() + NEAR], match.start() - first, match.end() - first,
                         document.number)
                kept[place:place + 1] = [found]
    uses: dict[str, tuple[int, Use]] = {}
    for i in random.permutation(len(kept)):
        number, *place = kept[i]
        use = _in_sentence(*place)
        if use is not None:
            uses.setdefault(use.text.casefold(), (number, use))
        if len(uses) == limit:
            break
    return [use for _, use in sorted(uses.values())], seen


def _pattern(word: str) -> re.Pattern[str]:
    """The word in any case; a Latin one not inside of a longer run of Latin letters (the rest is checked later)."""
    word = " ".join(word.split())
    if not word or not len(word_bounds(word)[0]):
        raise InputError(f"word must have a letter or digit, got {word!r}")
    before = f"(?<!{LATIN})" if re.match(LATIN, word) else ""
    after = f"(?!{LATIN})" if re.match(LATIN, word[-1]) else ""
    return re.compile(before + r"\s+".join(map(re.escape, word.split(" "))) + after, re.IGNORECASE)


def _in_sentence(near: str, a: int, b: int, document: int) -> Use | None:
    """The use in its sentence, on one line and not too long; None where it is only part of a word."""
    from polysemy.text.sentences import sentence_spans

    begin, end = next(((s, e) for s, e in sentence_spans(near) if s <= a < e), (0, len(near)))
    end = max(end, b)
    left, right = " ".join(near[begin:a].split()), " ".join(near[b:end].split())
    middle = " ".join(near[a:b].split())
    left += " " * (a > begin and near[a - 1].isspace() and bool(left))
    right = " " * (b < end and near[b].isspace() and bool(right)) + right
    starts, stops = word_bounds(left + middle + right)
    if len(left) not in starts or len(left) + len(middle) not in stops:
        return None
    room = (LONGEST - len(middle)) // 2
    left = _cut(left, max(room, LONGEST - len(middle) - len(right)), True)
    right = _cut(right, max(room, LONGEST - len(middle) - len(left)), False)
    return Use(left + middle + right, len(left), len(left) + len(middle), document)


def _cut(text: str, longest: int, front: bool) -> str:
    """At most so many characters of one side of a word, cut between words, with dots where something is gone."""
    if len(text) <= longest:
        return text
    starts, stops = word_bounds(text)
    if front:
        begin = next((int(s) for s in starts if s >= len(text) - longest), len(text) - longest)
        return "… " + text[begin:]
    end = next((int(s) for s in stops[::-1] if s <= longest), longest)
    return text[:end] + " …"


def reads(model: Any) -> str:
    """What a model has read of a text when it gives a word its vector: word, left, both."""
    if hasattr(model, "find_vector") or model.config.recipe == STATIC:
        return "word"
    return "both" if model.two_sided or getattr(model, "both", False) else "left"


def layer_names(model: Any) -> list[str]:
    """What `use_vectors` can give: 0, the embedding, to the last layer, and `mean` of all where they are of one width.
    """
    if hasattr(model, "find_vector"):
        return [STATIC]
    return [*map(str, range(model.config.model.num_layers + 1)), "mean"]


def default_layer(model: Any) -> str:
    """Two thirds up: the lowest layers know the word, the last one what training asked for.

    Meaning in context is read best from the upper middle (Ethayarajh 2019; Reif et al. 2019): layer 8 of BERT's 12, 4
    of MiniLM's 6, 2 of ELMo's 2.
    """
    if hasattr(model, "find_vector"):
        return STATIC
    return str(max(1, -(-2 * model.config.model.num_layers // 3)) if model.config.model.num_layers else 0)


def choose_layer(model: Any, layer: str | int | None) -> str:
    """A name of `layer_names` for what a user wrote: a number (negative ones from the end), mean, mix (the same)."""
    names = layer_names(model)
    if layer is None or names == [STATIC]:
        return default_layer(model)
    text = "mean" if str(layer) == "mix" else str(layer)
    count = len(names) - 1
    if text.lstrip("-").isdigit() and -count <= int(text) < count:
        return str(int(text) % count)
    if text != "mean":
        raise InputError(f"--layer must be 0..{count - 1}, -{count}..-1, mean or mix, got {layer}")
    return text


def use_vectors(model: Any, uses: Sequence[Use], layers: Sequence[str] | None = None, *, lemma: str | None = None
                ) -> dict[str, np.ndarray]:
    """float32 (uses, d) by the name of the layer (see `layer_names`; None: all).

    lemma   what a table of word vectors is asked for instead of the form in the text (line for lines)
    Equal uses get equal numbers, to the bit. InputError where a word is in no piece, or unknown to a table.
    """
    names = layer_names(model)
    layers = names if layers is None else list(layers)
    if unknown := [name for name in layers if name not in names]:
        raise InputError(f"layer must be one of {', '.join(names)}, got {unknown[0]}")
    if not uses:
        raise InputError("uses must be at least one, got none")
    if names == [STATIC]:
        return {STATIC: np.stack([_own_vector(model, lemma or use.word) for use in uses]).astype(np.float32)}
    rows, spans = zip(*map(_row, [model] * len(uses), model.encode([use.text for use in uses]), uses), strict=True)
    keys = [(row.ids.tobytes(), row.segments.tobytes(), span) for row, span in zip(rows, spans, strict=True)]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    chosen = sorted(first.values())
    found = _states(model, [rows[i] for i in chosen], [spans[i] for i in chosen], layers)
    place = {i: at for at, i in enumerate(chosen)}
    order = [place[first[key]] for key in keys]
    return {name: vectors[order] for name, vectors in found.items()}


def _own_vector(vectors: Any, word: str) -> np.ndarray:
    known = next((form for form in (word, word.lower()) if form in vectors), word)
    return vectors.get_vector(known)  # by its spelling where the table can; else an InputError that names near ones


def _row(model: Any, encoding: Any, use: Use) -> tuple[Any, tuple[int, int]]:
    """The input that shows a use, and the places of its pieces there."""
    touching = np.flatnonzero((np.asarray(encoding.starts) < use.stop) & (np.asarray(encoding.ends) > use.start))
    if not len(touching):
        raise InputError(f"word must be in a piece of the tokenizer, got {use.word!r} in {use.text[:60]!r}")
    first, last = int(touching[0]), int(touching[-1]) + 1
    length, room = len(encoding.ids), model.length - model.specials(False)
    if last - first > room:
        last = first + room
    stop = last if reads(model) == "left" else length
    begin = 0
    if stop > room:  # the word in the middle, or at the end for a model that reads from the left
        begin = max(0, min(stop - room, (first + last - room) // 2))
        stop = begin + room
    front = int(model.specials(False) > 0)  # [CLS], or the mark that stands before a document
    return model.row(encoding.ids[begin:stop]), (front + first - begin, front + last - begin)


def _states(model: Any, rows: Sequence[Any], spans: Sequence[tuple[int, int]], layers: Sequence[str]
            ) -> dict[str, np.ndarray]:
    """Mean states of the pieces at `spans` of each row."""
    import torch

    found: dict[str, Any] = {}
    for group, shown in model.run(rows, hidden_states=True):
        states = [shown] if isinstance(shown, torch.Tensor) else shown.layers
        places = torch.arange(states[0].shape[1], device=states[0].device)
        a, b = torch.tensor([spans[i] for i in group], device=places.device).unbind(1)
        share = ((places >= a[:, None]) & (places < b[:, None])).float() / (b - a)[:, None]
        means = [torch.einsum("btd,bt->bd", state.float(), share).cpu().numpy() for state in states]
        if "mean" in layers:
            if len({part.shape[1] for part in means}) > 1:
                raise InputError("layers must be of one width for their mean, got several; choose one layer")
            means.append(np.mean(means, 0))
        for name, part in zip([*map(str, range(len(states))), "mean"], means, strict=False):
            if name in layers:
                array = found.setdefault(name, np.zeros((len(rows), part.shape[1]), np.float32))
                array[group] = part
    return {name: found[name] for name in layers}


def pair_cosines(model: Any, uses: Sequence[Use], layer: str) -> tuple[np.ndarray, float | None]:
    """(n, n) cosines of the uses' vectors, exactly 1 for equal ones, and the mean cosine of different other words.

    The other words are those beside the word in the same texts; None where a table knows fewer than two of them.
    """
    same = len({use.word.casefold() for use in uses}) == 1  # one vector, also where a table has Bank beside bank
    vectors = use_vectors(model, uses, [layer], lemma=uses[0].word if same else None)[layer].astype(np.float64)
    cosines = np.array([[_cosine(first, second) for second in vectors] for first in vectors])
    return cosines, _mean_cosine(model, [other for use in uses for other in _others(use)], layer)


def mean_of_others(model: Any, uses: Sequence[Use], layer: str, count: int = 200, seed: int = 0) -> float | None:
    """Mean cosine of other words near the uses, one word from each of `count` texts, keyed (Ethayarajh 2019)."""
    random, found = random_for(seed, "others"), []
    for i in random.permutation(len(uses))[:count]:
        others = _others(uses[i])
        if others:
            found.append(others[int(random.integers(len(others)))])
    return _mean_cosine(model, found, layer)


def _others(use: Use) -> list[Use]:
    own = use.word.casefold()
    return [Use(use.text, a, b) for a, b in zip(*(bounds.tolist() for bounds in word_bounds(use.text)), strict=True)
            if use.text[a:b].casefold() != own and (b <= use.start or a >= use.stop)]


def _mean_cosine(model: Any, uses: Sequence[Use], layer: str) -> float | None:
    """Over pairs of different words."""
    if layer == STATIC:
        uses = [use for use in uses if model.find_vector(use.word) is not None
                or model.find_vector(use.word.lower()) is not None]
    if len({use.word.casefold() for use in uses}) < 2:
        return None
    units = normalized(use_vectors(model, uses, [layer])[layer].astype(np.float64))
    words = np.array([use.word.casefold() for use in uses])
    return float((units @ units.T)[words[:, None] != words].mean())


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    if np.array_equal(first, second):
        return 1.0
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12))
