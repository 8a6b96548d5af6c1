"""Values of a graph computed with NumPy from drawn sequences: two ways to make a value, tried against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..ops.registry import find
from ..walk.bodies import is_control

__all__ = ["CLOSE", "SCALES", "Replay", "Unknown", "close", "draw", "evaluate", "outer_values"]

SCALES = (0.1, 1.0, 10.0)
"""Magnitudes of the drawn inputs: where gates are linear, bent and saturated."""

CLOSE = 1e-5
"""Two spellings of one sum in float32 differ by less; a bias, a state or a weight of its own makes more."""

MOST_NODES = 4096
"""Nodes that one value may need."""


class Unknown(Exception):
    """A value that cannot be computed here."""


def close(got: Array, want: Array) -> bool:
    """Are two values the same, but for how sums in float32 are rounded."""
    if got.size != want.size or got.dtype != want.dtype:
        return False
    got = got.reshape(want.shape)
    if want.dtype.kind != "f":
        return bool(np.array_equal(got, want))
    finite = np.isfinite(want)
    if not np.array_equal(finite, np.isfinite(got)) or not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return False
    most = max(1.0, float(np.abs(want[finite]).max(initial=0)))
    return bool(np.all(np.abs(got[finite] - want[finite]) <= CLOSE * most))


def draw(rng: np.random.Generator, fact: Fact, scale: float) -> Array:
    """Something of a shape and dtype."""
    if fact.dtype.kind == "f":
        return rng.normal(0, scale, fact.shape).astype(fact.dtype)
    return rng.integers(0, 2 if fact.dtype.kind == "b" else 4, fact.shape).astype(fact.dtype)


def evaluate(node: Node, get: Callable[[str], Array | None]) -> list[Any]:
    """The outputs of a node, given its inputs and what its bodies read from outside."""
    if node.op == "If" and not node.domain:
        return _branch(node, get)
    if is_control(node):
        raise Unknown(str(node))
    op = find(node)
    if op.random:
        raise Unknown(str(node))
    try:
        with np.errstate(all="ignore"):
            return list(op.evaluate(node, [get(v) if v else None for v in node.inputs]))
    except (LstmInferError, KeyError, ValueError, IndexError, TypeError, AttributeError, NotImplementedError) as error:
        raise Unknown(str(error)) from error


def _branch(node: Node, get: Callable[[str], Array | None]) -> list[Any]:
    taken = bool(np.reshape(np.asarray(get(node.inputs[0])), -1)[0])
    graph = node.attrs["then_branch" if taken else "else_branch"]
    assert isinstance(graph, Graph)
    values: dict[str, Any] = dict(graph.consts)

    def inside(name: str) -> Array | None:
        return values[name] if name in values else get(name)

    for inner in graph.nodes:
        values.update(zip(inner.outputs, evaluate(inner, inside), strict=False))
    return [inside(port.name) for port in graph.outputs]


class Replay:
    """Values of a graph at the sizes of one walk, from values that are given; what nothing makes is drawn."""

    def __init__(
        self, nodes: Sequence[Node], facts: Mapping[str, Fact], given: Mapping[str, Array], rng: np.random.Generator,
        scale: float,
    ) -> None:  # fmt: skip
        self.maker = {name: node for node in nodes for name in node.outputs if name}
        self.facts, self.rng, self.scale = facts, rng, scale
        self.values: dict[str, Any] = dict(given)
        self.work = 0

    def get(self, name: str) -> Array:
        """A value, with all that it is made of. Raises Unknown."""
        todo = [name]
        while todo:
            at = todo[-1]
            if self._is_there(at):
                todo.pop()
                continue
            node = self.maker[at]
            missing = [v for v in self._needs(node) if not self._is_there(v)]
            if missing:
                todo += missing
                continue
            self.work += 1
            if self.work > MOST_NODES or len(todo) > MOST_NODES:
                raise Unknown(name)
            self.values.update(zip(node.outputs, evaluate(node, self.values.get), strict=False))
        found: Array = self.values[name]
        return found

    def _needs(self, node: Node) -> list[str]:
        inside = [v for sub in node.subgraphs() for v in outer_values(sub)]
        return [v for v in (*node.inputs, *inside) if v]

    def _is_there(self, name: str) -> bool:
        if name in self.values:
            return True
        fact = self.facts.get(name)
        if fact is not None and fact.const is not None:
            self.values[name] = fact.const
            return True
        node = self.maker.get(name)
        if node is not None and (node.op == "If" or not is_control(node)) and not find(node).random:
            return False
        if fact is None:
            raise Unknown(name)
        self.values[name] = draw(self.rng, fact, self.scale)
        return True


def outer_values(graph: Graph) -> list[str]:
    """What a body reads from outside, in the order of its nodes."""
    made = {port.name for port in graph.inputs} | set(graph.consts)
    found: dict[str, None] = {}
    for node in graph.nodes:
        for name in [*node.inputs, *(v for sub in node.subgraphs() for v in outer_values(sub))]:
            if name and name not in made:
                found[name] = None
        made |= set(node.outputs)
    for port in graph.outputs:
        if port.name not in made:
            found[port.name] = None
    return list(found)
