"""Where the axes of the graph inputs go: each axis of a value is a product of labelled factors.

Every axis of every graph input starts with a label of its own. Operators pass labels on along their links
(`Op.flow`); labels that meet in one axis become one. A Reshape regroups factors, so that [T, B, H] -> [T*B, H]
keeps both labels. What a node does with the time axis, which inputs share the batch axis and which recurrence runs
over which input axis are all read from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

from ..graph.fact import Fact
from ..graph.ir import Node, Port
from ..graph.links import Link
from ..ops import control, registry
from ..walk.walk import Walk

__all__ = ["Axis", "Factor", "Trace", "trace"]


@dataclass(frozen=True)
class Factor:
    """A part of an axis; label 0 is none."""

    label: int
    extent: int


Axis = tuple[Factor, ...]


@dataclass
class Trace:
    """Axes of every computed value, and what each value depends on."""

    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    deps: dict[str, frozenset[int]] = field(default_factory=dict)
    """Labels of the input axes a value was computed from, whether it still has them or not."""
    sources: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Label to (graph input, axis)."""
    parent: dict[int, int] = field(default_factory=dict)

    def root(self, label: int) -> int:
        """The label that stands for all it was found equal to."""
        while self.parent.get(label, label) != label:
            label = self.parent[label]
        return label

    def join(self, a: int, b: int) -> None:
        """Two labels are the same axis."""
        a, b = self.root(a), self.root(b)
        if a and b and a != b:
            self.parent[max(a, b)] = min(a, b)

    def inputs_of(self, label: int) -> list[tuple[str, int]]:
        """The graph input axes behind a label."""
        root = self.root(label)
        return [place for other, place in self.sources.items() if self.root(other) == root]

    def find(self, value: str, label: int) -> int | None:
        """The axis of a value that holds the label."""
        root = self.root(label)
        for axis, factors in enumerate(self.axes.get(value, ())):
            if any(self.root(f.label) == root for f in factors if f.label):
                return axis
        return None

    def steps(self, value: str, label: int) -> int:
        """How many positions of the label a value has, whatever else shares its axis; 0: it does not have it."""
        root = self.root(label)
        factors = (f for axis in self.axes.get(value, ()) for f in axis if f.label)
        return next((f.extent for f in factors if self.root(f.label) == root), 0)

    def alone(self, value: str, axis: int) -> int:
        """The label of an axis that consists of it alone, else 0."""
        axes = self.axes.get(value)
        if axes is None:
            return 0
        factors = [f for f in axes[axis] if f.extent != 1] or [f for f in axes[axis] if f.label]
        return self.root(factors[0].label) if len(factors) == 1 else 0

    def depends(self, value: str, label: int) -> bool:
        """Was the value computed from an input that has this axis."""
        root = self.root(label)
        return any(self.root(other) == root for other in self.deps.get(value, ()))


def plain(shape: Iterable[int]) -> tuple[Axis, ...]:
    """Axes without labels."""
    return tuple((Factor(0, n),) for n in shape)


def trace(inputs: Sequence[Port], walked: Walk) -> Trace:
    """Follow all input axes through the nodes of a walk."""
    out = Trace()
    for port in inputs:
        fact = walked.facts[port.name]
        if fact.const is not None:
            continue
        axes = []
        for axis, extent in enumerate(fact.shape):
            label = len(out.sources) + 1
            out.sources[label] = (port.name, axis)
            axes.append((Factor(label, extent),))
        out.axes[port.name] = tuple(axes)
        out.deps[port.name] = frozenset(f.label for a in axes for f in a)
    for node in walked.nodes:
        _node(out, node, walked)
    return out


def links(node: Node, walked: Walk) -> list[Link]:
    """The links of a node at the sizes of a walk."""
    ins: list[Fact | None] = [walked.facts[name] if name else None for name in node.inputs]
    outs = [walked.facts[name] for name in node.outputs if name]
    if len(outs) != len(node.outputs):  # a flow counts all outputs: unread ones are recomputed
        outs = registry.find(node).infer(node, ins)
    return registry.find(node).flow(node, ins, outs)


