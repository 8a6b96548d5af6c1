"""What a walk works on, and which of the nodes it left are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import OnnxImportError
from ..graph.fact import Fact
from ..graph.ir import Graph, Node
from ..ops.control import Choice

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
    held: Held = field(default_factory=Held)

    def inner(self) -> Scope:
        """The same facts, other nodes."""
        return Scope(self.facts, [], self.walk, self.held)

    def alias(self, node: Node, source: str, name: str) -> None:
        """`name` is the value `source`."""
        fact = self.facts.get(source)
        if fact is None:
            raise OnnxImportError(f"{node}: value {source!r} of its body is made by no node; the file is broken")
        self.facts[name] = fact
        if fact.const is None and name != source:
            self.nodes.append(Node("Identity", f"{node.name}/{name}", [source], [name], opset=node.opset))


def needed(nodes: Sequence[Node], results: Sequence[str]) -> list[Node]:
    """Without nodes whose results only served to find a shape; the guards of branches stay."""
    read = set(results)
    kept = []
    for node in reversed(nodes):
        if any(name in read for name in node.outputs) or (isinstance(node, Choice) and None in node.branches):
            read.update(name for name in node.inputs if name)
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
