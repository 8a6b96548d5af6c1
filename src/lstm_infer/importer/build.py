"""The tree to a Graph: names made unique, functions inlined, constants decoded, from the outputs back.

Going backwards, a node is built only once something reads it. So what nobody needs is never decoded, and may be
something that could not be run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import onnx

from lstm_infer.errors import OnnxImportError
from lstm_infer.graph.budget import Allowance, allow, spend
from lstm_infer.graph.ir import Array, AttrValue, Graph, Node, Port
from lstm_infer.importer.attrs import plain_value
from lstm_infer.importer.constants import Decoder
from lstm_infer.importer.external import ExternalData
from lstm_infer.importer.functions import Bodies, Built
from lstm_infer.importer.opsets import LATEST_OPSET, OLDEST_OPSET, modernise
from lstm_infer.importer.order import ordered
from lstm_infer.importer.ports import graph_port, inner_port
from lstm_infer.importer.signature import graph_digest, weights_digest
from lstm_infer.importer.small import held_in, small_type
from lstm_infer.importer.source import Source, text
from lstm_infer.importer.tensors import Tensors
from lstm_infer.importer.tree import (
    MAX_DEPTH,
    RawAttr,
    RawFunction,
    RawGraph,
    RawNode,
    domain_of,
    opsets_of,
    raw_function,
    raw_graph,
)

__all__ = ["build"]

MAX_NODES = 100_000
"""Nodes after inlining: a small file of functions that call each other twice could ask for any number."""

NODE_BUILT = 100_000
"""What each of them costs, of the budget of the load."""

MAX_INLINED_BYTES = 2**26
"""Bytes of all functions inlined, each counted as often as it is called."""

LATEST_IR = 14
"""The newest file format whose fields were compared with this importer (onnx 1.23)."""


def _count(nodes: list[RawNode]) -> int:
    """Nodes as the file has them, those of subgraphs too."""
    inner = (graph for node in nodes for attr in node.attrs.values() for graph in attr.graphs)
    return len(nodes) + sum(_count(graph.nodes) for graph in inner)


def build(model: onnx.ModelProto, source: Source, built: Built | None = None) -> Graph:
    """The Graph of a model; `built` says which operators stay as they are (see importer.read)."""
    builder = _Builder(model, source, built)
    graph = builder.top()
    graph.signature = weights_digest(builder.weights), graph_digest(model)
    graph.meta = _said_of_itself(model)
    return graph


def _said_of_itself(model: onnx.ModelProto) -> dict[str, Any]:
    """What nothing depends on; text that is no UTF-8 is left out."""
    found = {
        "producer_name": model.producer_name, "graph_name": model.graph.name, "domain": model.domain,
        "description": model.doc_string, "graph_description": model.graph.doc_string,
    }  # fmt: skip
    custom = {p.key: p.value for p in model.metadata_props if isinstance(p.key, str) and isinstance(p.value, str)}
    plain = {name: value for name, value in found.items() if isinstance(value, str)}
    return {**plain, "version": model.model_version, "custom_metadata_map": custom}


@dataclass(eq=False)
class _Body:
    """A graph under construction; nodes last to first."""

    nodes: list[Node] = field(default_factory=list)
    consts: dict[str, Array] = field(default_factory=dict)


def _schema(op: str, opset: int, domain: str) -> onnx.defs.OpSchema | None:
    """What is said of an operator in this version, or in the newest: what comes too early is refused by others."""
    for version in ((opset, domain), (domain,)):
        try:
            return onnx.defs.get_schema(op, *version)
        except (onnx.defs.SchemaError, TypeError):
            continue
    return None


@cache
def _arity(op: str, opset: int, domain: str) -> tuple[int, int]:
    """Fewest and most inputs of an operator; of one without a schema nothing is known."""
    schema = _schema(op, opset, domain)
    return (0, 1 << 30) if schema is None else (schema.min_input, schema.max_input)


@cache
def _needed(op: str, opset: int, domain: str) -> tuple[str, ...]:
    """The inputs that an operator cannot do without, by name; "" for one that it can; no names without a schema."""
    schema = _schema(op, opset, domain)
    single = onnx.defs.OpSchema.FormalParameterOption.Single
    return () if schema is None else tuple(one.name if one.option == single else "" for one in schema.inputs)


@cache
def _attribute_kinds(op: str, opset: int, domain: str) -> dict[str, int]:
    """The type of each attribute of an operator, numbered as in AttributeProto; empty without a schema."""
    schema = _schema(op, opset, domain)
    kinds: dict[str, Any] = {} if schema is None else {name: one.type for name, one in schema.attributes.items()}
    return {name: kind.value for name, kind in kinds.items()}  # an enum, whatever the stubs say


@dataclass(eq=False)
class _Scope:
    """What names mean: to which unique value each one leads. `attrs` is None outside of functions."""

    names: dict[str, str]
    parent: _Scope | None
    opsets: dict[str, int]
    attrs: dict[str, tuple[RawAttr, _Scope]] | None
    prefix: str
    calls: tuple[RawFunction, ...]
    depth: int

    def find(self, name: str) -> str | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None


class _Unique:
    """Hands out names that nobody has."""

    def __init__(self) -> None:
        self._taken = {""}
        self._next: dict[str, int] = {}

    def name(self, wish: str) -> str:
        name = wish
        while name in self._taken:
            count = self._next[wish] = self._next.get(wish, 0) + 1
            name = f"{wish}_{count}"
        self._taken.add(name)
        return name


def _resolved(attr: RawAttr, scope: _Scope, where: str) -> tuple[RawAttr, _Scope] | None:
    """An attribute, or the one of the caller that it stands for (None: the caller gives none)."""
    reference = attr.proto.ref_attr_name
    if not reference:
        return attr, scope
    # A subgraph inside a function sees the function's attributes too: its scope carries them.
    if scope.attrs is None:
        raise OnnxImportError(f"{where}: attribute {attr.proto.name!r} refers to {reference!r} outside of a function")
    return scope.attrs.get(reference)


def _check_inputs(raw: RawNode, given: list[str], opset: int, label: str) -> None:
    """As many inputs as the operator's schema allows, and none left out that it needs."""
    least, most = _arity(raw.op, opset, raw.domain)
    if not least <= len(raw.inputs) <= most:
        takes = str(least) if least == most else f"{least} to {most}"
        raise OnnxImportError(
            f"{label}: {raw} has {len(raw.inputs)} inputs, {raw.op} takes {takes}; the file is broken"
        )
    for value, name in zip(given, _needed(raw.op, opset, raw.domain), strict=False):
        if name and not value:
            raise OnnxImportError(f"{label}: {raw} leaves out input {name!r}, which {raw.op} needs; the file is broken")


