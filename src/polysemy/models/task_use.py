"""A fine-tuned model in use: what `polysemy.load` gives for a run folder with a task."""
from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from polysemy.artifact import finish, new_folder, read_folder, save_tensors
from polysemy.errors import InputError
from polysemy.models import predictions
from polysemy.models.predictions import Prediction
from polysemy.models.pretrained import WEIGHTS, know_pieces, tokenizer_of
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.task_model import TaskModel
from polysemy.models.tasks import Classify, Regress, Span, Tag, Task, kind_of, reads_pairs, task_of
from polysemy.models.text_model import ReadAs, TextModel
from polysemy.nn.task_heads import HeadConfig
from polysemy.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from polysemy.text.examples import Examples
    from polysemy.text.task_batches import TaskBatch
    from polysemy.text.task_rows import TaskRows

log = logging.getLogger(__name__)
Source = tuple[str, list[tuple[int, int]]]
"""a text, and the characters of each of its words"""
GROUP_TOKENS = 8192
"""columns that run through the model at once"""


class TaskUser(ReadAs):
    """Predicts what its task asks for, and embeds as the model it was made of.  Nothing here is random.

    Texts run in groups of like length; which texts share a group changes no number beyond rounding.
    """

    def __init__(self, model: TaskModel, tokenizer: Tokenizer, config: PretrainingConfig) -> None:
        super().__init__(model, tokenizer, config)  # pyright: ignore[reportArgumentType]
        source: Any = model  # whatever has a body and its table
        self.reader = reader_class(config)(source, tokenizer, config)
        self.length = self.reader.length
        self.most: int | None = None
        """tokens of a row that predictions are made from; none: all that the body reads"""

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The model of a run folder with a task, checked before it is believed; it predicts from rows as long as those
        that it learned from (`length` in config.json)."""
        found = cls(*open_task_run(Path(folder)))
        most = read_folder(folder, verify=False).config.get("length")
        if most is not None and (not isinstance(most, int) or most < 1):
            raise InputError(f"length must be a number of tokens from 1 on, got {most!r} in config.json of {folder}")
        found.most = most
        return found

    @property
    def task(self) -> Task:
        """What it was fine-tuned for."""
        return self._task_model.task

    @property
    def _task_model(self) -> TaskModel:
        model: Any = self.model
        return model

    # predictions

    def predict(self, texts: Sequence[str] | Sequence[Sequence[str]], pairs: Sequence[str] | None = None
                ) -> list[Prediction]:
        """One prediction a text, or a pair of texts: of a question and its context where answers are looked for.

        A tagger takes texts, or sentences as lists of words, which it tags word by word.  A text that is longer than
        the model loses its end, which is told; contexts and tagged sentences are read in windows.  InputError for
        another input than the task takes.
        """
        examples, sources = given(texts, pairs, self.task)
        return self.predict_rows(self.rows_of(examples), examples, sources)

    def predict_examples(self, examples: Examples) -> list[Prediction]:
        """`predict` for examples as `text.labeled.read_examples` gives them; their labels are not looked at."""
        return self.predict_rows(self.rows_of(without_labels(examples)), examples)

    def rows_of(self, examples: Examples) -> TaskRows:
        """What the model is shown of the examples; warns of texts that are longer than it and lose their end."""
        from polysemy.text.task_rows import task_rows

        rows = task_rows(examples, self, self.task, length=self.most)
        if rows.cut:
            log.warning(rows.warning)
        return rows

    def predict_rows(self, rows: TaskRows, examples: Examples, sources: Sequence[Source] | None = None
                     ) -> list[Prediction]:
        """`predict` for rows that were made of these examples before; `sources`: where given words stand in a text."""
        found: list[Any] = [None] * len(rows)
        for batch, logits in self.logits_of(rows):
            splits = _splits(batch)
            for line, source in enumerate(batch.sources.tolist()):
                found[source] = logits[splits[line]:splits[line + 1]] if isinstance(self.task, Tag) else logits[line]
        match self.task:
            case Classify():
                return [self._label(logits) for logits in found]
            case Regress():
                return [Prediction(value=float(logits[0])) for logits in found]
            case Tag():
                return self._tags(found, rows, examples, sources)
        return self._answers(found, rows, examples)

    @torch.inference_mode()
    def logits_of(self, rows: TaskRows) -> Iterator[tuple[TaskBatch, np.ndarray]]:
        """(batch, float32 logits as `TaskModel.logits` gives them) for groups of rows of like length."""
        from polysemy.text.task_batches import in_order_of_length

        device = self.model.table.device
        for batch in in_order_of_length(rows, GROUP_TOKENS):
            arrays = {name: getattr(batch, name) for name in ("ids", "positions", "segments", "documents", "at")}
            tensors: dict[str, Tensor] = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
            yield batch, self._task_model.logits(tensors).float().cpu().numpy()

    # from numbers to predictions

    def _label(self, logits: np.ndarray) -> Prediction:
        assert isinstance(self.task, Classify)
        shares = predictions.softmax(logits)
        best = int(shares.argmax())
        return Prediction(label=self.task.labels[best], probability=float(shares[best]),
                          probabilities=dict(zip(self.task.labels, shares.tolist(), strict=True)))

    def _tags(self, found: Sequence[np.ndarray], rows: TaskRows, examples: Examples,
              sources: Sequence[Source] | None) -> list[Prediction]:
        assert isinstance(self.task, Tag)
        windows: Any = rows.windows
        sentences = [np.zeros((len(example.words), len(self.task.labels))) for example in examples]
        for i, logits in enumerate(found):
            words = windows.words[windows.at_splits[i]:windows.at_splits[i + 1]]
            sentences[windows.examples[i]][words] = logits
        results = []
        for i, (example, logits) in enumerate(zip(examples, sentences, strict=True)):
            shares = predictions.softmax(logits)
            best = shares.argmax(-1)
            tags = tuple(self.task.labels[number] for number in best)
            text, spans = predictions.joined(example.words) if sources is None else sources[i]
            things = predictions.entities(tags, shares.max(-1).tolist(), text, spans)
            results.append(Prediction(words=tuple(example.words), tags=tags, entities=things))
        return results

    def _answers(self, found: Sequence[np.ndarray], rows: TaskRows, examples: Examples) -> list[Prediction]:
        assert isinstance(self.task, Span)
        windows: Any = rows.windows
        spans: list[list[predictions.Candidate]] = [[] for _ in examples]
        null = [np.inf] * len(spans)
        for i, scores in enumerate(found):
            own = int(windows.examples[i])
            null[own] = min(null[own], float(scores[0].astype(np.float64).sum()))
            if len(windows.encodings[own].ids):
                here = windows.best[windows.best_splits[i]:windows.best_splits[i + 1]]
                spans[own] += predictions.candidates(scores, int(windows.columns[i]), int(windows.first_tokens[i]),
                                                     here, self.task)
        results = []
        for i, example in enumerate(examples):
            encoding = windows.encodings[i]
            answer = predictions.answer_of(spans[i], null[i], example.context, encoding.starts, encoding.ends,
                                           self.task)
            results.append(Prediction(probability=answer.probability, answer=answer))
        return results


def given(texts: Sequence[Any], pairs: Sequence[str] | None, task: Task) -> tuple[Examples, list[Source] | None]:
    """What a user gives as examples without labels, and of texts to be tagged where their words stand.

    InputError where the input is not what the task takes.
    """
    from polysemy.text.examples import Examples, Question, texts_as_examples

    if isinstance(texts, str) or isinstance(pairs, str):
        raise InputError("texts must be a list of texts, got one text; put it into a list")
    kind = kind_of(task)
    if reads_pairs(task) and pairs is None:
        wanted = "a context beside each question" if kind == "span" else "a second text beside each"
        raise InputError(f"pairs must be given for task {kind}, got none; give {wanted}")
    if pairs is not None and not reads_pairs(task):
        raise InputError(f"pairs must not be given for task {kind}, got {len(pairs)}; it reads one text at a time")
    if isinstance(task, Tag):
        return _to_tag(texts)
    found = texts_as_examples(texts, pairs)
    for item in found:
        if not isinstance(item.text, str) or not isinstance(item.pair, str | None):
            raise InputError(f"texts must be strings, got {type(item.text).__name__} in place {item.row}")
    if not isinstance(task, Span):
        return found, None
    asked = tuple(Question(str(item.row), item.text, str(item.pair), (), item.row) for item in found)
    return Examples(asked, "span", "texts"), None


def _to_tag(texts: Sequence[Any]) -> tuple[Examples, list[Source] | None]:
    from polysemy.text.examples import Examples, Tagged

    if all(isinstance(text, str) for text in texts):
        cut = [predictions.split_words(text) for text in texts]
        items = tuple(Tagged(tuple(words), None, row) for row, (words, _) in enumerate(cut, start=1))
        return Examples(items, "tag", "texts"), [(text, spans) for text, (_, spans) in zip(texts, cut, strict=True)]
    for row, words in enumerate(texts, start=1):
        if isinstance(words, str) or not all(isinstance(word, str) and word.strip() for word in words):
            raise InputError(f"texts must be all texts, or all lists of words, got {str(words)[:60]!r} in place {row}")
    return Examples(tuple(Tagged(tuple(words), None, row) for row, words in enumerate(texts, start=1)), "tag",
                    "texts"), None


def without_labels(examples: Examples) -> Examples:
    """The same examples, of which nobody knows the label."""
    from polysemy.text.examples import Example, Tagged

    changes = {Example: {"label": None}, Tagged: {"tags": None}}
    items = tuple(replace(item, **changes.get(type(item), {})) for item in examples)
    return replace(examples, items=items)


def _splits(batch: TaskBatch) -> np.ndarray:
    """Where the places of each row of a batch begin among all of them."""
    return np.searchsorted(batch.at, np.arange(len(batch.ids) + 1) * batch.ids.shape[1])


# --- folders


def reader_class(config: PretrainingConfig) -> type[TextModel]:
    """The class that reads text for a body of this config."""
    from polysemy.models import find_recipe, resolve
    from polysemy.models.static_body import StaticConfig

    if isinstance(config.model, StaticConfig):
        from polysemy.models.static_text import StaticText

        return StaticText
    return resolve(find_recipe(config.recipe).load.rpartition(".")[0])


def write_task_run(out: str | Path, model: TaskModel, tokenizer: Tokenizer, config: PretrainingConfig, *,
                   overwrite: bool = False, **more: Any) -> None:
    """A run folder of a fine-tuned model, complete or not at all: `write_run` with `task` and `head` in config.json.

    `config` is the one that the body was pretrained with.
    """
    tensors = {name: tensor.detach().float().contiguous().cpu() for name, tensor in model.state_dict().items()}
    with new_folder(out, overwrite=overwrite) as folder:
        save_tensors(folder / WEIGHTS, tensors)
        tokenizer.save(folder)
        finish(folder, task_record(model, config) | more)


def task_record(model: TaskModel, config: PretrainingConfig) -> dict[str, Any]:
    """What config.json says of a fine-tuned model."""
    return {"recipe": config.recipe, "config": config.replace(model=model.config).to_dict(),
            "task": model.task.to_dict(), "head": model.head_config.to_dict()}


def open_task_run(folder: Path) -> tuple[TaskModel, Tokenizer, PretrainingConfig]:
    """Model (evaluation mode), tokenizer and config of a run folder with a task; InputError when it does not fit."""
    opened = read_folder(folder)
    if "task" not in opened.config:
        raise InputError(f"model must be one that was fine-tuned, got a {opened.recipe} in {folder}; "
                         "run: polysemy finetune")
    config = PretrainingConfig.from_dict(opened.config.get("config", {}))
    task, head = task_of(opened.config["task"]), HeadConfig.from_dict(opened.config.get("head", {}))
    tokenizer = tokenizer_of(opened.path, config)
    model = TaskModel.load(config.model, task, head, opened.file(WEIGHTS))
    know_pieces(model, tokenizer)  # pyright: ignore[reportArgumentType]
    return model, tokenizer, config
