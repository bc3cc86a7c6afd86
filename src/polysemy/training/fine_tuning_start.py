"""What a fine-tuning begins with: the task that the examples ask for, dev where there is none, the first weights."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polysemy.artifact import read_folder
from polysemy.errors import InputError
from polysemy.models.pretrained import know_pieces
from polysemy.models.task_model import TaskModel, head_config
from polysemy.models.tasks import Classify, Regress, Span, Tag, Task
from polysemy.models.text_model import TextModel
from polysemy.objectives.task import TaskObjective, balanced_weights
from polysemy.runtime import seed_for
from polysemy.text.labeled import Examples, check_labels
from polysemy.text.task_batches import collate
from polysemy.text.task_rows import TaskRows
from polysemy.training.fine_tuning_config import FineTuningConfig
from polysemy.training.layer_rates import depths, layer_rates

DEV_RATE = 0.1
MEASURED = 1024
"""rows that a head which mixes layers is shown before it learns"""
FEWEST_FOR_DEV = 20
"""examples below which none are held out"""
Tell = Callable[[str], None]


def task_for(kind: str, train: Examples, dev: Examples | None = None) -> Task:
    """The task that examples of this kind ask for: classify | pair | regress | tag | span.

    Labels are those of `train`; a question without an answer anywhere in `train` makes "no answer" a possible one.
    """
    labels = check_labels(train, dev)
    match kind:
        case "classify" | "pair":
            if (kind == "pair") != train.pair and (kind == "pair" or train.pair):
                found = "pairs" if train.pair else "single texts"
                raise InputError(f"--task must be {'pair' if train.pair else 'classify'} for {found}, got {kind}")
            return Classify(labels=labels, pair=train.pair)
        case "regress":
            low, high = train.range
            return Regress(low=None if dev is None else min(low, dev.range[0]),
                           high=None if dev is None else max(high, dev.range[1]), pair=train.pair)
        case "tag":
            return Tag(labels=labels)
        case "span":
            return Span(null=any(not question.answers for question in train))
    raise InputError(f"task must be classify, pair, regress, tag or span, got {kind!r}")


def split_dev(train: Examples) -> tuple[Examples, Examples | None]:
    """A tenth of the examples as dev, always the same; equal texts (contexts of questions) stay on one side.

    None of less than 20 examples, or where a label would be left without an example to learn from.
    """
    if len(train) < FEWEST_FOR_DEV:
        return train, None
    keys: dict[str, list[int]] = {}
    for number, item in enumerate(train):
        text = getattr(item, "context", None) or getattr(item, "text", None) or " ".join(item.words)
        keys.setdefault(text, []).append(number)
    wanted, chosen = max(1, round(DEV_RATE * len(train))), set[int]()
    for text in sorted(keys, key=lambda text: seed_for("dev", text)):
        if len(chosen) + len(keys[text]) <= max(wanted, len(train) // 5):
            chosen.update(keys[text])
        if len(chosen) >= wanted:
            break
    rest = replace(train, items=tuple(item for i, item in enumerate(train) if i not in chosen))
    dev = replace(train, items=tuple(item for i, item in enumerate(train) if i in chosen), path=f"{train.path} (dev)")
    return (train, None) if not len(dev) or rest.labels != train.labels else (rest, dev)


def check_targets(rows: TaskRows, examples: Examples) -> None:
    """InputError for examples without a label: nothing can be learned from them, or judged by them."""
    unknown = np.isnan(rows.targets) if rows.kind == "regress" else rows.targets < 0
    if unknown.any():
        raise InputError(f"{examples.path} must have labels in all rows, got {int(unknown.sum()):,} without")


def fingerprint(*parts: Examples | None) -> str:
    """A hash of all examples, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"none" if part is None else b"".join(repr(item).encode() + b"\n" for item in part))
    return digest.hexdigest()


def hash_of_folder(folder: Path) -> str:
    """A hash of what a run folder holds."""
    files = read_folder(folder, verify=False).config.get("files", {})
    return hashlib.sha256("".join(f"{name} {files[name]['sha256']}\n" for name in sorted(files)).encode()).hexdigest()


def as_before(task: Task, reader: TextModel) -> tuple[Task, bool]:
    """The task with its labels in the order that the model knows them, and whether its head goes on with it."""
    old = getattr(reader, "task", None)
    if type(old) is not type(task) or getattr(old, "pair", None) != getattr(task, "pair", None):
        return task, False
    if isinstance(task, Classify | Tag):
        assert isinstance(old, Classify | Tag)
        if set(old.labels) != set(task.labels):
            return task, False
        return task.replace(labels=old.labels), True
    return task, True


