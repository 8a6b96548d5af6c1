"""What the outputs of a graph hold: one value under several names, or several values in one output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod

import numpy as np

from ...frozen import frozen
from ...graph.ir import Node
from ...ops import carries, registry
from ...walk.walk import Walk
from .paths import only_step

__all__ = ["Part", "Place", "Target", "bare", "cores", "cut", "find_targets", "leaves", "makers_of", "root"]

MOST_TAGGED = 1 << 20
"""Elements of an output whose parts are followed one by one."""


@frozen
class Part:
    """Positions start .. stop-1 of `extent` along one axis of an output; in proportion where the axis is also the batch
    and that is another."""

    axis: int
    start: int
    stop: int
    extent: int

    def among(self, extent: int) -> tuple[int, int]:
        """The first position and how many, in an axis of this extent."""
        start = self.start * extent // self.extent
        return start, self.stop * extent // self.extent - start

    def scales(self, extent: int) -> bool:
        """Is the part the same share of an axis of this extent."""
        return not (self.start * extent % self.extent or self.stop * extent % self.extent)


@frozen
class Place:
    """Where a value stands in the outputs: a whole one, or a part of one."""

    output: str
    part: Part | None = None


@frozen
class Target:
    """A value that outputs hold, wherever they do."""

    value: str
    places: tuple[Place, ...]
    cores: frozenset[str]

    @property
    def outputs(self) -> frozenset[str]:
        return frozenset(place.output for place in self.places)


Makers = Mapping[str, Node]


def makers_of(walked: Walk) -> dict[str, Node]:
    """The node that makes each value."""
    return {name: node for node in walked.nodes for name in node.outputs if name}


def bare(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without its axes of 1: those do not tell states apart."""
    return tuple(n for n in shape if n != 1)


def cut(shape: Sequence[int], part: Part) -> tuple[int, ...]:
    """The shape of a part."""
    return (*shape[: part.axis], part.stop - part.start, *shape[part.axis + 1 :])


def _same(value: str, makers: Makers, walked: Walk) -> str | None:
    """The value that this one is, moved without a loss; None: it is made here."""
    node = makers.get(value)
    if node is None:
        return None
    if value == node.outputs[0] and only_step(node, walked):
        last = carries.states(node)[0][2]
        return node.outputs[last] if last < len(node.outputs) and node.outputs[last] else None
    source = node.inputs[0] if node.inputs else ""
    moves = registry.moves(node)
    kept = moves in ("axes", "order", "part") and len([v for v in node.outputs if v]) == 1
    joined = moves == "join" and len(set(node.inputs)) == 1
    if (kept or joined) and _size(walked, source) == _size(walked, value):
        return source
    return None


def _size(walked: Walk, value: str) -> int:
    return prod(walked.facts[value].shape)


def root(value: str, makers: Makers, walked: Walk) -> str:
    """What a value is, followed back through moves that keep everything."""
    while (before := _same(value, makers, walked)) is not None:
        value = before
    return value


def cores(value: str, makers: Makers, walked: Walk) -> frozenset[str]:
    """The values that this one consists of, each whole."""
    found, seen, todo = set(), set(), [value]
    while todo:
        one = root(todo.pop(), makers, walked)
        node = makers.get(one)
        if one in seen:
            continue
        seen.add(one)
        if node is not None and registry.moves(node) == "join":
            todo += [v for v in node.inputs if v and walked.facts[v].const is None]
        else:
            found.add(one)
    return frozenset(found)


def leaves(value: str, makers: Makers) -> set[str]:
    """The values that this one is joined and cut from, by moves alone."""
    found, todo, seen = set(), [value], set()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        node = makers.get(one)
        moves = registry.moves(node) if node is not None else ""
        if node is not None and registry.mixes(node) == "write":
            todo += [node.inputs[i] for i in (0, 2) if i < len(node.inputs) and node.inputs[i]]
        elif node is None or moves not in ("axes", "order", "part", "join"):
            found.add(one)
        else:
            todo += [v for v in (node.inputs if moves == "join" else node.inputs[:1]) if v]
    return found


def find_targets(
    outputs: Sequence[str], walked: Walk, shapes: Collection[tuple[int, ...]], whole: Collection[str] = ()
) -> list[Target]:
    """What the outputs hold. An output that no input's shape (`shapes`, without axes of 1) fits is taken apart where it
    is joined of several values, but for those of `whole`."""
    makers = makers_of(walked)
    places: dict[str, list[Place]] = {}
    for output in outputs:
        fact = walked.facts[output]
        apart = output not in whole and bare(fact.shape) not in shapes
        parts = _parts(output, makers, walked) if apart else {}
        for value, part in parts.items() or [(output, None)]:
            places.setdefault(root(value, makers, walked), []).append(Place(output, part))
    return [Target(value, tuple(held), cores(value, makers, walked)) for value, held in places.items()]


def _parts(output: str, makers: Makers, walked: Walk) -> dict[str, Part]:
    """The values that an output is joined of, and where each stands in it; none where they are not parts along an axis."""
    trail: list[Node] = []
    value = output
    while (node := makers.get(value)) is not None and registry.moves(node) in ("axes", "order"):
        trail.append(node)
        value = node.inputs[0]
    if node is None or registry.moves(node) != "join" or len(node.inputs) < 2 or _size(walked, output) > MOST_TAGGED:
        return {}
    if len(set(node.inputs)) != len(node.inputs):
        return {}
    tags: list[np.ndarray | None] = [np.full(walked.facts[v].shape, k, np.int64) for k, v in enumerate(node.inputs)]
    for step in [node, *reversed(trail)]:
        consts = [walked.facts[v].const if v else None for v in step.inputs[1:]]
        (tagged, *_) = registry.find(step).evaluate(step, tags if step is node else [tags[0], *consts])
        tags = [tagged]
    found = {value: _where(tagged == k) for k, value in enumerate(node.inputs)}
    return {value: part for value, part in found.items() if part} if all(found.values()) else {}


def _where(taken: np.ndarray) -> Part | None:
    """The part along one axis that is taken, and nothing but it."""
    for axis, n in enumerate(taken.shape):
        others = tuple(a for a in range(taken.ndim) if a != axis)
        some, every = taken.any(others), taken.all(others)
        at = np.flatnonzero(some)
        if (some == every).all() and len(at) and len(at) < n and at[-1] - at[0] + 1 == len(at):
            return Part(axis, int(at[0]), int(at[-1]) + 1, n)
    return None
