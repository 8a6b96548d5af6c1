"""Frozen sizes: the example's T and batch that an exporter wrote into Reshape targets and initial states.

PyTorch's exporter does so even where it was asked for dynamic axes. The graph is walked at the sizes it was made at;
where a constant target restores an axis that is time or batch, the number is replaced by the size of that input axis.
Nothing else is touched, and the outcome is kept only if the graph then walks at other sizes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from math import prod

import numpy as np

from ..analysis.axes import trace
from ..analysis.labels import Axis, Trace
from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops import carries, recurrent
from ..ops.common import pass_broadcast
from ..ops.registry import find
from ..walk.graphs import outer_names
from ..walk.walk import Walk, walk

__all__ = ["native_walk", "thaw"]

PROBES = (11, 19)
_MOST_DRAWN = 1 << 20
MOST_WALKS = 64
LARGEST_FROZEN = 4096


@dataclass(frozen=True)
class _Native:
    """A walk at the sizes the file was made at."""

    walked: Walk
    traced: Trace
    sizes: dict[tuple[str, int], int]


def thaw(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> list[str]:
    """Open frozen sizes of `graph` in place; returns what was repaired, one text per place (empty: nothing).

    Only for graphs that do not walk at other sizes as they are.
    """
    if any(port.shape is None for port in inputs) or not any(
        recurrent.is_recurrent(n) or n.op == "Scan" for n in graph.walk()
    ):
        return []
    native = _native(graph, inputs, constants)
    if native is None:
        return []
    labels = _open_labels(native)
    if not labels or _lost(native, labels) or _walks(graph, inputs, constants, native, labels):
        return []
    undo = [(g, list(g.nodes), dict(g.consts)) for g in graph.graphs()]

    def restore() -> None:
        for g, nodes, consts in undo:
            g.nodes[:] = nodes
            g.consts.clear()
            g.consts.update(consts)

    def meant() -> bool:
        """May some numbers be the model's own, and does it matter at twice the sizes."""
        found = _may_be_meant(graph, native, labels)
        if not found:
            return False
        answers = []
        for leave in (found, {}):
            done = _repair(graph, native, labels, constants, all_states=False, leave=leave)
            answers.append(_answers(graph, inputs, constants, native, found))
            restore()
            if leave and answers[0] is None:
                return bool(done)  # as they are they do not fit; the other repairs may be why
        left, opened = answers
        return left is None or opened is None or not all(map(_close, left, opened))

    if any(_may_transpose(n, native, labels) for n in native.walked.nodes if n.op == "Reshape") or meant():
        return []
    for all_states in (False, True):  # a first state made of the fed batch is touched only where nothing less will do
        done = _repair(graph, native, labels, constants, all_states)
        if done and _walks(graph, inputs, constants, native, labels):
            return done
        restore()
    return []


def _feeds(
    inputs: Sequence[Port], constants: Mapping[str, Array], sizes: Mapping[tuple[str, int], int]
) -> dict[str, Fact]:
    facts = {name: Fact.of(array) for name, array in constants.items()}
    for port in inputs:
        assert port.shape is not None
        shape = tuple(sizes.get((port.name, a), n if isinstance(n, int) else 1) for a, n in enumerate(port.shape))
        facts[port.name] = Fact(shape, port.dtype)
    return facts


def _native(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> _Native | None:
    """Sizes at which the graph walks: open axes tried at primes, which are told from all other numbers, and then at the
    numbers that stand in its Reshape targets."""
    for sizes in _tries(_agreements(inputs), sorted(_numbers(graph))):
        try:
            walked = walk(graph, _feeds(inputs, constants, sizes))
        except LstmInferError:
            continue
        native = _Native(walked, trace(inputs, walked), sizes)
        if _clean(graph, native):
            return native
    return None


def _tries(agreements: list[list[list[tuple[str, int]]]], frozen: list[int]) -> Iterator[dict[tuple[str, int], int]]:
    """Sizes of all open axes: where nothing is frozen, for each agreement between them, before what is frozen."""
    for numbers in ([], frozen) if frozen else ([],):
        for groups in agreements:
            choices = [[(13, 7, 5)[min(i, 2)], *numbers] for i in range(len(groups))]
            for values in islice(product(*choices), MOST_WALKS):
                yield {place: value for places, value in zip(groups, values, strict=True) for place in places}


def _agreements(inputs: Sequence[Port]) -> list[list[list[tuple[str, int]]]]:
    """Which open axes have one size: those of one name, and then, as many exporters mean without saying so, the first
    axes of all inputs; the axes of one number; all."""
    places = [(p.name, a, n) for p in inputs for a, n in enumerate(p.shape or ()) if not isinstance(n, int)]
    named = {(name, a): n if isinstance(n, str) and n else f"{name}.{a}" for name, a, n in places}
    keys = [
        named,
        {place: "" if place[1] == 0 else name for place, name in named.items()},
        {place: str(place[1]) for place in named},
        dict.fromkeys(named, ""),
    ]
    found = []
    for key in keys:
        groups: dict[str, list[tuple[str, int]]] = {}
        for place, name in key.items():
            groups.setdefault(name, []).append(place)
        if list(groups.values()) not in found:
            found.append(list(groups.values()))
    return found


def native_walk(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]
) -> tuple[Walk, dict[str, Fact]] | None:
    """A walk at sizes the graph was made at, and what was fed to it."""
    native = _native(graph, inputs, constants)
    return None if native is None else (native.walked, _feeds(inputs, constants, native.sizes))


