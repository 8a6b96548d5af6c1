"""Two nodes that are one: the second alone reads what the first makes, and all else it reads is constant.

The rules (`batchnorm`, `bias`) say what the one node is. They see the graph and its constants only, no sizes, so that
every plan of a model rounds alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace

from ..frozen import frozen
from ..graph.ir import Array, Graph, Node

__all__ = ["Joined", "graphs_of", "join_pairs"]


@frozen
class Joined:
    """What a pair becomes: the first node with other inputs."""

    through: str
    """The value between the two nodes."""
    inputs: list[str]
    consts: dict[str, Array] = field(default_factory=dict)
    """Those of the inputs that are new."""


Rule = Callable[[Node, Callable[[str], Node | None], Mapping[str, Array]], Joined | None]
"""(second node, maker of a value, constants in sight) to what the pair becomes, None where it is none."""


def join_pairs(graph: Graph, rule: Rule) -> int:
    """Join what the rule joins, in a graph and all inside it, in place; returns how many nodes went."""
    graphs = list(graphs_of(graph, {}))
    readers = Counter(name for node in graph.walk() for name in node.inputs if name)
    for g, _ in graphs:
        readers.update(port.name for port in g.outputs)
    return sum(_join_in(g, consts, readers, rule) for g, consts in graphs)


def graphs_of(graph: Graph, outer: Mapping[str, Array]) -> Iterator[tuple[Graph, dict[str, Array]]]:
    """Every graph, with the constants it sees. An input with a default may be fed: it is none."""
    consts = {**outer, **graph.consts}
    for port in graph.inputs:
        consts.pop(port.name, None)
    yield graph, consts
    for node in graph.nodes:
        for sub in node.subgraphs():
            yield from graphs_of(sub, consts)


def _join_in(g: Graph, consts: Mapping[str, Array], readers: Mapping[str, int], rule: Rule) -> int:
    made = {name: index for index, node in enumerate(g.nodes) for name in node.outputs if name}
    nodes: list[Node | None] = list(g.nodes)

    def maker(name: str) -> Node | None:
        return nodes[made[name]] if name in made and readers[name] == 1 else None

    for index, second in enumerate(g.nodes):
        joined = rule(second, maker, consts)
        if joined is None:
            continue
        place = made[joined.through]
        first = nodes[place]
        assert first is not None
        g.consts.update(joined.consts)
        nodes[place] = None
        # where the second node stood: its other inputs are constants
        nodes[index] = replace(first, inputs=joined.inputs, outputs=[second.outputs[0]])
        made[second.outputs[0]] = index
    g.nodes[:] = [node for node in nodes if node is not None]
    return len(nodes) - len(g.nodes)
