"""A graph being rewritten: who makes and who reads each value, names that mean the same value, and nodes to add.

A value's *root* is what it is a mere regrouping of: Identity, Squeeze, Unsqueeze and Reshape that leave the last axis
and the order of the others alone. All look-ups take constant time, so that a pass over a graph is linear.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np

from ..errors import LstmInferError
from ..frozen import frozen
from ..graph.edit import Names, captured, live, ordered
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..ops.activation import is_activation
from ..ops.registry import attr, find, moves
from .known import Known

__all__ = ["Editor", "Part"]


@frozen
class Part:
    """A value that is a part of one axis of another. `axis` counts from the end of the source (1: the last one)."""

    source: str
    axis: int
    start: int
    """As 0 .. n-1 in the first walk."""
    raw: int
    """As the file has it: negative from the end."""
    n: int


class Editor:
    """One graph (or subgraph) with its index."""

    def __init__(self, graph: Graph, known: Known, names: Names) -> None:
        self.graph, self.known, self.names = graph, known, names
        self.gone: set[int] = set()
        self.fresh_nodes: list[Node] = []
        self.outputs = {port.name for port in graph.outputs}
        self.inputs = {port.name for port in graph.inputs}
        self._made: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.index()

    # ---- who makes, who reads ---------------------------------------------------------------------------

    def index(self) -> None:
        """Anew from the nodes of the graph."""
        self.maker: dict[str, Node] = {}
        self.readers: dict[str, list[Node]] = {}
        self._roots: dict[str, str] = {}
        for node in self.graph.nodes:
            for name in node.outputs:
                if name:
                    self.maker[name] = node
            for name in dict.fromkeys([*node.inputs, *captured(node)]):
                if name:
                    self.readers.setdefault(name, []).append(node)
        self.alike: dict[str, list[str]] = {}
        for node in self.graph.nodes:
            for name in node.outputs:
                if name and self.known.has(name):
                    root = self.root(name)
                    if root != name:
                        self.alike.setdefault(root, []).append(name)

    def source(self, name: str) -> str:
        """The value that this one is a regrouping of, one step back; "" where it is none."""
        node = self.maker.get(name)
        if node is None or not moves(node) or not node.inputs[0]:
            return ""
        before, known = node.inputs[0], self.known
        if not known.has(before) or not known.has(name) or known.walks[0][before].dtype != known.walks[0][name].dtype:
            return ""
        if node.op == "Concat" and len(node.inputs) > 1:
            return ""
        old, new = known.shapes(before), known.shapes(name)
        if not old[0] or not new[0] or any(a[-1] != b[-1] for a, b in zip(old, new, strict=True)):
            return ""
        if known.lead(before) != known.lead(name):
            return ""
        if node.op == "Transpose":
            perm = [int(a) for a in attr(node, "perm", range(len(old[0]) - 1, -1, -1))]
            moved = [a for a in perm if any(shape[a] != 1 for shape in old)]
            if moved != sorted(moved) or perm[-1] != len(perm) - 1:
                return ""
        if node.op == "Slice" and old == new:
            steps = known.const(node.inputs[4]) if len(node.inputs) > 4 and node.inputs[4] else np.ones(1)
            return before if steps is not None and np.all(steps == 1) else ""
        if node.op in ("Gather", "Slice"):  # of an axis of extent 1: the lead is the same, so is all the rest
            part = self.part(name)
            if part is None or part.axis == 1 or part.n != 1:
                return ""
        return before

    def root(self, name: str, trail: list[Node] | None = None) -> str:
        """The value that this one is a regrouping of, as far back as it goes; `trail` receives the nodes between."""
        if trail is None and name in self._roots:
            return self._roots[name]
        at = name
        while True:
            before = self.source(at)
            if not before:
                break
            if trail is not None:
                trail.append(self.maker[at])
            at = before
        if trail is None:
            self._roots[name] = at
        return at

    def twin(self, name: str) -> str:
        """As root, but only while the shape stays the same."""
        while True:
            before = self.source(name)
            if not before or self.known.shapes(before) != self.known.shapes(name) or self.maker[name].op == "Transpose":
                return name
            name = before

    def group(self, root: str) -> list[str]:
        """All names of one value."""
        return [root, *self.alike.get(root, [])]

    def users(self, root: str) -> list[Node]:
        """Nodes that read a value under any of its names, without those that only rename it."""
        found = {}
        for name in self.group(root):
            for node in self.readers.get(name, []):
                if not any(out and self.source(out) == name for out in node.outputs):
                    found[id(node)] = node
        return list(found.values())

    def is_output(self, root: str) -> bool:
        """Does a value leave the graph under any of its names."""
        return any(name in self.outputs for name in self.group(root))

    @staticmethod
    def act_op(node: Node) -> bool:
        """May the node end an activation."""
        return is_activation(node) or (node.domain == "" and node.op == "Clip")  # relu6 and kin

    def part(self, name: str) -> Part | None:
        """Is this value a part of one axis of another (Split, Slice, Gather with one index)."""
        node = self.maker.get(name)
        if node is None or node.domain or node.op not in ("Split", "Slice", "Gather"):
            return None
        source, known = node.inputs[0], self.known
        if not known.has(source) or not known.has(name):
            return None
        if any(v and known.const(v) is None for v in node.inputs[1:]):
            return None  # it follows a size
        found: list[Part | None] = []
        for facts in known.walks:
            try:
                found.append(_part(node, name, facts))
            except (LstmInferError, ValueError, IndexError):
                return None
        first = found[0]
        if first is None or any(p is None or (p.axis, p.raw, p.n) != (first.axis, first.raw, first.n) for p in found):
            return None
        return first

    # ---- changing ---------------------------------------------------------------------------------------

    def const(self, array: Array, hint: str) -> str:
        """A constant; equal ones share a name."""
        key = (str(array.dtype), array.shape, blake2b(np.ascontiguousarray(array).data).digest())
        if key not in self._made:
            name = self._made[key] = self.names.fresh(hint)
            self.graph.consts[name] = array
            self.known.put(name, array)
        return self._made[key]

    def add(self, op: str, inputs: list[str], hint: str, *, output: str = "", opset: int = 14, **attrs: Any) -> str:
        """A node of one output; returns its name."""
        out = output or self.names.fresh(hint)
        node = Node(op, self.names.fresh(f"{hint}/{op.lower()}"), inputs, [out], attrs, opset=opset)
        self.add_node(node)
        return out

    def forget(self) -> None:
        """After constants were taken back."""
        self._made = {key: name for key, name in self._made.items() if name in self.graph.consts}

    def add_node(self, node: Node) -> None:
        """A node as it is."""
        self.known.add(node)
        self.fresh_nodes.append(node)

    def is_settled(self, node: Node) -> bool:
        """Does a node only compute what is known: sizes of a value, say, of which only known ones are looked at."""
        known = self.known
        if known.sure and all(known.has(v) and known.const(v) is not None for v in node.outputs if v):
            return True
        if node.domain or node.op != "Shape" or node.outputs[0] in self.outputs:
            return False
        return all(self.is_settled(reader) for reader in self.readers.get(node.outputs[0], []))

    def settle(self, node: Node) -> None:
        """Put what a node computes into the graph as constants."""
        self.drop([node])
        for name in node.outputs:
            const = self.known.const(name)
            if const is not None:
                self.graph.consts[name] = const
            else:
                for reader in self.readers.get(name, []):
                    self.settle(reader)

    def drop(self, nodes: Iterable[Node]) -> None:
        """Nodes whose work others do now."""
        self.gone |= {id(node) for node in nodes}

    def commit(self) -> None:
        """Put new nodes among the old ones, throw away what nobody reads, index anew."""
        nodes = [node for node in self.graph.nodes if id(node) not in self.gone] + self.fresh_nodes
        self.graph.nodes[:] = ordered(live(nodes, self.outputs))
        self.gone, self.fresh_nodes = set(), []
        self.index()


def _part(node: Node, name: str, facts: dict[str, Fact]) -> Part | None:
    """In one walk."""
    ins = [facts[v] if v else None for v in node.inputs]
    x = ins[0]
    assert x is not None
    if node.op == "Gather":
        index = ins[1]
        if index is None or index.const is None or index.const.size != 1:
            return None
        axis, raw = int(attr(node, "axis", 0)) % len(x.shape), int(index.const.reshape(-1)[0])
        return Part(node.inputs[0], len(x.shape) - axis, raw % x.shape[axis], raw, 1)
    op = find(node)
    if node.op == "Split":
        position = node.outputs.index(name)
        outs = op.infer(node, ins)
        axis = int(attr(node, "axis", 0)) % len(x.shape)
        start = sum(fact.shape[axis] for fact in outs[:position])
        return Part(node.inputs[0], len(x.shape) - axis, start, start, outs[position].shape[axis])
    cut = [link for link in op.flow(node, ins, op.infer(node, ins)) if link.kind == "slice"]
    if len(cut) != 1 or cut[0].info[2] != 1:
        return None
    start, stop, _ = cut[0].info
    starts, axes = ins[1], ins[3] if len(ins) > 3 else None
    assert starts is not None and starts.const is not None
    every = range(starts.const.size) if axes is None or axes.const is None else axes.const.reshape(-1)
    raw = int(starts.const.reshape(-1)[[int(a) % len(x.shape) for a in every].index(cut[0].axis)])
    return Part(node.inputs[0], len(x.shape) - cut[0].axis, start, raw, stop - start)


def broadcastable(array: Array, out: tuple[int, ...]) -> Array | None:
    """A constant as one entry per element of the trailing axes `out`; None where it differs along others."""
    while array.ndim > len(out) and array.shape[0] == 1:
        array = array[0]
    if array.ndim > len(out):
        return None
    try:
        return np.broadcast_to(array, out).astype(np.float32)
    except ValueError:
        return None
