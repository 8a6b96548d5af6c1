"""Steps that were unrolled over time and are no cell that is known: equal groups of nodes become one Scan.

A Python loop over `x[:, t]` leaves n copies of its body in the file. Each copy begins where position t of a sequence
is first read; the copies have to be equal node by node, and may read what the copy before made: the states. Behind
them the states of all steps may be stacked, and those of the last be read. Where anything else is read, the copies
stay. The Scan has the form that loops.py describes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..graph.edit import Names
from ..graph.ir import Graph, Node, Port
from ..ops.registry import attr
from .known import Known

__all__ = ["roll_repeated"]

FEWEST = 3
"""Copies: the first starts from other values, and two that are alike may be so by chance."""

Place = tuple[int, int]
"""(node of a copy, output of the node)."""


def roll_repeated(graph: Graph, known: Known, names: Names) -> str:
    """Roll up one unrolled loop in place; returns the text, "" where there is none."""
    reads = _reads(graph, known)
    if not reads:
        return ""
    copies = _Copies(graph, known, reads)
    return _Rolled(copies, names).scan() if copies.agree() else ""


def _reads(graph: Graph, known: Known) -> dict[str, tuple[str, int, int]]:
    """Value to (sequence, axis, position), for sequences whose every position is read; all of one length."""
    found: dict[tuple[str, int], dict[str, int]] = {}
    for node in graph.nodes:
        index = known.const(node.inputs[1]) if node.op == "Gather" and not node.domain else None
        if index is None or index.ndim or not known.has(node.inputs[0]):
            continue
        rank = known.rank(node.inputs[0])
        axis = int(attr(node, "axis", 0)) % rank
        n = known.extent(node.inputs[0], axis)
        if rank > 1 and (n is not None or index >= 0):
            found.setdefault((node.inputs[0], axis), {})[node.outputs[0]] = int(index) % n if n else int(index)
    lengths = {key: 1 + max(at.values()) for key, at in found.items() if _all_read(graph, known, key, at)}
    if len(set(lengths.values())) != 1:
        return {}
    return {value: (*key, t) for key in lengths for value, t in found[key].items()}


def _all_read(graph: Graph, known: Known, key: tuple[str, int], at: Mapping[str, int]) -> bool:
    """Is every position of a sequence read: of an open one, whose length is then the exporter's example, nothing else."""
    n = known.extent(*key)
    if n is None:
        others = [node for node in graph.walk() if key[0] in node.inputs and node.outputs[0] not in at]
        if any(node.op not in ("Shape", "Size") for node in others):
            return False
        n = 1 + max(at.values())
    return FEWEST <= n <= len(at) and set(at.values()) == set(range(n))


class _Copies:
    """The copies of the body, and the nodes behind them."""

    def __init__(self, graph: Graph, known: Known, reads: Mapping[str, tuple[str, int, int]]) -> None:
        self.graph, self.known, self.reads = graph, known, reads
        self.n = 1 + max(t for *_, t in reads.values())
        self.steps: list[list[Node]] = [[] for _ in range(self.n)]
        inside: set[str] = set()
        now = -1
        for node in graph.nodes:
            if node.outputs[0] in reads:
                now = max(now, reads[node.outputs[0]][2])
            if node.outputs[0] in reads or inside.intersection(node.inputs):
                self.steps[now].append(node)
                inside.update(v for v in node.outputs if v)
        self._complete()
        size = len(self.steps[1])
        self.behind = self.steps[-1][size:]
        self.steps[-1] = self.steps[-1][:size]
        self.places: list[dict[str, Place]] = [
            {v: (k, i) for k, node in enumerate(step) for i, v in enumerate(node.outputs) if v} for step in self.steps
        ]
        self.first: dict[Place, str] = {}
        """State to the value that the first copy reads in its place."""

    def _complete(self) -> None:
        """Nodes of the first copy that work on the first state alone: they read no position of the sequence."""
        nodes = self.graph.nodes
        inside = {id(node) for node in self.steps[0]}
        begin, end = (nodes.index(step[0]) if step else 0 for step in self.steps[:2])
        found: list[Node] = []
        rest = iter(nodes[begin:end])
        for model in self.steps[1]:
            node = next((n for n in rest if id(n) in inside or n.op == model.op), None)
            if node is not None:
                found.append(node)
        self.steps[0] = found

    def agree(self) -> bool:
        """Are all copies equal."""
        if any(len(step) != len(self.steps[1]) for step in self.steps):
            return False
        return all(
            self._alike(model, node, t)
            for t, step in enumerate(self.steps)
            for model, node in zip(self.steps[1], step, strict=True)
        ) and bool(self.first)

    def _alike(self, model: Node, node: Node, t: int) -> bool:
        if (model.op, model.domain, len(model.inputs)) != (node.op, node.domain, len(node.inputs)):
            return False
        if any(True for _ in node.subgraphs()) or repr(model.attrs) != repr(node.attrs):
            return False
        if model.outputs[0] in self.reads or node.outputs[0] in self.reads:
            known = self.reads.get(model.outputs[0], ("", 0, 0)), self.reads.get(node.outputs[0], ("", 0, 0))
            return known[0][:2] == known[1][:2] and known[1][2] == t
        return all(self._same(a, b, t) for a, b in zip(model.inputs, node.inputs, strict=True))

    def _same(self, model: str, name: str, t: int) -> bool:
        """Do two copies read the same: a value of their own, a state, or a value from outside."""
        if model in self.places[1]:
            return self.places[t].get(name) == self.places[1][model]
        before = self.places[0].get(model)
        if before is None:
            a, b = (self.known.const(v) for v in (model, name))
            return model == name or (a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a, b))
        if t > 0:
            return self.places[t - 1].get(name) == before
        value = self.steps[0][before[0]].outputs[before[1]]
        fits = name not in self.places[0] and self.known.has(name) and self._form(name) == self._form(value)
        return fits and self.first.setdefault(before, name) == name

    def _form(self, name: str) -> tuple[object, ...]:
        return self.known.shapes(name), self.known.walks[0][name].dtype

    def value(self, place: Place, t: int) -> str:
        """What a place is called in copy t."""
        return self.steps[t][place[0]].outputs[place[1]]