def _node(out: Trace, node: Node, walked: Walk) -> None:
    op = registry.find(node)
    deps = frozenset().union(*(out.deps.get(name, frozenset()) for name in node.inputs if name))
    for name in node.outputs:
        if name:
            out.deps[name] = deps
    if op.reshapes:
        source = out.axes.get(node.inputs[0])
        shape = walked.facts[node.outputs[0]].shape
        if source is None:
            out.axes[node.outputs[0]] = plain(shape)
        else:
            moved = _ones(node, source, shape, walked)
            out.axes[node.outputs[0]] = regroup(source, shape) if moved is None else moved
        return
    made: dict[tuple[int, int], list[Axis]] = {}
    for link in links(node, walked):
        if link.out_axis < 0 or link.output >= len(node.outputs) or not node.outputs[link.output]:
            continue
        source = out.axes.get(node.inputs[link.input])
        if source is None:
            continue
        axis = source[link.axis]
        source_extent = prod(f.extent for f in axis)
        extent = walked.facts[node.outputs[link.output]].shape[link.out_axis]
        if source_extent != extent:
            if link.kind == "slice" and not (node.op == "Slice" and link.info[2] == 1 and 2 * extent > source_extent):
                continue  # a part of an axis is another axis, but for one that only lost some steps at its ends
            labels = [f for f in axis if f.label]
            axis = (Factor(labels[0].label, extent),) if len(labels) == 1 and len(axis) == 1 else (Factor(0, extent),)
        made.setdefault((link.output, link.out_axis), []).append(axis)
    for o, name in enumerate(node.outputs):
        if name:
            shape = walked.facts[name].shape
            out.axes[name] = tuple(_meet(out, made.get((o, a), []), n) for a, n in enumerate(shape))


def _ones(node: Node, axes: Sequence[Axis], shape: Sequence[int], walked: Walk) -> tuple[Axis, ...] | None:
    """Squeeze and Unsqueeze name the axes that go or come: sizes could not tell a batch of 1 from a new axis."""
    given = walked.facts[node.inputs[1]].const if len(node.inputs) > 1 and node.inputs[1] else None
    if node.op not in ("Squeeze", "Unsqueeze") or given is None:
        return None
    rank = len(axes) if node.op == "Squeeze" else len(shape)
    named = {int(a) % rank for a in given.reshape(-1)}
    if node.op == "Squeeze":
        return tuple(axis for a, axis in enumerate(axes) if a not in named)
    rest = iter(axes)
    return tuple((Factor(0, 1),) if a in named else next(rest) for a in range(rank))


def body_links(
    facts: dict[str, Fact],
    nodes: Sequence[Node],
    sources: Sequence[str],
    results: Sequence[str],
    carried: Sequence[tuple[str, str]],
) -> list[tuple[str, int, str, int]]:
    """Axes that pass straight through a body: position i of the result needs position i of the source only, also by way
    of the `carried` values (inside, next)."""
    walked, out = Walk(facts, list(nodes)), Trace()
    for name in sources:
        fact = facts[name]
        if fact.const is not None:
            continue
        axes = []
        for axis, extent in enumerate(fact.shape):
            label = len(out.sources) + 1
            out.sources[label] = (name, axis)
            axes.append((Factor(label, extent),))
        out.axes[name] = tuple(axes)
    for node in nodes:
        _node(out, node, walked)
    for inside, after in carried:
        for axis in range(len(facts[inside].shape)):
            out.join(out.alone(inside, axis), out.alone(after, axis))
    found = []
    for root in {out.root(label) for label in out.sources}:
        if not _straight(out, root, walked, carried):
            continue
        for name in sources:
            for result in results:
                a, b = out.find(name, root), out.find(result, root)
                if a is not None and b is not None and out.alone(name, a) == root == out.alone(result, b):
                    found.append((name, a, result, b))
    return sorted(found)


