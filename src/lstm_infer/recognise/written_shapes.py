"""Where a file says extents: the numbers in what Reshape, Expand and Tile take, written as one constant or as pieces of a
computed shape."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..ops.registry import find

MOST_MADE = 16
"""Nodes that make a target of constants."""

__all__ = ["makers", "read_target", "target_of"]


def target_of(node: Node) -> str:
    """The value that holds the extents of a node's output; "" where there is none."""
    try:
        at = find(node).extents
    except LstmInferError:
        return ""
    return node.inputs[at] if at is not None and at < len(node.inputs) else ""


def makers(graph: Graph) -> dict[str, Node]:
    """The node that makes each value of a graph, bodies apart."""
    return {name: node for node in graph.nodes for name in node.outputs if name}


def read_target(
    node: Node, consts: Mapping[str, Array], made: Mapping[str, Node], facts: Mapping[str, Fact]
) -> list[int | None] | None:
    """The numbers of a target as the file has them, one for each axis; None for one that is computed. None: it has none."""
    name = target_of(node)
    if name in consts:
        return [int(n) for n in consts[name].reshape(-1)]
    joined = made.get(name)
    if name in facts and _of_constants(name, consts, made) and (known := facts[name].const) is not None:
        return [int(n) for n in known.reshape(-1)]
    if not name or joined is None or joined.op != "Concat" or joined.domain:
        return None
    found: list[int | None] = []
    for piece in joined.inputs:
        if piece in consts:
            found += [int(n) for n in consts[piece].reshape(-1)]
        elif piece in facts and len(facts[piece].shape) == 1:
            found += [None] * facts[piece].shape[0]
        else:
            return None
    return found if any(n is not None for n in found) else None


def _of_constants(value: str, consts: Mapping[str, Array], made: Mapping[str, Node]) -> bool:
    """Is a value computed from constants alone, by a few nodes: expand(-1, 7, -1) as it is written."""
    todo, seen = [value], set[str]()
    while todo:
        one = todo.pop()
        if one in seen or not one or one in consts:
            continue
        seen.add(one)
        if one not in made or len(seen) > MOST_MADE or any(True for _ in made[one].subgraphs()):
            return False
        todo += made[one].inputs
    return True
