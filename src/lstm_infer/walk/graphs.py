"""Questions to a body as it is written, and copies of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..frozen import frozen
from ..graph.ir import AttrValue, Graph, Node
from ..ops import registry

__all__ = ["Bodies", "Body", "instance", "makers_in", "outer_names", "source_of"]


@frozen
class Body:
    """What a walk asks of a body each time it meets it."""

    graph: Graph
    outer: frozenset[str]
    """Values from outside that it reads, at any depth."""
    n_nodes: int
    """At any depth."""
    random: bool
    """Does a node draw from the model's generator."""


class Bodies:
    """The bodies that a walk met. No graph changes while it is walked, so each is looked through once."""

    def __init__(self) -> None:
        self._found: dict[int, Body] = {}

    def of(self, graph: Graph) -> Body:
        """What there is to know of a body."""
        found = self._found.get(id(graph))
        if found is None:
            nodes = list(graph.walk())
            random = any(registry.is_random(node) for node in nodes)
            found = Body(
                graph, frozenset(outer_names(graph)), len(nodes), random
            )  # the graph is held: its id is the key
            self._found[id(graph)] = found
        return found


def outer_names(graph: Graph) -> set[str]:
    """Values from outside that a graph reads, at any depth."""
    made = {port.name for port in graph.inputs} | set(graph.consts)
    read: set[str] = {port.name for port in graph.outputs}
    for node in graph.nodes:
        read |= {name for name in node.inputs if name}
        made |= {name for name in node.outputs if name}
        for sub in node.subgraphs():
            read |= outer_names(sub)
    return read - made


def makers_in(graph: Graph) -> dict[str, Node]:
    """The node that makes each value of a graph."""
    return {out: node for node in graph.nodes for out in node.outputs if out}


def source_of(made: Mapping[str, Node], name: str) -> str:
    """The value behind a chain of Identity nodes, in a graph whose nodes make these."""
    while name in made and made[name].op == "Identity" and made[name].domain == "":
        name = made[name].inputs[0]
    return name


def instance(graph: Graph, suffix: str, names: dict[str, str]) -> Graph:
    """A copy in which all that the graph makes has another name; `names` takes old to new."""
    for name in [p.name for p in graph.inputs] + list(graph.consts):
        names[name] = name + suffix
    for node in graph.nodes:
        for name in node.outputs:
            if name:
                names[name] = name + suffix

    def renamed(name: str) -> str:
        return names.get(name, name)

    def copied(value: AttrValue) -> AttrValue:
        return instance(value, suffix, dict(names)) if isinstance(value, Graph) else value

    get, nodes = names.get, []
    for node in graph.nodes:
        attrs = {key: copied(value) for key, value in node.attrs.items()} if node.attrs else {}
        inputs, outputs = [get(v, v) for v in node.inputs], [get(v, v) for v in node.outputs]
        nodes.append(Node(node.op, node.name + suffix, inputs, outputs, attrs, node.domain, node.opset))
    return Graph(
        graph.name,
        [replace(p, name=renamed(p.name)) for p in graph.inputs],
        [replace(p, name=renamed(p.name)) for p in graph.outputs],
        nodes,
        {renamed(name): value for name, value in graph.consts.items()},
    )
