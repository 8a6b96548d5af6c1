"""Which constants of a graph follow a size all the same: T > 5 is true at every length that was walked, and not at 3.

A walk makes constants of all that shapes say. What is equal in two walks is one number for good where it only was moved
there (an extent that is not open); where it was computed from a number that follows a size, it may be another elsewhere.
"""

from __future__ import annotations

from ..graph.ir import Graph, Node
from ..ops.registry import moves
from .known import Known

__all__ = ["unsettled"]


def unsettled(graph: Graph, known: Known) -> frozenset[str]:
    """Values that are the same in all walks, and need not be at other sizes."""
    found: set[str] = set()
    for node in graph.nodes:
        values = [v for v in node.outputs if v and known.const(v) is not None]
        if values and _follows(node, known, found):
            found.update(values)
    return frozenset(found)


def _follows(node: Node, known: Known, found: set[str]) -> bool:
    """Is what a node makes computed from something that follows a size."""
    if not node.domain and node.op in ("Shape", "Size"):
        return node.op == "Size" or not known.sure
    given = [v for v in node.inputs if v]
    if any(True for _ in node.subgraphs()):
        return True
    if any(v in found for v in given):
        return True
    return not moves(node) and any(known.has(v) and known.const(v) is None for v in given)
