"""ValueInfoProto to Port."""

from __future__ import annotations

import numpy as np
import onnx

from lstm_infer.errors import OnnxImportError
from lstm_infer.graph.ir import Port
from lstm_infer.importer.source import text
from lstm_infer.importer.tensors import DTYPES, element

__all__ = ["NOT_A_TENSOR", "UNKNOWN_DTYPE", "graph_port", "inner_port"]

UNKNOWN_DTYPE: np.dtype[np.generic] = np.dtype("V")
"""Dtype of a graph output or a subgraph port whose type the file does not say."""

NOT_A_TENSOR: np.dtype[np.generic] = np.dtype("O")
"""Dtype of a subgraph port that is a sequence, an optional or a map."""


def graph_port(info: onnx.ValueInfoProto, kind: str, label: str) -> Port:
    """The port of a graph input or output: a tensor of a dtype that NumPy has, or refused by name."""
    where = f"{label}: {kind} {info.name!r}"
    form = info.type.WhichOneof("value")
    if form is None and kind == "output":
        return Port(info.name, UNKNOWN_DTYPE, None)
    if form != "tensor_type":
        what = "no type" if form is None else f"a {form.removesuffix('_type').replace('_', ' ')}"
        raise OnnxImportError(f"{where} is {what}; only tensors can go in and out: export the model with tensors there")
    code = info.type.tensor_type.elem_type
    if code == onnx.TensorProto.UNDEFINED and kind == "output":
        return Port(info.name, UNKNOWN_DTYPE, _dims(info.type.tensor_type, where))
    if code not in DTYPES:
        narrow = element(code).startswith(("bfloat", "float8", "float4"))
        raise OnnxImportError(
            f"{where} has elements of type {element(code)}; supported are {', '.join(d.name for d in DTYPES.values())}"
            + "; export the model in float32 (module.float()): precision= says how weights are held" * narrow
        )
    return Port(info.name, DTYPES[code], _dims(info.type.tensor_type, where))


def inner_port(info: onnx.ValueInfoProto, name: str) -> Port:
    """The port of a subgraph, which often says nothing of its type and may be a sequence."""
    form = info.type.WhichOneof("value")
    if form is None:
        return Port(name, UNKNOWN_DTYPE, None)
    if form != "tensor_type":
        return Port(name, NOT_A_TENSOR, None)
    code = info.type.tensor_type.elem_type
    dtype = np.dtype(np.float32) if code == onnx.TensorProto.BFLOAT16 else DTYPES.get(code, UNKNOWN_DTYPE)
    return Port(name, dtype, _dims(info.type.tensor_type, name))


def _dims(tensor: onnx.TypeProto.Tensor, where: str) -> tuple[int | str | None, ...] | None:
    if not tensor.HasField("shape"):
        return None
    dims: list[int | str | None] = []
    for dim in tensor.shape.dim:
        # Old exporters write -1 for an open size.
        if dim.HasField("dim_value"):
            dims.append(int(dim.dim_value) if dim.dim_value >= 0 else None)
        else:
            dims.append(text(dim.dim_param, where) or None)
    return tuple(dims)
