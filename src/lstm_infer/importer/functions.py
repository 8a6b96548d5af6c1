"""Operators that ONNX itself defines by others: their function bodies, for those that are not built.

A body is taken from the schema at the version the file imports. Some depend on the types of the inputs and on which of
them are there; the types come from ONNX's shape inference, done once, and only for a file that has such a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import onnx

from lstm_infer.errors import OnnxImportError
from lstm_infer.importer.tree import MAX_DEPTH, RawFunction, RawNode, raw_attr, raw_function

__all__ = ["Bodies", "Built"]

Built = Callable[[str, str, int], bool]
"""Is an operator of this domain, name and opset built."""

_SMALL_BYTES = 1 << 12
"""Initializers larger than this hold no sizes: shape inference is not shown their content."""


class Bodies:
    """The function bodies for one model."""

    def __init__(self, model: onnx.ModelProto, label: str, built: Built | None) -> None:
        self._model, self._label, self._built = model, label, built
        self._types: dict[str, bytes] | None = None

    def find(self, raw: RawNode, opset: int | None, *, in_function: bool) -> RawFunction | None:
        """The body of a node's operator; None where the operator is built, or ONNX gives no body."""
        if opset is None or raw.domain or self._built is None or self._built(raw.domain, raw.op, opset):
            return None
        try:
            schema: Any = onnx.defs.get_schema(raw.op, opset, raw.domain)  # its stubs know of no versions
        except (onnx.defs.SchemaError, TypeError):
            return None
        if not schema.min_input <= len(raw.inputs) <= schema.max_input:
            return None  # refused by the importer's own check
        proto = self._proto(schema, raw, opset, in_function)
        if proto is None:
            return None
        function = raw_function(proto, f"{self._label}: {raw}")
        for name, attribute in schema.attributes.items():
            function.defaults.setdefault(name, None)
            if function.defaults[name] is None and attribute.default_value.name:
                function.defaults[name] = raw_attr(attribute.default_value)
        return function

    def _proto(self, schema: Any, raw: RawNode, opset: int, in_function: bool) -> onnx.FunctionProto | None:
        fixed = _newest(schema.function_opset_versions, opset)
        typed = _newest(schema.context_dependent_function_opset_versions, opset)
        if fixed is None and typed is None:
            return None
        try:
            if fixed is not None:
                data = schema.get_function_with_opset_version(fixed)
            else:
                types = self._types_of(raw, in_function)
                data = schema.get_context_dependent_function_with_opset_version(typed, _node(raw), types)
        except (RuntimeError, ValueError, TypeError, onnx.defs.SchemaError) as error:
            raise OnnxImportError(f"{self._label}: {raw} does not fit its operator: {error}") from error
        proto = onnx.FunctionProto()
        proto.ParseFromString(data)
        return proto if proto.node else None

    def _types_of(self, raw: RawNode, in_function: bool) -> list[bytes]:
        """A serialised TypeProto for each input, empty where nothing is known."""
        if self._types is None:
            _refuse_many(self._model, self._label)
            self._types = _inferred(self._model)
        return [b"" if in_function else self._types.get(name, b"") for name in raw.inputs]


MAX_CALLS = 20_000
"""ONNX's shape inference goes through the body of a function at every call: no more nodes than that."""


def _refuse_many(model: onnx.ModelProto, label: str) -> None:
    """Functions that call each other twice, and their callees again, are more work than a file may ask for."""
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            total += 1
            if key in bodies and depth <= MAX_DEPTH:
                if key not in sizes:
                    sizes[key] = MAX_CALLS  # of one that calls itself, until it is known
                    sizes[key] = size(bodies[key], depth + 1)
                total += sizes[key]
            for attribute in node.attribute:
                for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                    total += size(graph.node, depth)
        return total

    if size(model.graph.node, 0) > max(MAX_CALLS, len(model.graph.node)):
        raise OnnxImportError(
            f"{label}: its functions come to more than {MAX_CALLS} nodes once each call is counted, too many to infer the "
            "types that an operator needs here; export it again with fewer or shorter functions"
        )


def _newest(versions: list[int], opset: int) -> int | None:
    return max((version for version in versions if version <= opset), default=None)


def _node(raw: RawNode) -> bytes:
    node = onnx.NodeProto(op_type=raw.op, domain=raw.domain, name=raw.name, input=raw.inputs, output=raw.outputs)
    node.attribute.extend(attr.proto for attr in raw.attrs.values())
    return bytes(node.SerializeToString())


def _inferred(model: onnx.ModelProto) -> dict[str, bytes]:
    """The type of every value that shape inference finds; of none that two graphs call the same but type otherwise."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name
    for field in ("node", "input", "output", "value_info"):
        getattr(graph, field).extend(getattr(source, field))
    for tensor in source.initializer:
        small = tensor.ByteSize() <= _SMALL_BYTES
        graph.initializer.append(
            tensor if small else onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        )
    with suppress(RuntimeError, ValueError, onnx.shape_inference.InferenceError):  # what the file itself says is left
        light = onnx.shape_inference.infer_shapes(light)
    types: dict[str, bytes] = {}
    _collect(light.graph, types)
    return types


def _collect(graph: onnx.GraphProto, types: dict[str, bytes]) -> None:
    found = {info.name: info.type for info in (*graph.input, *graph.value_info, *graph.output)}
    for tensor in graph.initializer:
        found.setdefault(tensor.name, onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims))
    for name, kind in found.items():
        data = kind.SerializeToString()
        types[name] = data if types.get(name, data) == data else b""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _collect(inner, types)
