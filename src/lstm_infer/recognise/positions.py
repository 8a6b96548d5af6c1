"""Values that are one position of a sequence, where every position is taken: what an unrolled loop leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..frozen import frozen
from ..graph.edit import Names, captured
from ..graph.ir import Graph, Node
from ..ops.registry import attr, moves
from .known import Known

__all__ = ["Read", "is_worth_it", "open_splits", "read_sequences", "reads_of"]

FEWEST = 3
"""Positions: the first copy of a body starts from other values, and two that are alike may be so by chance."""

Sequence_ = tuple[str, int]
"""A value and the axis that positions are taken of."""


@frozen
class Read:
    """One position of an axis of `data`."""

    data: str
    axis: int
    position: int
    keeps: bool
    """The axis stays, with extent 1."""


def is_worth_it(graph: Graph) -> bool:
    """Could all positions of a sequence be read, as far as the constants of the graph say."""
    found: dict[Sequence_, set[int]] = {}
    for node in graph.nodes:
        if node.domain or node.op not in ("Gather", "Slice", "Split"):
            continue
        if node.op == "Split":
            if len(node.outputs) >= FEWEST:
                return True
            continue
        index = graph.consts.get(node.inputs[1])
        if index is not None and index.size == 1:
            axis = int(attr(node, "axis", 0)) if node.op == "Gather" else 0
            found.setdefault((node.inputs[0], axis), set()).add(int(index.reshape(-1)[0]))
    return any(len(at) >= FEWEST and {0, 1} & at for at in found.values())


def open_splits(graph: Graph, names: Names) -> None:
    """Splits into single positions become picks of each, which can be walked where there are more; in place."""
    nodes: list[Node] = []
    for node in graph.nodes:
        sizes = graph.consts.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if node.op != "Split" or node.domain or len(node.outputs) < FEWEST or sizes is None or np.any(sizes != 1):
            nodes.append(node)
            continue
        axis = node.attrs.get("axis", 0)
        for t, value in enumerate(node.outputs):
            index = names.fresh(f"{node.name}/position")
            graph.consts[index] = np.array([t], np.int64)
            name = names.fresh(f"{node.name}/pick")
            made = value or names.fresh(f"{node.name}/unread")  # what nobody reads says how long the axis is
            nodes.append(Node("Gather", name, [node.inputs[0], index], [made], {"axis": axis}, "", 13))
    graph.nodes[:] = nodes


def read_sequences(graph: Graph, known: Known) -> list[dict[str, Read]]:
    """The reads of all sequences of one length, the longest first."""
    found: dict[Sequence_, dict[str, Read]] = {}
    for node in graph.nodes:
        for value, read in reads_of(node, known):
            found.setdefault((read.data, read.axis), {})[value] = read
    lengths: dict[int, dict[str, Read]] = {}
    for key, reads in found.items():
        n = _length(graph, known, key, reads)
        if n:
            lengths.setdefault(n, {}).update(reads)
    return [lengths[n] for n in sorted(lengths, reverse=True)]


def _length(graph: Graph, known: Known, key: Sequence_, reads: Mapping[str, Read]) -> int:
    """How many positions there are, where each is read; 0 where not. The length of an open axis is the exporter's
    example, if nothing else reads it."""
    n = known.extent(*key)
    if n is None:
        users = _users(graph)
        if not all(_only_measures(users, node) for node in users.get(key[0], []) if not _is_one_of(node, reads)):
            return 0
        n = 1 + max(read.position for read in reads.values())
    return n if n >= FEWEST and {read.position for read in reads.values()} == set(range(n)) else 0


def _is_one_of(node: Node | None, reads: Mapping[str, Read]) -> bool:
    return node is not None and node.outputs[0] in reads


def _users(graph: Graph) -> dict[str, list[Node | None]]:
    """Who reads each value; None for whoever has the graph's outputs."""
    found: dict[str, list[Node | None]] = {port.name: [None] for port in graph.outputs}
    for node in graph.walk():
        for value in {*node.inputs, *captured(node)}:
            found.setdefault(value, []).append(node)
    return found


def _only_measures(users: Mapping[str, list[Node | None]], node: Node | None) -> bool:
    """Is nothing taken from a node but how large its value is."""
    todo = [node]
    while todo:
        at = todo.pop()
        if at is None or at.domain:
            return False
        if at.op in ("Shape", "Size"):
            continue
        if moves(at) not in ("axes", "cast") or len(at.outputs) > 1:
            return False
        todo += users.get(at.outputs[0], [])
    return True


def reads_of(node: Node, known: Known) -> Iterator[tuple[str, Read]]:
    """The outputs of a node that are one position each of an axis."""
    if node.domain or node.op not in ("Gather", "Slice", "Split") or not known.has(node.inputs[0]):
        return
    data, rank = node.inputs[0], known.rank(node.inputs[0])
    made = [v for v in node.outputs if v]  # a Split may have some that nobody reads
    if rank < 2 or known.const(data) is not None or not all(known.has(v) for v in made):
        return
    if node.op == "Split":
        axis = int(attr(node, "axis", 0)) % rank
        if len(node.outputs) >= FEWEST and all(known.extent(v, axis) == 1 for v in made):
            yield from ((v, Read(data, axis, t, True)) for t, v in enumerate(node.outputs) if v)
        return
    where = _gathered(node, known, rank) if node.op == "Gather" else _cut(node, known)
    if where is None:
        return
    axis, at, keeps = where[0] % rank, where[1], where[2]
    n = known.extent(data, axis)
    if at >= 0 or n is not None:
        yield node.outputs[0], Read(data, axis, at % n if n else at, keeps)


def _gathered(node: Node, known: Known, rank: int) -> tuple[int, int, bool] | None:
    index = known.const(node.inputs[1])
    if index is None or index.size != 1 or index.ndim > 1:
        return None
    return int(attr(node, "axis", 0)), int(index.reshape(-1)[0]), index.ndim == 1


def _cut(node: Node, known: Known) -> tuple[int, int, bool] | None:
    """A Slice of width 1 along one axis."""
    numbers = [known.const(name) if name else None for name in node.inputs[1:]]
    if any(a is None and name for a, name in zip(numbers, node.inputs[1:], strict=True)):
        return None
    if len(numbers) < 2 or any(a is not None and a.size != 1 for a in numbers):
        return None
    start, end, axis, step = ([None if a is None else int(a.reshape(-1)[0]) for a in numbers] + [None, None])[:4]
    if start is None or end is None or step not in (None, 1):
        return None
    one = end == start + 1 if start != -1 else end > np.iinfo(np.int32).max - 1
    return (axis or 0, start, True) if one else None
