"""Use of an ONNX folder (`onnx_export`) without torch: texts in, vectors or labels out, by ONNX Runtime."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from polysemy.artifact import read_json
from polysemy.errors import InputError
from polysemy.models.predictions import softmax
from polysemy.models.tasks import Classify, Regress, task_of
from polysemy.text.row_form import cut_pair
from polysemy.text.tokenizer import Tokenizer

MODEL, RECORD = "model.onnx", "polysemy.json"
GROUP_TOKENS = 4096


def runtime() -> Any:
    """ONNX Runtime, or a line that says how to get it."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError("onnxruntime must be installed for this, got none; install the extra: "
                         "pip install polysemy[onnx]") from None
    return onnxruntime


def session_of(content: bytes, threads: int = 1) -> Any:
    """A session on the CPU that keeps its threads quiet between requests."""
    module = runtime()
    options = module.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return module.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class OnnxUser:
    """Embeds, or predicts what the task asks for, as the folder's model does; texts longer than the model are cut."""

    def __init__(self, session: Any, tokenizer: Tokenizer, record: dict[str, Any]) -> None:
        self.session, self.tokenizer, self.record = session, tokenizer, record
        self.length = int(record["length"])
        self.task = task_of(record["task"]) if "task" in record else None
        self._inputs = [one.name for one in session.get_inputs()]
        self._outputs = [one.name for one in session.get_outputs()]

    @classmethod
    def load(cls, folder: str | Path, threads: int = 1) -> Self:
        """The model of a folder that `polysemy convert DIR OUT --to onnx` wrote; a changed file is refused."""
        folder = Path(folder)
        if not (folder / RECORD).is_file() or not (folder / MODEL).is_file():
            raise InputError(f"folder must hold {MODEL} and {RECORD}, got {folder}; run: polysemy convert DIR "
                             f"{folder} --to onnx")
        record, content = read_json(folder / RECORD), (folder / MODEL).read_bytes()
        if not isinstance(record, dict) or hashlib.sha256(content).hexdigest() != record.get("sha256"):
            raise InputError(f"{MODEL} must be the file that {RECORD} describes, got another in {folder}; export it "
                             "again")
        return cls(session_of(content, threads), Tokenizer.load(folder), record)

    def embed(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """(texts, d) float32, pooled as the exported model pools."""
        return self._all("sentence_embedding", texts, pairs, "embeds")

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """(texts, outputs) float32 of a model that classifies or rates texts."""
        if not isinstance(self.task, Classify | Regress):
            raise InputError(f"task must be classify, pair or regress, got {type(self.task).__name__}; of taggers and "
                             "readers take the session's outputs")
        return self._all("logits", texts, pairs, "classifies")

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """One of {label, probability, probabilities} or {value} for each text or pair."""
        found = self.logits(texts, pairs)
        if isinstance(self.task, Regress):
            return [{"value": float(row[0])} for row in found]
        assert isinstance(self.task, Classify)
        labels = self.task.labels
        return [{"label": labels[int(row.argmax())], "probability": float(row.max()),
                 "probabilities": dict(zip(labels, row.tolist(), strict=True))} for row in softmax(found)]

    def _all(self, output: str, texts: Sequence[str], pairs: Sequence[str] | None, does: str) -> np.ndarray:
        if isinstance(texts, str):
            raise InputError("texts must be a list of texts, got one text; put it into a list")
        if output not in self._outputs:
            raise InputError(f"folder must hold a model that {does}, got one with outputs {', '.join(self._outputs)}")
        rows = self._rows(texts, pairs)
        found: list[Any] = [None] * len(rows)
        for group, inputs in self._groups(rows):
            for i, vector in zip(group, self.session.run([output], inputs)[0], strict=True):
                found[i] = vector
        size = self.session.get_outputs()[self._outputs.index(output)].shape[-1]
        return np.stack(found) if found else np.zeros((0, size), np.float32)

    def _rows(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids, segments) of each text or pair between its marks."""
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(f"pairs must be as many as texts, got {len(pairs)} and {len(texts)}")
        if pairs is not None and "pair" not in self.record:
            raise InputError("pairs must go with an encoder, got a model that reads from left to right")
        encodings = self.tokenizer.encode_batch(texts)
        others = None if pairs is None else self.tokenizer.encode_batch(pairs)
        pattern, segments = self.record["single" if others is None else "pair"]
        room = self.length - sum(number >= 0 for number in pattern)
        rows = []
        for i, first in enumerate(encodings):
            parts = [first.ids[:room]]
            if others is not None:
                second = others[i].ids
                keep = cut_pair(len(first.ids), len(second), room)
                parts = [first.ids[:keep[0]], second[:keep[1]]]
            pieces = [parts[-number - 1] if number < 0 else [number] for number in pattern]
            kinds = [np.full(len(piece), segment) for piece, segment in zip(pieces, segments, strict=True)]
            rows.append((np.concatenate(pieces).astype(np.int64), np.concatenate(kinds).astype(np.int64)))
        return rows

    def _groups(self, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """Rows of like length, padded on the right, as inputs of the session."""
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i][0]))
        start = 0
        while start < len(order):
            longest = len(rows[order[start]][0])
            group = order[start:start + max(1, GROUP_TOKENS // longest)]
            start += len(group)
            ids = np.full((len(group), longest), self.record["pad"], np.int64)
            mask, segments = np.zeros_like(ids), np.zeros_like(ids)
            for line, i in enumerate(group):
                n = len(rows[i][0])
                ids[line, :n], segments[line, :n], mask[line, :n] = *rows[i], 1
            given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
            yield group, {name: given[name] for name in self._inputs}
