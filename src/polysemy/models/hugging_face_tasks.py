"""Fine-tuned run folders to and from the task classes of Hugging Face transformers.

Written as BertForSequenceClassification, ...ForTokenClassification and ...ForQuestionAnswering, with `id2label`; read
from the same.  What the two forms of a head with tanh (`pooled`, `dropped`) differ in is dropout alone, so either fits
a class of either kind: outputs are equal, further training there drops at other places.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from polysemy.artifact import new_folder, read_json, save_tensors, write_bytes, write_json
from polysemy.errors import InputError
from polysemy.models import hugging_face as whole
from polysemy.models.hugging_face_causal import imported_config
from polysemy.models.hugging_face_causal_names import (
    LAYOUTS,
    causal_body,
    causal_config,
    causal_kind,
    marked_in_front,
    to_our_tensors,
    to_their_tensors,
)
from polysemy.models.hugging_face_files import (
    SMALLEST_VOCABULARY,
    TASK_CLASSES,
    check_shapes,
    encoder_of,
    read_tensors,
    setting,
    task_class,
    tell_tokenizer,
    tokenizer_for,
)
from polysemy.models.hugging_face_names import FAMILIES, to_ours, to_theirs
from polysemy.models.pretrained import WEIGHTS, finite
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.task_model import TaskModel
from polysemy.models.task_use import open_task_run, write_task_run
from polysemy.models.tasks import Classify, Regress, Span, Tag, Task, reads_pairs, task_of
from polysemy.nn.task_heads import HeadConfig
from polysemy.text.tokenizer import Tokenizer

TEXTS, WORDS, SPANS = TASK_CLASSES
NAMES = {"bert": "Bert", "roberta": "Roberta", "roberta-prelayernorm": "RobertaPreLayerNorm", "esm": "Esm",
         "albert": "Albert", "distilbert": "DistilBert", "gpt2": "GPT2", "gpt_neox": "GPTNeoX",
         "openai-gpt": "OpenAIGPT"}
ABSENT = {("esm", SPANS), ("openai-gpt", WORDS), ("openai-gpt", SPANS)}
"""classes that their library does not have"""
DENSE = {"bert": ("bert.pooler.dense", "classifier"), "albert": ("albert.pooler", "classifier"),
         "distilbert": ("pre_classifier", "classifier")}
"""where the dense layer and the last one of a head for texts are; elsewhere as in RoBERTa"""
FORMS = {"bert": "pooled", "albert": "pooled", "distilbert": "relu"}
PAIRS = "pair must be set to true under task in config.json if texts come in pairs: their classes do not say it"


def write_task(folder: Path, out: str | Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write a fine-tuned run folder as one that AutoModelFor... of its task opens; returns notes.

    InputError where no class computes the same: heads that read a mean or a mix, bodies that are no Transformer.
    """
    model, tokenizer, config = open_task_run(folder)
    body = encoder_of(config)
    causal = body.transformer.causal
    kind = causal_kind(body) if causal else whole.family_of(body, ())
    ending = _class_for(model.task)
    _check_head(kind, ending, model)
    ours = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("body.")}
    if causal:
        tensors, settings = to_their_tensors(kind, body, ours), causal_config(kind, config, tokenizer)
    else:
        tensors = to_theirs(FAMILIES[kind], body, (), ours, tokenizer.pad_id)
        settings = whole.their_config(kind, config, tokenizer)
    for name, theirs in head_names(kind, ending, model.head_config):
        tensors[theirs] = model.state_dict()[name].clone().contiguous()
    with new_folder(out, overwrite=overwrite) as work:
        tokenizer.save(work)
        segments = not causal and FAMILIES[kind].segments
        tell_tokenizer(work / "tokenizer_config.json", config, segments=segments)
        if causal:
            _mark_pairs(work / "tokenizer.json", tokenizer)
        save_tensors(work / WEIGHTS, tensors)
        write_json(work / "config.json", {**settings, **_told(kind, ending, model)})
    return _notes(kind, ending, model, config)


def _notes(kind: str, ending: str, model: TaskModel, config: PretrainingConfig) -> tuple[str, ...]:
    """What whoever opens the folder there should know."""
    notes = []
    if kind != config.recipe and (kind, config.recipe) != ("gpt2", "gpt"):
        notes.append(f"{config.recipe} is written as {NAMES[kind]}{ending}, the class for such a body")
    if kind == "esm" and reads_pairs(model.task) and encoder_of(config).embedding.num_segments > 1:
        notes.append("the vectors of further segments stay behind: Esm reads a pair of texts as one segment, so its "
                     "answers to pairs differ")
    return tuple(notes)