def _clean(graph: Graph, native: _Native) -> bool:
    """Do time and batch pass every Reshape: at sizes that merely happen to fit, axes are cut and mixed."""
    labels = _open_labels(native)
    for node in native.walked.nodes:
        if node.op == "Reshape":
            for label in labels:
                before = native.traced.find(node.inputs[0], label) is not None
                if before and native.traced.find(node.outputs[0], label) is None:
                    return False
    return True


def _numbers(graph: Graph) -> set[int]:
    found: set[int] = set()
    for g in graph.graphs():
        for node in g.nodes:
            if node.op == "Reshape" and len(node.inputs) > 1 and node.inputs[1] in g.consts:
                found |= {int(n) for n in g.consts[node.inputs[1]].reshape(-1) if 0 < n <= LARGEST_FROZEN}
    return found


def _open_labels(native: _Native) -> dict[int, str]:
    """Root labels of time and batch of the recurrences; where some run forward, an axis that others run both ways over
    is inside a step."""
    found: dict[int, str] = {}
    closed: set[int] = set()
    for node in native.walked.nodes:
        if not carries.carries(node):
            continue
        for source, axis in carries.runs_over(node):
            label = native.traced.alone(node.inputs[source], axis)
            if label:
                found.setdefault(label, "time")
                closed |= {label} if recurrent.both_ways(node) else set()
        place = carries.batch_axis(node)
        label = native.traced.alone(node.inputs[place[0]], place[1]) if place else 0
        if label:
            found.setdefault(label, "batch")
    forward = {label for label, what in found.items() if what == "time"} - closed
    return {label: what for label, what in found.items() if not forward or label not in closed}


def _lost(native: _Native, labels: Mapping[int, str]) -> bool:
    """Does a recurrence run over one step of which it cannot be said from where it comes, while an input has an axis of
    extent 1 that nobody knows: sizes of 1 that passed a Reshape in an order of their own."""
    known = {place for label in labels for place in native.traced.inputs_of(label)}
    unknown = any(
        native.walked.facts[name].shape[axis] == 1
        for name, axis in native.traced.sources.values()
        if (name, axis) not in known
    )
    return unknown and any(
        native.walked.facts[node.inputs[source]].shape[axis] == 1 and not native.traced.alone(node.inputs[source], axis)
        for node in native.walked.nodes
        if carries.carries(node)
        for source, axis in carries.runs_over(node)
    )


def _walks(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array], native: _Native, labels: Mapping[int, str]
) -> bool:
    """Does the graph walk at two other sizes of every open axis, and take them the same way."""
    for probe in PROBES:
        sizes = dict(native.sizes)
        for index, label in enumerate(labels):
            for place in native.traced.inputs_of(label):
                sizes[place] = probe + 2 * index
        try:
            walked = walk(graph, _feeds(inputs, constants, sizes))
        except LstmInferError:
            return False
        if not _same_ways(native.walked, native.traced, walked, trace(inputs, walked), labels):
            return False
    return True


def _same_ways(walked: Walk, traced: Trace, other: Walk, again: Trace, labels: Iterable[int]) -> bool:
    """Does every Reshape that is met in two walks put some axes in the same place: [1, -1, F] takes time of one step to
    the front, and longer ones to the batch."""
    met = {node.name: node for node in other.nodes}
    for node in walked.nodes:
        if node.op == "Reshape" and node.name in met:
            for value in (node.outputs[0], node.inputs[0]):
                if any(traced.find(value, label) != again.find(value, label) for label in labels):
                    return False
    return True


