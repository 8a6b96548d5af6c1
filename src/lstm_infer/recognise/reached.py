"""Comparisons of a length with a position that the file reads: where x[:, 6] is read, T > 6 holds whenever the file runs.

Keras writes one into every step of a loop, so that a state stays as it is behind the end; unrolled, they are all true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..graph.edit import live
from ..graph.ir import Array, Graph, Node, Port
from ..ops.registry import attr
from .fold import fold
from .known import Known, know
from .positions import FEWEST, is_worth_it, reads_of

__all__ = ["settle_comparisons"]

Axis = tuple[str, int]
"""A value, and one of its axes."""

_MIRRORED = {"Greater": "Less", "GreaterOrEqual": "LessOrEqual", "Less": "Greater", "LessOrEqual": "GreaterOrEqual"}
"""Comparisons, and what they are with their inputs the other way round."""


def settle_comparisons(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> bool:
    """Make constants of them, and take what is chosen by them; in place. Is anything changed."""
    if not is_worth_it(graph) or not any(node.op in _MIRRORED and not node.domain for node in graph.nodes):
        return False
    known = know(graph, inputs, constants)
    if known is None:
        return False
    said = _Lengths(graph, known).said()
    if not said:
        return False
    for value, holds in said.items():
        graph.consts[value] = np.full(known.shapes(value)[0], holds)
    graph.nodes[:] = [node for node in graph.nodes if node.outputs[0] not in said]
    fold(graph, constants)
    for node in graph.nodes:
        _choose(graph, known, node)
    graph.nodes[:] = live(graph.nodes, [port.name for port in graph.outputs])
    return True


def _choose(graph: Graph, known: Known, node: Node) -> None:
    """A Where of which one side is never taken becomes the other, where that is as large."""
    if node.op != "Where" or node.domain or graph.consts.get(node.inputs[0]) is None:
        return
    taken = graph.consts[node.inputs[0]]
    if not (np.all(taken) or not np.any(taken)):
        return
    value = node.inputs[1 if np.all(taken) else 2]
    if known.has(value) and known.shapes(value) == known.shapes(node.outputs[0]):
        node.op, node.inputs[:] = "Identity", [value]


class _Lengths:
    """How long axes are at least, where the file runs at all."""

    def __init__(self, graph: Graph, known: Known) -> None:
        self.graph, self.known = graph, known
        self.maker = {v: node for node in graph.nodes for v in node.outputs if v}
        self.least: dict[Axis, int] = {}
        needed = live(graph.nodes, [port.name for port in graph.outputs])
        squeezed = {node.inputs[0] for node in needed if node.op == "Squeeze" and len(node.inputs) > 1}
        for node in needed:
            for value, read in reads_of(node, known):
                if node.op != "Slice" or value in squeezed:  # a Slice behind the end is empty, and does not squeeze
                    at = self._origin(read.data, read.axis)
                    reached = len(node.outputs) if node.op == "Split" else read.position + 1
                    self.least[at] = max(self.least.get(at, 0), reached)

    def said(self) -> dict[str, bool]:
        """Comparisons that give the same at every length that the file runs at, where they are those of the steps of a loop:
        `length > t` for one t after the other. A number that is compared alone is the model's own, and means what it says
        when the loop is rolled up."""
        found: dict[Axis, dict[str, tuple[int, bool] | None]] = {}
        for node in self.graph.nodes:
            if not node.domain and node.op in _MIRRORED and len(node.inputs) == 2:
                for value, other, op in ((*node.inputs, node.op), (*node.inputs[::-1], _MIRRORED[node.op])):
                    at = self._length(value)
                    if at is not None:
                        found.setdefault(at, {})[node.outputs[0]] = self._above(op, other)
        said: dict[str, bool] = {}
        for at, compared in found.items():
            sure = {value: one for value, one in compared.items() if one is not None}
            steps, least = {limit for limit, _ in sure.values()}, self.least.get(at, 0)
            in_order = len(steps) >= FEWEST and max(steps) - min(steps) == len(steps) - 1
            if sure.keys() == compared.keys() and in_order and 0 <= min(steps) <= 1 and least - 2 <= max(steps) < least:
                said |= {value: holds for value, (_, holds) in sure.items()}
        return said

    def _above(self, op: str, other: str) -> tuple[int, bool] | None:
        """`length op other` as (t, is it `length > t` or its opposite); None where other is no number."""
        number = self.graph.consts.get(other)
        if number is None or number.size != 1 or number.dtype.kind not in "iuf":
            return None
        limit = float(number.reshape(-1)[0])
        if not limit.is_integer():
            return None
        return int(limit) - (op in ("GreaterOrEqual", "Less")), op in ("Greater", "GreaterOrEqual")

    def _length(self, value: str) -> Axis | None:
        """The axis whose extent a single number is."""
        while (node := self.maker.get(value)) is not None and self._is_one_number(value):
            if node.domain:
                return None
            if node.op in ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"):
                value = node.inputs[0]
            elif node.op == "Gather":
                shape, index = self.maker.get(node.inputs[0]), self.known.const(node.inputs[1])
                if shape is None or shape.op != "Shape" or shape.domain or index is None:
                    return None
                rank = self.known.rank(shape.inputs[0])
                begin, end = int(attr(shape, "start", 0)), int(attr(shape, "end", rank))
                at = range(rank)[begin:end]
                k = int(index.reshape(-1)[0])
                return self._origin(shape.inputs[0], at[k]) if -len(at) <= k < len(at) else None
            else:
                return None
        return None

    def _is_one_number(self, value: str) -> bool:
        return self.known.has(value) and all(int(np.prod(shape)) == 1 for shape in self.known.shapes(value))

    def _origin(self, value: str, axis: int) -> Axis:
        """The same axis where it comes from, through what only moves it."""
        while (node := self.maker.get(value)) is not None and not node.domain:
            if node.op in ("Cast", "Identity"):
                value = node.inputs[0]
            elif node.op == "Transpose":
                rank = self.known.rank(value)
                perm = attr(node, "perm", None) or list(range(rank))[::-1]
                value, axis = node.inputs[0], int(perm[axis])
            else:
                break
        return value, axis
