"""Counts that may be the example's: a value repeated as often as the example has steps, a loop unrolled so often behind
them, a sum divided by so many.

Such a number fits every size: an autoencoder that repeats its last code T times runs at any length and answers with the
example's. Nothing in the file says whose number it is, so the input keeps the length that the file declares.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

import numpy as np

from ..analysis.axes import links, trace
from ..analysis.labels import Trace
from ..graph.fact import Fact
from ..graph.ir import Node
from ..ops import carries
from ..ops.common import pass_broadcast
from ..ops.registry import attr, find, moves
from ..walk.walk import Walk
from .example import Example

__all__ = ["uncounted"]


def uncounted(example: Example, labels: Mapping[int, str], probes: Sequence[int]) -> dict[int, str]:
    """Time axes of which a number is left that may count their steps, and where it stands."""
    found: dict[int, str] = {}
    native = example.walk({})  # the graph as it is now
    if native is None:
        return {}
    for label, what in labels.items():
        n = example.extent(label)
        if what != "time" or not example.declared(label) or n < 2:
            continue  # what the file leaves open means what it says; a step's file declares one step
        longer = example.walk(dict.fromkeys(example.places(label), n + probes[0]))
        if longer is None:
            continue
        for node in _counting(example, native, longer, label, n):
            found[label] = (
                f"{node} holds {n}, or what is left of as many, which may count the steps of the example or be a number of "
                "the model's own"
            )
            break
    return found


def _counting(example: Example, native: Walk, longer: Walk, label: int, n: int) -> Iterator[Node]:
    traced = trace(example.inputs, native)
    again = {node.name: node for node in longer.nodes}
    makers = {value: node for node in native.nodes for value in node.outputs if value}
    steps = _steps(native, longer, traced, label)
    for node in native.nodes:
        other = again.get(node.name)
        if other is None:
            continue
        names = [(a, b) for a, b in zip(node.outputs, other.outputs, strict=True) if a and b]
        made = [(native.facts[a].shape, longer.facts[b].shape) for a, b in names]
        if _cuts(node, other, native, longer, traced, label, n, steps) or _stretches(node, made, traced, label, n):
            yield node
        kept = {
            axis
            for shape, after in made[:1]
            if len(shape) == len(after)
            for axis, (x, y) in enumerate(zip(shape, after, strict=True))
            if x == y == n > 1
        }
        if (
            any(_repeats(node, names[0][0], native, traced, axis) for axis in kept)
            or any(_unrolls(node, native, traced, makers, label, axis) for axis in kept)
            or _divides(node, native, traced, label, n)
        ):
            yield node


def _steps(native: Walk, longer: Walk, traced: Trace, label: int) -> set[int]:
    """How many steps the values of the example have that have more where it is longer."""
    found = set[int]()
    for value, fact in native.facts.items():
        axis = traced.find(value, label)
        if axis is not None and value in longer.facts and longer.facts[value].shape[axis] > fact.shape[axis]:
            found.add(fact.shape[axis])
    return found


def _cuts(
    node: Node, other: Node, walked: Walk, longer: Walk, traced: Trace, label: int, n: int, steps: Container[int]
) -> bool:
    """Is the sequence cut where the example ends, or to its last steps, as many as others have behind their windows."""
    if moves(node) != "part" or traced.find(node.inputs[0], label) is None:
        return False
    ends = ("slice", n), ("pick", n - 1)
    cut = {
        (k.axis, k.info) for k in links(node, walked) if (k.kind, k.info[1] if k.kind == "slice" else k.info) in ends
    }
    axis, again = traced.find(node.inputs[0], label), links(other, longer)
    last = {
        b - a
        for walk, found in ((walked, links(node, walked)), (longer, again))
        for k in found
        if k.kind == "slice" and k.axis == axis
        for a, b, step in [k.info]
        if step == 1 and a > 0 and b == walk.facts[node.inputs[0]].shape[k.axis] and b - a > 1
    }
    if len(last) == 1 and last.pop() in steps:
        return True
    return any(at == axis for at, _ in cut & {(k.axis, k.info) for k in again})


def _stretches(
    node: Node, made: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], traced: Trace, label: int, n: int
) -> bool:
    """Is the sequence resized to a number of steps that is no other where it is longer: several times the example's."""
    axis = traced.find(node.inputs[0], label) if node.op == "Resize" and not node.domain else None
    if axis is None:
        return False
    (before, after), *_ = made
    return before[axis] == after[axis] and (before[axis] % n == 0 or n % before[axis] == 0)