def _may_be_meant(graph: Graph, native: _Native, labels: Mapping[int, str]) -> dict[str, set[int]]:
    """The Reshapes of which it cannot be said whether a number is the example's or the model's own, and whose it is."""
    consts = {name: array for g in graph.graphs() for name, array in g.consts.items()}
    found: dict[str, set[int]] = {}
    for node in native.walked.nodes:
        axes = native.traced.axes.get(node.outputs[0])
        target = consts.get(node.inputs[1]) if node.op == "Reshape" and len(node.inputs) > 1 else None
        if axes is None or target is None or node.inputs[0] not in native.traced.axes:
            continue
        for position, n in enumerate(target.reshape(-1)):
            roots = {native.traced.root(f.label) for f in axes[position] if f.label}
            known = n > 0 and roots and roots <= set(labels)
            if known and _either(node, target.reshape(-1), position, native, labels):
                found.setdefault(node.name, set()).update(roots)
    return found


def _answers(
    graph: Graph,
    inputs: Sequence[Port],
    constants: Mapping[str, Array],
    native: _Native,
    meant: Mapping[str, set[int]],
) -> list[Array] | None:
    """What the graph gives at twice the sizes that may be meant, for drawn inputs; None where it does not fit."""
    sizes = dict(native.sizes)
    for label in set[int]().union(*meant.values()):
        for name, axis in native.traced.inputs_of(label):
            sizes[name, axis] = 2 * native.walked.facts[name].shape[axis]
    rng = np.random.default_rng(0)
    feeds = _feeds(inputs, constants, sizes)
    for name, fact in feeds.items():
        if fact.const is None:
            if prod(fact.shape) > _MOST_DRAWN:
                return None
            feeds[name] = Fact.of(rng.uniform(0, 1, fact.shape).astype(fact.dtype))
    try:
        walked = walk(graph, feeds)
    except LstmInferError:
        return None
    found = [walked.facts[port.name].const for port in graph.outputs]
    return None if any(array is None for array in found) else [array for array in found if array is not None]


def _close(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True))


def _repair(
    graph: Graph,
    native: _Native,
    labels: Mapping[int, str],
    constants: Mapping[str, Array],
    all_states: bool,
    leave: Container[str] = (),
) -> list[str]:
    """Open what can be opened; `all_states`: also first states whose shape is computed from the input; `leave`: but not
    these nodes."""
    done: list[str] = []
    given = _computed_from(graph, set(constants))
    live = {node.name for node in native.walked.nodes if node.name not in leave}
    for g in graph.graphs():
        nodes: list[Node] = []
        for node in g.nodes:
            if node.name in live and node.op in ("Reshape", "Expand") and node.inputs[1] in graph.consts | g.consts:
                node = _reshape(graph, g, node, native, labels, nodes, done)
            elif node.op == "Steps" and _alone(native, node) in labels and _counts_to(graph, node, native, given):
                made = native.walked.facts[node.inputs[0]].shape[int(node.attrs["axis"])]  # type: ignore[arg-type]
                done.append(f"{node.name}: the number of iterations was frozen at {made}")
                node = Node("Identity", node.name, node.inputs[:1], node.outputs, {}, "", 13)
            elif node.name in live and find(node).flow is pass_broadcast:
                node = _constant(graph, g, node, native, labels, done)
            elif node.name in live and recurrent.is_recurrent(node):
                node = _initial(graph, g, node, native, labels, nodes, done, all_states)
            nodes.append(node)
        g.nodes[:] = nodes
    if done:
        _drop_unread(graph)
    return done


def _alone(native: _Native, node: Node) -> int:
    """The label of the axis that a Steps node counts."""
    axis = node.attrs["axis"]
    assert isinstance(axis, int)
    return native.traced.alone(node.inputs[0], axis)


def _counts_to(graph: Graph, node: Node, native: _Native, given: Container[str]) -> bool:
    """Does a loop count to a number of the file: M, or the numbers of its condition where M only says "no limit"."""
    facts, most = native.walked.facts, node.inputs[1]
    if most in given:
        return False
    made = facts[node.inputs[0]].shape[int(node.attrs["axis"])]  # type: ignore[arg-type]
    limit = facts[most].const if most else None
    if limit is not None and int(limit.reshape(-1)[0]) == made:
        return True
    read = {*node.inputs[2:], *(name for sub in node.subgraphs() for name in outer_names(sub))} - {""}
    counters = [name for name in read if name in facts and facts[name].dtype.kind in "iu"]
    return all(name in graph.consts and name not in given for name in counters)