def _told(kind: str, ending: str, model: TaskModel) -> dict[str, Any]:
    """What their config.json says of the head and the labels."""
    task, head = model.task, model.head_config
    found: dict[str, Any] = {"architectures": [NAMES[kind] + ending], "polysemy_task": task.to_dict(),
                             "polysemy_head": head.to_dict()}
    dropout = {"albert": "classifier_dropout_prob", "distilbert": "seq_classif_dropout"}.get(kind, "classifier_dropout")
    if kind == "distilbert" and isinstance(task, Span):
        dropout = "qa_dropout"
    if isinstance(task, Classify | Regress) or kind not in ("gpt2", "openai-gpt"):
        found[dropout] = head.dropout
    if isinstance(task, Span):
        return found
    labels = ("LABEL_0",) if isinstance(task, Regress) else task.labels  # type: ignore[union-attr]
    found |= {"id2label": {str(i): label for i, label in enumerate(labels)},
              "label2id": {label: i for i, label in enumerate(labels)}}
    if isinstance(task, Classify | Regress):
        found["problem_type"] = "regression" if isinstance(task, Regress) else "single_label_classification"
    return found


def _check_head(kind: str, ending: str, model: TaskModel) -> None:
    """InputError unless a class of theirs computes this head."""
    head, rows = model.head_config, isinstance(model.task, Classify | Regress)
    if (kind, ending) in ABSENT:
        raise InputError(f"task must be one that {NAMES[kind]} of transformers has a class for, got "
                         f"{type(model.task).__name__.lower()}; keep it as a run folder")
    causal = kind in LAYOUTS
    if head.reading == "mix" or (rows and head.reading != ("last" if causal else "first")):
        raise InputError(f"head.reading must be {'last' if causal else 'first'} for a class of transformers to fit, "
                         f"got {head.reading}; keep it as a run folder")
    tanh = {"pooled", "dropped"}
    wanted = {"linear"} if causal or not rows else {"relu"} if kind == "distilbert" else tanh
    if rows and head.form not in wanted:
        raise InputError(f"head.form must be {' or '.join(sorted(wanted))} for {NAMES[kind]} of transformers, got "
                         f"{head.form}; keep it as a run folder")
    if head.bias == (causal and rows):
        raise InputError(f"head.bias must be {str(not head.bias).lower()} for {NAMES[kind]}{ending} of transformers, "
                         f"got {str(head.bias).lower()}; keep it as a run folder")


def head_names(kind: str, ending: str, head: HeadConfig) -> Iterator[tuple[str, str]]:
    """(our tensor of the head, theirs)."""
    if ending == SPANS:
        parts = [("output", "qa_outputs")]
    elif ending == WORDS:
        parts = [("output", "classifier")]
    elif kind in LAYOUTS:
        parts = [("output", "score")]
    else:
        names = DENSE.get(kind, ("classifier.dense", "classifier.out_proj"))
        parts = list(zip(("dense", "output"), names, strict=True))
    for ours, theirs in parts:
        yield f"head.{ours}.weight", f"{theirs}.weight"
        if ours != "output" or head.bias:
            yield f"head.{ours}.bias", f"{theirs}.bias"


# --- reading


def convert_task(source: Path, out: str | Path, theirs: dict[str, Any], *, overwrite: bool = False) -> tuple[str, ...]:
    """Write a folder of one of their task classes as a run folder; returns notes on what they do not say."""
    model, tokenizer, config, notes = read_task(source, theirs)
    write_task_run(out, model, tokenizer, config, overwrite=overwrite)
    return notes


