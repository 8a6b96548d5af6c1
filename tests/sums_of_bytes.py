"""onnxruntime with exact sums of bytes: on an x86 CPU without VNNI those of unsigned times signed ones saturate at 16 bits."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

__all__ = ["exact", "saturates"]


@cache
def saturates() -> bool:
    """Do they on this CPU, unless it is told otherwise."""
    import onnxruntime as ort

    ports = [helper.make_tensor_value_info(*port) for port in
             (("a", TensorProto.UINT8, [1, 4]), ("b", TensorProto.INT8, [4, 1]), ("y", TensorProto.INT32, [1, 1]))]  # fmt: skip
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["a", "b"], ["y"])], "g", ports[:2], ports[2:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"a": np.full((1, 4), 255, np.uint8), "b": np.full((4, 1), 127, np.int8)}
    return bool(ort.InferenceSession(made.SerializeToString()).run(None, feeds)[0].item() != 4 * 255 * 127)


def exact(source: Any, options: Any) -> Any:
    """A session of a path or of bytes that is told: that takes effect among the extended optimisations, for weights that are
    known; where it cannot be done (nodes share a zero point) it is not told."""
    import onnxruntime as ort

    source = source if isinstance(source, bytes) else str(source)
    plain = options.graph_optimization_level
    levels = ort.GraphOptimizationLevel
    if saturates():
        made = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source)
        marks = ("Integer", "QLinear", "QGemm", "DynamicQuantize")
        if plain in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_BASIC):
            if not any(mark in node.op_type for node in made.graph.node for mark in marks):
                return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])  # all in floats
            options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception:  # its exceptions share no base class
            options.add_session_config_entry("session.x64quantprecision", "0")
            options.graph_optimization_level = plain
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
