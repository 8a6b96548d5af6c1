"""The element type of every value of a model, from what the file declares and what the schemas of its operators say.

No shapes: ONNX's own inference finds those too, but it is C++ that a broken attribute can end the process in, and it goes
through a function at every call. Here each function is gone through once for the types that go in.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, MutableMapping, Sequence
from functools import cache
from typing import Any

import onnx

from lstm_infer.graph.budget import spend
from lstm_infer.importer.tree import MAX_DEPTH, domain_of

__all__ = ["element_types"]

Kind = int
"""As in TensorProto; 0 is unknown, or no tensor."""
_Scope = MutableMapping[str, Kind]
_Key = tuple[str, str, str]

NODE = 5_000
"""What it costs to find the types that a node makes, of the budget of the load."""

_NAMED = ("to", "dtype", "output_dtype", "output_datatype")
"""Attributes that say an element type."""
_CONSTANTS = {
    "value_float": onnx.TensorProto.FLOAT,
    "value_floats": onnx.TensorProto.FLOAT,
    "value_int": onnx.TensorProto.INT64,
    "value_ints": onnx.TensorProto.INT64,
    "value_string": onnx.TensorProto.STRING,
    "value_strings": onnx.TensorProto.STRING,
}
_TEXTS = {f"tensor({name.lower()})": int(kind) for name, kind in onnx.TensorProto.DataType.items() if kind}
"""How schemas write them."""


def element_types(model: onnx.ModelProto) -> dict[str, bytes]:
    """A serialised TypeProto by value, with the shape where the file declares one; empty where nothing is known, or where
    two graphs call different things the same."""
    found = _Pass(model)
    found.graph(model.graph, ChainMap(), (), _opsets(model.opset_import), 0)
    return found.types


class _Pass:
    """One pass over a model, in the order of the file."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.types: dict[str, bytes] = {}
        self._functions: dict[_Key, onnx.FunctionProto] = {_key(f, f.name): f for f in model.functions}
        self._made: dict[tuple[_Key, tuple[Kind, ...]], list[Kind]] = {}

    def graph(
        self,
        graph: onnx.GraphProto,
        outer: ChainMap[str, Kind],
        given: Sequence[Kind],
        opsets: dict[str, int],
        depth: int,
    ) -> list[Kind]:
        """Kinds of the outputs of a graph; `given`: of its inputs, for those that it does not declare itself."""
        if depth > MAX_DEPTH:
            return [0] * len(graph.output)
        declared: dict[str, onnx.TypeProto] = {}
        for info in (*graph.input, *graph.value_info, *graph.output):
            if _kind(info.type) or info.name not in declared:
                declared[info.name] = info.type
        scope = outer.new_child({name: _kind(kind) for name, kind in declared.items()})
        for info, kind in zip(graph.input, given, strict=False):
            scope[info.name] = scope[info.name] or kind
        for tensor in graph.initializer:
            scope[tensor.name] = tensor.data_type
        self._nodes(graph.node, scope, opsets, depth)
        for name, kind in scope.maps[0].items():
            said = declared.get(name)
            proto = said if said is not None and _kind(said) else onnx.TypeProto()
            if proto is not said and kind:
                proto.tensor_type.elem_type = kind
            data = proto.SerializeToString()
            self.types[name] = data if self.types.get(name, data) == data else b""
        return [scope.get(info.name, 0) for info in graph.output]

    def _nodes(
        self, nodes: Iterable[onnx.NodeProto], scope: ChainMap[str, Kind], opsets: dict[str, int], depth: int
    ) -> None:
        for node in nodes:
            spend("the types of the file", NODE)
            for name, kind in zip(node.output, self._node(node, scope, opsets, depth), strict=False):
                if name and not scope.maps[0].get(name):
                    scope[name] = kind

    def _node(self, node: onnx.NodeProto, scope: ChainMap[str, Kind], opsets: dict[str, int], depth: int) -> list[Kind]:
        ins = [scope.get(name, 0) if name else 0 for name in node.input]
        key = _key(node, node.op_type)
        if key in self._functions:
            return self._call(key, tuple(ins), depth)
        bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        if bodies:
            return self._bodies(node, bodies, scope, ins, opsets, depth)
        return _made(node, ins, opsets)

    def _call(self, key: _Key, ins: tuple[Kind, ...], depth: int) -> list[Kind]:
        """What a function of the file makes of these types."""
        function, asked = self._functions[key], (key, ins)
        if asked not in self._made:
            self._made[asked] = [0] * len(function.output)  # of one that calls itself, until it is known
            if depth < MAX_DEPTH:
                scope: ChainMap[str, Kind] = ChainMap(dict(zip(function.input, ins, strict=False)))
                self._nodes(function.node, scope, _opsets(function.opset_import), depth + 1)
                self._made[asked] = [scope.get(name, 0) for name in function.output]
        return self._made[asked]

    def _bodies(
        self,
        node: onnx.NodeProto,
        bodies: Sequence[onnx.GraphProto],
        scope: ChainMap[str, Kind],
        ins: list[Kind],
        opsets: dict[str, int],
        depth: int,
    ) -> list[Kind]:
        """Of an If, a Loop, a Scan."""
        given: Sequence[Kind] = ()
        if node.op_type == "Loop":
            given = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, *ins[2:])
        elif node.op_type == "Scan":
            given = ins[-len(bodies[0].input) :]
        made = [self.graph(body, scope, given, opsets, depth + 1) for body in bodies]
        outs = [kinds[0] if len(set(kinds)) == 1 else 0 for kinds in zip(*made, strict=False)]
        return outs[1:] if node.op_type == "Loop" else outs


