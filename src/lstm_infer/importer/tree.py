"""The protobuf as a plain tree: nodes with their attributes, subgraphs and what those capture, to a bounded depth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx

from lstm_infer.errors import OnnxImportError
from lstm_infer.importer.source import text

__all__ = ["MAX_DEPTH", "RawAttr", "RawFunction", "RawGraph", "RawNode", "raw_attr", "raw_function", "raw_graph"]

MAX_DEPTH = 32
"""Subgraphs in subgraphs, and functions calling functions."""


@dataclass(frozen=True, eq=False)
class RawAttr:
    """An attribute with its subgraphs."""

    proto: onnx.AttributeProto
    graphs: list[RawGraph]


@dataclass(eq=False)
class RawNode:
    """A node as the file has it. `captures`: names that its subgraphs read from outside."""

    op: str
    domain: str
    overload: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, RawAttr]
    captures: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        domain = f"{self.domain}." if self.domain else ""
        if self.name:
            return f"node {self.name!r} ({domain}{self.op})"
        made = next(filter(None, self.outputs), "")
        return f"the {domain}{self.op} node that makes {made!r}"

    def reads(self) -> Iterable[str]:
        """Every name this node needs, "" left out."""
        yield from (name for name in self.inputs if name)
        yield from self.captures


@dataclass(eq=False)
class RawGraph:
    """A graph as the file has it; `tensors` are its initializers."""

    name: str
    inputs: list[onnx.ValueInfoProto]
    outputs: list[onnx.ValueInfoProto]
    nodes: list[RawNode]
    tensors: dict[str, onnx.TensorProto | onnx.SparseTensorProto]
    captures: set[str]


@dataclass(eq=False)
class RawFunction:
    """A function. `defaults`: its attributes, None where the caller must (or may) give one."""

    label: str
    inputs: list[str]
    outputs: list[str]
    nodes: list[RawNode]
    defaults: dict[str, RawAttr | None]
    opsets: dict[str, int]
    n_bytes: int


def domain_of(domain: str) -> str:
    """ "" and "ai.onnx" are one domain."""
    return "" if domain == "ai.onnx" else domain


def opsets_of(imports: Iterable[onnx.OperatorSetIdProto], label: str) -> dict[str, int]:
    """Version by domain."""
    opsets: dict[str, int] = {}
    for item in imports:
        domain = domain_of(text(item.domain, label))
        if item.version < 1:
            raise OnnxImportError(
                f"{label}: imports version {item.version} of domain {item.domain!r}; the file is damaged"
            )
        if opsets.setdefault(domain, item.version) != item.version:
            raise OnnxImportError(f"{label}: imports two versions of domain {item.domain!r}; export the model again")
    return opsets


def raw_graph(proto: onnx.GraphProto, label: str, depth: int = 0) -> RawGraph:
    """A GraphProto as a tree."""
    if depth > MAX_DEPTH:
        raise OnnxImportError(f"{label}: subgraphs are nested more than {MAX_DEPTH} deep")
    tensors: dict[str, onnx.TensorProto | onnx.SparseTensorProto] = {}
    for name, tensor in [(t.name, t) for t in proto.initializer] + [
        (s.values.name, s) for s in proto.sparse_initializer
    ]:
        if not text(name, label):
            raise OnnxImportError(f"{label}: an initializer of graph {proto.name!r} has no name; the file is damaged")
        if name in tensors and tensors[name] != tensor:
            raise OnnxImportError(f"{label}: initializer {name!r} is there twice, with different values; export again")
        tensors[name] = tensor
    nodes = _nodes(proto.node, label, depth)
    outputs = list(proto.output)
    for info in [*proto.input, *outputs]:
        text(info.name, label)
    own = set(tensors) | {port.name for port in proto.input}
    captures = _captures(nodes, own, [port.name for port in outputs])
    return RawGraph(text(proto.name, label), list(proto.input), outputs, nodes, tensors, captures)


def raw_function(proto: onnx.FunctionProto, label: str) -> RawFunction:
    """A FunctionProto as a tree."""
    where = f"{label}: function {proto.domain}.{proto.name}"
    for name in [*proto.input, *proto.output, *proto.attribute]:
        text(name, where)
    defaults: dict[str, RawAttr | None] = dict.fromkeys(proto.attribute)
    defaults.update(_attrs(proto.attribute_proto, where, 0))
    nodes = _nodes(proto.node, where, 0)
    opsets = opsets_of(proto.opset_import, where)
    name = f"function {proto.domain}.{proto.name}"
    return RawFunction(name, list(proto.input), list(proto.output), nodes, defaults, opsets, proto.ByteSize())


def _nodes(protos: Iterable[onnx.NodeProto], label: str, depth: int) -> list[RawNode]:
    nodes = []
    for proto in protos:
        overload = text(proto.overload, label) if hasattr(proto, "overload") else ""
        for name in [proto.op_type, proto.domain, proto.name, *proto.input, *proto.output]:
            text(name, label)
        node = RawNode(
            proto.op_type, domain_of(proto.domain), overload, proto.name, list(proto.input), list(proto.output), {}
        )
        if not node.op:
            raise OnnxImportError(f"{label}: {node} has no operator; the file is damaged")
        node.attrs = _attrs(proto.attribute, f"{label}: {node}", depth)
        for attr in node.attrs.values():
            for graph in attr.graphs:
                node.captures |= graph.captures
        nodes.append(node)
    return nodes


def _attrs(protos: Iterable[onnx.AttributeProto], where: str, depth: int) -> dict[str, RawAttr]:
    attrs: dict[str, RawAttr] = {}
    for proto in protos:
        text(proto.ref_attr_name, where)
        if not text(proto.name, where) or proto.name in attrs:
            raise OnnxImportError(
                f"{where}: attribute {proto.name!r} has no name or is given twice; the file is damaged"
            )
        attrs[proto.name] = raw_attr(proto, where, depth)
    return attrs


def raw_attr(proto: onnx.AttributeProto, where: str = "", depth: int = 0) -> RawAttr:
    """An AttributeProto as a tree."""
    graphs = []
    if proto.type in (proto.GRAPH, proto.GRAPHS, proto.UNDEFINED):
        graphs = [proto.g] if proto.HasField("g") else []
        graphs += proto.graphs
    return RawAttr(proto, [raw_graph(graph, where, depth + 1) for graph in graphs])


def _captures(nodes: list[RawNode], own: set[str], outputs: list[str]) -> set[str]:
    made = own.union(*(node.outputs for node in nodes))
    read = set(outputs)
    for node in nodes:
        read.update(node.reads())
    return {name for name in read if name} - made
