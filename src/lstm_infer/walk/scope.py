"""What a walk works on, and which of the nodes it left are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import OnnxImportError
from ..graph.fact import Fact
from ..graph.ir import Graph, Node
from ..ops.control import Choice
from .graphs import Bodies

__all__ = ["Held", "Scope", "captures", "needed"]


@dataclass
class Held:
    """The bytes of all constants that a walk computed."""

    n_bytes: int = 0


@dataclass
class Scope:
    """What the walk of a graph works on: the facts of all values, the nodes left to run, and the walk itself."""

    facts: dict[str, Fact]
    nodes: list[Node]
    walk: Callable[[Graph, Scope], None]
    fold: Callable[[Graph, Scope], None]
    """The walk of what is known: nobody is asked for the facts of a node but its operator."""
    graph: Graph | None = None
    """The whole of it, where it is known."""
    held: Held = field(default_factory=Held)
    bodies: Bodies = field(default_factory=Bodies)

    def inner(self) -> Scope:
        """The same facts, other nodes."""
        return replace(self, nodes=[])

    def apart(self, names: Iterable[str]) -> Scope:
        """These facts alone, and what is found is not seen outside: for what is known, and computed again and again."""
        facts = {name: self.facts[name] for name in names if name in self.facts}
        return replace(self, facts=facts, nodes=[], walk=self.fold)

    def fact(self, node: Node, name: str) -> Fact:
        """Of a result of a body of `node`."""
        found = self.facts.get(name)
        if found is None:
            raise OnnxImportError(f"{node}: value {name!r} of its body is made by no node; the file is broken")
        return found

    def alias(self, node: Node, source: str, name: str) -> None:
        """`name` is the value `source`."""
        fact = self.facts[name] = self.fact(node, source)
        if fact.const is None and name != source:
            self.nodes.append(Node("Identity", f"{node.name}/{name}", [source], [name], opset=node.opset))


def needed(nodes: Sequence[Node], results: Sequence[str]) -> list[Node]:
    """Without nodes whose results only served to find a shape; the guards of branches stay."""
    read = set(results)
    kept = []
    for node in reversed(nodes):
        if not read.isdisjoint(node.outputs) or (isinstance(node, Choice) and None in node.branches):
            read.update(node.inputs)
            read.discard("")
            kept.append(node)
    return kept[::-1]


def captures(
    lists: Sequence[Sequence[Node]], results: Sequence[str], facts: Mapping[str, Fact], inside: set[str]
) -> list[str]:
    """Values from outside that the nodes read, or that are results."""
    found: dict[str, None] = {}
    made = set(inside)
    for nodes in lists:
        for node in nodes:
            for name in node.inputs:
                if name and name not in made:
                    found.setdefault(name)
            made |= {name for name in node.outputs if name}
    for name in results:
        if name not in made:
            found.setdefault(name)
    return list(found)