def _computed_from(graph: Graph, names: set[str]) -> set[str]:
    """Values that depend on what the caller made constant: those numbers are meant."""
    found = set(names)
    for node in graph.nodes:
        if any(name in found for name in node.inputs):
            found |= {name for name in node.outputs if name}
    return found


def _drop_unread(graph: Graph) -> None:
    """Without the nodes of the graph whose work nobody reads any more: they hold the frozen sizes still."""
    read = {port.name for port in graph.outputs}
    read |= {name for g in graph.graphs() if g is not graph for n in g.nodes for name in n.inputs}
    read |= {port.name for g in graph.graphs() if g is not graph for port in g.outputs}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if any(name in read for name in node.outputs):
            read.update(node.inputs)
            kept.append(node)
    graph.nodes[:] = kept[::-1]


def _reshape(
    graph: Graph, g: Graph, node: Node, native: _Native, labels: Mapping[int, str], before: list[Node], done: list[str]
) -> Node:
    target = (graph.consts | g.consts)[node.inputs[1]].reshape(-1)
    axes = native.traced.axes.get(node.outputs[0])
    if axes is None or len(axes) != len(target):
        return node
    new: list[int | list[int]] = [int(n) for n in target]
    for axis, factors in enumerate(axes):
        roots = [native.traced.root(f.label) for f in factors if f.label]
        if new[axis] in (-1, 0) or not roots or any(root not in labels for root in roots):
            continue
        if target[axis] != 1 and all(f.extent == 1 for f in factors if f.label):
            continue  # a batch of 1 may lie in any of the axes around it
        if not _resized(factors, native):
            new[axis] = roots
        elif -1 not in new and node.op == "Reshape":
            new[axis] = -1  # what is left: a convolution changed the number of steps
        else:
            continue
        done.append(f"{node.name}: {' x '.join(labels[r] for r in roots)} was frozen at {int(target[axis])}")
    if new == [int(n) for n in target]:
        return node
    name = f"{node.name}/open_shape"
    if not any(isinstance(n, list) for n in new):
        g.consts[name] = np.array(new, np.int64)
        return replace(node, inputs=[node.inputs[0], name, *node.inputs[2:]])
    parts = []
    for axis, entry in enumerate(new):
        if isinstance(entry, list):
            other = prod(f.extent for f in axes[axis] if not f.label)
            parts.append(_size(g, f"{name}/{axis}", entry, other, native, before))
        else:
            g.consts[f"{name}/{axis}"] = np.array([entry], np.int64)
            parts.append(f"{name}/{axis}")
    before.append(Node("Concat", name, parts, [name], {"axis": 0}, opset=13))
    return replace(node, inputs=[node.inputs[0], name, *node.inputs[2:]])


def _constant(graph: Graph, g: Graph, node: Node, native: _Native, labels: Mapping[int, str], done: list[str]) -> Node:
    """A constant that repeats itself along time or batch, as zeros_like() leaves it: one of it, which is broadcast."""
    inputs, axes = list(node.inputs), native.traced.axes.get(node.outputs[0], ())
    for i, value in enumerate(inputs):
        const = (graph.consts | g.consts).get(value)
        if const is None or const.ndim != len(axes):
            continue
        for axis, factors in enumerate(axes):
            roots = [native.traced.root(f.label) for f in factors if f.label]
            row = np.take(const, [0], axis) if const.shape[axis] > 1 else const
            if row is not const and roots and all(r in labels for r in roots) and (const == row).all():
                done.append(f"{node.name}: {' x '.join(labels[r] for r in roots)} was frozen at {const.shape[axis]}")
                const = row
        if const.shape != (graph.consts | g.consts)[value].shape:
            inputs[i] = f"{node.name}/{i}/row"
            g.consts[inputs[i]] = const
    return replace(node, inputs=inputs)


def _resized(factors: Axis, native: _Native) -> bool:
    """Has an axis changed its extent on the way from the input (a window, a cut): its number is not the input's size."""
    for factor in factors:
        if factor.label:
            name, axis = native.traced.inputs_of(factor.label)[0]
            if native.walked.facts[name].shape[axis] != factor.extent:
                return True
    return False


