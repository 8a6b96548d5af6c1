"""Finding: the places of a graph that hold a size of the exporter's example.

A place is a number or a constant where the walk at the example's sizes has time or batch: an entry of a target, the rows
of a constant, the rows of a first state, the iterations of a loop. Whether the number is the example's is proved
elsewhere (frozen.py).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from math import prod

import numpy as np

from ..analysis.axes import links
from ..analysis.labels import Axis
from ..frozen import frozen
from ..graph.ir import Array, Graph, Node
from ..ops import recurrent
from ..ops.common import pass_broadcast
from ..ops.registry import find
from ..walk.graphs import outer_names
from .example import Example
from .written_shapes import makers, read_target

__all__ = ["Place", "find_places"]

Labels = Mapping[int, str]

MOST_MET = 32
"""Values that are followed from one that is repeated to one that has the label."""


@frozen
class Place:
    """One number of one node. kind "size": an entry of its target, or "rest", one that is what is left (-1);
    "row": a constant that repeats itself and is broadcast; "repeat": one that is not broadcast; "state": a first state;
    "steps": the iterations of a loop; "end": where a Slice ends."""

    node: str
    kind: str
    at: int
    """Position in the target, else the input."""
    axis: int
    """Of the output for an entry, else of the input; of "end" the position among the ends."""
    roots: tuple[int, ...]
    """Labels of the input axes whose sizes stand here, multiplied."""
    was: int
    text: str
    follows: bool = False
    """Opened only where nothing less will do: a first state that is computed from the sizes of an input, the end of a cut."""


def find_places(example: Example, labels: Labels) -> list[Place]:
    """All places of these labels, in the order of the graph."""
    found: list[Place] = []
    graph = example.graph
    live = {node.name for node in example.walked.nodes}
    given = _computed_from(graph, set(example.constants))
    for g in graph.graphs():
        consts, made = graph.consts | g.consts, makers(g)
        for node in g.nodes:
            if node.op == "Steps":
                found += _steps(example, node, labels, given)
            elif node.name in live:
                target = read_target(node, consts, made, example.walked.facts)
                if target is not None:
                    found += _entries(example, node, target, labels)
                elif node.op == "Slice" and not node.domain:
                    found += _ends(example, node, consts, labels)
                elif recurrent.is_recurrent(node):
                    found += [*_states(example, node, labels), *_repeats(example, node, consts, labels)]
                elif find(node).flow is pass_broadcast:
                    found += _rows(example, node, consts, labels)
                elif any(name in consts for name in node.inputs) and not any(node.subgraphs()):
                    found += _repeats(example, node, consts, labels)
    return found


def _named(example: Example, axis: Axis, labels: Labels) -> tuple[int, ...]:
    """The labels of an axis, where all of them are among `labels`."""
    roots = tuple(example.traced.root(f.label) for f in axis if f.label)
    return roots if all(root in labels for root in roots) else ()


def _said(labels: Labels, roots: tuple[int, ...]) -> str:
    return " x ".join(labels[root] for root in roots)


def _entries(example: Example, node: Node, target: list[int | None], labels: Labels) -> Iterator[Place]:
    axes = example.traced.axes.get(node.outputs[0])
    if axes is None or len(target) > len(axes):
        return
    lead, rest = len(axes) - len(target), -1 in target
    for at, number in enumerate(target):
        axis = lead + at
        counts = node.op == "Tile"  # of an axis of 1 the count is the extent
        roots = () if counts else _named(example, axes[axis], labels)
        roots = roots or _met(example, node, axis, number, labels)
        if number in (None, -1, 0) or not roots:
            continue
        assert number is not None
        known = [f.extent for f in axes[axis] if f.label]
        if number != 1 and known and set(known) == {1}:
            continue  # a batch of 1 may lie in any of the axes around it
        text = f"{node.name}: {_said(labels, roots)} was frozen at {number}"
        if not _resized(example, axes[axis]):
            yield Place(node.name, "size", at, axis, roots, number, text)
        elif not rest and find(node).reshapes:
            rest = True  # a convolution changed the number of steps
            yield Place(node.name, "rest", at, axis, roots, number, text)


def _met(example: Example, node: Node, axis: int, number: int | None, labels: Labels) -> tuple[int, ...]:
    """The label of as many steps or signals that the copies of an Expand or Tile are put beside, position by position."""
    before, after = (example.walked.facts[value].shape for value in (node.inputs[0], node.outputs[0]))
    back = axis - len(after)
    made = find(node).reshapes or number is None or number < 2 or after[axis] != number
    if made or (len(before) >= -back and before[back] != 1):
        return ()
    todo, seen = [(node.outputs[0], axis)], set[tuple[str, int]]()
    while todo:
        place = todo.pop()
        if place in seen or len(seen) > MOST_MET:
            continue
        seen.add(place)
        for reader in example.walked.nodes:
            if place[0] not in reader.inputs or find(reader).reshapes:
                continue
            for link in links(reader, example.walked):
                name = reader.outputs[link.output] if link.output < len(reader.outputs) else ""
                if (
                    link.kind != "same"
                    or (reader.inputs[link.input], link.axis) != place
                    or link.out_axis < 0
                    or not name
                ):
                    continue
                root = example.traced.alone(name, link.out_axis)
                if root in labels and example.walked.facts[name].shape[link.out_axis] == example.extent(root):
                    return (root,)
                todo.append((name, link.out_axis))
    return ()


def _ends(example: Example, node: Node, consts: Mapping[str, Array], labels: Labels) -> Iterator[Place]:
    """A Slice of as many steps as the example has, off a longer sequence: a causal Conv without what it padded behind the
    end."""
    ends, axes = (consts.get(name) for name in node.inputs[2:4]) if len(node.inputs) > 3 else (None, None)
    if ends is None or axes is None:
        return
    source = node.inputs[0]
    named = [int(a) % len(example.walked.facts[source].shape) for a in axes.reshape(-1)]
    for link in links(node, example.walked):
        if link.kind != "slice" or link.info[0] != 0 or link.info[2] != 1:
            continue
        label, stop, at = example.traced.alone(source, link.axis), link.info[1], named.index(link.axis)
        if labels.get(label) == "time" and stop == int(ends.reshape(-1)[at]) == example.extent(label):
            text = f"{node.name}: time was frozen at {stop}"
            yield Place(node.name, "end", 2, at, (label,), stop, text, follows=True)


def _resized(example: Example, factors: Axis) -> bool:
    """Has an axis changed its extent on the way from the input (a window, a cut): its number is not the input's size."""
    return any(f.label and example.extent(f.label) != f.extent for f in factors)