def _made(node: onnx.NodeProto, ins: Sequence[Kind], opsets: dict[str, int]) -> list[Kind]:
    """What a plain node makes: a type that the schema ties to an input, or the only one it allows, or an attribute's."""
    schema = _schema(node.op_type, opsets.get(domain_of(node.domain), 0), domain_of(node.domain))
    if schema is None or not schema.outputs:
        return [0] * len(node.output)
    bound: dict[str, Kind] = {}
    for i, kind in enumerate(ins):
        if kind and schema.inputs:
            bound.setdefault(schema.inputs[min(i, len(schema.inputs) - 1)].type_str, kind)
    found = []
    for i in range(len(node.output)):
        port = schema.outputs[min(i, len(schema.outputs) - 1)]
        only = _TEXTS.get(next(iter(port.types)), 0) if len(port.types) == 1 else 0
        found.append(only or bound.get(port.type_str, 0) or _said(node, schema, ins, port.types))
    return found


def _said(node: onnx.NodeProto, schema: Any, ins: Sequence[Kind], allowed: Iterable[str]) -> Kind:
    """The type that an attribute says; else that of the first input, where the operator takes it over."""
    given = {attribute.name: attribute for attribute in node.attribute}
    for name in _NAMED:
        if name in schema.attributes:
            attribute = given[name] if name in given else schema.attributes[name].default_value
            kind = 0 if attribute.ref_attr_name else int(attribute.i)
            if kind or name in given or schema.attributes[name].required:
                return kind
    for name in given:
        if name in _CONSTANTS:
            return int(_CONSTANTS[name])
    if "value" in schema.attributes:
        return int(given["value"].t.data_type) if "value" in given else int(onnx.TensorProto.FLOAT)
    first = next(iter(ins), 0)
    return first if any(_TEXTS.get(text) == first for text in allowed) else 0


@cache
def _schema(op: str, opset: int, domain: str) -> Any:
    try:
        return onnx.defs.get_schema(op, opset, domain)
    except (onnx.defs.SchemaError, TypeError):
        return None


def _kind(proto: onnx.TypeProto) -> Kind:
    return int(proto.tensor_type.elem_type) if proto.HasField("tensor_type") else 0


def _key(proto: onnx.FunctionProto | onnx.NodeProto, name: str) -> _Key:
    return domain_of(proto.domain), name, proto.overload if hasattr(proto, "overload") else ""


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {domain_of(item.domain): item.version for item in imports}
