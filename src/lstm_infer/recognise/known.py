"""What is known of the values of a graph at every size: facts from walks at two sizes of whatever is open.

A rewrite may only rely on what both walks agree on: ranks, widths, constants that do not follow a size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..walk.walk import node_facts, walk
from .example import example_of, feeds_at
from .settled import unsettled

__all__ = ["Known", "know"]

Lead = tuple[tuple[int, ...], ...]


@dataclass
class Known:
    """Facts of all values, one dict per walk."""

    walks: list[dict[str, Fact]]
    sure: bool = True
    """Every open size was tried at two values: what is constant does not follow a size."""
    unsettled: frozenset[str] = frozenset()
    """Values that are the same in all walks, and need not be at other sizes."""
    _consts: dict[str, Array | None] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Was the value met (branches that are not taken are not)."""
        return name in self.walks[0]

    def const(self, name: str) -> Array | None:
        """The content of a value that is the same at every size."""
        return self._same(name) if name and self.has(name) and name not in self.unsettled else None

    def _same(self, name: str) -> Array | None:
        if name not in self._consts:
            first, *others = (facts[name].const for facts in self.walks)
            same = first is not None and all(
                other is first or (other is not None and np.array_equal(first, other)) for other in others
            )
            self._consts[name] = first if same else None
        return self._consts[name]

    def shapes(self, name: str) -> tuple[tuple[int, ...], ...]:
        """The shape in each walk; all of one rank."""
        return tuple(facts[name].shape for facts in self.walks)

    def rank(self, name: str) -> int:
        """Number of axes."""
        return len(self.walks[0][name].shape)

    def extent(self, name: str, axis: int) -> int | None:
        """The extent of an axis that is the same at every size."""
        found = {shape[axis] for shape in self.shapes(name)}
        return found.pop() if len(found) == 1 else None

    def lead(self, name: str) -> Lead:
        """Per walk: the axes before the last, without those of extent 1."""
        return tuple(tuple(n for n in shape[:-1] if n != 1) for shape in self.shapes(name))

    def is_real(self, name: str) -> bool:
        """A value of float32 or float16 with at least one axis."""
        if not self.has(name):
            return False
        fact = self.walks[0][name]
        return fact.dtype in (np.float32, np.float16) and bool(fact.shape)

    def add(self, node: Node) -> None:
        """The facts of a new node's outputs."""
        for facts in self.walks:
            outs = node_facts(node, [facts[v] if v else None for v in node.inputs])
            facts.update({name: fact for name, fact in zip(node.outputs, outs, strict=False) if name})

    def forget(self) -> None:
        """After values were taken back: their names may come to mean others."""
        self._consts.clear()

    def put(self, name: str, array: Array) -> None:
        """A new constant."""
        for facts in self.walks:
            facts[name] = Fact.of(array)

    def inside(self, graph: Graph, inputs: Sequence[Mapping[str, Fact]]) -> Known | None:
        """The same for a subgraph, given the facts of its inputs in each walk; None where it does not walk."""
        try:
            walks = [walk(graph, {**facts, **own}).facts for facts, own in zip(self.walks, inputs, strict=True)]
        except LstmInferError:
            return None
        return Known(walks, self.sure)._settle(graph, self.unsettled)

    def _settle(self, graph: Graph, outer: frozenset[str] = frozenset()) -> Known:
        several = self.sure and len(self.walks) > 1  # a size that is declared may be opened yet
        self.unsettled = unsettled(graph, self.has, self._same, several, outer)
        return self


def know(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> Known | None:
    """Walk a graph at two sizes, or at one where it is only right at one; None where it does not walk at all. Where one
    axis has a size of its own, the others are walked at two."""
    if any(port.shape is None for port in inputs):
        return None
    found = example_of(graph, inputs, constants)
    if found is None:
        return None
    walks = [dict(found.walked.facts)]  # rewrites add to them
    sure = not found.sizes or found.other is not None
    if found.other is not None and found.sizes:
        walks.append(dict(found.other.facts))
    elif found.sizes:
        frozen = sorted(set(found.sizes.values()))
        # equal sizes stay equal; sums and small products of other sizes are not hit by accident
        other = {size: size + 16 + 6 * i for i, size in enumerate(frozen)}
        for held in (None, *(frozen if len(frozen) > 1 else ())):  # where one is frozen, the others still follow theirs
            sizes = {place: n if n == held else other[n] for place, n in found.sizes.items()}
            with suppress(LstmInferError):
                walks.append(dict(walk(graph, feeds_at(inputs, constants, sizes)).facts))
                sure = held is None
                break
    return Known(walks, sure)._settle(graph)
