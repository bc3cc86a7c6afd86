"""What does Transformer-XL's memory give? The same model and text, read with memories of different lengths.

    polysemy train transformer-xl CORPUS -o runs/xl --size tiny --tokens 2500000
    python benchmarks/segment_memory.py runs/xl TEXT [--memories 0,32,64,128,256] [--documents 40] [--others runs/gpt]

TEXT is one the model was not trained on; each document is read whole, in segments of the length it was trained with.
With memory 0 a segment knows nothing of the one before. Printed are perplexity a token and bits per byte. `--others`
are language models of other recipes on the same documents, in their own way of reading (windows that overlap by half,
or a state).
"""
from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch

import polysemy
from polysemy.models.language_model import LanguageModel
from polysemy.text.corpus import Corpus


def main() -> None:
    args = arguments()
    texts = [text for text in (document.text for document in Corpus([args.text])) if len(text) >= args.least]
    texts = texts[:args.documents]
    model = polysemy.load(args.model)
    assert isinstance(model, LanguageModel), "a language model is needed"
    length, size = model.config.training.length, sum(len(text.encode()) for text in texts)
    ids = [encoding.ids.astype(np.int64) for encoding in model.encode(texts)]
    print(f"{args.model}: memory {model.config.model.memory} in training, segments of {length}; "  # type: ignore
          f"{len(texts)} documents, {sum(map(len, ids)):,} tokens, {size:,} bytes")
    for memory in map(int, args.memories.split(",")):
        show(f"memory {memory}", [score(model, row, memory, length) for row in ids], size)
    for path in args.others:
        other = polysemy.load(path)
        found = [other.score(text) for text in texts]
        show(f"{other.config.recipe}, {path}", [(one.log_probability, one.tokens) for one in found], size)


@torch.inference_mode()
def score(model: LanguageModel, ids: np.ndarray, memory: int, length: int) -> tuple[float, int]:
    """(log-probability, tokens) of a document read in segments, with so much memory from one to the next."""
    body = model.model.body
    before, body.config = body.config, body.config.replace(evaluation_memory=memory)
    tokens = torch.from_numpy(np.concatenate([[model.mark], ids]))
    total, state = 0.0, None
    try:
        for start in range(0, len(ids), length):
            stop = min(start + length, len(ids))
            states, state = body.advance(tokens[None, start:stop], state)
            total += float(model.log_of(states[0], tokens[start + 1:stop + 1]).double().sum())
    finally:
        body.config = before
    return total, len(ids)


def show(name: str, found: list[tuple[float, int]], size: int) -> None:
    total, tokens = sum(value for value, _ in found), sum(count for _, count in found)
    print(f"  {name:24s} perplexity {math.exp(-total / tokens):8.2f}  bits per byte {-total / size / math.log(2):.4f}",
          flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--memories", default="0,32,64,128,256,512")
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--least", type=int, default=4000, help="characters of the shortest document taken")
    parser.add_argument("--others", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
