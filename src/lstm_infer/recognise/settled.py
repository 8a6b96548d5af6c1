"""Which constants of a graph follow a size all the same: T > 5 is true at every length that was walked, and not at 3.

A walk makes constants of all that shapes say. What is equal in two walks is one number for good where it only was moved
there (an extent that is not open); where it was computed from a number that follows a size, it may be another elsewhere.
Where an axis was walked at one size only, nothing tells its extent from one of the model's own: such an integer may be moved
to where a shape is wanted, but what is computed from it is no constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..graph.ir import Array, Graph, Node
from ..ops.registry import moves

__all__ = ["unsettled"]

Same = Callable[[str], "Array | None"]
"""The content of a value that is the same in all walks."""


def unsettled(graph: Graph, has: Callable[[str], bool], same: Same, sure: bool, outer: Iterable[str]) -> frozenset[str]:
    """Values that are the same in all walks, and need not be at other sizes.

    has: was a value met. sure: all open sizes were walked at two values. outer: such values of the graphs around.
    """
    found, extents = set(outer), set[str]()
    for node in graph.nodes:
        values = [v for v in node.outputs if v and has(v)]
        if not node.domain and node.op == "Shape":
            extents.update(() if sure else values)
        elif (not node.domain and node.op == "Size") or _computes(node, has, same, found, extents):
            found.update(v for v in values if same(v) is not None)
        elif any(v in extents for v in node.inputs):
            extents.update(values)
            found.update(v for v in values if (array := same(v)) is not None and array.dtype.kind not in "iu")
    return frozenset(found)


def _computes(node: Node, has: Callable[[str], bool], same: Same, found: set[str], extents: set[str]) -> bool:
    """Is what a node makes computed from something that follows a size, or may."""
    given = [v for v in node.inputs if v]
    if any(True for _ in node.subgraphs()) or any(v in found for v in given):
        return True
    return not moves(node) and any(v in extents or (has(v) and same(v) is None) for v in given)
