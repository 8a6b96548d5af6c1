"""Where the axes of the graph inputs go: each axis of a value is a product of labelled factors.

Every axis of every graph input starts with a label of its own. Operators pass labels on along their links
(`Op.flow`); labels that meet in one axis become one. A Reshape regroups factors, so that [T, B, H] -> [T*B, H]
keeps both labels. What a node does with the time axis, which inputs share the batch axis and which recurrence runs
over which input axis are all read from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import TypeVar

from ..graph.budget import spend
from ..graph.fact import Fact
from ..graph.ir import Node, Port
from ..graph.links import Link
from ..ops import control, registry
from ..walk.walk import Walk
from .labels import Axis, Factor, Trace, plain
from .regroup import regroup

__all__ = ["body_links", "links", "trace"]

STEP = 5_000
"""What it costs to ask a node whether it passes one label on."""


def trace(inputs: Sequence[Port], walked: Walk, *alike: Mapping[str, int]) -> Trace:
    """Follow all input axes through the nodes of a walk; each walk is traced once.

    alike: axes by input that are known to be one (time, say), though the values that have them may never meet.
    """
    key = tuple(port.name for port in inputs), *(tuple(places.items()) for places in alike)
    if key not in walked.traces:
        walked.traces[key] = _traced(inputs, walked, alike)
    found: Trace = walked.traces[key]
    return found


def _traced(inputs: Sequence[Port], walked: Walk, alike: Sequence[Mapping[str, int]]) -> Trace:
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
    labels = {place: label for label, place in out.sources.items()}
    for places in alike:
        known = [labels[place] for place in places.items() if place in labels]
        for label in known[1:]:
            out.join(known[0], label)
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
        if link.kind == "spread":
            made.setdefault((link.output, link.out_axis), []).append((*axis, Factor(0, link.info)))
            continue
        extent = walked.facts[node.outputs[link.output]].shape[link.out_axis]
        if source_extent != extent:
            if link.kind == "slice" and not (node.op == "Slice" and _mostly(link, extent, source_extent)):
                continue  # a part of an axis is another axis, but for one that only lost some steps at its ends, or every other
            labels = [f for f in axis if f.label]
            axis = (Factor(labels[0].label, extent),) if len(labels) == 1 and len(axis) == 1 else (Factor(0, extent),)
        made.setdefault((link.output, link.out_axis), []).append(axis)
    for o, name in enumerate(node.outputs):
        if name:
            shape = walked.facts[name].shape
            out.axes[name] = tuple(_meet(out, made.get((o, a), []), n) for a, n in enumerate(shape))


def _mostly(link: Link, extent: int, before: int) -> bool:
    """Does a slice take most of an axis, or one position of every few up to the end."""
    start, _, step = link.info
    return 2 * extent > before if step == 1 else start < step and extent == len(range(start, before, step)) > 1


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
    holders = _by_root(out, ((node, name) for node in nodes for name in node.inputs if name))
    starts, ends = (_by_root(out, ((name, name) for name in names)) for names in (sources, dict.fromkeys(results)))
    found = []
    known: dict[int, frozenset[_Way]] = {}
    for root in starts:
        if root not in ends or not _straight(out, root, walked, carried, holders.get(root, []), known):
            continue
        for name in starts[root]:
            for result in ends[root]:
                a, b = out.find(name, root), out.find(result, root)
                if a is not None and b is not None and out.alone(name, a) == root == out.alone(result, b):
                    found.append((name, a, result, b))
    return sorted(found)


_Way = tuple[int, int, int, int]
"""(input, its axis, output, its axis) of a node."""
_T = TypeVar("_T")


def _by_root(out: Trace, held: Iterable[tuple[_T, str]]) -> dict[int, list[_T]]:
    """What holds a value, by the labels that stand in the value; each once."""
    found: dict[int, dict[int, _T]] = {}
    for one, value in held:
        for axis in out.axes.get(value, ()):
            for factor in axis:
                if factor.label:
                    found.setdefault(out.root(factor.label), {})[id(one)] = one
    return {root: list(by.values()) for root, by in found.items()}


def _straight(
    out: Trace,
    root: int,
    walked: Walk,
    carried: Sequence[tuple[str, str]],
    holders: Sequence[Node],
    known: dict[int, frozenset[_Way]],
) -> bool:
    """Does every node that holds the axis pass it on, position by position. `known`: how nodes that were asked before
    pass their axes on."""
    spend("the trace of a body", STEP * (len(holders) + len(carried)))
    for inside, after in carried:
        if out.find(inside, root) != out.find(after, root):
            return False
    for node in holders:
        reshapes = registry.find(node).reshapes
        if id(node) not in known:
            made = [] if reshapes else links(node, walked)
            known[id(node)] = frozenset((k.input, k.axis, k.output, k.out_axis) for k in made if k.kind == "same")
        into = [(o, out.find(value, root)) for o, value in enumerate(node.outputs) if value]
        if any(axis is None for _, axis in into):
            return False
        for i, name in enumerate(node.inputs):
            axis = out.find(name, root) if name else None
            if axis is not None and not reshapes and any((i, axis, o, to) not in known[id(node)] for o, to in into):
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
        if _clash(first, other):
            return (Factor(0, extent),)  # in one order here, in another there
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


def _clash(a: Axis, b: Axis) -> bool:
    """Do two axes that meet hold their factors in different orders."""
    return any(x != y and x[0] < y[1] and y[0] < x[1] for x in _spans(a) for y in _spans(b))


def _spans(axis: Axis) -> list[tuple[int, int]]:
    """For each labelled factor the extent of what is inside it, and of that with itself."""
    inner, found = 1, []
    for factor in reversed(axis):
        if factor.label and factor.extent != 1:
            found.append((inner, inner * factor.extent))
        inner *= factor.extent
    return found