def _straight(out: Trace, root: int, walked: Walk, carried: Sequence[tuple[str, str]]) -> bool:
    """Does every node pass the axis on, position by position."""
    for inside, after in carried:
        if out.find(inside, root) != out.find(after, root):
            return False
    for node in walked.nodes:
        for i, name in enumerate(node.inputs):
            axis = out.find(name, root) if name else None
            if axis is None:
                continue
            reshapes = registry.find(node).reshapes
            through = [] if reshapes else links(node, walked)
            for o, value in enumerate(node.outputs):
                if not value:
                    continue
                into = out.find(value, root)
                if into is None:
                    return False
                same = [k for k in through if (k.input, k.axis, k.output, k.out_axis) == (i, axis, o, into)]
                if not reshapes and not any(k.kind == "same" for k in same):
                    return False
    return True


control.set_tracer(body_links)


def _meet(out: Trace, axes: list[Axis], extent: int) -> Axis:
    """One axis from all that flow into it; equal structures join their labels."""
    labelled = [axis for axis in axes if any(f.label for f in axis)]
    if not labelled:
        return (Factor(0, extent),)
    first = labelled[0]
    for other in labelled[1:]:
        a = [f for f in first if f.label or f.extent != 1]
        b = [f for f in other if f.label or f.extent != 1]
        if [f.extent for f in a] == [f.extent for f in b]:
            for x, y in zip(a, b, strict=True):
                out.join(x.label, y.label)
            continue
        # an axis of extent 1 that a Squeeze left beside its neighbour says nothing about where they meet
        c, d = ([f for f in side if f.extent != 1] for side in (a, b))
        if [f.extent for f in c] == [f.extent for f in d]:
            for x, y in zip(c, d, strict=True):
                out.join(x.label, y.label)
        if len(b) > len(a):
            first = other
    return first


def regroup(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...]:
    """The factors of a value under another shape. A labelled factor that would have to be cut loses its label."""
    if 0 in shape:
        return plain(shape)  # nothing tells the factors of an empty value apart
    todo = [f for axis in axes for f in axis if f.label or f.extent != 1]
    out: list[Axis] = []
    for position, extent in enumerate(shape):
        got: list[Factor] = []
        need = extent
        rest = len(shape) - position - 1
        while todo:
            head = todo[0]
            if head.extent == 1:
                # extent 1 with a label: belongs to an axis of extent 1, or is carried along where none follows
                if extent == 1 and got:
                    break
                if extent != 1 and need == 1 and rest:
                    break
                later = sum(n == 1 for n in shape[position + 1 :])
                if extent != 1 and later > sum(f.extent == 1 for f in todo[1:]):
                    todo.pop(0)  # moves past another axis: a transposition that only holds at extent 1
                    continue
                got.append(todo.pop(0))
                if extent == 1:
                    break
                continue
            if need == 1:
                break
            if need % head.extent == 0:
                got.append(todo.pop(0))
                need //= head.extent
            elif head.extent % need == 0:
                label = 0 if head.label else head.label
                got.append(Factor(label, need))
                todo[0] = Factor(0, head.extent // need)
                need = 1
            else:  # sizes that share factors in another way: everything from here on is mixed
                got = [Factor(0, extent)]
                todo = _cut(todo, extent)
                need = 1
        if prod(f.extent for f in got) != extent:
            got = [Factor(0, extent)]
        out.append(tuple(got) or (Factor(0, extent),))
    return tuple(out)


def _cut(todo: list[Factor], extent: int) -> list[Factor]:
    """What is left behind an axis that does not fall on a factor's border: one factor without a label."""
    total = prod(f.extent for f in todo)
    return [Factor(0, total // extent)] if extent and total % extent == 0 else []
