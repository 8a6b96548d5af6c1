"""The graph of a native file, from its document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph.budget import Allowance
from ..graph.ir import Array, AttrValue, Graph, Node, Port
from .container import DTYPES, MOST_AXES
from .values import Value

__all__ = ["graph_of"]

_PORT_DTYPES = {name: np.dtype(name) for name in DTYPES} | {"unknown": np.dtype("V"), "none": np.dtype("O")}
"""Ports of bodies may be of a type that is not known, or be no tensors."""
_TEXTS = ("producer_name", "graph_name", "domain", "description", "graph_description")
"""Of what a model says of itself."""

Constant = Callable[[Value], Array]
"""The constant that a value names."""


def graph_of(document: Value, constant: Constant, n_bytes: int) -> Graph:
    """The graph, every name in it made before it is read. n_bytes: of the file."""
    taken: set[str] = set()
    graph = _graph(document, constant, taken, set())
    graph.producer = document["producer"].text()
    graph.opsets = {name: version.number(0, 2**31) for name, version in document["opsets"].named().items()}
    graph.defaults = {name: constant(value) for name, value in document["defaults"].named().items()}
    for name, array in graph.defaults.items():
        if graph.consts.get(name) is not array:
            raise document["defaults"].wrong("names of constants of the graph, with their values")
    graph.split_whole = {n.number() for n in document["split_whole"].items()}
    graph.unrolled = document["unrolled"].number(0)
    if "meta" in document.named():  # from 1.3 on
        graph.meta = _meta(document["meta"])
    for item in document["fixed"].items():
        port, axis, size, why = item.items(4)
        graph.fixed[port.text(), axis.number(0, MOST_AXES)] = size.number(0), why.text()
    graph.allowance = Allowance.of(sum(1 for _ in graph.walk()), n_bytes)
    return graph


def _meta(value: Value) -> dict[str, Any]:
    """What the source says of itself."""
    custom = {name: text.text() for name, text in value["custom_metadata_map"].named().items()}
    texts = {name: text.text() for name, text in value.named().items() if name in _TEXTS}
    return {**texts, "version": value["version"].number(), "custom_metadata_map": custom}


def _graph(document: Value, constant: Constant, taken: set[str], outer: set[str]) -> Graph:
    known = set(outer)
    inputs = [_port(port) for port in document["inputs"].items()]
    consts = {name: constant(value) for name, value in document["consts"].named().items()}
    for name in [*(port.name for port in inputs), *consts]:
        _take(document, name, taken, known)
    nodes = []
    for item in document["nodes"].items():
        node = _node(item, constant, taken, known)
        for name in node.inputs:
            if name and name not in known:
                raise item.wrong(f"a node behind the maker of {name!r}")
        for name in node.outputs:
            if name:
                _take(item, name, taken, known)
        nodes.append(node)
    outputs = [_port(port) for port in document["outputs"].items()]
    for port in outputs:
        if port.name not in known:
            raise document["outputs"].wrong("values of the graph")
    return Graph(document["name"].text(), inputs, outputs, nodes, consts)


def _take(where: Value, name: str, taken: set[str], known: set[str]) -> None:
    if not name or name in taken:
        raise where.wrong(f"names that are there once ({name!r} is there again)")
    taken.add(name)
    known.add(name)


def _port(value: Value) -> Port:
    name, dtype, shape = value.items(3)
    kind = _PORT_DTYPES.get(dtype.text())
    if kind is None:
        raise dtype.wrong(f"one of {', '.join(_PORT_DTYPES)}")
    if shape.optional() is None:
        return Port(name.text(), kind, None)
    return Port(name.text(), kind, tuple(map(_size, shape.items(most=MOST_AXES))))


def _size(value: Value) -> int | str | None:
    if value.optional() is None:
        return None
    return value.text() if isinstance(value.raw, str) else value.number(0, 2**48)


def _node(value: Value, constant: Constant, taken: set[str], known: set[str]) -> Node:
    op, domain, opset, name, inputs, outputs, attrs = value.items(7)
    made = {key: _attribute(item, constant, taken, known) for key, item in attrs.named().items()}
    return Node(op.text(), name.text(), inputs.texts(), outputs.texts(), made, domain.text(), opset.number(0, 2**31))


def _attribute(value: Value, constant: Constant, taken: set[str], known: set[str]) -> AttrValue:
    kind, content = value.items(2)
    plain: dict[str, Callable[[Value], Any]] = {"int": Value.number, "float": Value.real, "text": Value.text}
    kind_name = kind.text()
    if kind_name in plain:
        one: int | float | str = plain[kind_name](content)
        return one
    if kind_name in ("ints", "floats", "texts"):
        return [plain[kind_name[:-1]](item) for item in content.items()]
    if kind_name == "array":
        return constant(content)
    if kind_name == "graph":
        return _graph(content, constant, taken, known)
    if kind_name == "graphs":
        return [_graph(item, constant, taken, known) for item in content.items()]
    raise kind.wrong("the kind of an attribute")
