"""A sequence moved back by a few steps with zeros in front: `cat([zeros, x[:-1]])`, or a Pad of n steps in front and -n
behind. They become a Pad of x, off which the last steps are cut, as in front of a causal Conv: a stream can hold the steps
that a window covers.
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
        if id(node) in asked and node.op == "Pad":
            made = _of_pad(graph, names, node, known.const(asked[id(node)]), _cut_before(graph, makers, node.inputs[0]))
        elif id(node) in asked and known.has(node.inputs[0]):
            made = _of_concat(graph, names, node, known, one, _cut_before(graph, makers, node.inputs[1]))
        kept += made or [node]
    graph.nodes[:] = kept


def _asked(graph: Graph, node: Node, makers: Mapping[str, Node]) -> str | None:
    """The value on which it depends whether a node is a delay; None where its form is not one."""
    if (node.op, node.domain, len(node.inputs)) == ("Concat", "", 2):
        return node.inputs[0] if _cut_before(graph, makers, node.inputs[1]) else None
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


def _of_concat(
    graph: Graph, names: Names, node: Node, known: Known, one: Mapping[str, Fact], cut: Cut | None
) -> list[Node] | None:
    """Zeros joined in front of all but as many steps."""
    front, rank = node.inputs[0], known.rank(node.inputs[0])
    if cut is None or not rank:
        return None
    before, steps, axis = cut[0], cut[1], cut[2] % rank
    follows = steps == 1 or _extent(one.get(front), axis) == 1
    if int(attr(node, "axis", 0)) % rank != axis or not follows:
        return None
    if front in known.unsettled or not all(_zeros(facts[front], axis, steps) for facts in known.walks):
        return None
    pads = [0] * (2 * rank)
    pads[axis] = steps
    pad = Node("Pad", f"{node.name}/pad", [before.inputs[0], _put(graph, names, pads)], [], {}, "", 13)
    return _padded(graph, names, node, pad, steps, axis)


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
    value = names.fresh("delay")
    graph.consts[value] = np.array(numbers, np.int64)
    return value


def _zeros(fact: Fact, axis: int, n: int) -> bool:
    """Zeros that are known before a call, and n steps of them."""
    return fact.const is not None and fact.shape[axis] == n and not fact.const.any()


def _extent(fact: Fact | None, axis: int) -> int:
    return fact.shape[axis] if fact is not None else 0


def _one_step(part: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> Mapping[str, Fact]:
    """What is known where every open size is 1: more steps of zeros than the sequence has would make it longer."""
    sizes = {(p.name, a): 1 for p in inputs for a, n in enumerate(p.shape or ()) if not isinstance(n, int)}
    try:
        return walk(part, feeds_at(inputs, constants, sizes)).facts
    except LstmInferError:
        return {}
