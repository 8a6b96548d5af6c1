"""onnxruntime's own int8 of a file, made on the fly: what ours in int8 is timed beside."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .peer import open_session

__all__ = ["quantised_session"]


def quantised_session(source: Any, *, threads: int = 1) -> tuple[Any, str]:
    """(session of what `quantize_dynamic` makes of the file, or None; why there is none).

    Weights are signed 8-bit where onnxruntime runs that; it has no Conv of them, so that such a file takes unsigned ones.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if isinstance(source, (str, os.PathLike)):
        model: Any = os.fspath(source)
    else:
        model = onnx.load_from_string(source) if isinstance(source, bytes) else source
    trouble = ""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises to run its shape inference first
    try:
        for kind in (QuantType.QInt8, QuantType.QUInt8):
            with TemporaryDirectory() as folder:
                path = Path(folder) / "int8.onnx"
                try:
                    quantize_dynamic(model, path, weight_type=kind)
                    made = onnx.load(path)
                    if not _holds_int8(made.graph):
                        return None, "quantize_dynamic leaves it in f32"
                    return open_session(path, threads=threads), ""
                except Exception as error:  # its exceptions share no base class
                    trouble = trouble or f"onnxruntime's int8: {' '.join(str(error).split())[:120]}"
    finally:
        logging.disable(before)
    return None, trouble


def _holds_int8(graph: Any) -> bool:
    """Did it quantise anything."""
    names = ("Integer", "DynamicQuantize", "QLinear", "DequantizeLinear")
    return any(mark in node.op_type for node in graph.node for mark in names)