def read_task(source: Path, theirs: dict[str, Any]
              ) -> tuple[TaskModel, Tokenizer, PretrainingConfig, tuple[str, ...]]:
    """Model, tokenizer, config and notes of a folder of one of their task classes; InputError when it does not fit."""
    kind, ending = theirs.get("model_type"), task_class(theirs)
    if not isinstance(kind, str) or kind not in NAMES:
        raise InputError(f"model_type must be {' | '.join(NAMES)}, got {kind!r} in {source}/config.json")
    causal = kind in LAYOUTS
    body = causal_body(kind, partial(setting, theirs)) if causal else whole.our_config(kind, theirs)
    stored = read_tensors(source)
    task, told = _task(source, kind, ending, theirs)
    rows = ending == TEXTS
    head = HeadConfig(
        reading="last" if causal else "first", bias=not (causal and rows),
        form="linear" if causal or not rows else FORMS.get(kind, "dropped"),  # type: ignore[arg-type]
        dropout=_dropout(kind, ending, theirs, 0.0 if causal else body.transformer.dropout))
    model = TaskModel.empty(body, task, head)
    try:
        ours = (to_our_tensors(kind, body, stored) if causal else
                to_ours(FAMILIES[kind], body, (), whole.with_prefix(FAMILIES[kind], stored)))
        ours |= {name: stored[found].float() for name, found in head_names(kind, ending, head)}
    except KeyError as error:
        raise InputError(f"{source} must hold the tensor {error.args[0]}, which its config.json asks for") from None
    check_shapes(source, model, ours)  # pyright: ignore[reportArgumentType]
    model.load_state_dict(finite(source, ours), assign=True)
    tokenizer = tokenizer_for(source, body.vocab_size)
    config = (imported_config(kind, theirs, body) if causal
              else whole.recipe_config(kind, theirs, body, ("masked_lm",)))
    learned = config.tokenizer.replace(kind=tokenizer.kind, vocab_size=max(tokenizer.vocab_size, SMALLEST_VOCABULARY))
    return model.eval(), tokenizer, config.replace(tokenizer=learned), told


def _task(source: Path, kind: str, ending: str, theirs: dict[str, Any]) -> tuple[Task, tuple[str, ...]]:
    """The task: as we wrote it once, or as labels and problem type say."""
    labels = _labels(source, theirs)
    if "polysemy_task" in theirs:
        task = task_of(theirs["polysemy_task"])
        if _class_for(task) == ending and getattr(task, "labels", labels) == labels:
            return task, ()
    if ending == SPANS:
        return Span(), ()
    if ending == WORDS:
        return Tag(labels=labels), ()
    if theirs.get("problem_type") == "multi_label_classification":
        raise InputError(f"problem_type must be single_label_classification or regression, got "
                         f"multi_label_classification in {source}/config.json")
    if len(labels) == 1 or theirs.get("problem_type") == "regression":
        if len(labels) != 1:
            raise InputError(f"id2label must have one entry for a regression, got {len(labels)} in "
                             f"{source}/config.json")
        return Regress(), (PAIRS,)
    return Classify(labels=labels), (PAIRS,)


def _labels(source: Path, theirs: dict[str, Any]) -> tuple[str, ...]:
    """Labels by number; two without a name where nothing is said, as in their library."""
    named = theirs.get("id2label") or {str(i): f"LABEL_{i}" for i in range(theirs.get("num_labels") or 2)}
    if not isinstance(named, dict) or set(named) != {str(i) for i in range(len(named))} or not all(
            isinstance(name, str) for name in named.values()):
        raise InputError(f"id2label must name the labels 0, 1, 2 ..., got {str(named)[:60]} in {source}/config.json")
    return tuple(named[str(i)] for i in range(len(named)))


def _dropout(kind: str, ending: str, theirs: dict[str, Any], usual: float) -> float:
    """Dropout before their last matrix."""
    if kind == "distilbert":
        names = {TEXTS: ("seq_classif_dropout", 0.2), WORDS: ("dropout", 0.1), SPANS: ("qa_dropout", 0.1)}
        return setting(theirs, *names[ending])
    if ending == SPANS or (kind in LAYOUTS and ending == TEXTS):
        return 0.0
    return setting(theirs, "classifier_dropout_prob" if kind == "albert" else "classifier_dropout", usual)


def _class_for(task: Task) -> str:
    match task:
        case Classify() | Regress():
            return TEXTS
        case Tag():
            return WORDS
        case Span():
            return SPANS
    raise InputError("task must have a head for a class of transformers to fit, got embed; convert it with "
                     "--to sentence-transformers")


def _mark_pairs(path: Path, tokenizer: Tokenizer) -> None:
    """tokenizer.json that puts the mark before a text and between two, as we read pairs with a causal body."""
    definition = marked_in_front(read_json(path), tokenizer)
    template = definition.get("post_processor") or {}
    if template.get("type") == "TemplateProcessing" and len(template.get("pair", ())) == 3:
        mark, first, second = template["pair"]
        definition = {**definition, "post_processor": {**template, "pair": [mark, first, mark, second]}}
    write_bytes(path, (json.dumps(definition, ensure_ascii=False) + "\n").encode())
