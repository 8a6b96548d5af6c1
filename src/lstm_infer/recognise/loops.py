"""Loops over the positions of an axis: a Loop that reads X only at its own iteration becomes a Scan over X.

The normal form, for everything that comes behind (streaming; recognise/cells.py looks for LSTM, GRU and RNN in it):

    Steps (domain "lstm_infer")   [X, M, first values of counters ...] -> X'     only in front of what was a Loop
    Scan  (domain "")             [states ..., scan inputs ...] -> [last states ..., scan outputs ...]
        body                      Graph: inputs [states ..., slices of scan inputs ...],
                                         outputs [next states ..., slices of scan outputs ...]
        num_scan_inputs, scan_input_axes, scan_input_directions, scan_output_axes, scan_output_directions
                                  always there, one entry for each, axes counted from the front

* `Steps` passes X on. At every walk it checks that the Loop would have made exactly one iteration per position of the
  axis (attributes `axis`, `reverse`), in order; it leaves nothing to run. So a Scan never needs the trip count or the
  condition of the Loop it came from.
* States are what really changes from step to step. A carried value that never changes (weights, sizes) is read by the
  body as a value from outside. A counter that merely counts is gone; one whose value is used is a state like others.
  A value that is only appended to (y = Concat(y, h)) is a scan output, joined behind the Scan.
* Values from outside (also constants of the outer graph) are read by the body under their outer names; constants of
  the body are in `body.consts`. Nodes of the body whose results nobody needs are gone.
* Outputs nobody reads are "". Node names are those of the file; the Scan has the name of the Loop.

Found at the sizes of one walk, and kept only if the graph still walks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import LstmInferError
from ..frozen import frozen
from ..graph.ir import Array, Graph, Node, Port
from ..ops.control import Carried
from ..walk.bodies import Scope, instance, makers_in, source_of
from ..walk.count import count
from ..walk.walk import Walk, resume, walk
from .appended import Appended, appended
from .example import native_walk
from .sequences import remove_sequences

__all__ = ["normalise"]

_LOOPS = ("Loop", "Scan")


def normalise(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> None:
    """Bring the loops of a graph to the normal form, in place, where they can be."""
    remove_sequences(graph)
    if any(port.shape is None for port in inputs) or not any(n.op in _LOOPS and not n.domain for n in graph.walk()):
        return
    native = native_walk(graph, inputs, constants)
    if native is None:
        return
    walked, feeds = native
    undo = [(g, list(g.nodes), dict(g.consts)) for g in graph.graphs()]
    scope = resume(Walk(dict(walked.facts), list(walked.nodes)))
    changed = False
    for g in graph.graphs():
        nodes: list[Node] = []
        for node in g.nodes:
            if node.op == "Loop" and node.domain == "":
                made = _Loop(node, g, graph, scope).scan()
            elif node.op == "Scan" and node.domain == "":
                made = _scan(node)
            else:
                made = None
            nodes += [node] if made is None else made
            changed |= made is not None
        g.nodes[:] = nodes
    if changed:
        try:
            walk(graph, feeds)
        except LstmInferError:
            for g, old, consts in undo:
                g.nodes[:] = old
                g.consts.clear()
                g.consts.update(consts)


# ---- Scan as the file has it ---------------------------------------------------------------------------------


def _scan(node: Node) -> list[Node] | None:
    """Attributes written out; carried values that never change become values from outside."""
    body = node.attrs.get("body")
    m = node.attrs.get("num_scan_inputs")
    if not isinstance(body, Graph) or not isinstance(m, int):
        return None
    n = len(node.inputs) - m
    k = len(body.outputs) - n
    if n < 0 or k < 0 or len(body.inputs) != n + m:
        return None
    attrs = dict(node.attrs)
    for name, size in (
        ("scan_input_axes", m), ("scan_input_directions", m), ("scan_output_axes", k), ("scan_output_directions", k),
    ):  # fmt: skip
        attrs.setdefault(name, [0] * size)
    outputs = [*node.outputs, *[""] * (len(body.outputs) - len(node.outputs))]
    within = makers_in(body)
    fixed = [i for i in range(n) if source_of(within, body.outputs[i].name) == body.inputs[i].name]
    new = rename(body, {body.inputs[i].name: node.inputs[i] for i in fixed})
    new.inputs = [p for i, p in enumerate(new.inputs) if i not in fixed]
    new.outputs = [p for i, p in enumerate(new.outputs) if i not in fixed]
    attrs["body"] = new
    made = [
        Node("Identity", f"{node.name}/{outputs[i]}", [node.inputs[i]], [outputs[i]], {}, "", node.opset)
        for i in fixed
        if outputs[i]
    ]
    inputs = [v for i, v in enumerate(node.inputs) if i not in fixed]
    outputs = [v for i, v in enumerate(outputs) if i not in fixed]
    return [replace(node, inputs=inputs, outputs=outputs, attrs=attrs), *made]


# ---- Loop ----------------------------------------------------------------------------------------------------


@frozen
class _Read:
    """A node of the body that takes one position of a value from outside."""

    node: Node
    data: str
    axis: int
    reverse: bool
    index: str
    keeps: bool
    """The axis stays, with extent 1."""


class _Loop:
    def __init__(self, node: Node, graph: Graph, root: Graph, scope: Scope) -> None:
        self.node, self.graph, self.root, self.scope = node, graph, root, scope
        body = node.attrs.get("body")
        assert isinstance(body, Graph)
        self.body = body
        self.n = max(len(node.inputs) - 2, 0)
        self.outputs = [*node.outputs, *[""] * (len(body.outputs) - 1 - len(node.outputs))]
        self.carried = [Carried(2 + k, body.inputs[2 + k].name, body.outputs[1 + k].name, k) for k in range(self.n)]
        self.made = makers_in(body)
        self.inside = {port.name for port in body.inputs} | set(self.made) | set(body.consts)
        self.fixed = {
            c.inside: node.inputs[c.input] for c in self.carried if source_of(self.made, c.result) == c.inside
        }
        self.iter, self.cond = body.inputs[0].name, body.inputs[1].name

    def scan(self) -> list[Node] | None:
        n = self.trips()
        reads = [read for inner in self.body.nodes if (read := self.read(inner, n)) is not None] if n else []
        return self.build(reads) if reads else None

    def trips(self) -> int:
        """How often the loop runs: M, or fewer where its condition ends it, as where M is the largest number there is.
        0: that depends on data."""
        node, facts = self.node, self.scope.facts
        if len(node.inputs) < 2 or any(name and name not in facts for name in node.inputs[:2]):
            return 0
        most: int | None = None
        if node.inputs[0]:
            given = facts[node.inputs[0]].const
            if given is None or given.size != 1 or int(given.reshape(-1)[0]) < 1:
                return 0
            most = int(given.reshape(-1)[0])
        if node.inputs[1]:
            start = facts[node.inputs[1]].const
            if start is None or not start.reshape(-1)[0]:
                return 0
        again = self.body.outputs[0].name
        counted = count(node, self.body, self.iter, self.cond, self.carried, [again], self.scope)
        return (counted.trips(again, most) or 0) if counted is not None else 0

    # ---- what is read

    def read(self, node: Node, n: int) -> _Read | None:
        if node.domain or node.op not in ("Gather", "Slice") or not node.inputs:
            return None
        facts = self.scope.facts
        data = source_of(self.made, node.inputs[0])
        data = self.fixed.get(data, data)
        if data in self.inside or data not in facts:
            return None
        shape = facts[data].shape
        axis = self.picked_axis(node, len(shape)) if node.op == "Gather" else self.cut_axis(node)
        if axis is None:
            return None
        axis += len(shape) * (axis < 0)
        if not 0 <= axis < len(shape) or shape[axis] != n:
            return None
        index = node.inputs[1]
        keeps = node.op == "Slice" or len(facts[node.outputs[0]].shape) == len(shape)
        at = self.sequence(index, n)
        if at is None:
            return None
        if node.op == "Slice":
            ends = self.sequence(node.inputs[2], n)
            if ends is None or not np.array_equal(ends, at + 1) or not self.counts_like(node.inputs[2], index):
                return None
        if np.array_equal(at, np.arange(n)):
            return _Read(node, data, axis, False, index, keeps)
        if n > 1 and np.array_equal(at, np.arange(n)[::-1]):
            return _Read(node, data, axis, True, index, keeps)
        return None

    def picked_axis(self, node: Node, rank: int) -> int | None:
        """The axis of a Gather that takes one position."""
        axis, made = node.attrs.get("axis", 0), self.scope.facts.get(node.outputs[0])
        return axis if isinstance(axis, int) and made is not None and len(made.shape) in (rank - 1, rank) else None

    def cut_axis(self, node: Node) -> int | None:
        """The axis of a Slice along one, in steps of 1. How long it is a walk cannot say: its ends are counters."""
        if len(node.inputs) < 3 or (len(node.inputs) > 4 and node.inputs[4] and self.known(node.inputs[4]) != 1):
            return None
        if len(node.inputs) < 4 or not node.inputs[3]:
            return 0
        return self.known(node.inputs[3])

    def counts_like(self, end: str, begin: str) -> bool:
        """Is the end of what is read made of numbers of the file and of what its begin is made of, which is checked at
        every length: i + 1, not i + 1 + (T > 12)."""
        return self.leaves(end) <= self.leaves(begin)

    def leaves(self, name: str) -> set[str]:
        """What a value of the body is computed from, without constants of the file."""
        found, todo, seen = set[str](), [name], set[str]()
        while todo:
            value = todo.pop()
            if not value or value in seen or self.held(value) is not None:
                continue
            seen.add(value)
            if value in self.made:
                todo += self.made[value].inputs
            else:
                found.add(self.fixed.get(value, value))
        return {value for value in found if self.held(value) is None}

    def held(self, name: str) -> Array | None:
        """A constant of the file; what a length makes is none, though a walk knows it."""
        for graph in (self.body, self.graph, self.root):
            if name in graph.consts:
                return graph.consts[name]
        return None

    def known(self, name: str) -> int | None:
        const = self.held(name) if name not in self.made else None
        return None if const is None or const.size != 1 else int(const.reshape(-1)[0])

    def sequence(self, name: str, n: int) -> Array | None:
        counted = count(self.node, self.body, self.iter, self.cond, self.carried, [name], self.scope)
        return None if counted is None else counted.sequence(name, n)

    # ---- what it becomes

    def build(self, reads: Sequence[_Read]) -> list[Node]:
        """The Scan, and what stands before and behind it."""
        node, body = self.node, self.body
        new = rename(body, self.fixed)
        replaced = {read.node.name: read for read in reads}
        ports: dict[tuple[str, int, bool], Port] = {}
        before: list[Node] = []
        scans: list[str] = []
        nodes: list[Node] = []
        for inner in new.nodes:
            read = replaced.get(inner.name)
            if read is None:
                nodes.append(inner)
                continue
            key = (read.data, read.axis, read.reverse)
            if key not in ports:
                name = f"{node.name}/step{len(ports)}"
                fact = self.scope.facts[read.data]
                ports[key] = Port(name, fact.dtype, fact.shape[: read.axis] + fact.shape[read.axis + 1 :])
                scans.append(self.steps(read, len(ports) - 1, before))
            port = ports[key]
            if read.keeps:
                where = f"{inner.name}/axis"
                new.consts[where] = np.array([read.axis], np.int64)
                nodes.append(Node("Unsqueeze", inner.name, [port.name, where], list(inner.outputs), {}, "", 13))
            else:
                nodes.append(Node("Identity", inner.name, [port.name], list(inner.outputs), {}, "", 13))
        states = [
            (port, result, node.inputs[c.input], self.outputs[c.output])
            for c, port, result in zip(self.carried, new.inputs[2:], new.outputs[1:], strict=False)
            if c.inside not in self.fixed
        ]
        stacked = list(zip(new.outputs[1 + self.n :], self.outputs[self.n :], strict=True))
        if self.cond:
            new.consts[self.cond] = np.array(True)
        states.append(self.counter(nodes, new))
        states, grown, after = self.grown(nodes, states, [p.name for p, _ in stacked])
        stacked += [(port, stack) for port, stack, _ in grown]
        kept, live = _live(nodes, states, [p.name for p, _ in stacked])
        new.nodes[:] = live
        new.inputs[:] = [*(port for port, *_ in kept), *ports.values()]
        new.outputs[:] = [*(result for _, result, *_ in kept), *(port for port, _ in stacked)]
        attrs = {
            "body": new,
            "num_scan_inputs": len(ports),
            "scan_input_axes": [axis for _, axis, _ in ports],
            "scan_input_directions": [int(reverse) for _, _, reverse in ports],
            "scan_output_axes": [0] * len(stacked),
            "scan_output_directions": [0] * (len(stacked) - len(grown)) + [int(way.in_front) for *_, way in grown],
        }
        inputs = [*(first for _, _, first, _ in kept), *scans]
        outputs = [*(last for *_, last in kept), *(name for _, name in stacked)]
        scan = Node("Scan", node.name, inputs, outputs, attrs, "", max(node.opset, 11))  # type: ignore[arg-type]
        return [*before, scan, *after, *self.unchanged()]

    def grown(
        self, nodes: list[Node], states: Sequence[_State], results: Sequence[str]
    ) -> tuple[list[_State], list[tuple[Port, str, Appended]], list[Node]]:
        """The states that do not only grow; scan outputs in place of those that do, and what makes their last values."""
        kept: list[_State] = []
        stacks: list[tuple[Port, str, Appended]] = []
        after: list[Node] = []
        for state in states:
            port, result, first, last = state
            others = [*results, *(other.name for own, other, *_ in states if own is not port)]
            found = appended(nodes, port.name, result.name, others) if last else None
            if found is None:
                kept.append(state)
                continue
            nodes[nodes.index(found.join)] = found.item()
            stack = f"{self.node.name}/{last}/stack"
            stacks.append((replace(result, shape=None), stack, found))
            after += found.after(f"{self.node.name}/{last}", first, stack, last)
        return kept, stacks, after

    def unchanged(self) -> list[Node]:
        """What is carried and stays as it is goes past the loop."""
        pairs = [
            (self.node.inputs[c.input], self.outputs[c.output])
            for c in self.carried
            if c.inside in self.fixed and self.outputs[c.output]
        ]
        return [Node("Identity", f"{self.node.name}/{last}", [first], [last], {}, "", 13) for first, last in pairs]

    def counter(self, nodes: list[Node], new: Graph) -> tuple[Port, Port, str, str]:
        """The number of the iteration as a state; it goes again if nobody reads it."""
        first, one, last = (f"{self.node.name}/{what}" for what in ("first", "one", "next"))
        self.graph.consts[first] = np.array(0, np.int64)
        new.consts[one] = np.array(1, np.int64)
        nodes.append(Node("Add", last, [self.iter, one], [last], {}, "", 14))
        dtype = np.dtype(np.int64)
        return Port(self.iter, dtype, ()), Port(last, dtype, ()), first, ""

    def steps(self, read: _Read, index: int, before: list[Node]) -> str:
        """The check that the loop visits every position, once and in order."""
        names: dict[str, str] = {}
        name = f"{self.node.name}/scan{index}"
        body = instance(self.body, f"/check{index}", names)
        body.outputs = [*body.outputs[: 1 + self.n], replace(body.outputs[0], name=names.get(read.index, read.index))]
        attrs = {"axis": read.axis, "reverse": int(read.reverse), "body": body}
        inputs = [read.data, *self.node.inputs]
        before.append(Node("Steps", name, inputs, [name], attrs, "lstm_infer"))  # type: ignore[arg-type]
        return name


_State = tuple[Port, Port, str, str]


def _live(nodes: Sequence[Node], states: Sequence[_State], results: Sequence[str]) -> tuple[list[_State], list[Node]]:
    """States and nodes that something needs; a state that only its own next value reads is not needed."""
    made = {out: node for node in nodes for out in node.outputs if out}
    inside = {port.name: (port, result) for port, result, *_ in states}
    needed: set[str] = set()
    todo = [*results, *(port.name for port, _, _, last in states if last)]
    while todo:
        name = todo.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in inside:
            todo.append(inside[name][1].name)
        elif name in made:
            todo += [v for v in made[name].inputs if v]
            for sub in made[name].subgraphs():
                todo += _read_by(sub)
    kept = [state for state in states if state[0].name in needed]
    return kept, [node for node in nodes if any(out in needed for out in node.outputs if out)]


def _read_by(graph: Graph) -> list[str]:
    found = [port.name for port in graph.outputs]
    for node in graph.walk():
        found += [name for name in node.inputs if name]
        for sub in node.subgraphs():
            found += [port.name for port in sub.outputs]
    return found


def rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    """A copy in which values have other names where `names` has one."""

    def port(p: Port) -> Port:
        return replace(p, name=names.get(p.name, p.name))

    nodes = []
    for node in graph.nodes:
        attrs = {k: rename(v, names) if isinstance(v, Graph) else v for k, v in node.attrs.items()}
        nodes.append(
            replace(node, inputs=[names.get(v, v) for v in node.inputs], outputs=list(node.outputs), attrs=attrs)
        )
    return Graph(
        graph.name, [port(p) for p in graph.inputs], [port(p) for p in graph.outputs], nodes, dict(graph.consts)
    )
