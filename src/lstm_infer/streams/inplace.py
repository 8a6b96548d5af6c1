"""Which states may be updated where they lie: those that nobody reads but the recurrences they seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod

from ..analysis.analyse import StreamSpec
from ..graph.ir import Node
from ..lower import builder
from ..ops import carries
from ..program.store import ConstStore
from ..program.views import View
from ..walk.walk import Walk

__all__ = ["Readers", "readers", "seeds_only"]

_VIEWS = {"Slice", "Split", "Squeeze", "Unsqueeze", "Gather", "Identity", "Reshape", "Transpose"}
"""Operators that show a part of a state without computing."""

Readers = Mapping[str, Sequence[tuple[int, int]]]
"""By value: (position of the node, input of the node) of all that reads it."""


def readers(walked: Walk) -> Readers:
    """Who reads each value."""
    found: dict[str, list[tuple[int, int]]] = {}
    for position, node in enumerate(walked.nodes):
        for i, value in enumerate(node.inputs):
            found.setdefault(value, []).append((position, i))
    return found


def seeds_only(
    state: str, slot: View, spec: StreamSpec, walked: Walk, found: Readers, store: ConstStore, isa: str
) -> bool:
    """Is this state read by nothing but recurrences that start from it, each from a part of its own."""
    todo, parts, seen = [state], 0, set[int]()
    outputs = {o.name for o in spec.outputs} | set(spec.pairs.values())
    while todo:
        value = todo.pop()
        reads = found.get(value, ())
        if value in outputs or (len(reads) > 1 and value != state):
            return False
        for position, index in reads:
            node = walked.nodes[position]
            seen.add(position)
            if carries.carries(node) and any(index == i for _, i, _ in carries.states(node)):
                parts += prod(walked.facts[value].shape)
            elif node.op in _VIEWS and index == 0:
                todo += [v for v in node.outputs if v]
            else:
                return False
    if parts > prod(walked.facts[state].shape):
        return False
    return _parts_apart(state, slot, walked, [walked.nodes[position] for position in sorted(seen)], store, isa)


def _parts_apart(state: str, slot: View, walked: Walk, nodes: Sequence[Node], store: ConstStore, isa: str) -> bool:
    """Do the readers of a state take different parts of it."""
    b = builder(walked.facts, store, isa)
    b.views[state] = slot
    taken: list[tuple[int, int]] = []
    derived = {state}
    for node in nodes:
        if node.inputs and node.inputs[0] in derived and node.op in _VIEWS:
            b.node(node)
            derived |= {v for v in node.outputs if v}
        for name in node.inputs if carries.carries(node) else ():
            if name in derived:
                view = b.view(name)
                if view.buffer is not slot.buffer or not view.is_dense:
                    return False
                taken.append((view.offset, view.offset + view.size))
    taken.sort()
    return not b.calls and all(a[1] <= c[0] for a, c in pairwise(taken))
