"""Masked-LM loss on held-out text, asked of every masked model in the same way, whatever it was trained with.

A recipe's own held-out loss (metrics.jsonl) is that of its own corruption: hidden spans are harder than hidden tokens.
Here all get the same rows with the same tokens hidden, BERT's way (15 %, of them 80 % masked, 10 % random, 10 % kept),
so models with the same tokenizer compare, and `bits_per_token` says how far they are.
"""
from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from polysemy.errors import InputError

if TYPE_CHECKING:
    from polysemy.models.pretrained import PretrainingModel
    from polysemy.text.tokenizer import Tokenizer

ROWS, LENGTH = 16, 128


class MaskedModel(Protocol):
    """What `polysemy.load` gives for a model with a masked-LM head."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def model(self) -> PretrainingModel: ...


def masked_lm_loss(model: MaskedModel, texts: Sequence[str], *, length: int = LENGTH, seed: int = 0) -> dict[str, Any]:
    """Mean natural loss at hidden tokens over all texts: masked_lm_loss, masked_lm_perplexity, targets.

    Rows of `length` tokens, texts packed one after the other; deterministic in seed. Runs where the weights are.
    """
    from polysemy.objectives.pretraining import Pretraining
    from polysemy.text.batches import Batches
    from polysemy.text.corpus import text_documents
    from polysemy.text.masking import Tokens
    from polysemy.text.segments import FullSentences
    from polysemy.text.shards import prepare
    from polysemy.training.distributed import World
    from polysemy.training.held_out import HeldOut

    network = model.model
    if "masked_lm" not in network.heads:
        raise InputError(f"model must have a masked-LM head, got {', '.join(network.heads) or 'none'}")
    with tempfile.TemporaryDirectory(prefix="polysemy-") as folder:
        shards = prepare(text_documents(texts), model.tokenizer, folder, processes=1)
        batches = Batches(shards, model.tokenizer, FullSentences(), Tokens(), batch_size=ROWS, length=length, seed=seed)
        device = str(network.table.device)
        held_out = HeldOut(batches, Pretraining(("masked_lm",)), World(device=device))
        loss = held_out(network)["held_out_masked_lm"]
    return {"masked_lm_loss": loss, "masked_lm_perplexity": math.exp(loss) if loss < 700 else None,
            "bits_per_token": loss / math.log(2), "targets": int(held_out.num_targets["masked_lm"]), "length": length}
