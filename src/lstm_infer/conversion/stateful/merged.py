"""One draft of several that were made at different sizes: what grows with a size is computed from it.

The batch is such a size, and what the source leaves open besides. A number that differs is a sum of multiples of the sizes and a
rest; an array that is longer repeats what it holds. Anything else is the size's own, and the file keeps one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...graph.ir import Array, Graph, Node, Port
from .carry import Carry
from .draft import Draft

__all__ = ["BATCH", "FixedSizeError", "Open", "merged", "merged_carries"]

BATCH = "batch"
"""What the open axis of the signals is called in the file."""


class FixedSizeError(Exception):
    """The drafts differ in more than their sizes: says in what."""


@dataclass(frozen=True)
class Open:
    """A size that stays open, its value in the first draft, and in the one in which it alone is another."""

    name: str
    first: int
    other: int


@dataclass
class _Sizes:
    """The drafts: at the first sizes, with each size changed alone, and with all of them changed."""

    drafts: Sequence[Draft]
    open: Sequence[Open]
    nodes: list[Node] = field(default_factory=list)
    consts: dict[str, Array] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    """Size to the value that has it, as a row of one."""
    _made: dict[tuple[Any, ...], str] = field(default_factory=dict)

    @property
    def draft(self) -> Draft:
        """The first one, which becomes the file's."""
        return self.drafts[0]

    def fresh(self, hint: str) -> str:
        """A name that nobody has."""
        return self.draft.names.fresh(hint)

    def const(self, array: Any) -> str:
        """A constant of int64."""
        name = self.fresh("of_sizes")
        self.consts[name] = np.asarray(array, np.int64)
        return name

    def op(self, op: str, inputs: Sequence[str], **attrs: int) -> str:
        """A node in front of all others."""
        out = self.fresh(f"of_sizes/{op}")
        self.nodes.append(Node(op, out, list(inputs), [out], dict(attrs), "", self.draft.opset))
        return out

    def take(self) -> None:
        """Read each size off an input."""
        for i, one in enumerate(self.open):
            ports = zip(self.drafts[0].inputs, self.drafts[i + 1].inputs, strict=True)
            places = [
                (port.name, axis)
                for port, other in ports
                for axis, pair in enumerate(zip(port.shape or (), other.shape or (), strict=True))
                if pair == (one.first, one.other)
            ]
            if not places:
                raise FixedSizeError(f"no input has the {one.name} as an axis of its own")
            name, axis = places[0]
            self.values[one.name] = self.op("Gather", [self.op("Shape", [name]), self.const([axis])], axis=0)

    def number(self, found: Sequence[Any]) -> str:
        """A value of int64 that is so at the sizes of each draft."""
        arrays = [np.asarray(one, np.int64) for one in found]
        key = arrays[0].shape, *(a.tobytes() for a in arrays)
        if key in self._made:
            return self._made[key]
        rest, last, made = arrays[0], arrays[0], ""
        for i, one in enumerate(self.open):
            slope, over = np.divmod(arrays[i + 1] - arrays[0], one.other - one.first)
            if over.any():
                raise FixedSizeError(f"{arrays[0].tolist()} becomes {arrays[i + 1].tolist()} with another {one.name}")
            rest, last = rest - slope * one.first, last + slope * (one.other - one.first)
            if slope.any():
                scaled = self.op("Mul", [self.values[one.name], self.const(slope)])
                made = self.op("Add", [made, scaled]) if made else scaled
        if (last != arrays[-1]).any():
            raise FixedSizeError(f"{arrays[0].tolist()} is a product of sizes")
        self._made[key] = self.op("Add", [made, self.const(rest)])
        return self._made[key]


def merged(drafts: Sequence[Draft], sizes: Sequence[Open]) -> Draft:
    """The draft with open sizes.

    Raises
    ------
    FixedSizeError
        They do not say the same but for the sizes.
    """
    all_sizes = _Sizes(drafts, sizes)
    first, others = drafts[0], drafts[1:]
    all_sizes.take()
    for other in others:
        _same_nodes(first.nodes, other.nodes)
    kept, changed = _constants(all_sizes)
    nodes = [_read(node, changed) for node in first.nodes]
    together = zip(nodes, *(other.nodes for other in others), strict=True)
    nodes = [_opened(row, all_sizes) for row in together]
    out = replace(first, nodes=[*all_sizes.nodes, *nodes], consts={**kept, **all_sizes.consts})
    out.inputs = _ports([draft.inputs for draft in drafts], sizes)
    out.outputs = _ports([draft.outputs for draft in drafts], sizes)
    return out


def _same_nodes(nodes: Sequence[Node], others: Sequence[Node]) -> None:
    if len(nodes) != len(others):
        raise FixedSizeError(f"{len(nodes)} nodes at one size and {len(others)} at another")
    for node, other in zip(nodes, others, strict=True):
        if (node.op, node.inputs, node.outputs) != (other.op, other.inputs, other.outputs):
            raise FixedSizeError(f"{node} is another one at another size")
        if list(node.attrs) != list(other.attrs):
            raise FixedSizeError(f"{node} has other attributes at another size")
        for key, value in node.attrs.items():
            second = other.attrs[key]
            if isinstance(value, Graph) and isinstance(second, Graph):
                _same_nodes(value.nodes, second.nodes)
            elif not np.array_equal(np.asarray(value), np.asarray(second)):
                raise FixedSizeError(f"{node} has another {key} at another size")


Change = Callable[[Node, int], str]


