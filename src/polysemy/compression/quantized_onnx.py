"""int8 matrices in an ONNX file: one scale for each output, activations rounded while it runs (dynamic)."""
from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from polysemy.compression.onnx_parts import onnx


def quantized(content: bytes) -> bytes:
    """The same graph with the weights of its MatMul nodes in int8 (ONNX Runtime's quantize_dynamic, per channel).

    Embedding tables and products of activations stay float32.
    """
    from polysemy.compression.onnx_session import runtime

    onnx()
    runtime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="polysemy-") as work:
        source, target = Path(work) / "model.onnx", Path(work) / "int8.onnx"
        source.write_bytes(content)
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it recommends a preparation that this graph has no need of
        try:
            quantize_dynamic(str(source), str(target), per_channel=True, weight_type=QuantType.QInt8,
                             op_types_to_quantize=["MatMul"], extra_options={"MatMulConstBOnly": True})
        finally:
            logging.disable(before)
        return target.read_bytes()
