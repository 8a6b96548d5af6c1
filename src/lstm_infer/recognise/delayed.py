"""A sequence moved back by a few steps with constants in front, `cat([start, x[:-1]])`, or a Pad of n steps in front and
-n behind. They become a Pad of x, off which the last steps are cut, as in front of a causal Conv: a stream can hold the
steps that a window covers. Where the first step is no single number, a mask that is moved back as well puts it there.
One number joined to the ends of a sequence, `cat([zeros, x])`, is a Pad of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import LstmInferError
from ..graph.edit import Names, live
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops.registry import attr
from ..walk.walk import walk
from .example import feeds_at
from .known import Known, know

__all__ = ["pad_delays"]

MOST_STEPS = 1024
MOST_NODES = 32
"""Between sizes and what is joined in front of a sequence."""
_BOOL = 9
"""TensorProto.BOOL"""
WHOLE = np.iinfo(np.int32).max
"""Exporters write this or more for "to the end"; no axis is as long."""

Cut = tuple[Node, int, int]
"""A Slice that takes all but the last steps of an axis: it, how many, the axis as it is written."""


def pad_delays(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> None:
    """In place."""
    makers = {value: node for node in graph.nodes for value in node.outputs if value}
    asked = {id(node): value for node in graph.nodes if (value := _asked(graph, node, makers))}
    if not asked or any(port.shape is None for port in inputs):
        return
    # what goes before these values is all that has to hold at every size
    part = replace(graph, nodes=live(graph.nodes, asked.values()), outputs=[])
    known = know(part, inputs, {**constants, **{v: graph.consts[v] for v in asked.values() if v in graph.consts}})
    if known is None or not known.sure:
        return
    names, one = Names.of(graph), _one_step(part, inputs, constants)
    kept: list[Node] = []
    for node in graph.nodes:
        made = None
        cut = _cut_before(graph, makers, node.inputs[node.op == "Concat"]) if id(node) in asked else None
        if id(node) in asked and node.op == "Pad":
            made = _of_pad(graph, names, node, known.const(asked[id(node)]), cut)
        elif id(node) in asked and known.has(node.inputs[0]):
            made = (_of_concat(graph, names, node, known, one, cut) if cut else None) or _of_ends(
                graph, names, node, known, one
            )
        kept += made or [node]
    graph.nodes[:] = kept


def _asked(graph: Graph, node: Node, makers: Mapping[str, Node]) -> str | None:
    """The value on which it depends whether a node is a delay; None where its form is not one."""
    if (node.op, node.domain, len(node.inputs)) == ("Concat", "", 2):
        cut = _cut_before(graph, makers, node.inputs[1])
        return node.inputs[0] if cut or _follows_sizes(graph, makers, node.inputs[0]) else None
    if (node.op, node.domain) != ("Pad", "") or len(node.inputs) not in (2, 3):
        return None
    pads = graph.consts.get(node.inputs[1])
    crops = pads is None or bool((pads < 0).any()) or _cut_before(graph, makers, node.inputs[0]) is not None
    return node.inputs[1] if crops and attr(node, "mode", "constant") == "constant" else None


def _cut_before(graph: Graph, makers: Mapping[str, Node], value: str) -> Cut | None:
    """The Slice that makes a value, where it takes the last steps off one axis."""
    cut, consts = makers.get(value), graph.consts
    if cut is None or (cut.op, cut.domain) != ("Slice", "") or len(cut.inputs) < 4:
        return None
    given = [consts.get(name) for name in cut.inputs[1:4]]
    given.append(consts.get(cut.inputs[4]) if len(cut.inputs) > 4 and cut.inputs[4] else np.array([1]))
    rows = [part.reshape(-1).tolist() for part in given if part is not None]
    if len(rows) < 4 or len(rows[1]) != len(rows[2]) or any(rows[0]) or set(rows[3]) != {1}:
        return None
    ends = [(end, axis) for end, axis in zip(rows[1], rows[2], strict=False) if end < WHOLE]  # the others take all
    return (cut, -ends[0][0], ends[0][1]) if len(ends) == 1 and 1 <= -ends[0][0] <= MOST_STEPS else None


def _follows_sizes(graph: Graph, makers: Mapping[str, Node], value: str) -> bool:
    """Is a value made of constants and sizes, by a few nodes."""
    fed, todo, seen = {port.name for port in graph.inputs}, [value], set[str]()
    while todo and len(seen) <= MOST_NODES:
        value = todo.pop()
        node = makers.get(value)
        if value in fed or (node is not None and any(node.subgraphs())):
            return False
        if node is not None and node.op != "Shape" and value not in seen:
            todo += [v for v in node.inputs if v]
        seen.add(value)
    return not todo


def _of_concat(
    graph: Graph, names: Names, node: Node, known: Known, one: Mapping[str, Fact], cut: Cut
) -> list[Node] | None:
    """Constants joined in front of all but as many steps."""
    front, rank = node.inputs[0], known.rank(node.inputs[0])
    if not rank:
        return None
    before, steps, axis = cut[0], cut[1], cut[2] % rank
    follows = steps == 1 or _extent(one.get(front), axis) == 1
    if int(attr(node, "axis", 0)) % rank != axis or not follows:
        return None
    start = _constant(known, front, axis, steps)
    if start is None:
        return None
    source = before.inputs[0]
    if start.size == 1:
        pad = _front(graph, names, source, rank, axis, steps, f"{node.name}/pad", start)
        return _padded(graph, names, node, pad, steps, axis)
    return _begun(graph, names, node, source, start, axis, steps) if start.shape[axis] == 1 else None


def _begun(graph: Graph, names: Names, node: Node, source: str, start: Array, axis: int, steps: int) -> list[Node]:
    """Some steps back, and a mask that is moved back as well: where it is not set yet, `start` is taken."""
    told, ones, moved, seen, mask = (
        names.fresh(f"{node.outputs[0]}/{what}") for what in ("told", "ones", "moved", "seen", "mask")
    )
    one, rank = _hold(graph, names, np.ones((), np.float32)), start.ndim
    nodes = [
        Node("Equal", f"{node.name}/told", [source, source], [told], {}, "", 13),
        Node("Where", f"{node.name}/ones", [told, one, one], [ones], {}, "", 16),  # also where it is no number
    ]
    for value, out in ((source, moved), (ones, seen)):
        pad = _front(graph, names, value, rank, axis, steps, f"{out}/pad")
        nodes += _padded(graph, names, replace(node, name=f"{out}/cut", outputs=[out]), pad, steps, axis)
    return [
        *nodes,
        Node("Cast", f"{node.name}/mask", [seen], [mask], {"to": _BOOL}, "", 13),
        Node("Where", node.name, [mask, moved, _hold(graph, names, start)], list(node.outputs), {}, "", 16),
    ]


def _of_ends(graph: Graph, names: Names, node: Node, known: Known, one: Mapping[str, Fact]) -> list[Node] | None:
    """One number, a few steps of it at every size, in front of a sequence of any length."""
    (front, source), rank = node.inputs, known.rank(node.inputs[0])
    if not rank:
        return None
    axis = int(attr(node, "axis", 0)) % rank
    steps = known.extent(front, axis)
    if not steps or steps > MOST_STEPS or _extent(one.get(front), axis) != steps or not _is_open(known, source, axis):
        return None
    start = _constant(known, front, axis, steps)
    if start is None or start.size != 1:
        return None
    return [replace(_front(graph, names, source, rank, axis, steps, node.name, start), outputs=list(node.outputs))]


def _is_open(known: Known, value: str, axis: int) -> bool:
    """Has an axis an extent that follows a size."""
    return known.has(value) and len(known.walks) > 1 and known.extent(value, axis) is None


def _constant(known: Known, value: str, axis: int, steps: int) -> Array | None:
    """What a value holds at every size, in so many steps: a row where it repeats itself, along all axes where it is one
    number; None where it is not known before a call, or another at other sizes."""
    found: list[Array] = []
    for facts in known.walks:
        const = facts[value].const
        if const is None or const.shape[axis] != steps or not const.size or value in known.unsettled:
            return None
        for a in range(const.ndim):
            row = const.take([0], a)
            const = row if (const == row).all() else const
        found.append(const)
    first = found[0]
    return first if all(np.array_equal(first, other) for other in found) else None


def _front(
    graph: Graph, names: Names, source: str, rank: int, axis: int, steps: int, name: str, start: Array | None = None
) -> Node:
    """A Pad in front of an axis, whose output is still to be named; `start`: the one number that it holds, if not 0."""
    pads = [0] * (2 * rank)
    pads[axis] = steps
    fill = [_hold(graph, names, start.reshape(()))] if start is not None and start.any() else []
    return Node("Pad", name, [source, _put(graph, names, pads), *fill], [], {}, "", 13)


def _of_pad(graph: Graph, names: Names, node: Node, pads: Array | None, cut: Cut | None) -> list[Node] | None:
    """As many steps taken off the end of an axis as are put in front, by the Pad itself or by a Slice before it."""
    if pads is None or pads.size % 2 or not pads.size:
        return None
    begin, end = pads.reshape(2, -1)
    source, axis = node.inputs[0], int(end.argmin())
    steps = -int(end[axis])
    if steps == 0 and cut is not None and cut[1] == 1:  # where more are cut off, a short sequence gets longer
        source, steps, axis = cut[0].inputs[0], cut[1], cut[2] % len(begin)
    if not 1 <= steps <= MOST_STEPS or begin[axis] != steps or (np.delete(end, axis) < 0).any():
        return None
    front = _put(graph, names, [*begin.tolist(), *np.maximum(end, 0).tolist()])
    pad = replace(node, name=f"{node.name}/pad", inputs=[source, front, *node.inputs[2:]])
    return _padded(graph, names, node, pad, steps, axis)


def _padded(graph: Graph, names: Names, node: Node, pad: Node, steps: int, axis: int) -> list[Node]:
    """A Pad, and what a node gave as its Slice without the last steps."""
    padded = names.fresh(f"{node.outputs[0]}/padded")
    where = [_put(graph, names, [n]) for n in (0, -steps, axis)]
    return [
        replace(pad, outputs=[padded]),
        Node("Slice", node.name, [padded, *where], list(node.outputs), {}, "", 13),
    ]


def _put(graph: Graph, names: Names, numbers: list[int]) -> str:
    return _hold(graph, names, np.array(numbers, np.int64))


def _hold(graph: Graph, names: Names, array: Array) -> str:
    value = names.fresh("delay")
    graph.consts[value] = array
    return value


def _extent(fact: Fact | None, axis: int) -> int:
    return fact.shape[axis] if fact is not None else 0


def _one_step(part: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> Mapping[str, Fact]:
    """What is known where every open size is 1: more steps of zeros than the sequence has would make it longer."""
    sizes = {(p.name, a): 1 for p in inputs for a, n in enumerate(p.shape or ()) if not isinstance(n, int)}
    try:
        return walk(part, feeds_at(inputs, constants, sizes)).facts
    except LstmInferError:
        return {}
