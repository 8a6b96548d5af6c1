"""A sequence moved back by a few steps with constants in front, `cat([start, x[:-1]])`, or a Pad of n steps in front and
-n behind. They become a Pad of x, off which the last steps are cut, as in front of a causal Conv: a stream can hold the
steps that a window covers. Where the first step is no single number, a mask that is moved back as well puts it there.
One number joined to the front of a sequence, `cat([zeros, x])`, is a Pad of it. What is computed of each step and the one
before, with a constant in front, `cat([zeros, x[1:] - x[:-1]])`, is computed of x and x moved back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..errors import LstmInferError
from ..graph.edit import Names, live
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops.common import pass_broadcast
from ..ops.registry import attr, find
from ..walk.walk import walk
from .example import feeds_at
from .known import Known, know

__all__ = ["pad_delays"]

MOST_STEPS = 1024
MOST_AXES = 16
"""So many declared sizes are tried larger."""
MOST_NODES = 32
"""Between sizes and what is joined in front of a sequence."""
_BOOL = 9
"""TensorProto.BOOL"""
WHOLE = np.iinfo(np.int32).max
"""Exporters write this or more for "to the end"; no axis is as long."""

Facts = Mapping[str, Fact]
Others = Sequence[Facts] | None
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
    other = _declared_otherwise(part, inputs, constants)
    kept: list[Node] = []
    for node in graph.nodes:
        made = None
        cut = _cut_before(graph, makers, node.inputs[node.op == "Concat"]) if id(node) in asked else None
        if id(node) in asked and node.op == "Pad":
            made = _of_pad(graph, names, node, known.const(asked[id(node)]), cut)
        elif id(node) in asked and known.has(node.inputs[0]):
            made = _of_concat(graph, names, node, known, one, other, cut) if cut else None
            made = (
                made
                or _of_changes(graph, makers, names, node, known, one, other)
                or _of_ends(graph, names, node, known, one, other)
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
    cut, starts, ends, axes = _slice(graph, makers, value)
    if cut is None or any(starts):
        return None
    found = [(end, axis) for end, axis in zip(ends, axes, strict=True) if end < WHOLE]  # the others take all
    return (cut, -found[0][0], found[0][1]) if len(found) == 1 and 1 <= -found[0][0] <= MOST_STEPS else None


def _cut_behind(graph: Graph, makers: Mapping[str, Node], value: str) -> Cut | None:
    """The same of the first steps."""
    cut, starts, ends, axes = _slice(graph, makers, value)
    if cut is None or min(ends, default=0) < WHOLE:
        return None
    found = [(start, axis) for start, axis in zip(starts, axes, strict=True) if start]
    return (cut, *found[0]) if len(found) == 1 and 1 <= found[0][0] <= MOST_STEPS else None


def _slice(graph: Graph, makers: Mapping[str, Node], value: str) -> tuple[Node | None, list[int], list[int], list[int]]:
    """The Slice of known bounds, with steps of 1, that makes a value: it, starts, ends, axes."""
    cut, consts = makers.get(value), graph.consts
    if cut is None or (cut.op, cut.domain) != ("Slice", "") or len(cut.inputs) < 4:
        return None, [], [], []
    given = [consts.get(name) for name in cut.inputs[1:4]]
    given.append(consts.get(cut.inputs[4]) if len(cut.inputs) > 4 and cut.inputs[4] else np.array([1]))
    rows = [part.reshape(-1).tolist() for part in given if part is not None]
    if len(rows) < 4 or len({len(row) for row in rows[:3]}) != 1 or set(rows[3]) != {1}:
        return None, [], [], []
    return cut, rows[0], rows[1], rows[2]


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
    graph: Graph, names: Names, node: Node, known: Known, one: Facts, other: Others, cut: Cut
) -> list[Node] | None:
    """Constants joined in front of all but as many steps."""
    front, rank = node.inputs[0], known.rank(node.inputs[0])
    if not rank:
        return None
    before, steps, axis = cut[0], cut[1], cut[2] % rank
    if int(attr(node, "axis", 0)) % rank != axis or not _is_delay(one, front, axis, steps):
        return None
    start = _constant(known, other, front, axis, steps)
    if start is None:
        return None
    source = before.inputs[0]
    if start.size == 1:
        pad = _front(graph, names, source, rank, axis, steps, f"{node.name}/pad", start)
        return _padded(graph, names, node, pad, steps, axis)
    return _begun(graph, names, node, source, start, axis, steps) if start.shape[axis] == 1 else None


def _is_delay(one: Facts, front: str, axis: int, steps: int) -> bool:
    """Is the front, where the sequence is one step, that step: more would be longer, and none where it is made of the rest."""
    return one[front].shape[axis] == 1 if front in one else steps == 1


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


def _of_ends(graph: Graph, names: Names, node: Node, known: Known, one: Facts, other: Others) -> list[Node] | None:
    """One number, a few steps of it at every size, in front of a sequence of any length."""
    (front, source), rank = node.inputs, known.rank(node.inputs[0])
    if rank < 2 or (other is None and front not in graph.consts):  # a shape, or not known to be no size of the example
        return None
    axis = int(attr(node, "axis", 0)) % rank
    steps = known.extent(front, axis)
    if not steps or steps > MOST_STEPS or _extent(one.get(front), axis) != steps or _has_one(known, source, axis):
        return None
    start = _constant(known, other, front, axis, steps)
    if start is None or start.size != 1:
        return None
    return [replace(_front(graph, names, source, rank, axis, steps, node.name, start), outputs=list(node.outputs))]


def _has_one(known: Known, value: str, axis: int) -> bool:
    """Is the extent of an axis known, and the same at every size."""
    return known.has(value) and len(known.walks) > 1 and known.extent(value, axis) is not None


def _of_changes(
    graph: Graph, makers: Mapping[str, Node], names: Names, node: Node, known: Known, one: Facts, other: Others
) -> list[Node] | None:
    """Constants in front of what is computed, element by element, of a sequence without its first steps and the same
    without its last ones."""
    (front, value), rank = node.inputs, known.rank(node.inputs[0])
    if not rank or (other is None and front not in graph.consts):
        return None
    axis = int(attr(node, "axis", 0)) % rank
    steps = known.extent(front, axis)
    if not steps or not _is_delay(one, front, axis, steps):
        return None
    start = _constant(known, other, front, axis, steps)
    changes = _Changes(graph, makers, steps, axis, rank)
    if start is None or start.shape[axis] != 1 or not changes.found(value) or len(changes.sources) != 1:
        return None
    (source,) = changes.sources
    begun = _begun(graph, names, node, source, start, axis, steps)
    late, ends = begun[3].outputs[0], begun[-1]  # the sequence moved back, and what takes it or the start
    again = {cut: late if moved else source for cut, moved in changes.cuts.items()}
    nodes = []
    for one_node in changes.nodes:
        out = names.fresh(f"{one_node.outputs[0]}/whole")
        again[one_node.outputs[0]] = out
        inputs = [again.get(v, v) for v in one_node.inputs]
        nodes.append(replace(one_node, name=names.fresh(f"{one_node.name}/whole"), inputs=inputs, outputs=[out]))
    return [*begun[:-1], *nodes, replace(ends, inputs=[ends.inputs[0], again[value], ends.inputs[2]])]


class _Changes:
    """What is computed of cuts of sequences, element by element."""

    def __init__(self, graph: Graph, makers: Mapping[str, Node], steps: int, axis: int, rank: int) -> None:
        self.graph, self.makers, self.steps, self.axis, self.rank = graph, makers, steps, axis, rank
        self.cuts: dict[str, bool] = {}
        """The cuts that are read, and whether it is the last steps that are missing."""
        self.sources: set[str] = set()
        self.nodes: list[Node] = []
        """In order."""

    def found(self, value: str) -> bool:
        """Is a value that, of few nodes."""
        if value in self.cuts or any(value in node.outputs for node in self.nodes):
            return True
        node, const = self.makers.get(value), self.graph.consts.get(value)
        if const is not None:
            return const.size == 1
        if node is None or len(self.nodes) > MOST_NODES:
            return False
        for moved, cut in ((True, _cut_before), (False, _cut_behind)):
            made = cut(self.graph, self.makers, value)
            if made is not None:
                self.cuts[value] = moved
                self.sources.add(node.inputs[0])
                return made[1] == self.steps and made[2] % self.rank == self.axis
        if node.domain or find(node).flow is not pass_broadcast or len(node.outputs) != 1:
            return False
        if not all(self.found(v) for v in node.inputs if v):
            return False
        self.nodes.append(node)
        return True


def _constant(known: Known, other: Others, value: str, axis: int, steps: int) -> Array | None:
    """What a value holds at every size, in so many steps: a row where it repeats itself, along all axes where it is one
    number; None where it is not known before a call, or another at other sizes."""
    found: list[Array] = []
    for facts in (*known.walks, *(others for others in other or () if value in others)):
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


def _declared_otherwise(part: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> Others:
    """What is known where an input is larger than the file declares, one axis after the other, wherever it then walks: a
    size that is declared may be opened yet. None: too much to ask."""
    read = {name for node in part.nodes for name in node.inputs}
    axes = [(p.name, a, n) for p in inputs if p.name in read for a, n in enumerate(p.shape or ()) if isinstance(n, int)]
    if len(axes) > MOST_AXES:
        return None
    open_axes = {(p.name, a): n for p in inputs for a, n in enumerate(p.shape or ()) if not isinstance(n, int)}
    order = list(dict.fromkeys(open_axes.values()))
    sizes = {place: 13 + order.index(n) for place, n in open_axes.items()}  # of one name one size
    found: list[Facts] = []
    for name, a, n in axes:
        with suppress(LstmInferError):
            found.append(walk(part, feeds_at(inputs, constants, {**sizes, (name, a): n + 1})).facts)
    return found


def _one_step(part: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> Mapping[str, Fact]:
    """What is known where every open size is 1: more steps of zeros than the sequence has would make it longer."""
    sizes = {(p.name, a): 1 for p in inputs for a, n in enumerate(p.shape or ()) if not isinstance(n, int)}
    try:
        return walk(part, feeds_at(inputs, constants, sizes)).facts
    except LstmInferError:
        return {}