def first_model(reader: TextModel, task: Task, config: FineTuningConfig, seed: int, tell: Tell,
                rows: TaskRows | None = None) -> TaskModel:
    """The body of `reader` with the head of the task; layers that are to begin anew, and a new head, by `seed`.

    A new head that mixes layers is shown the first `rows` that it is to learn from.
    """
    task, same = as_before(task, reader)
    old = getattr(reader, "task", None)
    reading = {} if config.reading is None else {"reading": config.reading}
    head = head_config(task, reader.config, **reading)
    pretrained: Any = reader.model
    model = TaskModel.on(pretrained, task, head, seed=seed, dropout=config.dropout)
    fresh = _fresh_names(model, config)
    known = same and getattr(pretrained, "head_config", None) == head and not fresh
    if known:
        model.head.load_state_dict(pretrained.head.state_dict())
        if model.mix is not None:
            model.mix.load_state_dict(pretrained.mix.state_dict())
        tell("the head of the model goes on: its task is the same")
    elif old is not None:
        tell("the head of the model is replaced by a new one: its task or its labels are others")
    know_pieces(model, reader.tokenizer)  # pyright: ignore[reportArgumentType]
    if fresh:
        _draw_again(model, fresh, seed)
        tell(f"{len([name for name in fresh if name.startswith('body.')])} tensors of the body begin with random "
             "weights")
    if rows is not None and not known:
        model.measure(_some_batches(rows, task, model.table.device))
    return model


def _some_batches(rows: TaskRows, task: Task, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """The first rows as tensors."""
    objective = TaskObjective(task)
    for start in range(0, min(len(rows), MEASURED), 64):
        numbers = np.arange(start, min(len(rows), start + 64))
        yield objective.tensors(collate(rows, numbers, numbers), device)


def check_length(length: int | None, reader: TextModel) -> None:
    """InputError for rows that are longer than what the model reads at once."""
    if length is not None and length > reader.length:
        raise InputError(f"length must be at most {reader.length}, the tokens that this model reads at once, got "
                         f"{length}; use a shorter one, or a model that was trained on longer rows")


def check_shapes(reader: TextModel, task: Task, config: FineTuningConfig) -> None:
    """InputError for settings that do not fit the model: layers to freeze, to reuse, to begin anew."""
    reading = {} if config.reading is None else {"reading": config.reading}
    model = TaskModel.empty(reader.config.model, task, head_config(task, reader.config, **reading))
    layer_rates(model, config.layer_decay, config.freeze)
    _fresh_names(model, config)
    TaskObjective(task, smoothing=config.smoothing)


def _fresh_names(model: TaskModel, config: FineTuningConfig) -> set[str]:
    """Parameters that begin with random weights although the model has them: layers, what follows them, the pooler."""
    count = model.config.num_layers
    kept = config.reuse_layers if config.reuse_layers is not None else count - config.reinit
    if not 0 <= kept <= count:
        name = "reinit" if config.reuse_layers is None else "reuse_layers"
        value = getattr(config, name)
        most = f"0..{count}, the layers of this model" if count else "0, as this model is a table without layers"
        raise InputError(f"{name} must be {most}, got {value}")
    if kept == count:
        return set()
    found = {name for name, depth in depths(model).items() if depth > kept}
    if len(found & depths(model).keys()) == len(depths(model)) and kept:
        raise InputError(f"layers must have weights of their own to be reused in part, got {kept} of {count}")
    return found


@torch.no_grad()
def _draw_again(model: TaskModel, names: set[str], seed: int) -> None:
    fresh = dict(TaskModel(model.config, model.task, model.head_config, seed=seed).named_parameters())
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.copy_(fresh[name])


def class_weights(task: Task, train: Examples) -> tuple[float, ...] | None:
    """Balanced weights of a task's labels."""
    if not isinstance(task, Classify | Tag):
        raise InputError(f"class_weights must go with labels, got a task {type(task).__name__.lower()}")
    seen = [item.label for item in train] if isinstance(task, Classify) else \
        [tag for item in train for tag in item.tags]
    names, counts = np.unique(np.array(seen), return_counts=True)
    return balanced_weights(task.labels, dict(zip(names.tolist(), counts.tolist(), strict=True)))
