"""A graph of standard operators under construction: nodes, constants, fresh names, and the shape of each value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...graph.edit import Names
from ...graph.fact import Fact
from ...graph.ir import Array, AttrValue, Graph, Node, Port
from ...program.views import storage

__all__ = ["Draft", "held"]


def held(fact: Fact) -> Fact:
    """The fact of a value as the file holds it: every float is float32."""
    dtype = storage(fact.dtype)
    if dtype == fact.dtype:
        return fact
    return Fact(fact.shape, dtype, None if fact.const is None else np.asarray(fact.const).astype(dtype))


@dataclass
class Draft:
    """Nodes in order; what is put between `inside` and its end goes into a body."""

    opset: int
    names: Names
    facts: dict[str, Fact] = field(default_factory=dict)
    """Shape and type of every value, and its content where it is a constant of the file."""
    nodes: list[Node] = field(default_factory=list)
    consts: dict[str, Array] = field(default_factory=dict)
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    called: dict[str, str] = field(default_factory=dict)
    """Outputs of the source that have another name here: an input has theirs."""
    _made: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def const(self, value: Any, dtype: Any = None, hint: str = "const") -> str:
        """A constant; equal small ones are one."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 16 else ()
        if key and key in self._made:
            return self._made[key]
        name = self.names.fresh(hint)
        self.consts[name] = array
        self.facts[name] = Fact.of(array)
        if key:
            self._made[key] = name
        return name

    def ints(self, *values: int) -> str:
        """A constant of int64."""
        return self.const(values, np.int64)

    def given(self, name: str, fact: Fact) -> str:
        """A value of the source that is known: a constant under its own name."""
        if name not in self.consts:
            assert fact.const is not None
            array = np.ascontiguousarray(fact.const).reshape(fact.shape)
            self.consts[name] = array
            self.facts[name] = Fact.of(array)
        return name

    def put(self, node: Node, facts: Sequence[Fact]) -> None:
        """A node whose outputs are known."""
        self.nodes.append(node)
        for name, fact in zip(node.outputs, facts, strict=True):
            if name:
                self.facts[name] = Fact(fact.shape, fact.dtype)

    def op(
        self,
        op: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: Any = np.float32,
        attrs: Mapping[str, AttrValue] | None = None,
        out: str = "",
    ) -> str:
        """A node with one output; its name, fresh unless given."""
        name = out or self.names.fresh(f"{op}_out")
        node = Node(op, self.names.fresh(op), list(inputs), [name], dict(attrs or {}), "", self.opset)
        self.put(node, [Fact(tuple(shape), np.dtype(dtype))])
        return name

    def same(self, op: str, inputs: Sequence[str], out: str = "", dtype: Any = None, **attrs: AttrValue) -> str:
        """A node whose output has the shape to which its inputs broadcast, and the type of the last."""
        facts = [self.facts[name] for name in inputs if name]
        shape = np.broadcast_shapes(*(fact.shape for fact in facts))
        return self.op(op, inputs, shape, dtype or facts[-1].dtype, attrs, out)

    def reshaped(self, name: str, shape: Sequence[int], out: str = "") -> str:
        """A value under other sizes."""
        fact = self.facts[name]
        if tuple(shape) == fact.shape and not out:
            return name
        attrs = {"allowzero": 1} if 0 in shape and self.opset >= 14 else {}
        return self.op("Reshape", [name, self.const(shape, np.int64, "shape")], shape, fact.dtype, dict(attrs), out)

    def transposed(self, name: str, order: Sequence[int], out: str = "") -> str:
        """A value with its axes in another order."""
        fact = self.facts[name]
        if list(order) == list(range(len(fact.shape))) and not out:
            return name
        return self.op("Transpose", [name], [fact.shape[a] for a in order], fact.dtype, {"perm": list(order)}, out)

    def part(self, name: str, axis: int, start: int, n: int, stride: int = 1, out: str = "") -> str:
        """n positions of an axis from `start` on, `stride` apart."""
        fact = self.facts[name]
        shape = list(fact.shape)
        if start == 0 and n == shape[axis] and stride == 1 and not out:
            return name
        shape[axis] = n
        ends = [start], [start + (n - 1) * stride + 1], [axis], [stride]
        return self.op("Slice", [name, *(self.const(v, np.int64) for v in ends)], shape, fact.dtype, out=out)

    def joined(self, names: Sequence[str], axis: int, out: str = "") -> str:
        """Values behind each other."""
        if len(names) == 1 and not out:
            return names[0]
        first = self.facts[names[0]]
        shape = list(first.shape)
        shape[axis] = sum(self.facts[name].shape[axis] for name in names)
        return self.op("Concat", names, shape, first.dtype, {"axis": axis}, out)

    def cast(self, name: str, dtype: Any, out: str = "") -> str:
        """A value of another element type."""
        fact, code = self.facts[name], CODES[np.dtype(dtype).name]
        if fact.dtype == dtype:
            return self.alias(name, out) if out else name
        return self.op("Cast", [name], fact.shape, dtype, {"to": code}, out)

    def alias(self, name: str, out: str) -> str:
        """A value under another name."""
        fact = self.facts[name]
        return self.op("Identity", [name], fact.shape, fact.dtype, out=out)

    @contextmanager
    def inside(self) -> Iterator[list[Node]]:
        """What is put in here makes a body, of which the nodes are handed out."""
        outer, self.nodes = self.nodes, []
        try:
            yield self.nodes
        finally:
            self.nodes = outer

    def port(self, name: str) -> Port:
        """A value as a port of a body or of the file."""
        fact = self.facts[name]
        return Port(name, fact.dtype, fact.shape)

    def body(self, hint: str, nodes: list[Node], inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
        """The graph of a body."""
        return Graph(
            self.names.fresh(hint), [self.port(name) for name in inputs], [self.port(n) for n in outputs], nodes
        )


CODES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip
"""Element types as TensorProto numbers them."""
