"""Sentence embedders to and from the folders of sentence-transformers: modules.json over a folder of transformers.

No import of that library: files are written as it reads them, and tests hold vectors equal.  Only JSON and safetensors
are read, nothing is run: a module that is not pooling or normalization is refused by name.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

from polysemy.artifact import inside, new_folder, read_json, write_json
from polysemy.errors import InputError
from polysemy.models.fine_tuning import opened
from polysemy.models.hugging_face import read_hugging_face, write_hugging_face
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.sentence_vectors import SentenceVectors
from polysemy.models.task_model import READ_LAST
from polysemy.models.tasks import Embed
from polysemy.models.text_model import TextModel
from polysemy.text.segments import FullSentences

POOLING_KEYS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens",
                "last": "pooling_mode_lasttoken"}
"""our names of poolings and the keys of their older files, which newer versions still read"""
MODES = {"cls": "cls", "mean": "mean", "max": "max", "lasttoken": "last"}
"""the values of `pooling_mode` in their newer files"""
TYPES = "sentence_transformers.models."
KNOWN = ("Transformer", "Pooling", "Normalize")


def to_sentence_transformers(folder: str | Path, out: str | Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write an embedder as a folder that `SentenceTransformer(path)` opens; returns a sentence for each loss.

    A model that was never trained as an embedder is written with the mean of its tokens (the last one of models that
    read from left to right), not normalized: what `embed` gives of it.
    """
    model = opened(folder)
    task = model.task if isinstance(model, SentenceVectors) else Embed(
        pooling="last" if model.config.recipe in READ_LAST else "mean", normalize=False)
    notes = []
    with new_folder(out, overwrite=overwrite) as work:
        notes += write_hugging_face(_bare(model), model.tokenizer, _bare_config(model), work / "0")
        for file in (work / "0").iterdir():  # the model stands at the top, as in their own folders
            file.rename(work / file.name)
        (work / "0").rmdir()
        told = work / "tokenizer_config.json"  # padding on the left would move the positions of the text
        write_json(told, {**read_json(told), "padding_side": "right"})
        size = model.config.model.hidden_size
        _write_modules(work, task, size, model.length)
    if task.dimensions is not None and task.dimensions < size:
        notes.append(f"vectors are cut to {task.dimensions} numbers here; there say SentenceTransformer(path, "
                     f"truncate_dim={task.dimensions}), for their folders have no place for it, and normalize anew")
    return tuple(notes)


def _bare(model: TextModel) -> PretrainingModel:
    """The body without the heads of pretraining, which their encoders do not read."""
    bare = PretrainingModel.empty(model.config.model, ())
    bare.body = model.model.body
    return bare


def _bare_config(model: TextModel) -> PretrainingConfig:
    """The config of that; a causal one keeps its head, which is the table itself."""
    config = model.config
    return config if "next_token" in config.heads else config.replace(heads=(), segments=FullSentences())


def _write_modules(work: Path, task: Embed, size: int, length: int) -> None:
    names = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] * task.normalize)]
    write_json(work / "modules.json", [{"idx": i, "name": str(i), "path": path, "type": TYPES + kind}
                                       for i, (path, kind) in enumerate(names)])
    write_json(work / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False})
    write_json(work / "config_sentence_transformers.json",
               {"__version__": {}, "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"})
    for path, _ in names[1:]:
        (work / path).mkdir()
    write_json(work / "1_Pooling" / "config.json", {
        "word_embedding_dimension": size, **{key: name == task.pooling for name, key in POOLING_KEYS.items()},
        "pooling_mode_mean_sqrt_len_tokens": False, "pooling_mode_weightedmean_tokens": False, "include_prompt": True})


def from_sentence_transformers(source: str | Path, out: str | Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write their folder as an embedder that `polysemy.load` opens; returns a sentence for each thing lost."""
    source = Path(source)
    place, task = read_modules(source)
    model, tokenizer, config, lost = read_hugging_face(place)
    settings = place / "sentence_bert_config.json"
    longest = read_json(settings).get("max_seq_length") if settings.is_file() else None
    if isinstance(longest, int) and 8 <= longest < config.training.length:
        config = config.replace(training=config.training.replace(length=longest))
    bare = PretrainingModel.empty(config.model, ())
    bare.body = model.body
    write_run(out, bare, tokenizer, config, overwrite=overwrite, task=task.to_dict())
    return (*(line for line in lost if "head" not in line and "pooler" not in line),
            f"texts of more than {config.training.length} tokens are read in windows, where sentence-transformers cuts "
            "them")


def read_modules(source: Path) -> tuple[Path, Embed]:
    """Where the model of a folder is, and what is done with its states; InputError for a module of another kind."""
    path = source / "modules.json"
    if not path.is_file():
        raise InputError(f"source must be a folder of sentence-transformers, with modules.json, got {source}; for one "
                         "of transformers use --from hf")
    modules = read_json(path)
    if not isinstance(modules, list) or not all(isinstance(entry, dict) for entry in modules):
        raise InputError(f"{path} must be a list of modules, got something else")
    kinds = [str(entry.get("type", "")).rpartition(".")[2] for entry in modules]
    for entry, kind in zip(modules, kinds, strict=True):
        if kind not in KNOWN or not str(entry.get("type", "")).startswith("sentence_transformers."):
            raise InputError(f"modules must be {', '.join(KNOWN)} of sentence-transformers, got {entry.get('type')!r} "
                             f"in {path}; its vectors cannot be computed here")
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise InputError(f"modules must be Transformer, Pooling and perhaps Normalize, got {', '.join(kinds)} in "
                         f"{path}")
    places = [source if not entry.get("path") else inside(source, str(entry["path"])) for entry in modules]
    prompts = source / "config_sentence_transformers.json"
    default = read_json(prompts).get("default_prompt_name") if prompts.is_file() else None
    if default:
        raise InputError(f"the model must not put a prompt before each text, got prompt {default!r} in {prompts}")
    return places[0], Embed(pooling=_pooling(places[1] / "config.json"), normalize=len(kinds) == 3)


def _pooling(path: Path) -> Any:
    """The one pooling of a config of theirs, old or new."""
    config = read_json(path)
    if "pooling_mode" in config:
        found = config["pooling_mode"]
        found = [found] if isinstance(found, str) else list(found)
        modes: list[str] = [MODES.get(str(mode), str(mode)) for mode in found]
    else:
        names = {key: name for name, key in POOLING_KEYS.items()}
        keys = [str(key) for key, value in config.items() if value is True]
        modes = [names.get(key, key.removeprefix("pooling_mode_")) for key in keys if key.startswith("pooling_mode_")]
    if len(modes) != 1 or modes[0] not in POOLING_KEYS:
        raise InputError(f"pooling must be one of {', '.join(POOLING_KEYS)}, got {', '.join(modes) or 'none'} in "
                         f"{path}")
    return modes[0]