def _may_transpose(node: Node, native: _Native, labels: Mapping[int, str]) -> bool:
    """A Reshape that changes nothing, of time and batch of one step and one signal: what an exporter makes of a
    transposition that changes nothing. Which of the axes is which nobody can tell any more."""
    before, after = node.inputs[0], node.outputs[0]
    ones = [f for axis in native.traced.axes[before] for f in axis if f.label and f.extent == 1]
    kinds = {labels.get(native.traced.root(f.label)) for f in ones}
    return native.walked.facts[before].shape == native.walked.facts[after].shape and {"time", "batch"} <= kinds


def _either(node: Node, target: Array, position: int, native: _Native, labels: Mapping[int, str]) -> bool:
    """Could the number be the model's own: so many steps taken together, [-1, 6, ..], or the sequence cut into so many
    parts, [6, -1, ..]. At the example's size such a Reshape looks as if it left the axis as it is; an axis that was
    merged with others before is restored by it, and whoever restores it means its size."""
    axes = native.traced.axes[node.outputs[0]]
    roots = {native.traced.root(f.label) for f in axes[position] if f.label}
    before = native.traced.axes[node.inputs[0]]
    alone = any({native.traced.root(f.label) for f in axis if f.label or f.extent != 1} == roots for axis in before)
    free = [a for a, n in enumerate(target) if n == -1]
    if not alone or not free:
        return False
    between = axes[free[0] + 1 : position] if free[0] < position else axes[position + 1 : free[0]]
    if any(f.extent != 1 for axis in between for f in axis):
        return False
    if free[0] < position and all(labels[root] == "time" for root in roots):
        return True
    return all(f.extent == 1 and not f.label for f in axes[free[0]])


def _size(g: Graph, name: str, roots: Sequence[int], other: int, native: _Native, before: list[Node]) -> str:
    """Nodes that compute the product of the input sizes behind some labels."""
    result = f"{name}/other"
    g.consts[result] = np.array([other], np.int64)
    for i, root in enumerate(roots):
        source, axis = native.traced.inputs_of(root)[0]
        shape, total = f"{name}/shape{i}", f"{name}/total{i}"
        before.append(Node("Shape", shape, [source], [shape], {"start": axis, "end": axis + 1}, opset=15))
        before.append(Node("Mul", total, [result, shape], [total], opset=14))
        result = total
    return result


def _follows(graph: Graph, name: str, shape: Sequence[int], axis: int) -> bool:
    """Is a value computed from the sizes of an input, so that it has the batch that is fed; not from a constant that has
    a batch of its own."""
    made = {value: node for node in graph.nodes for value in node.outputs if value}
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


def _initial(
    graph: Graph,
    g: Graph,
    node: Node,
    native: _Native,
    labels: Mapping[int, str],
    before: list[Node],
    done: list[str],
    all_states: bool,
) -> Node:
    """A constant first state with equal rows: repeated over whatever batch is fed."""
    label = native.traced.alone(node.inputs[0], recurrent.axes(node)[1])
    axis = 1 - recurrent.direction_axis(node)
    if label not in labels:
        return node
    inputs = list(node.inputs)
    for what, index, _ in recurrent.states(node):
        name = inputs[index] if index < len(inputs) else ""
        const = native.walked.facts[name].const if name else None
        if const is None or not const.size or (_follows(graph, name, const.shape, axis) and not all_states):
            continue
        row = np.take(const, [0], axis)
        if not np.array_equal(const, np.repeat(row, const.shape[axis], axis)):
            continue
        value = f"{node.name}/{what}_row"
        g.consts[value] = row
        parts = []
        for a, n in enumerate(row.shape):
            if a == axis:
                parts.append(_size(g, f"{value}/{a}", [label], 1, native, before))
            else:
                g.consts[f"{value}/{a}"] = np.array([n], np.int64)
                parts.append(f"{value}/{a}")
        before.append(Node("Concat", f"{value}/shape", parts, [f"{value}/shape"], {"axis": 0}, opset=13))
        before.append(Node("Expand", f"{value}/all", [value, f"{value}/shape"], [f"{value}/all"], opset=13))
        inputs[index] = f"{value}/all"
        done.append(f"{node.name}: the batch of its first state {what} was frozen at {const.shape[axis]}")
    return replace(node, inputs=inputs)