@dataclass
class _Rolled:
    """The Scan in the place of the copies."""

    copies: _Copies
    names: Names
    stacked: dict[tuple[Place, int], str] = field(default_factory=dict)
    """(what, axis of the stack) to the scan output."""

    def scan(self) -> str:
        copies, graph = self.copies, self.copies.graph
        self.hint = self.names.fresh(f"{copies.steps[0][0].name}/scan")
        after = self._behind()
        if after is None:
            return ""
        node = self._node()
        gone = {id(n) for step in copies.steps for n in step} | {id(n) for n in copies.behind}
        kept = [n for n in graph.nodes if id(n) not in gone]
        if any(v in places for n in kept for v in n.inputs for places in copies.places):
            return ""
        position = max(i for i, n in enumerate(graph.nodes) if id(n) in gone)
        ahead = [n for n in graph.nodes[:position] if id(n) not in gone]
        graph.nodes[:] = [*ahead, node, *after, *kept[len(ahead) :]]
        return f"{copies.steps[0][0].name}: unrolled over {copies.n} steps: rolled into a loop over the sequence"

    def _behind(self) -> list[Node] | None:
        """The nodes behind the copies, reading the Scan; None where they read what it does not give."""
        copies = self.copies
        made = {v for places in copies.places for v in places}
        read = {port.name for port in copies.graph.outputs}
        lifted = {n.outputs[0]: n for n in copies.behind if n.op == "Unsqueeze" and not n.domain}
        after: list[Node] = []
        for node in copies.behind:
            stack = self._stack(node, lifted)
            if stack is not None:
                name = self.stacked.setdefault(stack, self.names.fresh(f"{self.hint}/stack"))
                node = Node("Identity", node.name, [name], list(node.outputs), {}, "", 13)
            after.append(node)
        for node in reversed(after):
            if any(v in read for v in node.outputs):
                read.update(node.inputs)
        self.last = {place: v for v, place in copies.places[-1].items() if v in read}
        if any(v in read for v in made - set(self.last.values())) or not set(self.last) <= set(copies.first):
            return None
        return [node for node in after if any(v in read for v in node.outputs)]

    def _stack(self, node: Node, lifted: Mapping[str, Node]) -> tuple[Place, int] | None:
        """What a Concat stacks of all copies in order, and along which axis."""
        copies = self.copies
        if node.op != "Concat" or node.domain or len(node.inputs) != copies.n:
            return None
        parts = [lifted.get(v) for v in node.inputs]
        rank, found = copies.known.rank(node.outputs[0]), set()
        axis = int(attr(node, "axis", 0)) % rank
        for t, part in enumerate(parts):
            axes = None if part is None else copies.known.const(part.inputs[1])
            if part is None or axes is None or axes.size != 1 or int(axes.reshape(-1)[0]) % rank != axis:
                return None
            found.add(copies.places[t].get(part.inputs[0]))
        place = found.pop()
        return (place, axis) if place is not None and not found else None

    def _node(self) -> Node:
        copies = self.copies
        inner = {v: self.names.fresh(f"{self.hint}/{v}") for v in copies.places[1]}
        states = {place: self.names.fresh(f"{self.hint}/state") for place in copies.first}
        inner |= {copies.value(place, 0): name for place, name in states.items()}
        ports: dict[tuple[str, int], str] = {}
        nodes: list[Node] = []
        for node in copies.steps[1]:
            inputs = [inner.get(v, v) for v in node.inputs]
            outputs = [inner.get(v, v) for v in node.outputs]
            if node.outputs[0] in copies.reads:
                key = copies.reads[node.outputs[0]][:2]
                inputs = [ports.setdefault(key, self.names.fresh(f"{self.hint}/step"))]
                nodes.append(Node("Identity", outputs[0], inputs, outputs, {}, "", 13))
            else:
                nodes.append(replace(node, name=f"{self.hint}/{node.name}", inputs=inputs, outputs=outputs))
        results = [place for place, _ in self.stacked]
        ends = [self._port(inner[copies.value(p, 1)], copies.value(p, 1)) for p in [*copies.first, *results]]
        starts = [self._port(states[p], copies.value(p, 1)) for p in copies.first]
        body = Graph("step", [*starts, *(self._port(v, key[0]) for key, v in ports.items())], ends, nodes)
        attrs = {
            "body": body, "num_scan_inputs": len(ports), "scan_input_axes": [axis for _, axis in ports],
            "scan_input_directions": [0] * len(ports), "scan_output_axes": [axis for _, axis in self.stacked],
            "scan_output_directions": [0] * len(results),
        }  # fmt: skip
        inputs = [*copies.first.values(), *(data for data, _ in ports)]
        outputs = [*(self.last.get(p, "") for p in copies.first), *self.stacked.values()]
        return Node("Scan", self.hint, inputs, outputs, attrs, "", 16)  # type: ignore[arg-type]

    def _port(self, name: str, like: str) -> Port:
        return Port(name, self.copies.known.walks[0][like].dtype, None)


def is_worth_it(nodes: Sequence[Node]) -> bool:
    """Are there picks of several positions at all."""
    return sum(node.op == "Gather" and not node.domain for node in nodes) >= FEWEST
