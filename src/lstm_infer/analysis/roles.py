"""What the axes of the inputs mean: time, batch, and sizes that stay open; a record that `roles_found` fills."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass, field, replace

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Port
from ..walk.walk import Walk, walk
from .free import BATCH_PROBES, PROBES
from .sizes import Place, first_key

__all__ = ["AxisOf", "Roles"]


AxisOf = dict[str, int]


@dataclass
class Roles:
    """The axes of a model's inputs, by what they mean."""

    graph: Graph
    inputs: list[Port]
    """Fed inputs; shapes with the sizes that the caller fixed."""
    constants: dict[str, Array]
    time: AxisOf = field(default_factory=dict)
    """Input to its time axis."""
    batch: AxisOf = field(default_factory=dict)
    time_size: int | None = None
    """The one extent of time the model runs at; None: any."""
    batch_size: int | None = None
    probes: tuple[int, int] = PROBES
    """Time extents at which the graph walks, where it is free."""
    batch_probe: int = BATCH_PROBES[0]
    """The batch at which it is analysed, where that is free: none that a Reshape's target may be taken for."""
    runs_over: list[dict[str, int]] = field(default_factory=list)
    """Input axes that recurrences run over, whatever the caller chose as time."""
    chosen: bool = False
    """The caller said which axes are time."""
    candidates: list[dict[str, int]] = field(default_factory=list)
    """Every independent time axis that was found; streaming needs exactly one."""
    bases: dict[Place, int] = field(default_factory=dict)
    """Input axes that are one time at different paces, with their extents in one call; empty where there are none."""
    sequences: frozenset[str] = frozenset()
    """Inputs along which some recurrence runs, chosen as time or not."""
    open_sizes: dict[Place, int] = field(default_factory=dict)
    """Extents tried for open axes that are neither time nor batch."""
    switches: list[dict[str, Array]] = field(default_factory=list)
    """Values of scalar inputs that choose between networks, one for every choice; empty where none does."""
    walkable: str = ""
    """Empty, or why no walk succeeded."""
    known_sizes: frozenset[Place] = frozenset()
    """Open axes whose extent weights and constants say."""
    contradicts: bool = False
    """No walk can succeed, whatever the open sizes are."""

    def feeds(self, T: int, B: int) -> dict[str, Fact]:
        """Facts of all inputs at these sizes."""
        facts = {name: Fact.of(array) for name, array in self.constants.items()}
        for port in self.inputs:
            if port.shape is None:
                raise ShapeError(f"input {port.name!r} has no declared shape; give one with load(..., inputs={{...}})")
            shape = []
            for axis, size in enumerate(port.shape):
                if self.time.get(port.name) == axis:
                    shape.append(T)
                elif self.batch.get(port.name) == axis:
                    shape.append(B)
                elif isinstance(size, int):
                    shape.append(size)
                else:
                    shape.append(self.open_sizes.get((port.name, axis), 1))
            facts[port.name] = Fact(tuple(shape), port.dtype)
        return facts

    def opens(self, name: str, axis: int) -> bool:
        """Is this axis right at any size: time or batch, not frozen."""
        if self.batch.get(name) == axis:
            return self.batch_size is None
        several = len(self.runs_over) > 1 and any(places.get(name) == axis for places in self.runs_over)
        return several or (self.time.get(name) == axis and self.time_size is None)

    def stay_open(self) -> list[Place]:
        """Axes whose size the file leaves open, and which are neither time nor batch."""
        return [
            place for place in self.open_sizes if place[1] not in (self.time.get(place[0]), self.batch.get(place[0]))
        ]

    def unknown(self) -> set[Place]:
        """Those of them of which weights and constants do not say the size either."""
        return set(self.stay_open()) - self.known_sizes

    def without_states(self, pairs: Collection[str]) -> Roles:
        """The same, when it is known which inputs are states: what they have is not time."""
        return replace(self, time={name: axis for name, axis in self.time.items() if name not in pairs})

    def shown_sizes(self) -> dict[str, str]:
        """Inputs with open axes, as text with a name or a letter in place of each: "(T, 1, F)"."""
        shapes = {
            p.name: p.shape for p in self.inputs if p.shape is None or not all(isinstance(n, int) for n in p.shape)
        }
        return {
            name: "(...)" if shape is None else f"({', '.join(str(n or 'N') for n in shape)}{',' * (len(shape) == 1)})"
            for name, shape in shapes.items()
        }

    def one_step(self) -> bool:
        """Does the file declare one time step, wherever there is time."""
        declared = {p.name: p.shape for p in self.inputs if p.name in self.time and p.shape is not None}
        return self.time_size is None and all(shape[self.time[name]] == 1 for name, shape in declared.items())

    def walk(self, T: int, B: int) -> Walk:
        """Walk the graph at these sizes."""
        return walk(self.graph, self.feeds(T, B))

    def facts(self) -> dict[str, Fact] | None:
        """All values at the sizes of the analysis; None where the graph does not walk."""
        return None if self.walkable else self.walk(*self.analysis_sizes()).facts

    def analysis_sizes(self) -> tuple[int, int]:
        """Sizes for analysis: distinctive where they are free."""
        return self.time_size or self.probes[0], self.batch_size or self.batch_probe

    def asked_again(self) -> tuple[list[dict[str, Fact]], list[Hashable]]:
        """What is fed to the walks that an analysis begins with; and the key of the first walk, for other readings."""
        T, B = self.analysis_sizes()
        lengths = (T,) if self.time_size else (T, self.probes[1])
        return [] if self.walkable else [self.feeds(n, B) for n in lengths], [first_key(self.inputs, self.constants)]