def _constants(sizes: _Sizes) -> tuple[dict[str, Array], dict[str, Change]]:
    """Constants that stay, and by what the others are replaced where a node reads them."""
    kept, changed = dict[str, Array](), dict[str, Change]()
    if any(list(draft.consts) != list(sizes.draft.consts) for draft in sizes.drafts):
        raise FixedSizeError("there are other constants at another size")
    for name, first in sizes.draft.consts.items():
        arrays = [draft.consts[name] for draft in sizes.drafts]
        if any(a.dtype != first.dtype or a.ndim != first.ndim for a in arrays):
            raise FixedSizeError(f"constant {name!r} is of another kind at another size")
        if all(a.shape == first.shape and a.tobytes() == first.tobytes() for a in arrays):
            kept[name] = first
        elif any(a.shape != first.shape for a in arrays):
            changed[name] = _repeated(sizes, name, arrays)
        else:
            changed[name] = _computed(sizes, name, arrays)
    return kept, changed


def _repeated(sizes: _Sizes, name: str, arrays: Sequence[Array]) -> Change:
    """An array that holds the same all along the axes that grow."""
    base = sizes.fresh(f"{name}/once")
    sizes.consts[base] = np.ascontiguousarray(_once(name, arrays))
    out = sizes.op("Expand", [base, sizes.number([a.shape for a in arrays])])
    return lambda node, index: out


def _once(name: str, arrays: Sequence[Array]) -> Array:
    """One position of each axis along which arrays differ in size."""
    found = list(arrays)
    for axis, sizes in enumerate(zip(*(a.shape for a in arrays), strict=True)):
        if len(set(sizes)) > 1:
            found = [_alike(name, a, axis) for a in found]
    if any(a.tobytes() != found[0].tobytes() for a in found):
        raise FixedSizeError(f"constant {name!r} holds something else at another size")
    return found[0]


def _alike(name: str, array: Array, axis: int) -> Array:
    one = array.take([0], axis)
    if not (array == one).all():
        raise FixedSizeError(f"constant {name!r} differs from signal to signal, or along another open axis")
    return one


def _computed(sizes: _Sizes, name: str, arrays: Sequence[Array]) -> Change:
    """Integers that grow with a size."""
    first = arrays[0]
    if first.dtype != np.int64:
        raise FixedSizeError(f"constant {name!r} ({first.dtype}) depends on an open size")
    differs = np.any([a != first for a in arrays], axis=0)
    open_size = ""
    if first.ndim == 1 and np.count_nonzero(differs) == 1 and (first > 0).all():
        open_size = sizes.fresh(f"{name}/open")
        sizes.consts[open_size] = np.where(differs, -1, first)

    def read(node: Node, index: int) -> str:
        if open_size and node.op == "Reshape" and index == 1:
            return open_size
        made = sizes.number(arrays)
        return made if first.ndim == 1 else sizes.op("Reshape", [made, sizes.const(first.shape)])

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


def _opened(row: Sequence[Node], sizes: _Sizes) -> Node:
    """A node (the first of those in all drafts) whose bodies leave the sizes open."""
    attrs = dict(row[0].attrs)
    for key, value in attrs.items():
        bodies = [body for body in (node.attrs[key] for node in row) if isinstance(body, Graph)]
        if isinstance(value, Graph):
            attrs[key] = replace(
                value,
                inputs=_ports([body.inputs for body in bodies], sizes.open),
                outputs=_ports([body.outputs for body in bodies], sizes.open),
                nodes=[_opened(inner, sizes) for inner in zip(*(body.nodes for body in bodies), strict=True)],
            )
    return replace(row[0], attrs=attrs)


def _ports(rows: Sequence[Sequence[Port]], sizes: Sequence[Open]) -> list[Port]:
    found = []
    for ports in zip(*rows, strict=True):
        if len({port.name for port in ports}) > 1:
            raise FixedSizeError("there are other ports at another size")
        shape = tuple(_dim(sizes, extents) for extents in zip(*(port.shape or () for port in ports), strict=True))
        found.append(Port(ports[0].name, ports[0].dtype, shape))
    return found


def _dim(sizes: Sequence[Open], extents: Sequence[Any]) -> int | str | None:
    """An extent: a number, the name of a size that it is, or None where it is another one that grows."""
    if len(set(extents)) == 1:
        return int(extents[0])
    for i, one in enumerate(sizes):
        wanted = [one.other if k in (i + 1, len(sizes) + 1) else one.first for k in range(len(extents))]
        if list(extents) == wanted:
            return one.name
    return None


def merged_carries(rows: Sequence[Sequence[Carry]], ports: Sequence[Port]) -> list[Carry]:
    """States whose first values are those of one signal. `ports`: the inputs of the merged draft."""
    found = []
    shapes = {port.name: port.shape or () for port in ports}
    for carry in rows[0]:
        if None in shapes[carry.name]:
            raise FixedSizeError(f"state {carry.label!r} has an axis that is a multiple of an open size")
    for row in zip(*rows, strict=True):
        arrays = [np.asarray(one.first) for one in row]
        first = arrays[0]
        if any(a.shape != first.shape or a.tobytes() != first.tobytes() for a in arrays):
            if any(a.ndim != first.ndim for a in arrays):
                raise FixedSizeError(f"state {row[0].label!r} begins with something else at another size")
            first = _once(f"{row[0].label} (first value)", arrays)
        found.append(replace(row[0], first=first))
    return found
