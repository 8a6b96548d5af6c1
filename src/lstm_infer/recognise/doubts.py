"""Numbers that may be the model's own although the example has time or batch there.

A target whose numbers are all given says its input's size: with another T or batch it does not fit, so the number is the
example's. One entry that is left over (-1) lets a number of the model's own fit as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..analysis.labels import Axis
from ..frozen import frozen
from .example import Example
from .places import Place
from .unpacking import unpacking
from .written_shapes import makers, read_target

__all__ = ["Doubt", "in_doubt"]


@frozen
class Doubt:
    """A number that may be the model's own."""

    place: Place
    cut: bool
    """Nor does it tell what to open: all its numbers are given, and another order of time, batch and features fits too."""


def in_doubt(example: Example, labels: Mapping[int, str], places: Sequence[Place]) -> list[Doubt]:
    """The places of which the target does not say whose their number is."""
    nodes = {node.name: node for node in example.walked.nodes}
    unpacks = unpacking(example.walked)
    found: list[Doubt] = []
    for g in example.graph.graphs():
        consts, made = example.graph.consts | g.consts, makers(g)
        here = {node.name for node in g.nodes}
        for place in places:
            node = nodes.get(place.node)
            if place.kind != "size" or node is None or place.node not in here or node.op != "Reshape":
                continue
            target = read_target(node, consts, made, example.walked.facts)
            before = example.traced.axes.get(node.inputs[0])
            if target is None or before is None:
                continue
            free = target.index(-1) if -1 in target else None
            reading = _Reading(
                example, before, example.traced.axes[node.outputs[0]], free, place, place.node in unpacks
            )
            if reading.in_doubt(labels):
                found.append(Doubt(place, reading.cut()))
    return found


class _Reading:
    """One entry of a target with an entry that is left over."""

    def __init__(
        self,
        example: Example,
        before: Sequence[Axis],
        after: Sequence[Axis],
        free: int | None,
        place: Place,
        unpacks: bool,
    ) -> None:
        self.example, self.before, self.after, self.free, self.place = example, before, after, free, place
        self.unpacks = unpacks

    def in_doubt(self, labels: Mapping[int, str]) -> bool:
        """May the number be the model's own."""
        if self.free is None or self.slides():
            return self.cut()
        if all(self.example.declared(root) for root in self.place.roots):
            return not (self.restores(labels) or self.keeps())
        return not self.unpacks

    def cut(self) -> bool:
        """Are all numbers given, and do time or batch share an axis with a part of the features, or with all of them
        where the number is theirs as well: [8, 2] of B = 2, T = 1 and 8 features."""
        if self.slides():
            return True
        if self.free is not None:
            return False
        widths = [f.extent for axis in self.before for f in axis if not f.label and f.extent != 1]
        shared = [[f.extent for f in axis if not f.label and f.extent != 1] for axis in self.after if self.known(axis)]
        if any(extent not in widths for extents in shared for extent in extents):
            return True
        return any(shared) and self.place.was in widths

    def slides(self) -> bool:
        """Does an axis of extent 1 stand behind another 1 in the input, and before one in the target: [1, 1, F] of one step,
        nobody knows of what, and one signal."""
        at, roots = self.place.axis, set(self.place.roots)
        where = next((a for a, axis in enumerate(self.before) if self.names(axis) == roots), 0)
        if self.place.was != 1 or not where or at + 1 >= len(self.after):
            return False
        return all(
            prod(f.extent for f in axis) == 1 and not self.known(axis)
            for axis in (self.before[where - 1], self.after[at + 1])
        )

    def known(self, axis: Axis) -> bool:
        """Has an axis a label."""
        return any(f.label for f in axis)

    def names(self, axis: Axis) -> set[int]:
        """Labels of an axis; 0 for a part without one."""
        return {self.example.traced.root(f.label) if f.label else 0 for f in axis if f.label or f.extent != 1}

    def restores(self, labels: Mapping[int, str]) -> bool:
        """Does the target give time and batch, what of them the input has, an axis of its own each, where what is left over
        is one of them or other axes: [-1, 6, 2, 4] of B and T; not nothing: [2, 6, -1, F] cuts into parts."""
        known = {name for axis in self.before for name in self.names(axis) if name in labels}
        alone = [self.names(axis) for axis in self.after]
        rest = self.rest()
        return bool(rest) and (len(rest) == 1 or not rest & known) and all({name} in alone for name in known)

    def keeps(self) -> bool:
        """Does the number stand for the axis at the same place in front of all else, as in [B, -1] of [B, T, F]; not
        where another axis of the input has its extent: that may be a width of the model's own."""
        at = self.place.axis
        if self.free is None or not self.rest() or at >= min(len(self.before), self.free):
            return False
        if any(self.names(self.before[a]) != self.names(self.after[a]) for a in range(at + 1)):
            return False
        others = [f.extent for a, axis in enumerate(self.before) if a != at for f in axis]
        return self.place.was not in others

    def rest(self) -> set[int]:
        """Labels of what is left over; empty where nothing is."""
        return self.names(self.after[self.free]) if self.free is not None else set()
