"""Changing a graph, for every rewrite in one way: taken back unless kept, fresh names, what is live, what comes first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..frozen import frozen
from .ir import Array, Graph, Node, Port

__all__ = ["CircleError", "Names", "Transaction", "captured", "drop_dead", "live", "ordered", "transaction"]


class CircleError(AssertionError):
    """Nodes that wait for each other: no order of them is one of a graph."""


@dataclass
class Names:
    """Fresh names, unique over a graph and all that is inside it."""

    taken: set[str]
    next: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph) -> Names:
        """All names that occur."""
        taken = set(graph.consts) | {port.name for port in graph.inputs}
        for node in graph.walk():
            taken.add(node.name)
            taken.update(node.outputs)
            for sub in node.subgraphs():
                taken |= set(sub.consts) | {port.name for port in sub.inputs}
        return cls(taken)

    def fresh(self, hint: str) -> str:
        """`hint`, with a number behind it where it is taken."""
        name = hint
        while name in self.taken:
            number = self.next.get(hint, 1)
            self.next[hint] = number + 1
            name = f"{hint}_{number}"
        self.taken.add(name)
        return name

    def copy(self) -> Names:
        """As it is now."""
        return Names(set(self.taken), dict(self.next))


@frozen
class _Before:
    """One graph as it was: what it holds, and what its nodes said."""

    graph: Graph
    inputs: list[Port]
    outputs: list[Port]
    nodes: list[Node]
    consts: dict[str, Array]
    said: list[tuple[str, str, list[str], list[str], dict[str, Any], str, int]]

    @classmethod
    def of(cls, graph: Graph) -> _Before:
        said = [(n.op, n.name, list(n.inputs), list(n.outputs), dict(n.attrs), n.domain, n.opset) for n in graph.nodes]
        return cls(graph, list(graph.inputs), list(graph.outputs), list(graph.nodes), dict(graph.consts), said)

    def restore(self) -> None:
        graph = self.graph
        graph.inputs[:], graph.outputs[:], graph.nodes[:] = self.inputs, self.outputs, self.nodes
        graph.consts.clear()
        graph.consts.update(self.consts)
        for node, (op, name, inputs, outputs, attrs, domain, opset) in zip(self.nodes, self.said, strict=True):
            node.op, node.name, node.domain, node.opset = op, name, domain, opset
            node.inputs, node.outputs, node.attrs = list(inputs), list(outputs), dict(attrs)


class Transaction:
    """A graph, and all inside it, as it was when the transaction began."""

    def __init__(self, graph: Graph, names: Names | None) -> None:
        self._graphs = [_Before.of(g) for g in graph.graphs()]
        self._names, self._were = names, names.copy() if names is not None else None
        self.kept = False

    def keep(self) -> None:
        """What was done stands."""
        self.kept = True

    def undo(self) -> None:
        """Take back all that was done so far; the transaction goes on."""
        for before in self._graphs:
            before.restore()
        if self._names is not None and self._were is not None:
            self._names.taken, self._names.next = set(self._were.taken), dict(self._were.next)
        self.kept = False


@contextmanager
def transaction(graph: Graph, names: Names | None = None) -> Iterator[Transaction]:
    """Change a graph and all inside it: taken back at the end, and where an error leaves it, unless `keep` was called.

    names: those that the rewrite takes its fresh names from; they are free again with the graph.
    """
    begun = Transaction(graph, names)
    try:
        yield begun
    except BaseException:
        begun.undo()
        raise
    if not begun.kept:
        begun.undo()


def captured(node: Node) -> set[str]:
    """Values of outer graphs that the subgraphs of a node may read (its own values among them: harmless)."""
    found: set[str] = set()
    for sub in node.subgraphs():
        found |= {port.name for port in sub.outputs}
        for inner in sub.walk():
            found.update(inner.inputs)
            for deeper in inner.subgraphs():
                found |= {port.name for port in deeper.outputs}
    return found


def live(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes that the outputs need, in the order they stand in."""
    maker = {name: node for node in nodes for name in node.outputs if name}
    todo, kept = [maker[name] for name in outputs if name in maker], set[int]()
    while todo:
        node = todo.pop()
        if id(node) in kept:
            continue
        kept.add(id(node))
        todo += [maker[name] for name in {*node.inputs, *captured(node)} if name in maker]
    return [node for node in nodes if id(node) in kept]


def drop_dead(graph: Graph) -> None:
    """Without the nodes of a graph whose work nobody reads."""
    graph.nodes[:] = live(graph.nodes, [port.name for port in graph.outputs])


def ordered(nodes: Sequence[Node]) -> list[Node]:
    """Every node behind the makers of its inputs, else as they stand; `CircleError` where that cannot be."""
    place = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    after: list[list[int]] = [[] for _ in nodes]
    waits = [0] * len(nodes)
    for i, node in enumerate(nodes):
        for j in {place[name] for name in {*node.inputs, *captured(node)} if name in place} - {i}:
            after[j].append(i)
            waits[i] += 1
    ready = [i for i, n in enumerate(waits) if n == 0]
    heapq.heapify(ready)
    out = []
    while ready:
        i = heapq.heappop(ready)
        out.append(nodes[i])
        for j in after[i]:
            waits[j] -= 1
            if waits[j] == 0:
                heapq.heappush(ready, j)
    if len(out) != len(nodes):
        raise CircleError("a rewrite made a circle")
    return out