class _Builder:
    def __init__(self, model: onnx.ModelProto, source: Source, built: Built | None) -> None:
        self._label = source.label
        self._bodies = Bodies(model, source.label, built)
        self._model = model
        self._tensors = Tensors(ExternalData(source))
        self._decoder = Decoder(self._tensors)
        self._functions: dict[tuple[str, str, str], tuple[int, onnx.FunctionProto]] = {}
        self._raw_functions: dict[int, RawFunction] = {}
        for index, proto in enumerate(model.functions):
            text(proto.domain, self._label)
            text(proto.name, self._label)
            key = (domain_of(proto.domain), proto.name, proto.overload if hasattr(proto, "overload") else "")
            if key in self._functions:
                raise OnnxImportError(
                    f"{self._label}: function {proto.domain}.{proto.name} is there twice; export again"
                )
            self._functions[key] = index, proto
        self._values, self._node_names = _Unique(), _Unique()
        self._live: set[str] = set()
        self._pending: dict[str, tuple[_Body, Callable[[], Array]]] = {}
        self._peeked: dict[str, Array] = {}
        self._made: set[str] = set()  # constants that the file does not have
        self.weights: dict[str, Array] = {}  # those that it has, and that an output needs
        self._n_nodes = 0
        self._inlined_bytes = 0

    def top(self) -> Graph:
        model, label = self._model, self._label
        if model.ir_version > LATEST_IR:
            raise OnnxImportError(
                f"{label}: has IR version {model.ir_version}, newest known here is {LATEST_IR}; update lstm_infer, "
                "or export with an older onnx"
            )
        opsets = opsets_of(model.opset_import, label)
        if not opsets and model.ir_version < 3:
            opsets = {"": 1}
        if opsets.get("", OLDEST_OPSET) > LATEST_OPSET:
            raise OnnxImportError(
                f"{label}: needs ONNX opset {opsets['']}, newest known here is {LATEST_OPSET}; update lstm_infer, "
                f"or export with opset_version={LATEST_OPSET} or less"
            )
        raw = raw_graph(model.graph, label)
        n_nodes = _count(raw.nodes) + sum(len(function.node) for function in model.functions)
        allow(Allowance.of(n_nodes, 0))
        if not raw.outputs:
            raise OnnxImportError(f"{label}: the graph has no outputs, so there is nothing to run; export it again")
        inputs = [graph_port(info, "input", label) for info in raw.inputs if info.name not in raw.tensors]
        outputs = [graph_port(info, "output", label) for info in raw.outputs]
        scope = _Scope({}, None, opsets, None, "", (), 0)
        graph = self._graph(raw, scope, inputs, outputs)
        for name, (body, decode) in self._pending.items():
            if name in self._live:
                body.consts[name] = array = self._peeked[name] if name in self._peeked else decode()
                if name not in self._made:
                    self.weights[name] = array
        if model.ir_version >= 4:
            fed = {info.name for info in raw.inputs}
            graph.defaults = {name: value for name, value in graph.consts.items() if name in fed}
        graph.producer = f"{text(model.producer_name, label)} {text(model.producer_version, label)}".strip()
        graph.opsets = opsets
        n_bytes = sum(array.nbytes for part in graph.graphs() for array in part.consts.values())
        graph.allowance = Allowance.of(n_nodes, max(n_bytes - self._tensors.sparse_bytes, 0))
        allow(graph.allowance)
        return graph

    # Graphs

    def _graph(self, raw: RawGraph, scope: _Scope, inputs: list[Port] | None, outputs: list[Port] | None) -> Graph:
        """A graph whose ports are given (the outermost one) or made (a subgraph)."""
        body = _Body()
        for info in raw.inputs:
            # An initializer of a body's input is never used: whoever runs the body feeds it.
            if inputs is None or info.name not in raw.tensors:
                self._declare(info.name, scope, "input")
        for name, tensor in raw.tensors.items():
            if name not in scope.names:
                self._pend(self._declare(name, scope, "initializer"), body, self._initializer(tensor, name))
        nodes = ordered(self._declare_nodes(raw.nodes, scope, body, set()), self._label)
        ports = outputs if outputs is not None else []
        for info in raw.outputs:
            value = scope.find(info.name)
            if not value:
                raise OnnxImportError(
                    f"{self._label}: output {info.name!r} is made by no node and is neither an input nor a constant: "
                    "the file is invalid (a fault of its exporter); export it another way"
                )
            self._live.add(value)
            if outputs is None:
                ports.append(inner_port(info, value))
        if inputs is None:
            inputs = [inner_port(info, scope.names[info.name]) for info in raw.inputs]
        self._nodes(nodes, scope, body)
        return Graph(raw.name, inputs, ports, body.nodes[::-1], body.consts)

    def _declare(self, name: str, scope: _Scope, kind: str) -> str:
        if not name:
            raise OnnxImportError(f"{self._label}: an {kind} has no name; the file is damaged")
        if name in scope.names:
            raise OnnxImportError(f"{self._label}: {kind} {name!r} is there twice, or is made twice; export again")
        scope.names[name] = self._values.name(scope.prefix + name)
        return scope.names[name]

    def _declare_nodes(self, nodes: list[RawNode], scope: _Scope, body: _Body, named: set[str]) -> list[RawNode]:
        """Give every output its name, but for those `named` before; take the Constant nodes out."""
        rest = []
        made: set[str] = set()
        for node in nodes:
            for name in node.outputs:
                if name and name in made:
                    raise OnnxImportError(f"{self._label}: value {name!r} is made twice, by {node} too; export again")
                if name and name not in named:
                    self._declare(name, scope, f"output of {node}, value")
                made.add(name)
            if node.op == "Constant" and node.domain == "" and ("", "Constant", "") not in self._functions:
                if len(node.outputs) != 1:
                    raise OnnxImportError(f"{self._label}: {node} has {len(node.outputs)} outputs, expected one")
                if node.outputs[0]:
                    self._pend(scope.names[node.outputs[0]], body, self._constant_node(node, scope))
            else:
                rest.append(node)
        return rest

    # Constants

    def _pend(self, name: str, body: _Body, decode: Callable[[], Array]) -> None:
        self._pending[name] = body, decode

    def _constant(self, name: str) -> Array | None:
        """The array of a constant, read or not; None where `name` is not a constant."""
        if name in self._pending and name not in self._peeked:
            self._peeked[name] = self._pending[name][1]()
        return self._peeked.get(name)

    def _initializer(self, proto: onnx.TensorProto | onnx.SparseTensorProto, name: str) -> Callable[[], Array]:
        return lambda: self._decoder.once(proto, f"{self._label}: initializer {name!r}")

    def _constant_node(self, node: RawNode, scope: _Scope) -> Callable[[], Array]:
        where = f"{self._label}: {node}"

        def decode() -> Array:
            found = [(name, _resolved(attr, scope, where)) for name, attr in node.attrs.items()]
            given = [(name, attr[0].proto) for name, attr in found if attr is not None]
            return self._decoder.node(given, where, node.outputs[0])

        return decode

    # Nodes

    def _nodes(self, nodes: list[RawNode], scope: _Scope, body: _Body) -> None:
        for node in nodes:
            for name in node.inputs:
                if name and scope.find(name) is None:
                    raise OnnxImportError(
                        f"{self._label}: {node} reads {name!r}, which no node makes and which is neither an input nor a "
                        "constant; the file is invalid: export it again"
                    )
        for index in range(len(nodes) - 1, -1, -1):
            self._node(nodes[index], index, scope, body)

    def _node(self, raw: RawNode, index: int, scope: _Scope, body: _Body) -> None:
        outputs = [scope.names[name] if name else "" for name in raw.outputs]
        outputs = [name if name in self._live else "" for name in outputs]
        if not any(outputs):
            return
        self._n_nodes += 1
        spend(raw, NODE_BUILT)
        if self._n_nodes > MAX_NODES:
            raise OnnxImportError(f"{self._label}: more than {MAX_NODES} nodes once its functions are inlined")
        inputs = [scope.find(name) or "" if name else "" for name in raw.inputs]
        name = self._node_names.name(scope.prefix + (raw.name or f"{raw.op}_{index}"))
        function = self._functions.get((raw.domain, raw.op, raw.overload))
        if function is not None:
            self._call(raw, name, self._local(*function), inputs, outputs, scope, body)
            return
        opset = scope.opsets.get(raw.domain)
        defined = self._bodies.find(raw, opset, in_function=scope.attrs is not None)
        if defined is not None:
            self._call(raw, name, defined, inputs, outputs, scope, body)
            return
        if opset is None:
            if raw.domain == "":
                raise OnnxImportError(f"{self._label}: {raw} is used, but no ONNX opset is imported; export again")
            opset = 1
        node = Node(raw.op, name, inputs, outputs, {}, raw.domain, opset)
        kinds = _attribute_kinds(raw.op, opset, raw.domain)
        for key, attr in raw.attrs.items():
            found = _resolved(attr, scope, f"{self._label}: {node}")
            if found is not None:
                wanted = kinds.get(key, 0)
                if wanted and found[0].proto.type not in (wanted, onnx.AttributeProto.UNDEFINED):
                    raise OnnxImportError(
                        f"{self._label}: {node}: attribute {key!r} is of the wrong type; the file is broken"
                    )
                node.attrs[key] = self._attr(*found, f"{self._label}: {node}")

        def add(array: Array, hint: str) -> str:
            return self._new_constant(array, f"{name}/{hint}", body)

        given = list(inputs)
        modernise(node, self._constant, add, self._label)
        _check_inputs(raw, given, node.opset, self._label)  # behind modernise, which refuses old versions by name
        small = small_type(node, lambda name: self._tensors.small(self._constant(name)))
        if small:
            body.nodes.append(held_in(node, small, self._values.name(f"{name}/wide"), add))
            self._live.update(body.nodes[-1].inputs)
        while node.inputs and not node.inputs[-1]:
            node.inputs.pop()
        self._live.update(node.inputs)
        body.nodes.append(node)

    def _new_constant(self, array: Array, name: str, body: _Body) -> str:
        self._made.add(name := self._values.name(name))
        self._pend(name, body, lambda: array)
        return name

    def _attr(self, attr: RawAttr, scope: _Scope, where: str) -> AttrValue:
        if not attr.graphs:
            return plain_value(attr.proto, self._tensors, where)
        if scope.depth >= MAX_DEPTH:
            raise OnnxImportError(f"{where}: subgraphs and functions are nested more than {MAX_DEPTH} deep")
        graphs = []
        for raw in attr.graphs:
            inner = _Scope({}, scope, scope.opsets, scope.attrs, scope.prefix, scope.calls, scope.depth + 1)
            graphs.append(self._graph(raw, inner, None, None))
        return graphs if attr.proto.type == attr.proto.GRAPHS or len(graphs) > 1 else graphs[0]

    def _local(self, index: int, proto: onnx.FunctionProto) -> RawFunction:
        """A function of the model, as a tree that all its calls share."""
        if index not in self._raw_functions:
            function = self._raw_functions[index] = raw_function(proto, self._label)
            function.nodes = ordered(function.nodes, f"{self._label}: {function.label}")
        return self._raw_functions[index]

    def _call(
        self, raw: RawNode, name: str, function: RawFunction, inputs: list[str], outputs: list[str], scope: _Scope,
        body: _Body,
    ) -> None:  # fmt: skip
        """Inline a function: its inputs are the caller's values, its outputs carry the caller's names."""
        where = f"{self._label}: {raw}"
        if function in scope.calls:
            raise OnnxImportError(f"{where}: this function calls itself, which ONNX forbids; export the model again")
        if scope.depth >= MAX_DEPTH:
            raise OnnxImportError(f"{where}: subgraphs and functions are nested more than {MAX_DEPTH} deep")
        self._inlined_bytes += function.n_bytes
        if self._inlined_bytes > MAX_INLINED_BYTES:
            raise OnnxImportError(
                f"{where}: functions inlined take more than {MAX_INLINED_BYTES} bytes; the file is hostile"
            )
        if len(inputs) > len(function.inputs) or len(outputs) > len(function.outputs):
            raise OnnxImportError(
                f"{where}: gives {len(inputs)} inputs and {len(outputs)} outputs, but {function.label} has "
                f"{len(function.inputs)} and {len(function.outputs)}; the file is invalid"
            )
        inner = _Scope(
            {}, None, function.opsets or scope.opsets, self._bind(raw, function, scope, where), f"{name}/",
            (*scope.calls, function), scope.depth + 1,
        )  # fmt: skip
        if inner.opsets.get("", OLDEST_OPSET) > LATEST_OPSET:
            raise OnnxImportError(
                f"{where}: {function.label} needs ONNX opset {inner.opsets['']}, newest is {LATEST_OPSET}"
            )
        for formal, actual in zip(function.inputs, inputs + [""] * (len(function.inputs) - len(inputs)), strict=True):
            if not formal or formal in inner.names:
                raise OnnxImportError(f"{where}: {function.label} has an input without a name, or one twice")
            inner.names[formal] = actual
        made = {value for node in function.nodes for value in node.outputs if value}
        copies: list[tuple[str, str]] = []
        named: set[str] = set()
        for formal, actual in zip(function.outputs, outputs, strict=False):
            if formal in made and formal not in inner.names and actual:
                inner.names[formal] = actual
                named.add(formal)
            elif actual:
                copies.append((formal, actual))
        nodes = self._declare_nodes(function.nodes, inner, body, named)
        for formal, actual in copies:
            value = inner.names.get(formal)
            if not value:
                raise OnnxImportError(f"{where}: {function.label} has output {formal!r}, which no node makes")
            opset = inner.opsets.get("", 1)
            body.nodes.append(
                Node("Identity", self._node_names.name(f"{name}/{formal}"), [value], [actual], {}, "", opset)
            )
            self._live.add(value)
        self._nodes(nodes, inner, body)

    def _bind(
        self, raw: RawNode, function: RawFunction, scope: _Scope, where: str
    ) -> dict[str, tuple[RawAttr, _Scope]]:
        bound = {key: (attr, scope) for key, attr in function.defaults.items() if attr is not None}
        for key, attr in raw.attrs.items():
            if key not in function.defaults:
                raise OnnxImportError(f"{where}: {function.label} has no attribute {key!r}; the file is invalid")
            found = _resolved(attr, scope, where)
            if found is not None:
                bound[key] = found
        return bound
