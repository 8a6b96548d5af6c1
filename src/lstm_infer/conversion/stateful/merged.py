"""One draft of several that were made at different batches: what grows with the batch is computed from it.

A number that differs is a multiple of the batch and a rest; an array that is longer repeats what it holds. Anything else
is the batch's own, and the file keeps one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...graph.ir import Array, Graph, Node, Port
from .carry import Carry
from .draft import Draft

__all__ = ["BATCH", "FixedBatchError", "merged", "merged_carries"]

BATCH = "batch"
"""What the open axis is called in the file."""


class FixedBatchError(Exception):
    """The drafts differ in more than their sizes: says in what."""


@dataclass
class _Two:
    """The drafts at two batches."""

    small: Draft
    large: Draft
    sizes: tuple[int, int]
    nodes: list[Node] = field(default_factory=list)
    consts: dict[str, Array] = field(default_factory=dict)
    batch: str = ""
    _made: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def grows(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Numbers as a multiple of the batch, and a rest."""
        n, m = self.sizes
        a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
        slope, over = np.divmod(b - a, m - n)
        if over.any():
            raise FixedBatchError(f"{a.tolist()} at a batch of {n} and {b.tolist()} at {m}")
        return slope, a - slope * n

    def number(self, slope: Any, rest: Any) -> str:
        """A value of int64 that grows with the batch."""
        key = slope.shape, slope.tobytes(), rest.tobytes()
        if key not in self._made:
            scaled, out = (self.small.names.fresh(f"of_batch/{part}") for part in ("scaled", "made"))
            opset = self.small.opset
            self.nodes.append(Node("Mul", scaled, [self.batch, self._const(slope)], [scaled], {}, "", opset))
            self.nodes.append(Node("Add", out, [scaled, self._const(rest)], [out], {}, "", opset))
            self._made[key] = out
        return self._made[key]

    def _const(self, array: Any) -> str:
        name = self.small.names.fresh("of_batch")
        self.consts[name] = np.asarray(array, np.int64)
        return name

    def take_batch(self, name: str, axis: int) -> None:
        """Where the batch is read: an axis of an input."""
        opset, fresh = self.small.opset, self.small.names.fresh
        shape, self.batch = fresh("of_batch/shape"), fresh("of_batch/size")
        self.nodes.append(Node("Shape", shape, [name], [shape], {}, "", opset))
        at = self._const([axis])
        self.nodes.append(Node("Gather", self.batch, [shape, at], [self.batch], {"axis": 0}, "", opset))


def merged(drafts: tuple[Draft, Draft], sizes: tuple[int, int]) -> Draft:
    """The draft with an open batch.

    Raises
    ------
    FixedBatchError
        They do not say the same but for the batch.
    """
    two = _Two(*drafts, sizes)
    small, large = drafts
    places = [
        (port.name, axis)
        for port, other in zip(small.inputs, large.inputs, strict=True)
        for axis, pair in enumerate(zip(port.shape or (), other.shape or (), strict=True))
        if pair == sizes
    ]
    if not places:
        raise FixedBatchError("no input has the batch as an axis of its own")
    two.take_batch(*places[0])
    _same_nodes(small.nodes, large.nodes)
    kept, changed = _constants(two)
    nodes = [_read(node, changed) for node in small.nodes]
    nodes = [_opened(node, other, two) for node, other in zip(nodes, large.nodes, strict=True)]
    out = replace(small, nodes=[*two.nodes, *nodes], consts={**kept, **two.consts})
    out.inputs = _ports(small.inputs, large.inputs, two)
    out.outputs = _ports(small.outputs, large.outputs, two)
    return out


def _same_nodes(nodes: Sequence[Node], others: Sequence[Node]) -> None:
    if len(nodes) != len(others):
        raise FixedBatchError(f"{len(nodes)} nodes at one batch and {len(others)} at another")
    for node, other in zip(nodes, others, strict=True):
        if (node.op, node.inputs, node.outputs) != (other.op, other.inputs, other.outputs):
            raise FixedBatchError(f"{node} is another one at another batch")
        if list(node.attrs) != list(other.attrs):
            raise FixedBatchError(f"{node} has other attributes at another batch")
        for key, value in node.attrs.items():
            second = other.attrs[key]
            if isinstance(value, Graph) and isinstance(second, Graph):
                _same_nodes(value.nodes, second.nodes)
            elif not np.array_equal(np.asarray(value), np.asarray(second)):
                raise FixedBatchError(f"{node} has another {key} at another batch")


Change = Callable[[Node, int], str]


