"""`convert`: to and from the formats of other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polysemy.cli.printing import note
from polysemy.errors import InputError

VECTOR_FORMATS = ("word2vec", "glove", "fasttext")


def convert(args: argparse.Namespace) -> None:
    """Write DST in another format; SRC is only read."""
    form = args.to or args.source_format
    writing = args.to is not None
    if args.int8 and form != "onnx":
        raise InputError(f"--int8 must go with --to onnx, got --{'to' if writing else 'from'} {form}")
    if form == "onnx":
        _to_onnx(args.source, args.target, args.int8)
        return
    if writing:
        _check_exports(args.source, form)
    if form == "hf":
        (_to_hf if writing else _from_hf)(args.source, args.target)
    elif form == "sentence-transformers":
        (_to_sentences if writing else _from_sentences)(args.source, args.target)
    elif form == "arpa":
        (_to_arpa if writing else _from_arpa)(args.source, args.target)
    else:
        (_to_vectors if writing else _from_vectors)(args.source, args.target, form)


def _check_exports(source: str, form: str) -> None:
    from polysemy.artifact import read_folder
    from polysemy.models import find_recipe

    row = find_recipe(read_folder(source, verify=False).recipe)
    if ("hf" if form == "sentence-transformers" else form) not in row.exports:
        allowed = " or ".join(row.exports)
        raise InputError(f"--to must be {allowed} for recipe {row.name}, got {form}" if allowed else
                         f"SRC must be of a recipe that other tools read, got {source}, of recipe {row.name}, which "
                         "has no format but its own")


def _to_onnx(source: str, target: str, int8: bool) -> None:
    from polysemy.compression.onnx_export import to_onnx

    found = to_onnx(source, target, int8=int8)
    checked = found["checked"]
    shapes = ", ".join(f"{batch} x {length}" for batch, length in checked["shapes"])
    note(f"{target}/model.onnx: {found['megabytes']:.1f} MB, opens with ONNX Runtime; tokenizer.json is beside it")
    note(f"its outputs are torch's within {checked['largest_difference']:.1g} (batch x length {shapes})")
    if int8:
        note(f"int8 then moved them by up to {found['int8']['largest_difference']:.2g}; judge it on your own task")


def _recipe(folder: str) -> str:
    from polysemy.artifact import read_folder

    return read_folder(folder, verify=False).recipe


def _to_hf(source: str, target: str) -> None:
    from polysemy.models.hugging_face import to_hugging_face

    notes = to_hugging_face(source, target)
    causal = any("ForCausalLM" in line for line in notes) or _recipe(source) == "gpt"
    opens = _task_class(target) or ("AutoModelForCausalLM" if causal else "AutoModelForMaskedLM")
    note(f"{target}: opens with transformers' {opens} and AutoTokenizer")
    for line in notes:
        note(line)


def _task_class(target: str) -> str:
    """What opens a folder of transformers whose model has a task's head; '' for any other."""
    from polysemy.artifact import read_json
    from polysemy.models.hugging_face_files import task_class

    ending = task_class(read_json(Path(target) / "config.json"))
    return f"AutoModel{ending}" if ending else ""


def _from_hf(source: str, target: str) -> None:
    from polysemy.artifact import read_folder
    from polysemy.models.hugging_face import from_hugging_face

    notes = from_hugging_face(source, target)
    uses = "embed" if any("can embed, but not fill" in line for line in notes) else "fill, embed, score, evaluate"
    uses += ", generate" if _recipe(target) == "gpt" else ""
    uses = "predict, embed, finetune" if "task" in read_folder(target, verify=False).config else uses
    note(f"{target}: use it with polysemy {uses}")
    for line in notes:
        note(line)


def _to_sentences(source: str, target: str) -> None:
    from polysemy.models.sentence_transformers_files import to_sentence_transformers

    notes = to_sentence_transformers(source, target)
    note(f"{target}: opens with sentence_transformers.SentenceTransformer")
    for line in notes:
        note(line)


def _from_sentences(source: str, target: str) -> None:
    from polysemy.models.sentence_transformers_files import from_sentence_transformers

    notes = from_sentence_transformers(source, target)
    note(f"{target}: use it with polysemy embed, similarity, finetune, evaluate --data PAIRS")
    for line in notes:
        note(line)


def _to_arpa(source: str, target: str) -> None:
    import polysemy
    from polysemy.models.ngram.arpa_writing import write_arpa

    model = polysemy.load(source)
    _free(target)
    write_arpa(model, target)
    note(f"{target}: opens with KenLM, SRILM and others")


def _from_arpa(source: str, target: str) -> None:
    from polysemy.artifact import finish, new_folder
    from polysemy.models.ngram.arpa_reading import read_arpa

    model = read_arpa(source)
    with new_folder(target) as work:
        model.save(work)
        config = model.config.replace(words=model.vocabulary.config)
        finish(work, {"recipe": "ngram", "config": config.to_dict(), "source": Path(source).name})
    note(f"{target}: {len(model.vocabulary):,} words, order {model.order}; use it with polysemy score, fill, evaluate")


def _to_vectors(source: str, target: str, form: str) -> None:
    import polysemy
    from polysemy.cli.words import with_vectors
    from polysemy.models.word_vectors import WordVectors

    model = with_vectors(polysemy.load(source))
    path = Path(target)
    if form == "fasttext" and path.suffix == ".bin":
        from polysemy.models.fasttext.files import write_fasttext

        _must_export(model, source, "a fastText .bin", hasattr(model, "used"))
        _free(target)
        write_fasttext(path, model)
    else:
        from polysemy.models.vector_files import write_vectors

        _must_export(model, source, form, isinstance(model, WordVectors))
        _free(target)
        write_vectors(path, model, format=form)
    note(f"{target}: {len(model):,} words, {path.stat().st_size / 1e6:.1f} MB")


def _from_vectors(source: str, target: str, form: str) -> None:
    if form == "fasttext":
        from polysemy.models.fasttext.binary import is_binary

        if is_binary(source):
            _from_fasttext(source, target)
            return
    from polysemy.models.imported_vectors import import_vectors

    count = import_vectors(source, target, form)
    note(f"{target}: {count:,} words; use it with polysemy neighbors, analogy, similarity, evaluate")


def _from_fasttext(source: str, target: str) -> None:
    from polysemy.artifact import finish, new_folder
    from polysemy.models.fasttext.files import import_fasttext

    with new_folder(target) as work:
        config = import_fasttext(source, work)
        finish(work, {"recipe": "fasttext", "config": config.to_dict(), "source": Path(source).name})
    uses = "classify" if config.task == "classify" else "neighbors, analogy, similarity, embed"
    note(f"{target}: use it with polysemy {uses}")


def _must_export(model: Any, source: str, form: str, able: bool) -> None:
    if not able:
        raise InputError(f"SRC must be a model that can be written as {form}, got {source}, a {type(model).__name__}")


def _free(target: str) -> None:
    if Path(target).exists():
        raise InputError(f"DST must be a new file, got {target}, which exists; choose another name or remove it")