def _repeats(node: Node, name: str, walked: Walk, traced: Trace, axis: int) -> bool:
    """Are positions of an axis made from one, or from a constant that has so many beside values that have one."""
    out = traced.axes.get(name)
    if out is None or any(f.label for f in out[axis]):
        return False
    ins = [walked.facts[name] if name else None for name in node.inputs]
    back = len(out) - axis
    shapes = [(fact.shape[-back] if len(fact.shape) >= back else 1, fact.const is None) for fact in ins if fact]
    if moves(node) == "repeat":
        return shapes[0][0] == 1
    if node.domain == "" and node.op in ("Gather", "MatMul", "Resize"):
        return _repeats_otherwise(node, ins, back)
    if find(node).flow is pass_broadcast:
        fed = [extent for extent, is_fed in shapes if is_fed]
        return bool(fed) and all(extent == 1 for extent in fed)
    first = ins[0]
    return carries.carries(node) and first is not None and first.const is not None and axis == 0


def _repeats_otherwise(node: Node, ins: Sequence[Fact | None], back: int) -> bool:
    """Is one position of a value read over and over, multiplied by a row of one number, or enlarged; `back`: the axis,
    from the end."""
    first, second = ins[0], ins[1] if len(ins) > 1 else None
    if node.op == "Resize":
        return first is not None and first.shape[-back] == 1
    if first is None or second is None:
        return False
    if node.op == "Gather":
        index, rank = second.const, len(first.shape) - 1 + len(second.shape)
        at = rank - back - int(attr(node, "axis", 0)) % len(first.shape)
        return index is not None and 0 <= at < index.ndim and index.min() == index.max()
    ones = second if first.const is None else first
    return back <= 2 and ones.const is not None and first.shape[-1] == 1 and ones.const.min() == ones.const.max()


def _unrolls(node: Node, walked: Walk, traced: Trace, makers: Mapping[str, Node], label: int, axis: int) -> bool:
    """Are the positions of an axis joined of one value, or of what copies of a loop behind the sequence made: each reads
    something that the one before it made, and nothing more of the sequence."""
    out = traced.axes.get(node.outputs[0])
    if node.op != "Concat" or node.domain or out is None or any(f.label for f in out[axis]):
        return False
    shapes = {walked.facts[value].shape for value in node.inputs}
    at = int(attr(node, "axis", 0)) % len(out)
    if at != axis or len(shapes) != 1 or shapes.pop()[axis] != 1:
        return False
    if not all(traced.depends(value, label) for value in node.inputs):
        return False
    if len({_moved(value, makers) for value in node.inputs}) == 1:
        return True
    behind, before = set[int](), set[int]()
    for k, value in enumerate(node.inputs):
        cone = _cone(value, makers)
        more = {at: one for at, one in cone.items() if at not in behind}
        timed = (traced.find(v, label) is not None for one in more.values() for v in one.outputs if v)
        if not more or (k and (before.isdisjoint(cone) or any(timed))):
            return False
        behind, before = behind | more.keys(), set(more)
    return len(node.inputs) > 2


def _cone(value: str, makers: Mapping[str, Node]) -> dict[int, Node]:
    """The nodes that a value is computed by."""
    found: dict[int, Node] = {}
    todo = [value]
    while todo:
        node = makers.get(todo.pop())
        if node is not None and id(node) not in found:
            found[id(node)] = node
            todo += node.inputs
    return found


def _moved(value: str, makers: Mapping[str, Node]) -> str:
    """The value that this one is, at other axes."""
    while value in makers and moves(makers[value]) == "axes":
        value = makers[value].inputs[0]
    return value


def _divides(node: Node, walked: Walk, traced: Trace, label: int, n: int) -> bool:
    """Is a value that has lost its time divided by the number of steps: a mean; or any value by a number that is theirs."""
    if node.op not in ("Div", "Mul") or node.domain:
        return False
    for i, name in enumerate(node.inputs):
        const, other = walked.facts[name].const, node.inputs[1 - i]
        if const is None or const.size != 1 or not traced.depends(other, label):
            continue
        value = float(const.reshape(-1)[0])
        summed = traced.find(other, label) is None
        if node.op == "Div" and i == 1 and value == n and (summed or n > 2):
            return True
        if node.op == "Mul" and summed and value == np.float32(1 / n):
            return True
    return False
