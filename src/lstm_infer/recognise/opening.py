"""Repairing: numbers that were proved to be the example's are replaced by the size of the input axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ..graph.edit import Names, drop_dead
from ..graph.ir import Array, Graph, Node
from .example import Example
from .places import Place
from .written_shapes import makers, read_target, target_of

__all__ = ["open_places"]


def open_places(example: Example, places: Iterable[Place]) -> None:
    """Open these places of the graph, in place."""
    by_node: dict[str, list[Place]] = {}
    for place in places:
        by_node.setdefault(place.node, []).append(place)
    if not by_node:
        return
    names = Names.of(example.graph)
    for g in example.graph.graphs():
        opened = _Opened(example, g, names)
        for node in g.nodes:
            opened.add(node, by_node.get(node.name, []))
        g.nodes[:] = opened.nodes
    drop_dead(example.graph)  # what nobody reads any more holds the frozen sizes still


class _Opened:
    """The nodes of one graph, new ones among them."""

    def __init__(self, example: Example, graph: Graph, names: Names) -> None:
        self.example, self.graph, self.names = example, graph, names
        self.consts = {**example.graph.consts, **graph.consts}
        self.made = makers(graph)
        self.nodes: list[Node] = []
        self.repeated: set[str] = set()

    def add(self, node: Node, places: Sequence[Place]) -> None:
        """A node, with its places open."""
        entries = [place for place in places if place.kind in ("size", "rest")]
        if entries:
            node = self._target(node, entries)
        for place in places:
            if place.kind == "row":
                node = self._read(node, place.at, self._row(node, place))
            elif place.kind in ("repeat", "state") and node.inputs[place.at] not in self.repeated:
                same = [other for other in places if (other.kind, other.at) == (place.kind, place.at)]
                node = self._read(node, place.at, self._repeated(node, same))
            elif place.kind == "end":
                node = self._read(node, place.at, self._end(node, place))
            elif place.kind == "steps":
                node = Node("Identity", node.name, node.inputs[:1], node.outputs, {}, "", 13)
        self.nodes.append(node)

    def _read(self, node: Node, at: int, value: str) -> Node:
        inputs = list(node.inputs)
        inputs[at] = value
        return replace(node, inputs=inputs)

    def _const(self, array: Array, hint: str) -> str:
        name = self.names.fresh(hint)
        self.graph.consts[name] = self.consts[name] = array
        return name

    def _number(self, n: int, hint: str) -> str:
        return self._const(np.array([n], np.int64), hint)

    def _make(self, op: str, inputs: list[str], name: str, opset: int = 13, **attrs: int) -> str:
        name = self.names.fresh(name)
        self.nodes.append(Node(op, name, inputs, [name], dict(attrs), opset=opset))
        return name

    def _target(self, node: Node, entries: Sequence[Place]) -> Node:
        """The same target with sizes in place of numbers."""
        target = read_target(node, self.consts, self.made, self.example.walked.facts)
        assert target is not None
        axes = self.example.traced.axes[node.outputs[0]]
        found, hint = target_of(node), f"{node.name}/open_shape"
        numbers = {place.at: -1 for place in entries if place.kind == "rest"}
        sizes = {place.at: place for place in entries if place.kind == "size"}
        parts = []
        for at, number in enumerate(target):
            if at in sizes:
                factors = axes[sizes[at].axis]
                known = any(
                    f.label for f in factors
                )  # else it was repeated, as often as what it stands beside has steps
                other = prod(f.extent for f in factors if not f.label) if known else 1
                parts.append(self._size(sizes[at].roots, other, f"{hint}/{at}"))
            elif number is None:
                parts.append(self._make("Gather", [found, self._number(at, f"{hint}/at{at}")], f"{hint}/{at}", axis=0))
            else:
                parts.append(self._number(numbers.get(at, number), f"{hint}/{at}"))
        shape = self._make("Concat", parts, hint, axis=0) if len(parts) > 1 else parts[0]
        return self._read(node, node.inputs.index(found, 1), shape)

    def _size(self, roots: Sequence[int], other: int, hint: str) -> str:
        """Nodes that compute the product of the input sizes behind some labels."""
        result = self._number(other, f"{hint}/other") if other != 1 else ""
        for i, root in enumerate(roots):
            source, axis = self.example.places(root)[0]
            shape = self._make("Shape", [source], f"{hint}/shape{i}", opset=15, start=axis, end=axis + 1)
            result = self._make("Mul", [result, shape], f"{hint}/total{i}", opset=14) if result else shape
        return result

    def _end(self, node: Node, place: Place) -> str:
        """The ends of a Slice, one of them the size of the input."""
        hint = f"{node.name}/open_end"
        numbers = self.consts[node.inputs[place.at]].reshape(-1).tolist()
        parts = [
            self._size(place.roots, 1, f"{hint}/{k}") if k == place.axis else self._number(n, f"{hint}/{k}")
            for k, n in enumerate(numbers)
        ]
        return self._make("Concat", parts, hint, axis=0) if len(parts) > 1 else parts[0]

    def _row(self, node: Node, place: Place) -> str:
        const = self.consts[node.inputs[place.at]]
        return self._const(np.take(const, [0], place.axis), f"{node.name}/{place.at}/row")

    def _repeated(self, node: Node, places: Sequence[Place]) -> str:
        """One row of a constant, repeated over whatever is fed."""
        at = places[0].at
        name = node.inputs[at]
        row = self.consts.get(name)
        if row is None:
            row = self.example.walked.facts[name].const
        assert row is not None
        for place in places:
            row = np.take(row, [0], place.axis)
        hint = f"{node.name}/{at}"
        parts = [self._number(n, f"{hint}/{a}") for a, n in enumerate(row.shape)]
        for place in places:
            parts[place.axis] = self._size(place.roots, 1, f"{hint}/{place.axis}")
        shape = self._make("Concat", parts, f"{hint}/shape", axis=0)
        all_rows = self._make("Expand", [self._const(row, f"{hint}/row"), shape], f"{hint}/all")
        self.repeated.add(all_rows)
        return all_rows
