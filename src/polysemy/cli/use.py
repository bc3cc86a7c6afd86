"""Commands that use a trained model: fill, score, classify, embed, order, tokenize."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polysemy.capability import GAP
from polysemy.cli.printing import emit, lines_of, note, plain, table
from polysemy.errors import InputError

ABILITIES = {"predict_many": "classify"}
"""what a method is called for people"""


def load(args: argparse.Namespace, capability: str) -> Any:
    """The model of `args.model`, which must have a method named `capability`."""
    import polysemy
    from polysemy.artifact import read_json
    from polysemy.runtime import set_threads

    model = polysemy.load(args.model)
    if hasattr(model, "to"):
        set_threads(args.threads)
    if not hasattr(model, capability):
        raise InputError(f"model must be able to {ABILITIES.get(capability, capability)}, got {args.model}, "
                         f"of recipe {read_json(Path(args.model) / 'config.json')['recipe']}")
    if not hasattr(model, "to"):
        return model
    return model.to(args.device, args.dtype) if hasattr(args, "dtype") else model.to(args.device)


def fill(args: argparse.Namespace) -> None:
    """Candidates for each gap with their probabilities."""
    if args.top < 1:
        raise InputError(f"--top must be at least 1, got {args.top}")
    texts = lines_of("-") if args.text == "-" else [args.text]
    for text in texts:
        if GAP not in text:
            raise InputError(f"text must hold a gap written {GAP}, got {text[:60]!r}")
    model = load(args, "fill")
    results = [
        {"text": text, "gaps": [[asdict(c) | {"token": c.text} for c in gap] for gap in model.fill(text, args.top)]}
        for text in texts
    ]
    blocks = []
    for result in results:
        gaps = [
            table(
                ("word", "probability", ""),
                [(c["text"], f"{c['probability']:.4f}", "▇" * round(30 * c["probability"])) for c in gap],
                right="probability",
            )
            for gap in result["gaps"]
        ]
        blocks.append(plain(result["text"]) + "\n" + "\n\n".join(gaps))
    emit(args, results[0] if args.text != "-" else {"results": results}, "\n\n".join(blocks))


def classify(args: argparse.Namespace) -> None:
    """The likeliest labels of each text with their probabilities."""
    if args.top < 1:
        raise InputError(f"--top must be at least 1, got {args.top}")
    texts = lines_of("-") if args.text == "-" else [args.text]
    found = load(args, "predict_many").predict_many(texts, args.top)
    results = [
        {"text": text, "labels": [{"label": label, "probability": probability} for label, probability in row]}
        for text, row in zip(texts, found, strict=True)
    ]
    rows = [(label, f"{probability:.4f}", plain(text[:60])) for text, row in zip(texts, found, strict=True)
            for label, probability in row]
    emit(
        args,
        results[0] if args.text != "-" else {"results": results},
        table(("label", "probability", "text"), rows, right="probability"),
    )


def score(args: argparse.Namespace) -> None:
    """Log-probability (natural), perplexity and bits per byte of each text."""
    import math

    from polysemy.decoding.prompts import unknown_words

    texts = lines_of("-") if args.text == "-" else [args.text]
    if not texts[0].strip():
        raise InputError("text must hold something to score, got nothing but white space")
    model = load(args, "score")
    message = unknown_words(model, texts, "text")
    if message:
        note(f"note: {message}")
    results = []
    for text in texts:
        found = model.score(text)
        results.append(
            {
                "text": text,
                **asdict(found),
                "perplexity": math.exp(-found.log_probability / max(found.tokens, 1)),
                "bits_per_byte": None if found.unknown else
                -found.log_probability / math.log(2) / max(found.bytes, 1),
            }
        )
        if hasattr(model, "score_words"):
            words = [{"word": w.word, "log10": w.log10, "order": w.order, "unknown": w.unknown}
                     for w in model.score_words(text)]
            results[-1] |= {"bits_per_byte": None}
            results[-1] |= {"log10_probability": math.fsum(word["log10"] for word in words), "words_scored": words}
    pseudo = any(r["pseudo"] for r in results)
    rows = [
        (
            r["text"][:60],
            f"{r['log_probability']:.2f}",
            r["tokens"],
            f"{r['perplexity']:.2f}",
            "-" if r["bits_per_byte"] is None else f"{r['bits_per_byte']:.3f}",
        )
        for r in results
    ]
    text = table(
        ("text", "log-probability", "tokens", "perplexity", "bits a byte"),
        rows,
        right="log-probability,tokens,perplexity,bits a byte",
    )
    if len(results) == 1 and "words_scored" in results[0]:
        shown = [
            (plain(w["word"]), f"{w['log10']:.4f}", w["order"], "unknown" if w["unknown"] else "")
            for w in results[0]["words_scored"]
        ]
        text = f"{table(('word', 'log10', 'order', ''), shown, right='log10,order')}\n\n{text}"
        text += f"\nlog10 probability {results[0]['log10_probability']:.4f}"
    if pseudo:
        text += "\npseudo: each token was predicted from both sides, so this does not compare with a causal model"
    emit(args, results[0] if args.text != "-" else {"results": results}, text)


def embed(args: argparse.Namespace) -> None:
    """A vector a line, as .npy; token and word vectors as .npz with row splits."""
    import numpy as np

    lines = lines_of(args.data)
    pairs = None
    if args.pairs:
        parts = [line.split("\t") for line in lines]
        bad = next((i for i, part in enumerate(parts, 1) if len(part) != 2), None)
        if bad is not None:
            raise InputError(f"each line must be text TAB text with --pairs, got line {bad} of {args.data}")
        lines, pairs = [a for a, _ in parts], [b for _, b in parts]
    layer: int | str = int(args.layer) if args.layer.lstrip("-").isdigit() else args.layer
    model = load(args, "embed")
    own = args.pooling is None and is_embedder(model)
    ragged = args.pooling in ("token", "word")
    if args.dimensions is not None and ragged:
        raise InputError(f"--dimensions must go with one vector a text, got --pooling {args.pooling}")
    vectors = model.embed(lines, layer=layer, pooling=None if own else args.pooling or "mean", pairs=pairs)
    if args.dimensions is not None:
        from polysemy.models.sentence_vectors import finished

        vectors = finished(vectors, args.dimensions, normalize=True)
    size = int(vectors[0].shape[-1])
    unknown = sum(int((~np.reshape(v, (-1, size)).any(1)).sum()) for v in map(np.asarray, vectors))
    if unknown:
        what = "words are unknown to the model" if ragged else f"of {len(lines)} texts hold no word the model knows"
        note(f"{unknown} {what}: zeros stand for them")
    if args.output:
        _save_vectors(Path(args.output), vectors, ragged)
        note(f"{len(lines)} texts, {size} numbers each -> {args.output}")
    result: dict[str, Any] = {"texts": len(lines), "size": size, "unknown": unknown, "output": args.output}
    if not args.output:
        result["vectors"] = [np.asarray(v).tolist() for v in vectors]
    text = "" if args.output else "\n".join(" ".join(f"{x:.5g}" for x in np.ravel(v)) for v in vectors)
    if args.json or text:
        emit(args, result, text)


def is_embedder(model: Any) -> bool:
    """Whether the model was trained to give vectors of texts, and so knows how to pool, cut and normalize."""
    if not hasattr(model, "reader"):
        return False
    from polysemy.models.sentence_vectors import SentenceVectors

    return isinstance(model, SentenceVectors)


def order(args: argparse.Namespace) -> None:
    """The lines of a file in the order the model finds most coherent."""
    sentences = lines_of(args.data)
    if len(sentences) < 2:
        raise InputError(f"input must hold at least two sentences, got {len(sentences)} in {args.data}")
    found = load(args, "order").order(sentences)
    emit(
        args,
        {"order": found, "sentences": [sentences[i] for i in found]},
        "\n".join(plain(sentences[i]) for i in found),
    )


def tokenize(args: argparse.Namespace) -> None:
    """The pieces of a text under this tokenizer and others beside it."""
    from polysemy.text.tokenizer import Tokenizer

    found = [_pieces(Tokenizer.load(args.model), args.text, args.model)]
    for other in args.beside or ():
        found.append(_pieces(Tokenizer.load(other), args.text, other))
    if args.beside is None:
        found += [_pieces(other, args.text, "trained beside it") for other in _siblings(args.model, found[0])]
    rows = [(f["kind"], f["vocab_size"], len(f["pieces"]), " ".join(f["readable"])) for f in found]
    emit(
        args,
        {"text": args.text, "tokenizers": found},
        table(("kind", "vocabulary", "pieces", ""), rows, right="vocabulary,pieces"),
    )


SAMPLE_CHARACTERS = 4_000_000


def _siblings(model: str, own: dict[str, Any]) -> list[Any]:
    """Tokenizers of the other kinds, trained here on a sample of the model's own text; none when that is gone."""
    import itertools

    from polysemy.artifact import read_json
    from polysemy.text.corpus import Corpus
    from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

    record = read_json(Path(model) / "config.json") if (Path(model) / "config.json").is_file() else {}
    files = [Path(name) for name in (record.get("text") or {}).get("files", ())]
    if not files or not all(file.is_file() for file in files):
        return []
    read = itertools.accumulate(
        (document.text for document in Corpus(files)), lambda total, text: (total[0] + len(text), text), initial=(0, "")
    )
    texts = [text for _, text in itertools.takewhile(lambda total: total[0] < SAMPLE_CHARACTERS, read)]
    kinds: list[Any] = [kind for kind in ("wordpiece", "bpe", "unigram") if kind != own["kind"]]
    return [Tokenizer.train(texts, TokenizerConfig(kind=kind, vocab_size=own["vocab_size"])) for kind in kinds]


def _pieces(tokenizer: Any, text: str, source: str) -> dict[str, Any]:
    encoding = tokenizer.encode(text)
    return {
        "source": source,
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "pieces": tokenizer.pieces(encoding.ids),
        "readable": tokenizer.readable(encoding.ids.tolist()),
        "ids": [int(i) for i in encoding.ids],
        "starts": [int(i) for i in encoding.starts],
        "ends": [int(i) for i in encoding.ends],
    }


def _save_vectors(path: Path, vectors: Any, ragged: bool) -> None:
    import io

    import numpy as np

    from polysemy.artifact import write_bytes

    if not path.parent.is_dir():
        raise InputError(f"output must lie in a folder that exists, got {path}")
    buffer = io.BytesIO()
    if ragged:
        splits = np.cumsum([0, *(len(v) for v in vectors)])
        np.savez(buffer, vectors=np.concatenate([np.asarray(v) for v in vectors]), row_splits=splits)
    else:
        np.save(buffer, np.asarray(vectors), allow_pickle=False)
    write_bytes(path, buffer.getvalue())
