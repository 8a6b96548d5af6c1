"""Operators that ONNX itself defines by others: their function bodies, for those that are not built.

A body is taken from the schema at the version the file imports. Some depend on the types of the inputs and on which of
them are there; the types are found (`element_types`) once, and only for a file that has such a node. Where the rank
decides and the file does not declare it, the body holds an If, of which a walk takes the branch that fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from lstm_infer.errors import OnnxImportError
from lstm_infer.importer.element_types import element_types
from lstm_infer.importer.tree import RawFunction, RawNode, raw_attr, raw_function

__all__ = ["Bodies", "Built"]

Built = Callable[[str, str, int], bool]
"""Is an operator of this domain, name and opset built."""

_RANKS = (3, 4)
"""A body that depends on the rank of the first input is asked for with these."""


class Bodies:
    """The function bodies for one model."""

    def __init__(self, model: onnx.ModelProto, label: str, built: Built | None) -> None:
        self._model, self._label, self._built = model, label, built
        self._types: dict[str, bytes] | None = None
        self._shared: dict[tuple[int, int | None], tuple[RawNode, RawFunction | None]] = {}

    def find(self, raw: RawNode, opset: int | None, *, in_function: bool) -> RawFunction | None:
        """The body of a node's operator; None where the operator is built, or ONNX gives no body. That of a node in a
        function is the same in all its calls."""
        if not in_function:
            return self._find(raw, opset, in_function)
        key = (id(raw), opset)
        if key not in self._shared:
            self._shared[key] = (raw, self._find(raw, opset, in_function))  # held, so that no other has its id
        return self._shared[key][1]

    def _find(self, raw: RawNode, opset: int | None, in_function: bool) -> RawFunction | None:
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
                return _parsed(schema.get_function_with_opset_version(fixed))
            return self._of_types(schema, typed, raw, in_function)
        except (RuntimeError, ValueError, TypeError, onnx.defs.SchemaError) as error:
            raise OnnxImportError(f"{self._label}: {raw} does not fit its operator: {error}") from error

    def _of_types(self, schema: Any, version: int | None, raw: RawNode, in_function: bool) -> onnx.FunctionProto | None:
        """The body for the types of the inputs, of which those in functions are not known."""
        if self._types is None:
            self._types = element_types(self._model)
        types = [b"" if in_function else self._types.get(name, b"") for name in raw.inputs]

        def ask(types: list[bytes]) -> onnx.FunctionProto | None:
            return _parsed(schema.get_context_dependent_function_with_opset_version(version, _node(raw), types))

        found = ask(types)
        if found is not None or not types or not types[0]:
            return found
        bodies = {rank: ask([_ranked(types[0], rank), *types[1:]]) for rank in _RANKS}
        return _by_rank({rank: body for rank, body in bodies.items() if body is not None})


def _newest(versions: list[int], opset: int) -> int | None:
    return max((version for version in versions if version <= opset), default=None)


def _node(raw: RawNode) -> bytes:
    node = onnx.NodeProto(op_type=raw.op, domain=raw.domain, name=raw.name, input=raw.inputs, output=raw.outputs)
    node.attribute.extend(attr.proto for attr in raw.attrs.values())
    return bytes(node.SerializeToString())


def _parsed(data: bytes) -> onnx.FunctionProto | None:
    proto = onnx.FunctionProto()
    proto.ParseFromString(data)
    return proto if proto.node else None


def _ranked(data: bytes, rank: int) -> bytes:
    """This type with so many axes."""
    proto = onnx.TypeProto()
    proto.ParseFromString(data)
    return bytes(onnx.helper.make_tensor_type_proto(proto.tensor_type.elem_type, [None] * rank).SerializeToString())


def _by_rank(bodies: dict[int, onnx.FunctionProto]) -> onnx.FunctionProto | None:
    """One body: that of the rank which the first input turns out to have; the last one for any other."""
    made: onnx.FunctionProto | None = None
    for rank, body in reversed(bodies.items()):
        made = body if made is None else _choice(rank, body, made)
    return made


def _choice(rank: int, body: onnx.FunctionProto, other: onnx.FunctionProto) -> onnx.FunctionProto:
    """`body` for inputs of this rank, else `other`."""
    helper, x = onnx.helper, body.input[0]
    branches = [
        helper.make_graph(
            list(part.node), "branch", [], [helper.make_empty_tensor_value_info(name) for name in part.output]
        )
        for part in (body, other)
    ]
    at_rank = ["rank/shape", "rank/found", "rank/wanted", "rank/is"]
    choice = onnx.FunctionProto()
    choice.CopyFrom(body)
    del choice.node[:]
    choice.node.extend(
        [
            helper.make_node("Shape", [x], at_rank[:1]),
            helper.make_node("Size", at_rank[:1], at_rank[1:2]),
            helper.make_node("Constant", [], at_rank[2:3], value_int=rank),
            helper.make_node("Equal", at_rank[1:3], at_rank[3:]),
            helper.make_node("If", at_rank[3:], list(body.output), then_branch=branches[0], else_branch=branches[1]),
        ]
    )
    return choice
