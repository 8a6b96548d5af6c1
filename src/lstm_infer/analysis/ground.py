"""What the passes of an analysis stand on: the graph walked at several lengths, and where its axes go. Only read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property

from ..errors import LstmInferError
from ..frozen import frozen
from ..graph.ir import Graph, Node
from ..walk.walk import Walk
from .axes import links
from .labels import Place, Trace
from .roles import Roles
from .states import Pairs

__all__ = ["Ground", "time_label"]

LONG = 4096
"""A length that shows what a constant in the file cuts off, far beyond the usual."""

LARGEST_CUT = (1 << 31) - 2
"""Constants beyond mean the end of an axis, whatever its length."""

MOST_BOUNDS = 64
"""Elements of a constant that holds bounds of a Slice, pads or sizes."""


@frozen
class Ground:
    """A graph in which time is known, its walks, and the states that come back as inputs."""

    graph: Graph
    roles: Roles
    walked: Walk
    traced: Trace
    pairs: Pairs

    @cached_property
    def label(self) -> int:
        """The label of time."""
        return time_label(self.roles, self.traced)

    @cached_property
    def extent(self) -> int:
        """The length of the sequence in `walked`."""
        name, axis = next(iter(self.roles.time.items()))
        return self.walked.facts[name].shape[axis]

    @cached_property
    def others(self) -> tuple[Walk, ...]:
        """The graph at other lengths, to tell what follows the length from what does not. The first is always there
        where the length is free; one step and very many steps show what only a short or a long sequence meets, where
        the graph walks at them."""
        if self.roles.time_size is not None:
            return ()
        T, B = self.roles.analysis_sizes()
        probes = self.roles.probes
        walks = [self.roles.walk(probes[1] if probes[1] != T else probes[0], B)]
        for n in (1, max(LONG, 4 * probes[1])):
            with suppress(LstmInferError):
                walked = self.roles.walk(n, B)
                walks += [] if self._squeezed(walked) else [walked]
        for size in self._large_numbers():  # a sequence that is longer than any of them, as far as one can be walked
            try:
                walks += [self.roles.walk(n, B) for n in (size + 1, 2 * size + 5)]
                break
            except LstmInferError:
                continue
        return tuple(walks)

    def _squeezed(self, walked: Walk) -> bool:
        """Did a Squeeze that names no axes take time away, since there is one step of it: streams name its axes."""
        return any(
            node.op == "Squeeze" and len(walked.facts[value].shape) != len(self.walked.facts[value].shape)
            for node in self.graph.nodes
            for value in node.outputs
            if value in walked.facts and value in self.walked.facts
        )

    def _large_numbers(self) -> list[int]:
        """Integers of the file that may be a length above the usual, the largest first."""
        found: set[int] = set()
        for fact in self.walked.facts.values():
            if fact.const is not None and fact.dtype.kind in "iu" and fact.const.size <= MOST_BOUNDS:
                found |= {abs(int(n)) for n in fact.const.reshape(-1)}
        return sorted((n for n in found if LONG <= n <= LARGEST_CUT), reverse=True)

    @cached_property
    def makers(self) -> Mapping[str, Node]:
        """The node that makes each value."""
        return {name: node for node in self.walked.nodes for name in node.outputs if name}

    @cached_property
    def given_out(self) -> frozenset[str]:
        """The outputs of the graph."""
        return frozenset(port.name for port in self.graph.outputs)

    def axis(self, value: str) -> int | None:
        """The axis of a value in which time stands."""
        return self.traced.find(value, self.label)

    def place(self, value: str) -> Place | None:
        """Where time stands in a value."""
        return self.traced.place(value, self.label)

    def leads(self, value: str) -> bool:
        """Does each step of a value lie behind the one before: nothing is run through once for all steps."""
        place = self.place(value)
        return place is not None and place.outer == 1

    def along_time(self, node: Node) -> set[str]:
        """How the time axis of the first input goes on."""
        axis = self.axis(node.inputs[0])
        return {x.kind for x in links(node, self.walked) if x.input == 0 and x.axis == axis}


def time_label(roles: Roles, traced: Trace) -> int:
    """The label of the time axis of the inputs."""
    name, axis = next(iter(roles.time.items()))
    return traced.root(traced.axes[name][axis][0].label)
