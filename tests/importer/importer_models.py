"""Small models for the importer's tests, real files, and the way back from a Graph to ONNX."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lstm_infer.graph.ir import Graph, Node

ROOT = Path(__file__).resolve().parents[2]


def real_files() -> list[Path]:
    """Every .onnx file of the shared folders, [] where they are absent."""
    names = (("LSTM_INFER_EXPORTS", "exports"), ("LSTM_INFER_MODELS", "models"))
    folders = [Path(os.environ.get(key) or ROOT.parent / "shared" / name) for key, name in names]
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.onnx"))]


def port(
    name: str, shape: Sequence[int | str | None] | None = (2, 3), dtype: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def node(op: str, inputs: str, outputs: str, **attrs: object) -> onnx.NodeProto:
    """A node; names are parted by blanks, "-" is the absent one."""
    split = [["" if name == "-" else name for name in names.split()] for names in (inputs, outputs)]
    return helper.make_node(op, *split, **attrs)


def model(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
    ir_version: int = 8,
) -> onnx.ModelProto:
    """A model from x to y unless told otherwise."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [port("x")] if inputs is None else list(inputs),
        [port("y", None)] if outputs is None else list(outputs),
        [numpy_helper.from_array(value, name) for name, value in (tensors or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=ir_version)


# The way back: only good for comparing results in onnxruntime.


def to_onnx(graph: Graph, opset: int = 21) -> onnx.ModelProto:
    """A model of the modern form `importer` promises."""
    domains = {item.domain for item in graph.walk()} - {""}
    inputs = [_value_info(item) for item in graph.inputs]
    proto = helper.make_graph(*_parts(graph), inputs, [_value_info(item) for item in graph.outputs], _tensors(graph))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    return helper.make_model(proto, opset_imports=imports, ir_version=10)


def _parts(graph: Graph) -> tuple[list[onnx.NodeProto], str]:
    return [made for item in graph.nodes for made in _nodes(item)], graph.name or "g"


def _tensors(graph: Graph) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in graph.consts.items()]


def _value_info(item: object) -> onnx.ValueInfoProto:
    if item.dtype.kind in "VO":
        return onnx.ValueInfoProto(name=item.name)
    return helper.make_tensor_value_info(item.name, helper.np_dtype_to_tensor_dtype(item.dtype), item.shape)


def _subgraph(graph: Graph) -> onnx.GraphProto:
    ports = [[_value_info(item) for item in items] for items in (graph.inputs, graph.outputs)]
    return helper.make_graph(*_parts(graph), *ports, _tensors(graph))


def _nodes(item: Node) -> list[onnx.NodeProto]:
    attrs = dict(item.attrs)
    for key, value in attrs.items():
        if isinstance(value, Graph):
            attrs[key] = _subgraph(value)
        elif isinstance(value, np.ndarray):
            attrs[key] = numpy_helper.from_array(value)
    outputs = list(item.outputs)
    if attrs.pop("coerce_2d", 0):
        x, y = item.inputs[0], outputs[0]
        return [
            helper.make_node("Shape", [x], [f"{y}_shape"]),
            helper.make_node("Flatten", [x], [f"{y}_flat"], axis=attrs["axis"]),
            helper.make_node(item.op, [f"{y}_flat"], [f"{y}_2d"], axis=1),
            helper.make_node("Reshape", [f"{y}_2d", f"{y}_shape"], [y]),
        ]
    if item.op in ("Split", "Loop", "Scan", "If", "TopK"):
        # ONNX wants these outputs named even where nobody reads them.
        outputs = [name or f"{item.name}_unread_{index}" for index, name in enumerate(outputs)]
    if item.op == "LSTM":
        attrs.pop("layout", None)  # 0 wherever onnxruntime runs at all
    return [helper.make_node(item.op, item.inputs, outputs, item.name, domain=item.domain, **attrs)]
