"""A trained language model in use: what `polysemy.load` gives for GPT, LSTM, NNLM, Transformer-XL and ELMo.

A text is read from left to right after a mark that says where it begins.  A model that carries a state reads texts of
any length; one with a window of `length` tokens reads a longer text in windows that overlap by half, so that every
token but the first few has at least half a window before it.  A model of both directions (ELMo) reads a long text in
windows of UNTIED tokens, each by itself.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from polysemy.capability import Candidate, ClozeItem, Score
from polysemy.errors import InputError
from polysemy.models import language_cloze
from polysemy.models.encoder import State
from polysemy.models.text_model import Row, TextModel
from polysemy.text.words import word_spans

STEP = 512
"""tokens whose logits are made at once, and that a model with a state reads at once"""


class Written(NamedTuple):
    """A text with what was written after it."""

    text: str
    tokens: int
    """written"""
    ended: str
    """tokens: as many as asked for; stop: the document was at its end; limit: the model has no position for more"""


class LanguageModel(TextModel):
    """Scores, fills, generates, embeds.  `both` models (ELMo) also read from right to left."""

    two_sided: ClassVar[bool] = False

    @property
    def both(self) -> bool:
        """Whether there is a second model that reads backward."""
        return "previous_token" in self.config.heads

    @property
    def mark(self) -> int:
        """The id that stands before every document."""
        return self.tokenizer.sep_id

    def score(self, text: str) -> Score:
        """Log-probability of every token given those before it; of ELMo the mean of both directions.

        A probability of the text, so perplexity and bits per byte follow, unless a word was unknown.
        """
        ids = self.encode([text])[0].ids.astype(np.int64)
        directions = self.token_scores(ids)
        total = sum(float(values.sum(dtype=np.float64)) for values in directions) / len(directions)
        unknown = int((ids == self.tokenizer.unk_id).sum()) if self.tokenizer.has("unk") else 0
        return Score(log_probability=total, tokens=len(ids), words=len(word_spans(text)), bytes=len(text.encode()),
                     unknown=unknown)

    @torch.inference_mode()
    def token_scores(self, ids: np.ndarray) -> list[np.ndarray]:
        """log P of each token, float32 (n,): from the left, and of a model of both directions from the right too."""
        ids = np.asarray(ids, np.int64)
        if not len(ids):
            return [np.zeros(0, np.float32)] * (1 + self.both)
        if self.both:
            return self._both_ways(ids)
        if self.model.body.stateful:
            return [self._read_on(ids)]
        return [np.concatenate([values[skip:] for values, skip in self._windows(ids)])]

    def _read_on(self, ids: np.ndarray) -> np.ndarray:
        tokens = torch.from_numpy(np.concatenate([[self.mark], ids])).to(self.model.table.device)
        state: State | None = None
        found = []
        for start in range(0, len(ids), STEP):
            stop = min(start + STEP, len(ids))
            states, state = self.model.body.advance(tokens[None, start:stop], state)
            found.append(self.log_of(states[0], tokens[start + 1:stop + 1]).cpu().numpy())
        return np.concatenate(found)

    def _windows(self, ids: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """(log P of the tokens of a window, how many of them the window before gave already)."""
        rows = [(np.concatenate([[self.mark], ids[:self.length - 1]]).astype(np.int64), 0)]
        half = self.length // 2
        stop = len(rows[0][0]) - 1
        while stop < len(ids):
            new = min(half, len(ids) - stop)
            rows.append((ids[stop + new - self.length:stop + new], self.length - 1 - new))
            stop += new
        for row, skip in rows:
            tokens = torch.from_numpy(np.ascontiguousarray(row)).to(self.model.table.device)
            states = self.model.body(tokens[None])
            yield self.log_of(states[0, :-1], tokens[1:]).cpu().numpy(), skip

    def _both_ways(self, ids: np.ndarray) -> list[np.ndarray]:
        found: list[list[np.ndarray]] = [[], []]
        step = self.length - 2
        for start in range(0, len(ids), step):
            part = ids[start:start + step]
            tokens = torch.from_numpy(np.concatenate([[self.mark], part, [self.mark]])).to(self.model.table.device)
            states = self.model.body(tokens[None])[0]
            found[0].append(self.log_of(states[:-2], tokens[1:-1]).cpu().numpy())
            found[1].append(self.log_of(states[2:], tokens[1:-1], "previous_token").cpu().numpy())
        return [np.concatenate(parts) for parts in found]

    def log_of(self, states: Tensor, targets: Tensor, direction: str = "next_token") -> Tensor:
        """(n,) float32 log-probabilities of the target after (or before) each state (n, d), in bounded memory."""
        parts = []
        for some, wanted in zip(states.split(STEP), targets.split(STEP), strict=True):
            parts.append(-F.cross_entropy(self.logits(some, direction).float(), wanted, reduction="none"))
        return torch.cat(parts) if parts else states.new_zeros(0)

    def logits(self, states: Tensor, direction: str = "next_token") -> Tensor:
        """(n, v) logits of the token after (or before) each state (n, d)."""
        head, states = self.model.language_head(direction, states)
        return head(states, torch.arange(len(states), device=states.device), self.model.table)

    def check_remembers(self) -> None:
        """InputError for a Transformer-XL without memory: read in parts, it would see nothing but the part."""
        config: Any = self.config.model
        if getattr(config, "memory", 1) == 0 and not getattr(config, "evaluation_memory", 1):
            raise InputError("model.evaluation_memory must be above 0 to read a text in parts with memory 0, got "
                             f"{config.evaluation_memory}; train with --set model.evaluation_memory=128")

    # gaps

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """(items, candidates) float64 natural log-probabilities of the text around the gap with each candidate."""
        self.check_remembers()
        return language_cloze.cloze_scores(self, items)

    def fill(self, text: str, top: int = 5) -> list[list[Candidate]]:
        """The likeliest single-piece words for each [MASK]: proposed from the left, judged with what follows."""
        return language_cloze.fill(self, text, top)

    # writing

    def generate(self, text: str = "", tokens: int = 100, **settings: Any) -> str:
        """The text with what the model writes after it; `settings`: those of `decoding.sampling.GenerationConfig`."""
        return text + "".join(self.stream(text, tokens, **settings))

    def stream(self, text: str = "", tokens: int = 100, **settings: Any) -> Any:
        """What the model writes after `text`, piece by piece as it comes (see `decoding.text.Stream`)."""
        from polysemy.decoding.sampling import GenerationConfig
        from polysemy.decoding.text import stream

        self._check_writes()
        config = GenerationConfig(tokens=tokens, **settings)
        return stream(self.model, self.tokenizer, text, config, self.length)

    def generate_many(self, texts: Sequence[str], tokens: int = 100, **settings: Any) -> list[str]:
        """`generate` for several texts at once; each is what it would be alone, a repeated one in another way."""
        return [written.text for written in self.write_many(texts, tokens, **settings)]

    def write_many(self, texts: Sequence[str], tokens: int = 100, **settings: Any) -> list[Written]:
        """`generate_many` with how much was written after each text and why it ended."""
        from polysemy.decoding.autoregressive import generate
        from polysemy.decoding.sampling import GenerationConfig
        from polysemy.decoding.text import Unfolding, prompt_ids, unwanted

        self._check_writes()
        config = GenerationConfig(tokens=tokens, **settings)
        prompts = [prompt_ids(self.tokenizer, text) for text in texts]
        found = generate(self.model, prompts, config, stop=(self.mark,), banned=unwanted(self.tokenizer),
                         length=self.length)
        results = []
        for text, prompt, (ids, ended) in zip(texts, prompts, found, strict=True):
            unfolding = Unfolding(self.tokenizer, prompt.tolist())
            results.append(Written(text + "".join(map(unfolding.add, ids)) + unfolding.finish(), len(ids), ended))
        return results

    def _check_writes(self) -> None:
        self.check_remembers()
        if self.both:
            raise InputError(f"model must read from left to right to generate, got {self.config.recipe}, whose "
                             "states hold both sides")

    # rows

    def row(self, first: np.ndarray, second: np.ndarray | None = None) -> Row:
        """The mark, then the text."""
        assert second is None, "pairs belong to encoders"
        ids = np.concatenate([[self.mark], first]).astype(np.int64)
        return Row(ids, np.zeros(len(ids), np.int64))

    def specials(self, pair: bool) -> int:
        """The mark."""
        return 1