def _rows(example: Example, node: Node, consts: Mapping[str, Array], labels: Labels) -> Iterator[Place]:
    """A constant that repeats itself along time or batch, as zeros_like() leaves it: one of it, which is broadcast."""
    axes = example.traced.axes.get(node.outputs[0], ())
    for i, value in enumerate(node.inputs):
        const = consts.get(value)
        if const is None or const.ndim != len(axes):
            continue
        for axis, factors in enumerate(axes):
            roots = _named(example, factors, labels)
            if const.shape[axis] > 1 and roots and _equal_rows(const, axis):
                text = f"{node.name}: {_said(labels, roots)} was frozen at {const.shape[axis]}"
                yield Place(node.name, "row", i, axis, roots, const.shape[axis], text)


def _equal_rows(const: Array, axis: int) -> bool:
    return bool((const == np.take(const, [0], axis)).all()) if const.size else False


def _repeats(example: Example, node: Node, consts: Mapping[str, Array], labels: Labels) -> Iterator[Place]:
    """A constant with equal rows beside a value that has time or batch, where nothing is broadcast: joined to it, or the
    sequence of a decoder that is fed nothing."""
    skip = {index for _, index, _ in recurrent.states(node)} if recurrent.is_recurrent(node) else set()
    for link in links(node, example.walked):
        const = consts.get(node.inputs[link.input])
        name = node.outputs[link.output] if link.output < len(node.outputs) else ""
        if link.kind != "same" or const is None or link.input in skip or link.out_axis < 0 or not name:
            continue
        factors = example.traced.axes[name][link.out_axis]
        roots = _named(example, factors, labels)
        extent = const.shape[link.axis]
        if roots and extent == prod(f.extent for f in factors) and _equal_rows(const, link.axis):
            text = f"{node.name}: {_said(labels, roots)} was frozen at {extent}"
            yield Place(node.name, "repeat", link.input, link.axis, roots, extent, text)


def _states(example: Example, node: Node, labels: Labels) -> Iterator[Place]:
    """A constant first state with equal rows: repeated over whatever batch is fed."""
    label = example.traced.alone(node.inputs[0], recurrent.axes(node)[1])
    axis = 1 - recurrent.direction_axis(node)
    if label not in labels:
        return
    for what, index, _ in recurrent.states(node):
        name = node.inputs[index] if index < len(node.inputs) else ""
        const = example.walked.facts[name].const if name else None
        if const is None or not const.size or not _equal_rows(const, axis):
            continue
        text = f"{node.name}: the batch of its first state {what} was frozen at {const.shape[axis]}"
        follows = _follows(example.graph, name, const.shape, axis)
        yield Place(node.name, "state", index, axis, (label,), const.shape[axis], text, follows)


def _follows(graph: Graph, name: str, shape: tuple[int, ...], axis: int) -> bool:
    """Is a value computed from the sizes of an input, so that it has the batch that is fed; not from a constant that has
    a batch of its own."""
    made = makers(graph)
    fed = {port.name for port in graph.inputs}
    todo, seen, follows = [name], set[str](), False
    while todo:
        value = todo.pop()
        follows |= value in fed
        const = graph.consts.get(value)
        if const is not None and const.ndim == len(shape) and const.shape[axis] == shape[axis] != 1:
            return False
        if value in made and value not in seen:
            seen.add(value)
            todo += [v for v in made[value].inputs if v]
    return follows


def _steps(example: Example, node: Node, labels: Labels, given: Container[str]) -> Iterator[Place]:
    """A loop over as many positions as the example has."""
    axis = node.attrs["axis"]
    assert isinstance(axis, int)
    label = example.traced.alone(node.inputs[0], axis)
    if label in labels and _counts_to(example, node, axis, given):
        made = example.walked.facts[node.inputs[0]].shape[axis]
        text = f"{node.name}: the number of iterations was frozen at {made}"
        yield Place(node.name, "steps", 0, axis, (label,), made, text)


def _counts_to(example: Example, node: Node, axis: int, given: Container[str]) -> bool:
    """Does a loop count to a number of the file: M, or the numbers of its condition where M only says "no limit"."""
    facts, most, consts = example.walked.facts, node.inputs[1], example.graph.consts
    if most in given:
        return False
    limit = facts[most].const if most else None
    if limit is not None and int(limit.reshape(-1)[0]) == facts[node.inputs[0]].shape[axis]:
        return True
    read = {*node.inputs[2:], *(name for sub in node.subgraphs() for name in outer_names(sub))} - {""}
    counters = [name for name in read if name in facts and facts[name].dtype.kind in "iu"]
    return all(name in consts and name not in given for name in counters)


def _computed_from(graph: Graph, names: set[str]) -> set[str]:
    """Values that depend on what the caller made constant: those numbers are meant."""
    found = set(names)
    for node in graph.nodes:
        if any(name in found for name in node.inputs):
            found |= {name for name in node.outputs if name}
    return found
