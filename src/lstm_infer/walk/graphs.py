"""Questions to a body as it is written, and copies of it."""

from __future__ import annotations

from dataclasses import replace

from ..graph.ir import AttrValue, Graph

__all__ = ["instance", "outer_names", "source_of"]


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


def source_of(graph: Graph, name: str) -> str:
    """The value behind a chain of Identity nodes."""
    made = {out: node for node in graph.nodes for out in node.outputs if out}
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

    nodes = [
        replace(
            node,
            name=node.name + suffix,
            inputs=[renamed(name) for name in node.inputs],
            outputs=[renamed(name) for name in node.outputs],
            attrs={key: copied(value) for key, value in node.attrs.items()},
        )
        for node in graph.nodes
    ]
    return Graph(
        graph.name,
        [replace(p, name=renamed(p.name)) for p in graph.inputs],
        [replace(p, name=renamed(p.name)) for p in graph.outputs],
        nodes,
        {renamed(name): value for name, value in graph.consts.items()},
    )