def _constants(two: _Two) -> tuple[dict[str, Array], dict[str, Change]]:
    """Constants that stay, and by what the others are replaced where a node reads them."""
    kept, changed = dict[str, Array](), dict[str, Change]()
    if list(two.small.consts) != list(two.large.consts):
        raise FixedBatchError("there are other constants at another batch")
    for name, a in two.small.consts.items():
        b = two.large.consts[name]
        if a.dtype != b.dtype or a.ndim != b.ndim:
            raise FixedBatchError(f"constant {name!r} is of another kind at another batch")
        if a.shape == b.shape and a.tobytes() == b.tobytes():
            kept[name] = a
        elif a.shape != b.shape:
            changed[name] = _repeated(two, name, a, b)
        else:
            changed[name] = _computed(two, name, a, b)
    return kept, changed


def _repeated(two: _Two, name: str, a: Array, b: Array) -> Change:
    """An array that holds the same all along the axes that grow."""
    first = _once(name, a, b)
    slope, rest = two.grows(a.shape, b.shape)
    base, out = (two.small.names.fresh(f"{name}/{part}") for part in ("once", "repeated"))
    two.consts[base] = np.ascontiguousarray(first)
    shape = two.number(slope, rest)
    two.nodes.append(Node("Expand", out, [base, shape], [out], {}, "", two.small.opset))
    return lambda node, index: out


def _once(name: str, a: Array, b: Array) -> Array:
    """One position of each axis along which two arrays differ in size."""
    for axis, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)):
        if n != m:
            a, b = (_alike(name, array, axis) for array in (a, b))
    if a.tobytes() != b.tobytes():
        raise FixedBatchError(f"constant {name!r} holds something else at another batch")
    return a


def _alike(name: str, array: Array, axis: int) -> Array:
    one = array.take([0], axis)
    if not (array == one).all():
        raise FixedBatchError(f"constant {name!r} differs from signal to signal")
    return one


def _computed(two: _Two, name: str, a: Array, b: Array) -> Change:
    """Integers that grow with the batch."""
    if a.dtype != np.int64:
        raise FixedBatchError(f"constant {name!r} ({a.dtype}) depends on the batch")
    slope, rest = two.grows(a, b)
    open_size = ""
    if a.ndim == 1 and np.count_nonzero(a != b) == 1 and (a > 0).all():
        open_size = two.small.names.fresh(f"{name}/open")
        two.consts[open_size] = np.where(a != b, -1, a)

    def read(node: Node, index: int) -> str:
        if open_size and node.op == "Reshape" and index == 1:
            return open_size
        made = two.number(slope, rest)
        if a.ndim == 1:
            return made
        out = two.small.names.fresh(f"{name}/computed")
        shape = two._const(a.shape)
        two.nodes.append(Node("Reshape", out, [made, shape], [out], {}, "", two.small.opset))
        return out

    return read


def _read(node: Node, changed: dict[str, Change]) -> Node:
    """A node that reads what constants became."""
    inputs = [changed[name](node, i) if name in changed else name for i, name in enumerate(node.inputs)]
    attrs = {
        key: replace(value, nodes=[_read(inner, changed) for inner in value.nodes])
        if isinstance(value, Graph)
        else value
        for key, value in node.attrs.items()
    }
    return replace(node, inputs=inputs, attrs=attrs)


def _opened(node: Node, other: Node, two: _Two) -> Node:
    """A node whose bodies leave the batch open."""
    attrs = dict(node.attrs)
    for key, value in attrs.items():
        second = other.attrs[key]
        if isinstance(value, Graph) and isinstance(second, Graph):
            attrs[key] = replace(
                value,
                inputs=_ports(value.inputs, second.inputs, two),
                outputs=_ports(value.outputs, second.outputs, two),
                nodes=[_opened(a, b, two) for a, b in zip(value.nodes, second.nodes, strict=True)],
            )
    return replace(node, attrs=attrs)


def _ports(ports: Sequence[Port], others: Sequence[Port], two: _Two) -> list[Port]:
    found = []
    for port, other in zip(ports, others, strict=True):
        if port.name != other.name:
            raise FixedBatchError("there are other ports at another batch")
        pairs = zip(port.shape or (), other.shape or (), strict=True)
        shape = tuple(a if a == b else BATCH if (a, b) == two.sizes else None for a, b in pairs)
        found.append(Port(port.name, port.dtype, shape))
    return found


def merged_carries(small: Sequence[Carry], large: Sequence[Carry]) -> list[Carry]:
    """States whose first values are those of one signal."""
    found = []
    for a, b in zip(small, large, strict=True):
        first, other = np.asarray(a.first), np.asarray(b.first)
        if first.shape != other.shape or first.tobytes() != other.tobytes():
            if first.ndim != other.ndim:
                raise FixedBatchError(f"state {a.label!r} begins with something else at another batch")
            first = _once(f"{a.label} (first value)", first, other)
        found.append(replace(a, first=first))
    return found
